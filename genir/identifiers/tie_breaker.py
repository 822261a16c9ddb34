"""Tie-breaking symbols for documents with the same identifier prefix."""

from collections.abc import Set

from genir.types import Identifier


class TieBreaker:
    """Assigns the next free last symbol, from 0, after each prefix.

    reserved: identifiers in use. capacity: maximum number of documents of a prefix.
    """

    def __init__(self, capacity: int, reserved: Set[Identifier]) -> None:
        self.capacity = capacity
        self.reserved = reserved
        self._next: dict[Identifier, int] = {}

    def next_symbol(self, prefix: Identifier) -> Identifier | None:
        """Return the prefix with its next free symbol, or None if it is full."""
        symbol = self._next.get(prefix, 0)
        while symbol < self.capacity and (*prefix, symbol) in self.reserved:
            symbol += 1
        self._next[prefix] = symbol + 1
        return (*prefix, symbol) if symbol < self.capacity else None
