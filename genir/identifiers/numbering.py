"""Tie-breaking symbols for documents with the same identifier prefix."""

from collections.abc import Set

from genir.records import Identifier


class Numbering:
    """Assigns the next free last symbol, from 0, after each prefix.

    taken: identifiers in use. capacity: maximum number of documents of a prefix.
    """

    def __init__(self, capacity: int, taken: Set[Identifier]) -> None:
        self.capacity = capacity
        self.taken = taken
        self._next: dict[Identifier, int] = {}

    def take(self, prefix: Identifier) -> Identifier | None:
        """Return the prefix with its next free symbol, or None if it is full."""
        symbol = self._next.get(prefix, 0)
        while symbol < self.capacity and (*prefix, symbol) in self.taken:
            symbol += 1
        self._next[prefix] = symbol + 1
        return (*prefix, symbol) if symbol < self.capacity else None
