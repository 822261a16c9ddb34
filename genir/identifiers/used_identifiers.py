"""View of a table's identifiers as a set, without a copy."""

from collections.abc import Iterable, Iterator, Set

import numpy as np

from genir.identifiers.table import PAD, IdentifierTable
from genir.types import Identifier


class UsedIdentifiers(Set[Identifier]):
    """Set of the identifiers in use, looked up in a table's rows.

    free: numbers of documents whose identifiers count as unused.
    """

    def __init__(self, table: IdentifierTable, free: Iterable[int] = ()) -> None:
        self._table = table
        self._free = frozenset(free)

    def __contains__(self, identifier: object) -> bool:
        """Return whether the identifier is in use."""
        assert isinstance(identifier, tuple)
        try:
            row = self._table.row_of(identifier)
        except KeyError:
            return False
        return int(self._table.documents[row]) not in self._free

    def __iter__(self) -> Iterator[Identifier]:
        """Yield every identifier in use."""
        taken = ~np.isin(self._table.documents, list(self._free))
        for symbols in self._table.symbols[taken].tolist():
            yield tuple(symbol for symbol in symbols if symbol != PAD)

    def __len__(self) -> int:
        """Return the number of rows in use."""
        return len(self._table) - int(np.isin(self._table.documents, list(self._free)).sum())
