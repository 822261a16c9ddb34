"""Answers that were given already, the last asked ones. Knows no model."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class AnswerCache(Generic[T]):
    """A map that forgets what was used longest ago, and everything once the state has changed.

    Every call names the state (of model and documents) that it belongs to: an answer that was made
    before a change is never given after it.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.hits = self.misses = 0
        self._state: Hashable = None
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def __len__(self) -> int:
        """Return how many answers are kept."""
        return len(self._kept)

    def get(self, state: Hashable, question: Hashable) -> T | None:
        """Return the answer to a question in this state, if it is kept."""
        self._follow(state)
        found = self._kept.get(question)
        if found is None:
            self.misses += 1
            return None
        self._kept.move_to_end(question)
        self.hits += 1
        return found

    def put(self, state: Hashable, question: Hashable, answer: T) -> None:
        """Keep an answer, unless it belongs to another state than the last one asked for."""
        if not self.size or state != self._state:
            return
        self._kept[question] = answer
        self._kept.move_to_end(question)
        if len(self._kept) > self.size:
            self._kept.popitem(last=False)

    def _follow(self, state: Hashable) -> None:
        if state != self._state:
            self._state = state
            self._kept.clear()
