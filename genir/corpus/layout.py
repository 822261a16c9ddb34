"""File names of a corpus folder: collection, queries, qrels; and files that are not read."""

import os
from collections.abc import Iterable
from pathlib import Path

from genir.atomic_dirs import is_enclosed
from genir.corpus.skipped_items import SkippedItems
from genir.errors import InputError

COLLECTION_FILES = ("corpus.jsonl", "collection.tsv", "msmarco-docs.tsv")
QUERY_FILES = ("queries.jsonl", "queries.tsv")
TRAIN_QRELS = ("qrels/train.tsv",)
RECOGNISED_FILES = {
    name + suffix for name in (*COLLECTION_FILES, *QUERY_FILES) for suffix in ("", ".gz")
} | {"qrels"}
"""Entries of a corpus folder that are read; others, e.g. README.md, are not."""
DOCUMENTATION_FILES = ("readme", "license", "licence", "notice", "copying", "changelog")


def find_file(folder: Path, names: Iterable[str]) -> Path | None:
    """Return the one of the named files that exists in a folder, plain or with the suffix .gz.

    Raises:
        InputError: Several of them exist, or one that is not a regular file inside the folder.
    """
    options = (folder / (name + suffix) for name in names for suffix in ("", ".gz"))
    found = [path for path in options if os.path.lexists(path)]
    for path in found:
        if not is_enclosed(path, folder):
            raise InputError(
                f"{path}: not a regular file inside the folder; put a copy of the file there"
            )
    if len(found) > 1:
        names = " and ".join(path.relative_to(folder).as_posix() for path in found)
        raise InputError(f"{folder}: holds {names}; keep one, or give the file itself")
    return found[0] if found else None


def train_files(corpus: Path) -> tuple[Path, Path] | None:
    """Return the train queries and qrels of a corpus folder, or None.

    Raises:
        InputError: There are qrels without queries, or several files of one kind.
    """
    if not corpus.is_dir():
        if find_file(corpus.parent, TRAIN_QRELS) is not None:
            notes = SkippedItems(str(corpus))
            notes.add("train queries beside the file are not read; give its folder as the corpus")
            notes.report()
        return None
    folder = corpus / "qrels"
    if os.path.lexists(folder) and not folder.exists():  # for example on a disk not mounted
        raise InputError(f"{folder}: a symbolic link to nothing; restore its target or remove it")
    queries, qrels = find_file(corpus, QUERY_FILES), find_file(corpus, TRAIN_QRELS)
    if qrels is None:
        _note_other_qrels(corpus)
        return None
    if queries is None:
        raise InputError(
            f"{qrels}: judgements without queries; put {' or '.join(QUERY_FILES)} into {corpus}, "
            "or give --queries and --qrels"
        )
    return queries, qrels


def _note_other_qrels(corpus: Path) -> None:
    notes = SkippedItems(str(corpus))
    names = [*corpus.glob("qrels*"), *corpus.glob("qrels/*")]
    for path in sorted(names):
        if path.is_file() and (path.parent == corpus or path.name.lower().startswith("train")):
            notes.add(
                "judgements under another name than qrels/train.tsv are not read",
                path.relative_to(corpus).as_posix(),
            )
    notes.report()


def is_about(name: str) -> bool:
    """Return whether an entry of a corpus folder is hidden, or a text about the corpus."""
    return name.lower().startswith((*DOCUMENTATION_FILES, "."))


def note_ignored_files(folder: Path, notes: SkippedItems) -> None:
    """Note the entries of a corpus folder that are not read."""
    for path in sorted(folder.iterdir()):
        if path.name not in RECOGNISED_FILES and not is_about(path.name):
            notes.add("beside the collection, other files and folders are not read", path.name)
