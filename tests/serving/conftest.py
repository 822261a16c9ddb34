"""Fixtures: a searcher without a model, which ranks a few documents by shared words."""

import math
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from genir.config import Recipe, TaskSection
from genir.errors import did_you_mean
from genir.identifiers.table import IdentifierTable
from genir.serving.app import create_app
from genir.types import Capabilities, Document, Filter, Hit

LIBRARY = "https://docs.python.org/3/library"
TEXTS = {
    "shutil.copytree": "Recursively copy an entire directory tree to a destination and return it. "
    "Symbolic links are kept as links when asked; a directory that exists is refused by default.",
    "shutil.copyfile": "Copy the contents of a file to another file, without metadata, in the most "
    "efficient way the system offers.",
    "shutil.rmtree": "Delete an entire directory tree; path must point to a directory, and not to "
    "a symbolic link to one.",
    "os.scandir": "Return an iterator of entries for the files in a directory, with their types, "
    "which is faster than listing names and asking for each.",
    "pathlib.Path.glob": "Iterate over this subtree and yield all existing files, of any kind, "
    "that match the given relative pattern.",
    "heapq.nlargest": "Find the n largest elements in a dataset, as sorted in reverse but faster.",
    "bisect.insort": "Insert an item into a sorted list, and keep it sorted.",
    "textwrap.shorten": "Collapse and truncate the given text to fit in the given width.",
    "difflib.get_close_matches": "Use a sequence matcher to return a list of good enough matches.",
    "copy.deepcopy": "Deep copy operation on arbitrary objects: copy a list and all it holds.",
    "tempfile.mkdtemp": "Create and return a unique temporary directory that only you can enter.",
    "os.walk": "Generate the names in a directory tree, top-down or bottom-up: for each directory "
    "a triple of its path, its directories and its files.",
}
EXAMPLES = ["copy a directory tree", "keep a list sorted", "shorten a long text", "largest items"]
HOSTILE = Document(
    key="<img src=x onerror=alert(1)>",
    title="<b>bold</b> & 'quoted'",
    text="<script>alert('snippet')</script> hostile markup",
    url="javascript:alert(1)",
)


def documents() -> list[Document]:
    """Return the documents; the last one contains HTML for an injection test."""
    return [
        Document(key, text, key, f"{LIBRARY}/{key.split('.')[0]}.html#{key}", (), {"lang": "en"})
        for key, text in TEXTS.items()
    ] + [HOSTILE]


class Documents(list):
    """A list of documents with the filter methods of a document store."""

    def find(self, key: str) -> Document | None:
        return next((document for document in self if document.key == key), None)

    def metadata_fields(self) -> list[str]:
        return ["lang"]

    def unknown_field(self, field: str, known: list[str]) -> str:
        return f"unknown metadata field {field!r}{did_you_mean(field, known)}"


class Ready:
    """Hits with precomputed snippets."""

    def __init__(self, hits: list[Hit]) -> None:
        self._hits = hits

    proven = None

    def __iter__(self):
        return iter(self._hits)

    def hits(self) -> list[Hit]:
        return self._hits


class WordOverlap:
    """A retriever with the real interface that ranks by shared words."""

    def __init__(self) -> None:
        self.documents = Documents(documents())
        self.recipe = Recipe(name="overlap", tasks=(TaskSection(task="lead"),))
        self.folder, self.capabilities = Path("python-docs"), Capabilities(trace=True, shares=True)
        self.version, self.insert_unsupported_reason = 0, ""
        self.table = IdentifierTable.build(
            [[self.code(n)] for n in range(len(self.documents))], [d.key for d in self.documents]
        )

    @staticmethod
    def code(number: int) -> tuple[int, ...]:
        return (number * 37 % 64, number * 101 % 64, number)

    shown_base_url = None

    def shown_url(self, url):
        return url

    def beam_width(self, k, beams=None):
        return max(k, beams or self.recipe.decoding.beams)

    def sync(self, reload=True):
        return False

    def close(self):
        pass

    def shares(self, query, keys, where=None):
        found = self.match([query], [len(self.documents)], [where])[0].hits()
        return [math.exp(hit.score) for key in keys for hit in found if hit.key == key]

    def confidence(self, query, key):
        (text,) = (one.text for one in self.documents if one.key == key)
        asked, held = (set(re.findall(r"\w+", one.lower())) for one in (query, text))
        return len(asked & held) / len(asked)

    def match(self, queries, k=10, where=None, beams=None, exact=None) -> list[Ready]:
        each = zip(queries, k, where, strict=True)
        return [Ready(self._answer(query, k, self._filter(one))) for query, k, one in each]

    def prepare(self, where):
        return True

    prepared = prepare

    def _filter(self, selection) -> Filter:
        return (
            {name: value for one in selection.where for name, value in one.items()}
            if selection
            else {}
        )

    def _answer(self, query: str, k: int, where: Filter) -> list[Hit]:
        asked = set(re.findall(r"\w+", query.lower()))
        points = {
            n: len(asked & set(re.findall(r"\w+", f"{d.key} {d.text}".lower()))) * 1.3
            for n, d in enumerate(self.documents)
            if where.get("lang") in (None, d.metadata.get("lang"))
        }
        normaliser = math.log(sum(map(math.exp, points.values())) or 1)
        best = sorted((n for n in points if points[n]), key=lambda n: (-points[n], n))[:k]
        return [self._hit(n, points[n] - normaliser, rank) for rank, n in enumerate(best, start=1)]

    def _hit(self, n: int, score: float, rank: int) -> Hit:
        found = self.documents[n]
        identifier = "-".join(map(str, self.code(n)))
        return Hit(found.key, score, rank, identifier, found.title, found.url, found.text)


@pytest.fixture
def searcher() -> WordOverlap:
    return WordOverlap()


@pytest.fixture
def client(searcher):
    with TestClient(create_app(searcher, EXAMPLES)) as client:
        yield client


@pytest.fixture(scope="session")
def model_folder(tiny_folder):
    """Return the folder of a tiny atomic model; copy it before changing it."""
    return tiny_folder("atomic")
