"""LRU cache of answers that is cleared when the documents change."""

from collections.abc import Hashable
from typing import Generic, TypeVar

from genir.byte_cache import ByteCache, digest_of

T = TypeVar("T")


class AnswerCache(Generic[T]):
    """LRU cache of at most `limit` bytes for answers of one state of model and documents.

    Every call passes its state. A new state clears the cache, so that an answer from before a
    change is never returned after it. Keys are digests of the question's `repr`.
    """

    def __init__(self, limit: int) -> None:
        self.hits = 0
        self._state: Hashable = None
        self._kept: ByteCache[T] = ByteCache(limit)

    def __len__(self) -> int:
        """Return the number of cached answers."""
        return len(self._kept)

    @property
    def size(self) -> int:
        """Size of the cached answers in bytes."""
        return self._kept.bytes

    def get(self, state: Hashable, question: Hashable) -> T | None:
        """Return the cached answer to a question in this state, or None."""
        self._follow(state)
        found = self._kept.get(_digest(question))
        self.hits += found is not None
        return found

    def put(self, state: Hashable, question: Hashable, answer: T) -> None:
        """Cache an answer, unless its state is not the one of the last `get`."""
        if self._kept.limit and state == self._state:
            self._kept.put(_digest(question), answer)

    def _follow(self, state: Hashable) -> None:
        if state != self._state:
            self._state = state
            self._kept.clear()


def _digest(question: Hashable) -> bytes:
    return question if isinstance(question, bytes) else digest_of(repr(question))
