"""The identifiers of a table as a set, without a copy of them."""

from collections.abc import Iterable, Iterator, Set

import numpy as np

from genir.identifiers.table import PAD, IdentifierTable
from genir.records import Identifier


class Taken(Set[Identifier]):
    """The identifiers of a table as a set that is looked up in its rows; some documents' are free.

    free: numbers of the documents whose identifiers count as not taken.
    """

    def __init__(self, table: IdentifierTable, free: Iterable[int] = ()) -> None:
        self._table = table
        self._free = frozenset(free)

    def __contains__(self, identifier: object) -> bool:
        """Tell whether a document that is not free has the identifier."""
        assert isinstance(identifier, tuple)
        try:
            row = self._table.row_of(identifier)
        except KeyError:
            return False
        return int(self._table.documents[row]) not in self._free

    def __iter__(self) -> Iterator[Identifier]:
        """Yield every identifier that is taken."""
        taken = ~np.isin(self._table.documents, list(self._free))
        for symbols in self._table.symbols[taken].tolist():
            yield tuple(symbol for symbol in symbols if symbol != PAD)

    def __len__(self) -> int:
        """Return how many rows are taken."""
        return len(self._table) - int(np.isin(self._table.documents, list(self._free)).sum())
