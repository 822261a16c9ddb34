"""Readers of collections, queries and qrels: detect the format of a path and validate each line."""

from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from genir.arguments import as_path, is_listable
from genir.corpus.json_lines import json_records, shorten
from genir.corpus.layout import COLLECTION_FILES, QUERY_FILES, find_file, note_ignored_files
from genir.corpus.page_folder import is_page, page_files, read_page, read_pages
from genir.corpus.serialization import document_of, has_url_links, query_of, record_from
from genir.corpus.skipped_items import SkippedItems
from genir.corpus.tsv import DOCUMENT_COLUMNS, QUERY_COLUMNS, judgements, tsv_records
from genir.corpus.vectors import with_vectors
from genir.errors import InputError
from genir.text_files import read_lines
from genir.types import Document, Qrel, Query

JSON_SUFFIXES = (".jsonl", ".ndjson")

Records = Iterable[tuple[int, Mapping[str, Any]]]
Columns = Mapping[int, tuple[str, ...]]
Item = TypeVar("Item", Document, Query)


def read_corpus(
    source: str | Path | Iterable[Mapping[str, Any] | Document],
    base_url: str = "",
    root: Path | None = None,
) -> Iterator[Document]:
    """Return the documents of a collection in any known format.

    Skipped or altered input is counted and logged as warnings after the source is read.

    Args:
        source: A corpus folder, a JSONL or MS MARCO file, a Markdown, HTML or text file or a
            folder of them, or rows: dicts, `Document`s or a `datasets.Dataset`.
        base_url: Prefix of the URLs of pages.
        root: Folder of pages that keys, URLs and links of a single page are relative to; by
            default the folder that holds it.

    Raises:
        InputError: Names file, line, value and fix, when the invalid line is reached.
    """
    if not isinstance(source, str | Path):
        if base_url:
            raise InputError("rows: a base URL is for a folder of pages; give documents a `url`")
        return _read_rows(source)
    path = as_path(source, "corpus")
    if root is not None and not is_page(path):
        raise InputError(f"{path}: a root is for a single page; leave it out")
    if is_page(path):
        notes = SkippedItems(str(path))
        found = read_page(path, root or path.parent, base_url, notes)
        return _documents(enumerate(found, 1), str(path), notes)
    if holds_pages(path):
        notes = SkippedItems(str(path))
        return _documents(enumerate(read_pages(path, base_url, notes), 1), str(path), notes)
    if base_url:
        raise InputError(f"{path}: a base URL is for a folder of pages; give documents a `url`")
    return _read_documents(path)


def holds_pages(path: Path) -> bool:
    """Return whether a path is a page or a folder of pages rather than a corpus.

    Raises:
        InputError: The path does not exist, or the folder has no documents or several collections.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; check the path")
    if is_page(path):
        return True
    if not path.is_dir() or find_file(path, COLLECTION_FILES) is not None:
        return False
    notes = SkippedItems(str(path))
    if page_files(path, notes):
        return True
    notes.report()
    raise InputError(
        f"{path}: no documents; put corpus.jsonl, collection.tsv or Markdown, HTML or text files "
        "into it"
    )


def _read_documents(path: Path) -> Iterator[Document]:
    notes = SkippedItems(str(path))
    file = path
    if path.is_dir():
        note_ignored_files(path, notes)
        file = find_file(path, COLLECTION_FILES) or path
    named = ((n, document_of(r, f"{file}:{n}")) for n, r in _records(file, DOCUMENT_COLUMNS, notes))
    return _documents(named, str(file), notes)


def _read_rows(rows: Iterable[Any]) -> Iterator[Document]:
    if isinstance(rows, Document) or (isinstance(rows, Mapping) and "_id" in rows):
        rows = [rows]
    if isinstance(rows, bytes) or not is_listable(rows):
        raise InputError(f"{shorten(rows)}: not a collection; give a path or a list of documents")
    name = type(rows).__name__
    named = (
        (n, document_of(record_from(r, f"{name} row {n}"), f"{name} row {n}"))
        for n, r in enumerate(rows, 1)
    )
    return _documents(named, f"{name} row", SkippedItems(name))


def _records(path: Path, columns: Columns, notes: SkippedItems) -> Records:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    if suffixes[-1:] == [".tsv"]:
        return tsv_records(read_lines(path), str(path), columns, notes)
    if suffixes and suffixes[-1] in JSON_SUFFIXES:
        return json_records(read_lines(path), str(path))
    raise InputError(f"{path}: not a format genir reads; give .jsonl, .tsv (or .gz) or a folder")


def _unique(
    items: Iterable[tuple[int, Item]], name: str, kind: str, seen: dict[str, int]
) -> Iterator[Item]:
    """Yield the items and record the line of each key in `seen`.

    Raises InputError if a key occurs twice (the message names both lines), or there is no item.
    """
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


def _documents(
    numbered: Iterable[tuple[int, Document]], name: str, notes: SkippedItems
) -> Iterator[Document]:
    """Yield unique documents; then log the notes, including links to unknown documents."""
    keys: dict[str, int] = {}
    targets: dict[str, str] = {}
    for document in _unique(numbered, name, "documents", keys):
        targets.update((link.target, document.key) for link in document.links)
        if has_url_links(document.metadata.get("links", ())):
            notes.add("addresses under `links` are metadata and no hyperlinks", document.key)
        yield document
    for target in sorted(targets.keys() - keys.keys()):
        notes.add(
            "targets of links are no documents of this source", f"{targets[target]} -> {target}"
        )
    notes.report()


def read_queries(path: str | Path) -> dict[str, Query]:
    """Return the queries of a JSONL or `qid<tab>text` file (or of a corpus folder) by key.

    Raises:
        InputError: Invalid line, duplicate key or empty file.
    """
    file = as_path(path, "queries")
    if file.is_dir():
        found = find_file(file, QUERY_FILES)
        if found is None:
            raise InputError(f"{file}: no queries.jsonl in the folder; give the file itself")
        file = found
    notes = SkippedItems(str(file))
    named = ((n, query_of(r, f"{file}:{n}")) for n, r in _queries(file, notes))
    queries = {query.key: query for query in _unique(named, str(file), "queries", {})}
    notes.report()
    return queries


def _queries(file: Path, notes: SkippedItems) -> Records:
    for number, record in _records(file, QUERY_COLUMNS, notes):
        for name, value in record.items():
            if name not in ("_id", "text") and value not in (None, "", {}, []):
                notes.add(f"the field {name!r} of queries is not read", f"line {number}")
        yield number, record


def read_qrels(
    path: str | Path, queries: Container[str] | None = None, documents: Container[str] | None = None
) -> list[Qrel]:
    """Return the judgements of a BEIR or TREC qrels file.

    Raises:
        InputError: Invalid line, or a key that is not in `queries` or `documents`, where given.
    """
    file = as_path(path, "qrels")
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
    queries: str | Path,
    qrels: str | Path,
    documents: Container[str],
    log_notes: bool = True,
    vectors: Path | None = None,
) -> dict[str, list[str]]:
    """Return the texts of the train queries by the key of each relevant document (grade > 0).

    Args:
        log_notes: Whether to log the number of judgements that give no train query.
        vectors: File of the queries' vectors; the texts are then `VectorQuery`s.

    Raises:
        InputError: Invalid files, or a key that is not in `documents`, the keys of the corpus.
    """
    known = read_queries(queries)
    judged = read_qrels(qrels, known, documents)
    known = with_vectors(known, vectors, (one.query for one in judged if one.grade > 0))
    texts: dict[str, list[str]] = {}
    notes = SkippedItems(str(qrels))
    for qrel in judged:
        if qrel.grade > 0:
            texts.setdefault(qrel.document, []).append(known[qrel.query].text)
        else:
            notes.add("judgements of grade 0 or less give no train query", qrel.query)
    if log_notes:
        notes.report()
    return texts
