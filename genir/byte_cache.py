"""LRU cache with a limit in bytes, and the measurement of value sizes."""

import sys
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from hashlib import blake2b
from typing import Any, Generic, TypeVar

V = TypeVar("V")
MIB = 1 << 20
ENTRY_BYTES = 256
"""Bytes per entry besides its value: the digest that is its key, and the map's own."""


class ByteCache(Generic[V]):
    """LRU map whose values take at most `limit` bytes. Not thread-safe.

    Keys are not measured and should be digests (`digest_of`). A value above the limit is not
    stored.

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
        self._kept: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._kept)

    def get(self, key: Hashable) -> V | None:
        """Return a value and mark it as most recently used, or None."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
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
        self._kept[key] = (value, size)
        self.bytes += size
        while self.bytes > self.limit:
            self._drop(next(iter(self._kept)))

    def clear(self) -> None:
        """Remove all values."""
        self._kept.clear()
        self.bytes = 0

    def _drop(self, key: Hashable) -> None:
        found = self._kept.pop(key, None)
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
        # A view is measured by its elements.
        size += max(sys.getsizeof(one), getattr(one, "nbytes", 0))
        waiting.extend(_nested_size(one))
    return size


def _nested_size(value: Any) -> Iterable[Any]:
    if isinstance(value, str | bytes | int | float | None):
        return ()
    if isinstance(value, Mapping):
        return (part for pair in value.items() for part in pair)
    held = list(value) if isinstance(value, list | tuple | set | frozenset) else []
    slots = (name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()))
    held += [getattr(value, name) for name in slots if hasattr(value, name)]
    return [*held, getattr(value, "__dict__", None)]


def digest_of(text: str) -> bytes:
    """Return a 32-byte digest of a text; unpaired surrogates are allowed."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).digest()
