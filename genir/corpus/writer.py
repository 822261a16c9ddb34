"""Atomic writing of corpus folders."""

import json
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from genir.arguments import as_path, is_listable
from genir.atomic_dirs import new_folder, require_absent
from genir.corpus.json_lines import shorten
from genir.corpus.layout import RECOGNISED_FILES, find_file, is_about
from genir.corpus.serialization import document_of, query_of, record_from
from genir.corpus.tsv import HEADER, judgements
from genir.errors import InputError
from genir.outputs import check_folder
from genir.types import Document, Qrel, Query

SPLIT_NAME = re.compile(r"[\w-][\w.-]*")
QRELS_NAME = re.compile(r"^[^.].*[.]tsv([.]gz)?$")
"""Names of files of judgements."""


def write_corpus(
    folder: str | Path,
    documents: Iterable[Document | Mapping[str, Any]],
    queries: Iterable[Query] = (),
    qrels: Mapping[str, Iterable[Qrel]] | None = None,
    card: str = "",
    overwrite: bool = False,
) -> None:
    """Write a corpus folder: documents, queries, one qrels file per split, `card` as README.md.

    Everything is written beside `folder`, flushed to the disk and moved, so that a crash leaves
    what was there. Documents may be dicts, as for `read_corpus`. A split without judgements has no
    file. In a corpus folder that is replaced, hidden entries and texts about the corpus, such as
    LICENSE, stay.

    Raises:
        InputError: an existing folder (unless `overwrite`, which replaces a corpus folder without
            other files only), what the readers would refuse, and qrels with unknown keys.
    """
    target = Path(os.path.abspath(as_path(folder, "folder")))
    check_target(target, overwrite)
    with new_folder(target, overwrite, keep=is_about) as part:
        keys = _write_lines(part / "corpus.jsonl", _documents(documents), "corpus")
        known = _write_lines(part / "queries.jsonl", _queries(queries), "queries")
        if not keys:
            raise InputError(f"{folder}: no documents to write; a corpus needs at least one")
        if not known:  # readers reject a file without queries
            (part / "queries.jsonl").unlink()
        (part / "qrels").mkdir()
        for split, judged in _splits(qrels):
            _write_qrels(part / "qrels", split, judged, (known, keys))
        if card:
            _write_text(part / "README.md", [card])


def check_target(folder: Path, overwrite: bool) -> None:
    """Raise InputError unless the path is free or a corpus folder that may be overwritten."""
    require_absent(folder, overwrite)
    check_folder(folder)
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not find_file(folder, ["corpus.jsonl"]):
        raise InputError(f"{folder}: exists and is not a corpus folder; choose another name")
    others = [path for path in folder.iterdir() if not (_is_own(path) or is_about(path.name))]
    others += [p for p in folder.glob("qrels/*") if not (p.is_file() and QRELS_NAME.search(p.name))]
    if others:
        raise InputError(
            f"{min(others)}: would be removed with the corpus that is replaced; move it elsewhere, "
            "or choose another name"
        )


def _is_own(path: Path) -> bool:
    """Return whether an entry of a corpus folder has the name and type of one that is read."""
    return path.name in RECOGNISED_FILES and (
        path.is_dir() if path.name == "qrels" else path.is_file()
    )


def _documents(documents: Any) -> Iterator[Mapping[str, Any]]:
    one = isinstance(documents, Document | Mapping)
    for number, given in enumerate(_listed([documents] if one else documents, "documents"), 1):
        record = record_from(given, f"document {number}")
        document_of(record, f"document {number}")  # validate before writing
        yield record


def _queries(queries: Any) -> Iterator[Mapping[str, Any]]:
    for number, query in enumerate(_listed(queries, "queries"), 1):
        if not isinstance(query, Query):
            raise InputError(
                f"query {number}: {shorten(query)} is no Query; write Query(key, text)"
            )
        record = {"_id": query.key, "text": query.text}
        query_of(record, f"query {number}")
        yield record


def _listed(given: Any, name: str) -> Iterable[Any]:
    if isinstance(given, str | bytes | Mapping) or not is_listable(given):
        raise InputError(f"{name}: got {shorten(given)}; give a list")
    return given


def _splits(qrels: Any) -> Iterator[tuple[str, list[Any]]]:
    if not isinstance(qrels, Mapping | None):
        raise InputError(
            f"qrels: got {shorten(qrels)}; give judgements by the name of their split, for example "
            '{"train": [...]}'
        )
    for split, judged in (qrels or {}).items():
        if not isinstance(split, str) or not SPLIT_NAME.fullmatch(split):
            raise InputError(
                f"qrels: {shorten(split)} cannot name a split; use letters, digits, _ and -"
            )
        listed = list(_listed(judged, f"qrels {split}"))
        if listed:
            yield split, listed


def _write_lines(path: Path, records: Iterable[Mapping[str, Any]], kind: str) -> set[str]:
    keys: set[str] = set()

    def lines() -> Iterator[str]:
        for record in records:
            if record["_id"] in keys:
                raise InputError(f"{kind}: duplicate _id {record['_id']!r}; give each its own")
            keys.add(record["_id"])
            yield _dump(record, kind) + "\n"

    _write_text(path, lines())
    return keys


def _dump(record: Mapping[str, Any], kind: str) -> str:
    try:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError) as error:  # a UnicodeEncodeError is a ValueError
        raise InputError(f"{kind}: {record['_id']!r} cannot be written as JSON ({error})") from None
    return text


def _write_qrels(
    folder: Path, split: str, qrels: Iterable[Any], known: tuple[set[str], set[str]]
) -> None:
    lines = ["\t".join(HEADER)]
    for qrel in qrels:
        if not isinstance(qrel, Qrel):
            raise InputError(
                f"qrels {split}: {shorten(qrel)} is no Qrel; write Qrel(query, document, grade)"
            )
        for key, keys in zip((qrel.query, qrel.document), known, strict=True):
            if not isinstance(key, str) or key not in keys:
                raise InputError(f"qrels {split}: {shorten(key)} is unknown; write only known keys")
        lines.append(f"{qrel.query}\t{qrel.document}\t{qrel.grade}")
    # Validate before writing. Repeated equal judgements count once.
    deque(judgements(enumerate(lines, 1), f"qrels {split}"), maxlen=0)
    _write_text(folder / f"{split}.tsv", (f"{line}\n" for line in lines))


def _write_text(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(lines)
