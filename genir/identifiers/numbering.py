"""Last symbols that tell apart documents whose symbols before it are the same."""

from collections.abc import Set

from genir.records import Identifier


class Numbering:
    """Hand out the next free last symbol, from 0, after each prefix.

    `taken` are identifiers given earlier; a prefix has room for `capacity` documents.
    """

    def __init__(self, capacity: int, taken: Set[Identifier]) -> None:
        self.capacity = capacity
        self.taken = taken
        self._next: dict[Identifier, int] = {}

    def take(self, prefix: Identifier) -> Identifier | None:
        """Return the prefix with its next free symbol, or None when the prefix is full."""
        symbol = self._next.get(prefix, 0)
        while symbol < self.capacity and (*prefix, symbol) in self.taken:
            symbol += 1
        self._next[prefix] = symbol + 1
        return (*prefix, symbol) if symbol < self.capacity else None
