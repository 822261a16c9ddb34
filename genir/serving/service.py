"""The service behind the HTTP routes: a model with its queue, cache and writer."""

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar, cast
from weakref import WeakSet

from genir.byte_cache import MIB
from genir.config import Precision
from genir.corpus.lazy_hits import LazyHits
from genir.errors import FolderError, InputError
from genir.serving.batching import BatchScheduler
from genir.serving.bm25 import BM25Comparison, BM25Result, View, look_up_hits
from genir.serving.cache import AnswerCache
from genir.serving.jobs import (
    ModelState,
    Probabilities,
    SearchJob,
    SearchResult,
    current_caller,
)
from genir.serving.metrics import Metrics
from genir.serving.model_checks import ModelChecker, NoChecks
from genir.serving.protocols import Opener, SearchModel, UpdatableModel
from genir.serving.rendered_hits import render_all
from genir.serving.settings import Settings
from genir.serving.update_worker import UpdateWorker
from genir.types import Selection
from genir.updates.journal import FolderReplaced
from genir.updates.lock_timeout import waiting_until

T = TypeVar("T")
CLOSE_TIMEOUT_S = 2.0
"""Seconds that threads have to end after the last request."""
MAX_CARD_BYTES = 16 * MIB
"""Bytes of cached document facts and shares, which are dropped at the next change."""
log = logging.getLogger("genir.serving")


class NotReady(Exception):
    """The model is still loading."""


def open_folder(folder: Path, precision: Precision = "auto") -> SearchModel:
    """Load a model folder. A `precision` other than `auto` then applies to the whole process."""
    from genir.models.precision import describe, override
    from genir.retriever import Retriever  # imports torch, which would delay the server's start

    override(precision)
    retriever = Retriever.load(folder)
    asked = retriever.recipe.training.precision
    taken = describe(retriever.model.device.type, ("answering",), asked)
    _ = retriever.reranker  # load it before the first query
    log.info("loaded", extra={"model": folder.name, "precision": taken})
    return retriever


class Service:
    """Answers queries, applies changes, and tracks requests in flight."""

    def __init__(
        self,
        retriever: SearchModel | None = None,
        settings: Settings | None = None,
        metrics: Metrics | None = None,
        load_folder: Opener = open_folder,
        checker: ModelChecker | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.checker = checker or NoChecks()
        self.metrics = metrics or Metrics()
        self.draining = False  # readiness fails and connections are closed after a response
        self.is_stuck = False  # a thread still runs after `close`
        self.refuses = False  # new requests are refused
        self._requests: dict[asyncio.Task[Any], bool] = {}  # value: whether the body is complete
        self._given_up: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.last_request = monotonic()
        self._worker = BatchScheduler(self.settings, self.metrics, self._sync)
        self._writer = UpdateWorker(self._worker, load_folder, self.settings, self.checker)
        self._cache: AnswerCache[SearchResult] = AnswerCache(self.settings.cache * MIB)
        self._cards: AnswerCache[object] = AnswerCache(MAX_CARD_BYTES)
        self._comparison = BM25Comparison(self.settings.max_compared)
        if retriever is not None:
            self._writer.install(retriever)
        self._meter()

    def _meter(self) -> None:
        gauge, worker = self.metrics.gauge, self._worker
        gauge("genir_queue_queries", "Queries waiting.", lambda: worker.waiting)
        gauge("genir_queue_changes", "Changes waiting.", lambda: self._writer.waiting)
        gauge("genir_ready", "Whether the model is ready.", lambda: self.ready)
        gauge("genir_model_generation", "Models swapped in so far.", lambda: worker.state[0])
        gauge("genir_model_version", "Version of the documents.", lambda: worker.state[1])
        gauge("genir_documents_live", "Live documents.", self._live)
        gauge("genir_requests_in_flight", "Requests being answered.", lambda: self.in_flight)
        gauge("genir_cache_answers", "Answers cached.", lambda: len(self._cache))
        gauge("genir_cache_bytes", "Bytes of the cached answers.", lambda: self._cache.size)

    def _live(self) -> float:
        table = self.served.table if self.ready else None
        return 0 if table is None else len({*table.documents[table.live].tolist()})

    @property
    def in_flight(self) -> int:
        """Number of requests in flight."""
        return len(self._requests)

    def begin(self, request: "asyncio.Task[Any]") -> None:
        """Register a request by the task that answers it."""
        self._requests[request] = True
        self.last_request = monotonic()

    def note_body(self, request: "asyncio.Task[Any]", whole: bool) -> None:
        """Record whether the body of a request is complete."""
        self._requests[request] = whole

    def end(self, request: "asyncio.Task[Any]") -> None:
        """Unregister an answered request."""
        self._requests.pop(request, None)

    def abandon(self, unfinished: bool = False) -> None:
        """Cancel all requests, or only requests with an incomplete body; each at most once."""
        for request, whole in self._requests.items():
            if request not in self._given_up and not (unfinished and whole):
                self._given_up.add(request)
                request.cancel()

    # --- state ---------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether a model is loaded and its thread is alive."""
        return self._worker.served is not None and self._worker.alive

    @property
    def served(self) -> SearchModel:
        """The model, for reading its properties only. Raises NotReady before `load`."""
        served = self._worker.served
        if served is None:
            raise NotReady
        return served

    @property
    def state(self) -> ModelState:
        """Generation of the model and version of its documents."""
        return self._worker.state

    def load(self, loader: Callable[[], SearchModel]) -> "Future[None]":
        """Load the model in the writer's thread; the future raises the error if that fails."""

        def install() -> None:
            self._writer.install(loader())

        return self._writer.submit(install)

    def watch(self) -> None:
        """Start polling for changes of other processes."""
        self._worker.watch()

    def close(self) -> None:
        """Refuse new work, drop waiting work; sets `is_stuck` if a thread does not end in time."""
        until = monotonic() + CLOSE_TIMEOUT_S
        closing = (self._worker.close, self._writer.close, self._comparison.close)
        self.is_stuck = not all([close(max(0.0, until - monotonic())) for close in closing])

    def _sync(self, served: SearchModel) -> None:
        """Apply the changes of other processes, in the worker's thread."""
        try:
            with waiting_until(monotonic()):  # queries wait for this thread
                followed = served.sync(reload=False)
            if followed:
                log.info("applied changes of other processes", extra={"version": served.version})
        except FolderReplaced:
            self._writer.schedule_sync()
        except InputError as error:
            self.metrics.sync_failures.inc()
            log.error("the changes of other processes cannot be read: %s", error)

    # --- queries -------------------------------------------------------------------------------

    async def search(
        self, asks: Sequence[SearchJob], deadline: float, fresh: bool = False
    ) -> list[SearchResult]:
        """Return the answers to queries, from the cache (unless `fresh`) or from the model.

        `deadline` is in seconds of the monotonic clock.

        Raises:
            QueueFull: The queue is full.
            TimeoutError: The deadline has passed.
            NotReady: No model is loaded.
            InputError: A query or filter is invalid.
        """
        _ = self.served
        state = self._worker.state
        found = [None if fresh else self._cache.get(state, ask.name) for ask in asks]
        missing = [place for place, one in enumerate(found) if one is None]
        self.metrics.cache.labels("hit").inc(len(asks) - len(missing))
        self.metrics.cache.labels("miss").inc(len(missing))
        if missing:
            async with asyncio.timeout(max(0.0, deadline - monotonic())):
                wanted = [asks[place] for place in missing]
                held = await self._prepare(wanted)
                answers = await asyncio.gather(
                    *self._worker.submit_searches(wanted, deadline, held)
                )
            for place, answer in zip(missing, answers, strict=True):
                found[place] = answer
                if (
                    len(missing) <= self.settings.max_batch
                ):  # a larger request would evict all others
                    self._cache.put(answer.state, asks[place].name, answer)
        return [one for one in found if one is not None]

    async def _prepare(self, asks: Sequence[SearchJob]) -> list[object]:
        """Compile the filters outside the model's thread; return one mask per query."""
        wanted = {one.name: one for one in (ask.selection for ask in asks) if one is not None}
        held = {name: await self._worker.prepare(one) for name, one in wanted.items()}
        return [None if ask.selection is None else held[ask.selection.name] for ask in asks]

    async def ask(self, question: Callable[[SearchModel], T], deadline: float) -> T:
        """Run a function in the model's thread; return its result. Raises as `search` does."""
        _ = self.served
        return await self._worker.call(question, deadline)

    async def remember(
        self, name: Hashable, question: Callable[[SearchModel], T], deadline: float
    ) -> tuple[T, ModelState]:
        """Return a result of `ask`, cached until the next change, and the state it belongs to."""
        kept = self._cards.get(self._worker.state, name)
        if kept is not None:
            return cast(tuple[T, ModelState], kept)

        def asked(served: SearchModel) -> tuple[T, ModelState]:
            return question(served), self._worker.state

        answer = await self.ask(asked, deadline)
        self._cards.put(answer[1], name, answer)
        return answer

    async def look_up(
        self, name: Hashable, question: Callable[[SearchModel], T], deadline: float
    ) -> tuple[T, ModelState]:
        """Like `remember`, but run the function outside the model's thread.

        For functions of documents and their metadata, which may take long.
        """
        _ = self.served
        state = self._worker.state
        kept = self._cards.get(state, name)
        if kept is not None:
            return cast(tuple[T, ModelState], kept)
        async with asyncio.timeout(max(0.0, deadline - monotonic())):
            answer = await self._worker.concurrent_with(question), state
        self._cards.put(state, name, answer)
        return answer

    async def probabilities(
        self, asks: Sequence[SearchJob], found: Sequence[SearchResult], deadline: float
    ) -> list[Probabilities]:
        """Return the shares of each query's hits and the confidence in the first one.

        They are cached like answers, and None if the documents have changed since the search.
        """
        pairs = zip(asks, found, strict=True)
        return [await self._probabilities(*pair, deadline) for pair in pairs]

    async def _probabilities(
        self, ask: SearchJob, found: SearchResult, deadline: float
    ) -> Probabilities:
        keys = found.rendered.keys

        def question(served: SearchModel) -> Probabilities:
            if self._worker.state != found.state:
                return Probabilities()
            sure = served.confidence(ask.text, keys[0]) if keys else None
            return Probabilities(served.shares(ask.text, keys, ask.selection), sure)

        name = ("probabilities", ask.name, found.state)
        known, state = await self.remember(name, question, deadline)
        return known if state == found.state else Probabilities()

    async def compare(
        self, asks: Sequence[SearchJob], deadline: float, scope: Selection | None = None
    ) -> BM25Result:
        """Return BM25's hits over the same documents: all, or the documents of a scope.

        Builds the index first if there is none for these documents. The time for it is reported
        separately, since the times of the model do not include building it either.
        """

        def take_snapshot(served: SearchModel) -> View:
            return self._comparison.snapshot(
                served, self._worker.state, [ask.selection for ask in asks], scope
            )

        view = await self.ask(take_snapshot, deadline)
        async with asyncio.timeout(max(0.0, deadline - monotonic())):
            index_ms = await self._comparison.prepare(view)
            hits = await self._comparison.search(view, [(ask.text, ask.k) for ask in asks])

        def look_up(served: SearchModel) -> list[LazyHits]:
            return look_up_hits(served, [(ask.text, ask.selection) for ask in asks], hits)

        matches = await self.ask(look_up, deadline)

        async with asyncio.timeout(max(0.0, deadline - monotonic())):
            steps = render_all(matches)
            shown = await asyncio.wrap_future(self._worker.texts.run(steps, current_caller.get()))
        return BM25Result(shown, view.state[1], index_ms)

    # --- changes -------------------------------------------------------------------------------

    async def change(
        self, kind: str, work: Callable[[UpdatableModel], T], deadline: float
    ) -> tuple[T, int]:
        """Apply a change; return its result and the new version, which later queries see."""
        _ = self.served
        outcome = await self._writer.change(work, deadline)
        self.metrics.changes.labels(kind).inc()
        return outcome

    async def swap(self, folder: Path, deadline: float) -> None:
        """Replace the model by another folder's, without delaying queries.

        The folder is checked first. The check has its own time limit and extends the deadline.
        """
        _ = self.served
        began = monotonic()
        try:
            await self._writer.examine(folder)
        except FolderError as error:  # the requested folder is at fault, not the served one
            raise InputError(str(error)) from None
        deadline += monotonic() - began
        await self._writer.swap(folder, deadline)
        self.metrics.swaps.inc()
