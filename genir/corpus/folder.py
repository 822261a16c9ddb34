"""Reading collections: finds out which of the known formats a path holds, and checks each line."""

from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from genir.corpus.documents import document_of, query_of
from genir.corpus.lines import json_records, read_lines, shorten
from genir.corpus.pages import page_files, read_pages
from genir.corpus.tables import judgements, tsv_records
from genir.errors import InputError
from genir.records import Document, Qrel, Query

COLLECTIONS = ("corpus.jsonl", "collection.tsv", "msmarco-docs.tsv")
JSON_SUFFIXES = (".jsonl", ".ndjson")

Records = Iterable[tuple[int, Mapping[str, Any]]]
Item = TypeVar("Item", Document, Query)


def read_corpus(
    source: str | Path | Iterable[Mapping[str, Any]], base_url: str = ""
) -> Iterator[Document]:
    """Return the documents of a collection in any known format.

    `source`: a corpus folder, a JSONL or MS MARCO file, a folder of Markdown, HTML and text files
    (`base_url` opens their URLs), or the rows of a `datasets.Dataset`.
    Raises InputError that names file, line, value and the mend, as soon as a bad line is reached.
    """
    if not isinstance(source, str | Path):
        return _read_rows(source)
    path = Path(source)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    if not path.is_dir():
        return _read_documents(path)
    collection = find_file(path, COLLECTIONS)
    if collection is not None:
        return _read_documents(collection)
    if page_files(path):
        return read_pages(path, base_url)
    raise InputError(
        f"{path}: no documents; put corpus.jsonl, collection.tsv or Markdown, HTML or text files "
        "into it"
    )


def find_file(folder: Path, names: Iterable[str]) -> Path | None:
    """Return the first of the named files that a folder holds, plain or gzip."""
    options = (folder / (name + suffix) for name in names for suffix in ("", ".gz"))
    return next((path for path in options if path.is_file()), None)


def _read_documents(path: Path) -> Iterator[Document]:
    named = ((n, document_of(r, f"{path}:{n}")) for n, r in _records(path))
    return _unique(named, str(path), "documents")


def _read_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[Document]:
    name = type(rows).__name__
    named = ((n, document_of(_row(r, name, n), f"{name} row {n}")) for n, r in enumerate(rows, 1))
    return _unique(named, f"{name} row", "documents")


def _row(row: Any, name: str, number: int) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise InputError(
            f"{name} row {number}: {shorten(row)} is not a mapping; give one split, such as "
            "dataset['train'], with the columns _id, title and text"
        )
    return row


def _records(path: Path) -> Records:
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    if suffixes[-1:] == [".tsv"]:
        return tsv_records(read_lines(path), str(path))
    if suffixes and suffixes[-1] in JSON_SUFFIXES:
        return json_records(read_lines(path), str(path))
    raise InputError(f"{path}: not a format genir reads; give .jsonl, .tsv (or .gz) or a folder")


def _unique(items: Iterable[tuple[int, Item]], name: str, kind: str) -> Iterator[Item]:
    """Yield the items while no key comes twice. Raises InputError naming both lines."""
    seen: dict[str, int] = {}
    for number, item in items:
        first = seen.setdefault(item.key, number)
        if first != number:
            raise InputError(
                f"{name}:{number}: duplicate _id {item.key!r}, given before on line {first}; "
                "give each its own"
            )
        yield item
    if not seen:
        raise InputError(f"{name}: no {kind}; the file is empty")


def read_queries(path: str | Path) -> dict[str, Query]:
    """Return the queries of a JSONL or `qid<tab>text` file (or of a corpus folder) by key.

    Raises InputError for a bad line, a duplicate key and an empty file.
    """
    file = Path(path)
    if file.is_dir():
        found = find_file(file, ["queries.jsonl", "queries.tsv"])
        if found is None:
            raise InputError(f"{file}: no queries.jsonl in the folder; give the file itself")
        file = found
    named = ((n, query_of(r, f"{file}:{n}")) for n, r in _records(file))
    return {query.key: query for query in _unique(named, str(file), "queries")}


def read_qrels(
    path: str | Path,
    queries: Container[str] | None = None,
    documents: Container[str] | None = None,
) -> list[Qrel]:
    """Return the judgements of a BEIR or TREC qrels file.

    Raises InputError for a bad line and, where known keys are given, for an unknown one.
    """
    file = Path(path)
    qrels = []
    for number, qrel in judgements(read_lines(file), str(file)):
        for kind, key, known in (
            ("query", qrel.query, queries), ("document", qrel.document, documents)
        ):  # fmt: skip
            if known is not None and key not in known:
                raise InputError(
                    f"{file}:{number}: {kind} {key!r} is unknown; remove the line, or give the "
                    f"{'queries' if kind == 'query' else 'corpus'} that these qrels belong to"
                )
        qrels.append(qrel)
    return qrels


def read_train_queries(
    queries: str | Path, qrels: str | Path, documents: Container[str]
) -> dict[str, list[str]]:
    """Return the texts of the queries that each document answers (grade > 0), by document key.

    `documents` holds the keys of the corpus. Raises InputError for an unknown key.
    """
    known = read_queries(queries)
    texts: dict[str, list[str]] = {}
    for qrel in read_qrels(qrels, known, documents):
        if qrel.grade > 0:
            texts.setdefault(qrel.document, []).append(known[qrel.query].text)
    return texts
