"""What is asked of the model, and how it waits in the queue. Knows no model and no HTTP."""

import asyncio
import json
from collections.abc import Callable, Hashable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from time import monotonic
from typing import Any

from genir.byte_cache import digest_of
from genir.records import Selection
from genir.serving.served import Served
from genir.serving.shown import Shown

ModelState = tuple[int, int]
"""Which model answers (counted from 0 as they are swapped in), and the version of its documents."""
BASE_COST = 256
"""Cost of a query besides its beams, in beams: of the encoder, and of what one beam takes."""
EXACT_COST = 4 * BASE_COST
"""Further cost of exact search."""
asking: ContextVar[Hashable] = ContextVar("asking", default=None)
"""Who sent the request that this task answers: the queue is shared fairly among callers."""


@dataclass(frozen=True)
class Ask:
    """A query and what is wanted of its answer."""

    text: str
    k: int = 10
    selection: Selection | None = None
    beams: int | None = None
    exact: bool | None = None

    @property
    def cost(self) -> float:
        """Return how much work the query is, about, in beams."""
        return BASE_COST + max(self.k, self.beams or 0) + EXACT_COST * bool(self.exact)

    @cached_property
    def name(self) -> bytes:
        """Return a digest that equal questions share."""
        selection = None if self.selection is None else self.selection.name.hex()
        return digest_of(json.dumps([self.text, self.k, selection, self.beams, self.exact]))


@dataclass(frozen=True)
class Found:
    """The answer to one query, and the state of what answered."""

    shown: Shown
    state: ModelState


@dataclass(eq=False)
class Waiting:
    """A query in the queue.

    deadline: by the monotonic clock. caller: who asks. heavy: whether the query is one of a large
    request. held: the mask of its filter, which is found for as long as it is held.
    """

    ask: Ask
    future: "asyncio.Future[Found]"
    deadline: float
    caller: Hashable = None
    heavy: bool = False
    held: object = None
    since: float = field(default_factory=monotonic)

    @property
    def cost(self) -> float:
        """Return the cost of the query."""
        return self.ask.cost

    @property
    def heavy_cost(self) -> float:
        """Return the cost, if the query is one of a large request."""
        return self.ask.cost if self.heavy else 0.0

    def is_wanted(self) -> bool:
        """Tell whether somebody still waits for the answer."""
        return not self.future.done() and monotonic() < self.deadline

    def deliver(self, answer: Found) -> None:
        """Hand the answer to the event loop that waits for it."""
        self._settle(self.future.set_result, answer)

    def fail(self, error: BaseException) -> None:
        """Hand an error to the event loop that waits for the answer."""
        self._settle(self.future.set_exception, error)

    def _settle(self, settle: Callable[[Any], None], outcome: Any) -> None:
        def settle_once() -> None:
            if not self.future.done():
                settle(outcome)

        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self.future.get_loop().call_soon_threadsafe(settle_once)


@dataclass(eq=False)
class Task:
    """Something else to ask the model, alone. given_up: whether nobody waits for it any more."""

    run: Callable[[Served], Any]
    future: "Future[Any]"
    caller: Hashable = None
    deadline: float = inf
    given_up: bool = False
    cost: float = BASE_COST

    def is_wanted(self) -> bool:
        """Tell whether somebody still waits for the answer."""
        return not (self.given_up or self.future.cancelled()) and monotonic() < self.deadline

    def fail(self, error: BaseException) -> None:
        """Give an error to whoever waits, unless the task has ended."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)
