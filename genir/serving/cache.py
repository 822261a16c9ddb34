"""Answers that were given already, the last asked ones. Knows no model."""

from collections.abc import Hashable
from typing import Generic, TypeVar

from genir.byte_cache import ByteCache, digest_of

T = TypeVar("T")


class AnswerCache(Generic[T]):
    """A map of so many bytes that forgets what was used longest ago, and everything once the state
    has changed.

    Every call names the state (of model and documents) that it belongs to: an answer that was made
    before a change is never given after it. Answers are measured; of questions, digests of their
    `repr` are kept.
    """

    def __init__(self, limit: int) -> None:
        self.hits = self.misses = 0
        self._state: Hashable = None
        self._kept: ByteCache[T] = ByteCache(limit)

    def __len__(self) -> int:
        """Return how many answers are kept."""
        return len(self._kept)

    @property
    def size(self) -> int:
        """Return the bytes that they take."""
        return self._kept.bytes

    def get(self, state: Hashable, question: Hashable) -> T | None:
        """Return the answer to a question in this state, if it is kept."""
        self._follow(state)
        found = self._kept.get(_digest(question))
        self.misses += found is None
        self.hits += found is not None
        return found

    def put(self, state: Hashable, question: Hashable, answer: T) -> None:
        """Keep an answer, unless it belongs to another state than the last one asked for."""
        if self._kept.limit and state == self._state:
            self._kept.put(_digest(question), answer)

    def _follow(self, state: Hashable) -> None:
        if state != self._state:
            self._state = state
            self._kept.clear()


def _digest(question: Hashable) -> bytes:
    return question if isinstance(question, bytes) else digest_of(repr(question))
