"""tldr-pages -> corpus folder: pages of commands, and the descriptions of their examples."""

from genir.signals import guard

guard(__name__)  # the imports below take time

import hashlib
import re
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common import Downloads, Out, Overwrite, RemoteFile, Sha256, Source, card, in_share, run, show
from download import fetch

from genir.corpus.writer import check_target, write_corpus
from genir.errors import InputError
from genir.types import Document, Qrel, Query

BASE = "https://github.com/tldr-pages/tldr/releases/latest/download"
ARCHIVE = "tldr-pages.en.zip"
SUMS = "tldr.sha256sums"
PAGE_URL = "https://tldr.inbrowser.app/pages"
TEST_SHARE = 0.1
ALIAS = "This command is an alias of"
ABOUT = """
English pages of tldr-pages (key `<platform>/<command>`), aliases left out: {documents:,} documents.
Queries are descriptions of examples: {train:,} train and {test:,} test judgements. A tenth of the
descriptions, by the hash of their text, is `test`, and removed from the pages together with its
command; the `train` ones remain in their page. A description found on several pages is relevant to
all of them.
"""


@dataclass(frozen=True, slots=True)
class CommandPage:
    """One page: a description of the command, and examples as (description, command line)."""

    key: str
    title: str
    about: str
    examples: tuple[tuple[str, str], ...]


def main(
    out: Out,
    source: Source = None,
    downloads: Downloads = Path("downloads"),
    sha256: Sha256 = "",
    overwrite: Overwrite = False,
) -> None:
    """Write the corpus folder of tldr-pages; a local copy is a zip, a tarball or a checkout."""
    check_target(out, overwrite)
    if source is None and not sha256:
        sha256 = published_sum(fetch_sums(downloads))
    file = RemoteFile(f"{BASE}/{ARCHIVE}").obtain(source, downloads, sha256)
    pages = [parse(name, text) for name, text in sorted(read(file)) if ALIAS not in text]
    if not pages:
        raise InputError(f"{file}: no English pages inside (pages/<platform>/<command>.md)")
    queries, qrels = split(pages)
    about = ABOUT.format(documents=len(pages), **{name: len(q) for name, q in qrels.items()})
    text = card("tldr-pages", about, [file], "CC BY 4.0 (the tldr-pages contributors)", BASE)
    write_corpus(out, show(map(document, pages), "writing"), queries, qrels, text, overwrite)


def fetch_sums(downloads: Path) -> str:
    """Return the checksums of the latest release, always anew."""
    file = downloads / SUMS
    file.unlink(missing_ok=True)
    return fetch(f"{BASE}/{SUMS}", file).read_text(encoding="utf-8")


def published_sum(sums: str) -> str:
    """Return the checksum of the archive in the output of sha256sum; empty if it has none."""
    lines = (line.split() for line in sums.splitlines())
    return next((v[0] for v in lines if len(v) == 2 and Path(v[1]).name == ARCHIVE), "")


def read(file: Path) -> Iterator[tuple[str, str]]:
    """Yield `<platform>/<command>` and the Markdown of each English page."""
    for name, content in _members(file):
        parts = name.removesuffix(".md").split("/")
        if name.endswith(".md") and (len(parts) == 2 or parts[-3:-2] in (["pages"], ["pages.en"])):
            yield "/".join(parts[-2:]), content.decode("utf-8")


def _members(file: Path) -> Iterator[tuple[str, bytes]]:
    if file.is_dir():
        for path in file.glob("pages/*/*.md"):
            yield path.relative_to(file).as_posix(), path.read_bytes()
    elif zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                yield name, archive.read(name)
    elif tarfile.is_tarfile(file):
        with tarfile.open(file) as tar:
            for member in tar:
                if stream := tar.extractfile(member):
                    yield member.name, stream.read()
    else:
        raise InputError(f"{file}: neither a zip, a tarball nor a checkout of tldr-pages")


def parse(key: str, text: str) -> CommandPage:
    """Return the parts of a page. Raises InputError for one without a heading or description."""
    title = re.search(r"^# (.+)$", text, re.MULTILINE)
    about = [
        plain(line)
        for line in re.findall(r"^> ?(.+)$", text, re.MULTILINE)
        if not line.startswith(("More information:", "See also:"))
    ]
    examples = re.findall(r"^- (.+?):?[^\S\n]*\n\s*`(.+)`[^\S\n]*$", text, re.MULTILINE)
    if title is None or not about:
        raise InputError(f"{key}.md: no tldr page: a heading (#) and a description (>) are missing")
    return CommandPage(
        key, title[1].strip(), " ".join(about), tuple((plain(d), _command(c)) for d, c in examples)
    )


def plain(text: str) -> str:
    """Return a line without the marks of Markdown."""
    return re.sub(r"<(https?://[^>]*)>", r"\1", text).replace("`", "").strip()


def _command(text: str) -> str:
    return text.replace("{{", "").replace("}}", "")


def document(page: CommandPage) -> Document:
    """Return a page without its test examples."""
    kept = [f"{about}: {command}" for about, command in page.examples if not is_test(about)]
    return Document(page.key, "\n".join([page.about, *kept]), page.title, f"{PAGE_URL}/{page.key}")


def is_test(description: str) -> bool:
    """Whether a description is held out."""
    return in_share(description.lower(), TEST_SHARE)


def split(pages: list[CommandPage]) -> tuple[list[Query], dict[str, list[Qrel]]]:
    """Return one query a description, relevant to each page that has it."""
    queries: dict[str, Query] = {}
    qrels: dict[str, dict[Qrel, None]] = {"train": {}, "test": {}}
    for page in pages:
        for about, _ in page.examples:
            name = "test" if is_test(about) else "train"
            key = name[0] + hashlib.sha256(about.encode()).hexdigest()[:12]
            queries[key] = Query(key, about)
            qrels[name][Qrel(key, page.key)] = None
    return list(queries.values()), {name: list(judged) for name, judged in qrels.items()}


if __name__ == "__main__":
    run(main)
