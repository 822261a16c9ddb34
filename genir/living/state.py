"""In-memory state of an index, and the application of changes to it.

A change builds a new table and trie, a layer over the document store and, for atomic identifiers,
parameter rows. A deletion only updates the live mask.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.corpus.layers import LayeredStore
from genir.corpus.store import DocumentStore
from genir.decoding.ranker import Ranker
from genir.identifiers.base import Scheme
from genir.living.changes import Change, Outcome, Put, Shape
from genir.living.entries import as_row
from genir.living.journal import Moved
from genir.models.guards import Guards


class State(Ranker):
    """Searchable index over documents that change.

    Attributes:
        query_counts: Number of training queries per document, int32 [documents].
        born: Version that added each document, int32 [documents]; 0 for the first training.
        guards: Protected queries of the documents; None without them.
    """

    scheme: Scheme
    documents: DocumentStore
    query_counts: NDArray[np.int32]
    born: NDArray[np.int32]
    guards: Guards | None = None
    manifest: dict[str, Any]

    @property
    def unlearned(self) -> NDArray[np.bool_]:
        """Return the documents that the model was not trained on, bool [documents]."""
        learned: NDArray[np.bool_] = self.born > int(self.manifest.get("learned", 0))
        return learned

    @property
    def shape(self) -> Shape:
        """Return the bounds that entries must respect."""
        return Shape(self.scheme.level_sizes(), self.row_width)

    @property
    def row_width(self) -> int | None:
        """Return the columns of a document's parameter row; None if the model has no rows."""
        return self.model.row_width if self.model.makes_rows else None

    def fold(self, changes: Sequence[Change]) -> None:
        """Apply changes, oldest first. Raises Moved if the document store was replaced."""
        outcome = Outcome.of(changes)
        if outcome.puts:
            self.place(outcome.puts, outcome.born)
        for live in (True, False):
            keys = [key for key, alive in outcome.live.items() if alive is live]
            self.table.set_live(map(self.table.number, keys), live)

    def place(self, puts: Mapping[str, Put], born: Mapping[str, int]) -> None:
        """Insert or replace documents in memory, by key. born: the version that added each."""
        new = [key for key in puts if key not in self.table]
        places = {key: number for number, key in enumerate(new, len(self.table.keys))}
        numbers = {key: places.get(key, -1) for key in puts}
        numbers |= {key: self.table.number(key) for key in puts if key not in places}
        table = self.table.put({numbers[key]: put.identifiers for key, put in puts.items()}, new)
        rows: dict[int, NDArray[np.float32]] = {}
        if self.model.makes_rows:
            replaced = [numbers[key] for key in puts if key not in places]
            left = self.table.symbols[np.isin(self.table.documents, replaced), 0].tolist()
            new_rows = {key: as_row(put.row) for key, put in puts.items()}
            blank = np.zeros_like(next(iter(new_rows.values())).row)
            rows |= dict.fromkeys(left, blank)  # equal to a later load from disk
            rows |= {puts[key].identifiers[0][0]: own.row for key, own in new_rows.items()}
            self._guard({numbers[key]: own.asked for key, own in new_rows.items()})
        if not isinstance(self.documents, LayeredStore):
            layered = LayeredStore(self.documents.path)
            if layered.identity != self.documents.identity:
                raise Moved
            self.documents = layered
        self.documents.put({numbers[key]: put.document for key, put in puts.items()})
        self.scheme.admit([one for put in puts.values() for one in put.identifiers])
        self.model.follow(self.scheme, table, rows)
        self.follow(table)
        counts = {numbers[key]: put.queries for key, put in puts.items()}
        self.query_counts = _with(self.query_counts, counts, len(table.keys))
        self.born = _with(self.born, {numbers[key]: born[key] for key in puts}, len(table.keys))

    def _guard(self, asked: Mapping[int, NDArray[np.float16]]) -> None:
        """Add the query vectors given for documents, by number, to the protected queries."""
        guards = self.guards
        if guards is None and any(map(len, asked.values())):
            width = next(iter(asked.values())).shape[1]
            guards = Guards(np.zeros((0, width), np.float16), np.zeros(0, np.int32))
        self.guards = guards and guards.put(asked)


def _with(known: NDArray[np.int32], values: Mapping[int, int], length: int) -> NDArray[np.int32]:
    """Return `known` extended to `length` with zeros, with `values` assigned by index."""
    longer = np.zeros(length, dtype=np.int32)
    longer[: len(known)] = known
    longer[list(values)] = list(values.values())
    return longer
