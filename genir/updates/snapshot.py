"""Content of a model folder to write: a full or a compacted snapshot of an index."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.corpus.overlay import OverlayStore
from genir.corpus.store import DocumentStore
from genir.errors import InputError
from genir.identifiers.base import Scheme
from genir.identifiers.table import IdentifierTable
from genir.models.insertion import ProtectedQueries
from genir.types import Document
from genir.updates.changes import Change
from genir.updates.index import Index
from genir.updates.loaded_model import LoadedModel
from genir.updates.versions import versions_of

DOCUMENTS_PER_READ = 4096
"""Documents per read from the store."""
MAX_KEPT_VERSIONS = 1000
"""Maximum lines of the version history that a folder keeps; the newest ones."""


@dataclass(frozen=True)
class Snapshot:
    """Snapshot of an index.

    Attributes:
        write_documents: Writes the document store to a path.
        document_facts: Attributes of each document by name, int32 [documents].
        symbols: Atomic identifiers whose rows are kept, in their new order, int64.
        numbers: New number of each document, int64 [documents]; -1 if dropped.
        versions: Version history as stored in the manifest.
    """

    scheme: Scheme
    table: IdentifierTable
    write_documents: Callable[[Path], object]
    document_facts: dict[str, NDArray[np.int32]]
    protected_queries: ProtectedQueries | None
    symbols: NDArray[np.int64]
    numbers: NDArray[np.int64]
    versions: list[dict[str, Any]]


def full_snapshot(loaded: LoadedModel, changes: Sequence[Change]) -> Snapshot:
    """Return all documents, including deleted ones. changes: all since the folder was written."""
    index = loaded.index

    def write_documents(path: Path) -> None:
        if isinstance(index.documents, OverlayStore):
            DocumentStore.create(path, index.documents).close()
        else:
            shutil.copyfile(index.documents.path, path)

    return Snapshot(
        loaded.scheme,
        index.table,
        write_documents,
        {"counts": index.query_counts, "born": index.added_in_version},
        index.protected_queries,
        np.arange(loaded.scheme.level_sizes()[0]),
        np.arange(len(index.table.keys)),
        _history(index, changes),
    )


def compacted_snapshot(loaded: LoadedModel, changes: Sequence[Change]) -> Snapshot:
    """Return the live documents, with numbers and atomic identifiers renumbered densely.

    Raises:
        InputError: no document is live.
    """
    index, table, alive = loaded.index, loaded.table, loaded.index.alive
    if not alive.any():
        raise InputError("compact: every document is deleted; add one first")
    kept = np.flatnonzero(alive)
    numbers = np.where(alive, alive.cumsum() - 1, -1)
    rows = np.flatnonzero(alive[table.documents])
    symbols, scheme = table.symbols[rows], loaded.scheme
    spans = None if table.spans is None else table.spans[rows]
    old = symbols[:, 0].astype(np.int64)
    if loaded.model.has_document_rows:
        symbols = np.arange(len(rows), dtype=np.int32)[:, None]
        scheme = type(scheme)(scheme.options, scheme.tokenizer)
        scheme.mark_used([(len(rows) - 1,)])

    def documents() -> Iterator[Document]:
        for start in range(0, len(kept), DOCUMENTS_PER_READ):
            found = index.documents.numbered(kept[start : start + DOCUMENTS_PER_READ].tolist())
            yield from (found[number] for number in sorted(found))

    keys = [table.keys[number] for number in kept.tolist()]
    return Snapshot(
        scheme,
        IdentifierTable.from_arrays(symbols, numbers[table.documents[rows]], keys, spans),
        lambda path: DocumentStore.create(path, documents()).close(),
        {"counts": index.query_counts[kept], "born": index.added_in_version[kept]},
        None if index.protected_queries is None else index.protected_queries.renumber(numbers),
        old,
        numbers,
        _history(index, changes),
    )


def _history(index: Index, changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return the newest `MAX_KEPT_VERSIONS` lines of the version history as stored in the
    manifest."""
    return [
        {name: value for name, value in asdict(one).items() if name != "kept"}
        for one in versions_of(index.manifest, changes)[-MAX_KEPT_VERSIONS:]
    ]
