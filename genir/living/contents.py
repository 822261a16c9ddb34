"""What a model folder is written from: all of a living collection, or what is left of it."""

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
"""Documents read together."""
VERSIONS = 1000
"""Lines of the table of versions that outlive a compaction, the last ones."""


@dataclass(frozen=True)
class Contents:
    """facts: int32 [documents], by name: what is known of each document beside its text.

    symbols: int64, the atomic identifiers whose rows are kept, in their new order.

    numbers: int64 [documents], the new number of each document, or -1 where it is left out.
    write_documents: makes the document store at a path.
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
    """Return everything as it is, deleted documents too. changes: those since the last folder."""

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
        _told(living, changes),
    )


def compacted(living: Living, changes: Sequence[Change]) -> Contents:
    """Return the live documents, numbered anew; atomic identifiers too. changes: as in `whole`.

    Raises InputError where none is left: a model folder needs one.
    """
    table = living.table
    alive = np.zeros(len(table.keys), dtype=bool)
    alive[table.documents[table.live]] = True
    if not alive.any():
        raise InputError("every document is deleted; add one before the model is compacted")
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
        _told(living, changes),
    )


def _told(living: Living, changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return the table of versions as the manifest holds it."""
    return [
        {name: value for name, value in asdict(one).items() if name != "kept"}
        for one in versions_of(living.manifest, changes)[-VERSIONS:]
    ]
