"""A cache bounded by the bytes of what it keeps, and how they are measured."""

import sys
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from hashlib import blake2b
from typing import Any, Generic, TypeVar

V = TypeVar("V")
MIB = 1 << 20
ENTRY_BYTES = 256
"""What an entry takes besides its value: the digest that is its key, and its place in the map."""


class ByteCache(Generic[V]):
    """A least-recently-used map whose values take at most `limit` bytes; not thread-safe.

    Keys should be digests (`digest_of`): what they take is not measured. A value that is larger
    than the limit is not kept.

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
        """Return a value and mark it as used, or None."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: V, size: int | None = None) -> None:
        """Keep a value in the place of the least recently used ones.

        size: its bytes; default: measured.
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
        """Forget everything."""
        self._kept.clear()
        self.bytes = 0

    def _drop(self, key: Hashable) -> None:
        found = self._kept.pop(key, None)
        self.bytes -= found[1] if found else 0


def size_of(value: Any) -> int:
    """Return the bytes of a value and all it holds: containers, records, models, arrays."""
    seen: set[int] = set()
    waiting, size = [value], 0
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        # An array that does not own its memory is measured by its elements.
        size += max(sys.getsizeof(one), getattr(one, "nbytes", 0))
        waiting.extend(_held_by(one))
    return size


def _held_by(value: Any) -> Iterable[Any]:
    if isinstance(value, str | bytes | int | float | None):
        return ()
    if isinstance(value, Mapping):
        return (part for pair in value.items() for part in pair)
    held = list(value) if isinstance(value, list | tuple | set | frozenset) else []
    slots = (name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ()))
    held += [getattr(value, name) for name in slots if hasattr(value, name)]
    return [*held, getattr(value, "__dict__", None)]


def digest_of(text: str) -> bytes:
    """Return 32 bytes that stand for a text of any length; halves of characters count too."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).digest()
