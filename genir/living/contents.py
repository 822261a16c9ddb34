"""Content of a model folder to write: a full or a compacted snapshot of an index."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.corpus.layers import LayeredStore
from genir.corpus.store import DocumentStore
from genir.errors import InputError
from genir.identifiers.base import Scheme
from genir.identifiers.table import IdentifierTable
from genir.living.changes import Change
from genir.living.collection import Living
from genir.living.versions import versions_of
from genir.models.guards import Guards
from genir.records import Document

CHUNK = 4096
"""Documents per read from the store."""
VERSIONS = 1000
"""Maximal lines of the version history that a folder keeps; the newest ones."""


@dataclass(frozen=True)
class Contents:
    """Snapshot of an index.

    Attributes:
        write_documents: Writes the document store to a path.
        facts: Attributes of each document by name, int32 [documents].
        symbols: Atomic identifiers whose rows are kept, in their new order, int64.
        numbers: New number of each document, int64 [documents]; -1 if dropped.
        versions: Version history as stored in the manifest.
    """

    scheme: Scheme
    table: IdentifierTable
    write_documents: Callable[[Path], object]
    facts: dict[str, NDArray[np.int32]]
    guards: Guards | None
    symbols: NDArray[np.int64]
    numbers: NDArray[np.int64]
    versions: list[dict[str, Any]]


def whole(living: Living, changes: Sequence[Change]) -> Contents:
    """Return all documents, including deleted ones. changes: all since the folder was written."""

    def write_documents(path: Path) -> None:
        if isinstance(living.documents, LayeredStore):
            DocumentStore.create(path, living.documents).close()
        else:
            shutil.copyfile(living.documents.path, path)

    return Contents(
        living.scheme,
        living.table,
        write_documents,
        {"counts": living.query_counts, "born": living.born},
        living.guards,
        np.arange(living.scheme.level_sizes()[0]),
        np.arange(len(living.table.keys)),
        _history(living, changes),
    )


def compacted(living: Living, changes: Sequence[Change]) -> Contents:
    """Return the live documents, with numbers and atomic identifiers renumbered densely.

    Raises:
        InputError: no document is live.
    """
    table = living.table
    alive = np.zeros(len(table.keys), dtype=bool)
    alive[table.documents[table.live]] = True
    if not alive.any():
        raise InputError("compact: every document is deleted; add one first")
    kept = np.flatnonzero(alive)
    numbers = np.where(alive, alive.cumsum() - 1, -1)
    rows = np.flatnonzero(alive[table.documents])
    symbols, scheme = table.symbols[rows], living.scheme
    old = symbols[:, 0].astype(np.int64)
    if living.model.makes_rows:
        symbols = np.arange(len(rows), dtype=np.int32)[:, None]
        scheme = type(scheme)(scheme.options, scheme.tokenizer)
        scheme.admit([(len(rows) - 1,)])

    def documents() -> Iterator[Document]:
        for start in range(0, len(kept), CHUNK):
            found = living.documents.numbered(kept[start : start + CHUNK].tolist())
            yield from (found[number] for number in sorted(found))

    keys = [table.keys[number] for number in kept.tolist()]
    return Contents(
        scheme,
        IdentifierTable.from_arrays(symbols, numbers[table.documents[rows]], keys),
        lambda path: DocumentStore.create(path, documents()).close(),
        {"counts": living.query_counts[kept], "born": living.born[kept]},
        None if living.guards is None else living.guards.renumber(numbers),
        old,
        numbers,
        _history(living, changes),
    )


def _history(living: Living, changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return the newest `VERSIONS` lines of the version history as stored in the manifest."""
    return [
        {name: value for name, value in asdict(one).items() if name != "kept"}
        for one in versions_of(living.manifest, changes)[-VERSIONS:]
    ]
