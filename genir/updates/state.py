"""In-memory state of an index, and the application of changes to it.

A change builds a new table and trie, a layer over the document store and, for atomic identifiers,
parameter rows. A deletion only updates the live mask.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.corpus.overlay import OverlayStore
from genir.corpus.store import DocumentStore
from genir.decoding.ranker import Ranker
from genir.identifiers.base import Scheme
from genir.models.encoder_head.protected_queries import ProtectedQueries
from genir.updates.changes import Change, NetChanges, Shape, Upsert
from genir.updates.journal import FolderReplaced
from genir.updates.planning import as_row


class IndexState(Ranker):
    """Searchable index over documents that change.

    Attributes:
        query_counts: Number of training queries per document, int32 [documents].
        added_in_version: Version that added each document, int32 [documents]; 0 for the first
        training.
        protected_queries: Protected queries of the documents; None without them.
    """

    scheme: Scheme
    documents: DocumentStore
    query_counts: NDArray[np.int32]
    added_in_version: NDArray[np.int32]
    protected_queries: ProtectedQueries | None = None
    manifest: dict[str, Any]

    @property
    def untrained(self) -> NDArray[np.bool_]:
        """Return the documents that the model was not trained on, bool [documents]."""
        learned: NDArray[np.bool_] = self.added_in_version > int(self.manifest.get("learned", 0))
        return learned

    @property
    def shape(self) -> Shape:
        """Return the bounds that entries must respect."""
        return Shape(self.scheme.level_sizes(), self.row_width)

    @property
    def row_width(self) -> int | None:
        """Return the columns of a document's parameter row; None if the model has no rows."""
        return self.model.row_width if self.model.has_document_rows else None

    def apply_changes(self, changes: Sequence[Change]) -> None:
        """Apply changes, oldest first. Raises Moved if the document store was replaced."""
        outcome = NetChanges.fold(changes)
        if outcome.upserts:
            self.upsert(outcome.upserts, outcome.added_in_version)
        for live in (True, False):
            keys = [key for key, alive in outcome.live.items() if alive is live]
            self.table.set_live(map(self.table.number, keys), live)

    def upsert(self, puts: Mapping[str, Upsert], added_in_version: Mapping[str, int]) -> None:
        """Insert or replace documents in memory, by key. added_in_version: the version that added
        each."""
        new = [key for key in puts if key not in self.table]
        places = {key: number for number, key in enumerate(new, len(self.table.keys))}
        numbers = {key: places.get(key, -1) for key in puts}
        numbers |= {key: self.table.number(key) for key in puts if key not in places}
        table = self.table.with_documents(
            {numbers[key]: put.identifiers for key, put in puts.items()}, new
        )
        rows: dict[int, NDArray[np.float32]] = {}
        if self.model.has_document_rows:
            replaced = [numbers[key] for key in puts if key not in places]
            left = self.table.symbols[np.isin(self.table.documents, replaced), 0].tolist()
            new_rows = {key: as_row(put.row) for key, put in puts.items()}
            blank = np.zeros_like(next(iter(new_rows.values())).row)
            rows |= dict.fromkeys(left, blank)  # equal to a later load from disk
            rows |= {puts[key].identifiers[0][0]: own.row for key, own in new_rows.items()}
            self._protect({numbers[key]: own.query_vectors for key, own in new_rows.items()})
        if not isinstance(self.documents, OverlayStore):
            layered = OverlayStore(self.documents.path)
            if layered.identity != self.documents.identity:
                raise FolderReplaced
            self.documents = layered
        self.documents.upsert({numbers[key]: put.document for key, put in puts.items()})
        self.scheme.mark_used([one for put in puts.values() for one in put.identifiers])
        self.model.update_table(self.scheme, table, rows)
        self.update_table(table)
        counts = {numbers[key]: put.queries for key, put in puts.items()}
        self.query_counts = _extend(self.query_counts, counts, len(table.keys))
        self.added_in_version = _extend(
            self.added_in_version,
            {numbers[key]: added_in_version[key] for key in puts},
            len(table.keys),
        )

    def _protect(self, asked: Mapping[int, NDArray[np.float16]]) -> None:
        """Add the query vectors given for documents, by number, to the protected queries."""
        guards = self.protected_queries
        if guards is None and any(map(len, asked.values())):
            width = next(iter(asked.values())).shape[1]
            guards = ProtectedQueries(np.zeros((0, width), np.float16), np.zeros(0, np.int32))
        self.protected_queries = guards and guards.with_queries(asked)


def _extend(known: NDArray[np.int32], values: Mapping[int, int], length: int) -> NDArray[np.int32]:
    """Return `known` extended to `length` with zeros, with `values` assigned by index."""
    longer = np.zeros(length, dtype=np.int32)
    longer[: len(known)] = known
    longer[list(values)] = list(values.values())
    return longer
