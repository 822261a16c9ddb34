"""Search jobs, their results, and queue items."""

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
from typing import Any, NamedTuple

from genir.byte_cache import digest_of
from genir.serving.protocols import SearchModel
from genir.serving.rendered_hits import RenderedHits
from genir.types import Selection
from genir.vector_query import VectorQuery

ModelState = tuple[int, int]
"""Generation of the model (0 for the first, +1 for each swap) and version of its documents."""
BASE_COST = 256
"""Fixed cost of a query, in beams: the encoder and the search itself."""
EXACT_COST = 4 * BASE_COST
"""Additional cost of exact search, in beams."""
current_caller: ContextVar[Hashable] = ContextVar("asking", default=None)
"""Caller of the current request, for fair queuing."""


@dataclass(frozen=True)
class SearchJob:
    """A query with its search parameters."""

    text: str
    k: int = 10
    selection: Selection | None = None
    beams: int | None = None
    exact: bool | None = None

    @property
    def cost(self) -> float:
        """Estimated cost of the query, in beams."""
        return BASE_COST + max(self.k, self.beams or 0) + EXACT_COST * bool(self.exact)

    @cached_property
    def name(self) -> bytes:
        """Digest of the query, its vector and its parameters."""
        selection = None if self.selection is None else self.selection.name.hex()
        vector = self.text.vector.tobytes().hex() if isinstance(self.text, VectorQuery) else None
        return digest_of(json.dumps([self.text, vector, self.k, selection, self.beams, self.exact]))


@dataclass(frozen=True)
class SearchResult:
    """The hits of one query and the state of the model that found them."""

    rendered: RenderedHits
    state: ModelState


class Probabilities(NamedTuple):
    """Shares of the hits of one query, and confidence in the first one; None where unknown."""

    shares: list[float] | None = None
    confidence: float | None = None


@dataclass(eq=False)
class PendingSearch:
    """A query in the queue.

    Attributes:
        job: The query.
        future: Receives the answer, in the event loop that created it.
        deadline: Time of the monotonic clock.
        caller: For fair queuing.
        heavy: Whether the query belongs to a large request.
        row_mask: Mask of its filter; the reference keeps it in the cache.
        since: Time of arrival on the monotonic clock.
    """

    job: SearchJob
    future: "asyncio.Future[SearchResult]"
    deadline: float
    caller: Hashable = None
    heavy: bool = False
    row_mask: object = None
    since: float = field(default_factory=monotonic)

    @property
    def cost(self) -> float:
        """Cost of the query, in beams."""
        return self.job.cost

    @property
    def heavy_cost(self) -> float:
        """Cost of the query if it belongs to a large request, else 0."""
        return self.job.cost if self.heavy else 0.0

    def is_wanted(self) -> bool:
        """Return whether the client still waits and the deadline has not passed."""
        return not self.future.done() and monotonic() < self.deadline

    def deliver(self, answer: SearchResult) -> None:
        """Set the result in the future's event loop."""
        self._settle(self.future.set_result, answer)

    def fail(self, error: BaseException) -> None:
        """Set an error in the future's event loop."""
        self._settle(self.future.set_exception, error)

    def _settle(self, settle: Callable[[Any], None], outcome: Any) -> None:
        def settle_once() -> None:
            if not self.future.done():
                settle(outcome)

        with suppress(RuntimeError):  # the loop is closed
            self.future.get_loop().call_soon_threadsafe(settle_once)


@dataclass(eq=False)
class Task:
    """A function to run in the model's thread. `given_up`: whether its caller was cancelled."""

    run: Callable[[SearchModel], Any]
    future: "Future[Any]"
    caller: Hashable = None
    deadline: float = inf
    given_up: bool = False
    cost: float = BASE_COST

    def is_wanted(self) -> bool:
        """Return whether the caller still waits and the deadline has not passed."""
        return not (self.given_up or self.future.cancelled()) and monotonic() < self.deadline

    def fail(self, error: BaseException) -> None:
        """Set an error, unless the task has ended."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)
