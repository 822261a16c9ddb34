"""LRU cache with a limit in bytes, an estimate of the size of Python values, and text digests."""

import sys
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from hashlib import blake2b
from typing import Any, Generic, TypeVar

V = TypeVar("V")
MIB = 1 << 20
"""Bytes of a mebibyte."""
ENTRY_BYTES = 256
"""Estimated overhead of an entry: its key (a digest) and its place in the map, in bytes."""


class ByteCache(Generic[V]):
    """LRU cache whose entries take at most `limit` bytes. Not thread-safe.

    Keys should be short, for example digests (`digest_of`): their size is not measured. A value
    above the limit is not stored.

    Example:
        >>> cache = ByteCache[str](1000)
        >>> cache.put(b"a", "x", 700)
        >>> cache.put(b"b", "y", 700)
        >>> cache.get(b"a"), cache.get(b"b")
        (None, 'y')
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._entries: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._entries)

    def get(self, key: Hashable) -> V | None:
        """Return a value and mark it as most recently used; None if it is missing."""
        found = self._entries.get(key)
        if found is None:
            return None
        self._entries.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: V, size: int | None = None) -> None:
        """Store a value, and evict the least recently used ones to stay within the limit.

        Args:
            size: Bytes of the value; None measures it.
        """
        size = ENTRY_BYTES + (size_of(value) if size is None else size)
        self._drop(key)
        if size > self.limit:
            return
        self._entries[key] = (value, size)
        self.bytes += size
        while self.bytes > self.limit:
            self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        """Remove all values."""
        self._entries.clear()
        self.bytes = 0

    def _drop(self, key: Hashable) -> None:
        found = self._entries.pop(key, None)
        self.bytes -= found[1] if found else 0


def size_of(value: Any) -> int:
    """Return the bytes of a value including nested containers, dataclasses, models and arrays."""
    seen: set[int] = set()
    waiting, size = [value], 0
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        # An array view reports only its header to getsizeof; count the elements that it shows.
        size += max(sys.getsizeof(one), getattr(one, "nbytes", 0))
        waiting.extend(_parts(one))
    return size


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, str | bytes | int | float | None):
        return ()
    if isinstance(value, Mapping):
        return (part for pair in value.items() for part in pair)
    held = list(value) if isinstance(value, list | tuple | set | frozenset) else []
    slots = (name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()))
    held += [getattr(value, name) for name in slots if hasattr(value, name)]
    return [*held, getattr(value, "__dict__", None)]


def digest_of(text: str) -> bytes:
    """Return a 32-byte digest of a text; also of a text that UTF-8 cannot encode."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).digest()
