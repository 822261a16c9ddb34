"""SQuAD v1.1 -> corpus folder: paragraphs of Wikipedia, and the questions written about them."""

from genir.signals import guard

guard(__name__)  # the imports below take time

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from common import Downloads, Out, Overwrite, RemoteFile, card, in_share, run, show

from genir.corpus.writer import check_target, write_corpus
from genir.errors import InputError
from genir.text_files import read_text
from genir.types import Document, Qrel, Query

BASE = "https://rajpurkar.github.io/SQuAD-explorer/dataset"
FILES = ("train-v1.1.json", "dev-v1.1.json")
TEST_SHARE = 0.1
ABOUT = """
Paragraphs (key `<article>#p<number>`) and the questions that people wrote while looking at them:
{documents:,} documents, {train:,} train and {test:,} test queries. Both files of SQuAD v1.1 are
joined; a tenth of the questions, by the hash of their id, is `test`, the rest `train`, so that
test paragraphs have train questions too. BM25 is strong here, since questions repeat words of
their paragraph.
"""


def main(
    out: Out,
    source: Annotated[Path | None, typer.Option(help="a folder with both JSON files")] = None,
    downloads: Downloads = Path("downloads"),
    sha256: Annotated[str, typer.Option(help="checksums of train and dev, by a comma")] = "",
    overwrite: Overwrite = False,
) -> None:
    """Write the corpus folder of SQuAD v1.1."""
    check_target(out, overwrite)
    sums = sha256.split(",") if sha256 else ["", ""]
    if len(sums) != len(FILES):
        raise InputError(f"--sha256 {sha256!r}: give two, train and dev, separated by a comma")
    files = [
        RemoteFile(f"{BASE}/{name}").obtain(source / name if source else None, downloads, checksum)
        for name, checksum in zip(FILES, sums, strict=True)
    ]
    documents, questions = read(files)
    queries, qrels = split(questions)
    about = ABOUT.format(documents=len(documents), **{name: len(q) for name, q in qrels.items()})
    text = card("SQuAD v1.1", about, files, "CC BY-SA 4.0 (Rajpurkar et al. 2016)", BASE)
    write_corpus(out, show(documents, "writing"), queries, qrels, text, overwrite)


def read(files: list[Path]) -> tuple[list[Document], list[tuple[Query, str]]]:
    """Return the paragraphs, and each question with its paragraph's key."""
    documents, questions = [], []
    for article in (article for file in files for article in _articles(file)):
        for number, paragraph in enumerate(article["paragraphs"]):
            title = article["title"]
            key = f"{title}#p{number}"
            url = f"https://en.wikipedia.org/wiki/{quote(title)}#p{number}"
            documents.append(Document(key, paragraph["context"], title.replace("_", " "), url))
            questions += [(Query(q["id"], q["question"].strip()), key) for q in paragraph["qas"]]
    return documents, questions


def split(questions: list[tuple[Query, str]]) -> tuple[list[Query], dict[str, list[Qrel]]]:
    """Return the queries, and their judgements in two splits."""
    qrels: dict[str, list[Qrel]] = {"train": [], "test": []}
    for query, key in questions:
        qrels["test" if in_share(query.key, TEST_SHARE) else "train"].append(Qrel(query.key, key))
    return [query for query, _ in questions], qrels


def _articles(file: Path) -> Iterator[dict[str, Any]]:
    try:
        content = json.loads(read_text(file))
        yield from content["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: not a file of SQuAD v1.1 ({error!r}); fetch it again") from None


if __name__ == "__main__":
    run(main)
