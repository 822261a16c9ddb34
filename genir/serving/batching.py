"""The thread that owns the model: it batches the queries of several requests.

Queries are dropped or stopped when their client leaves, and an error in one query does not affect
the rest of its batch. Snippets and filters are computed in separate threads, from texts that were
read in the model's thread, so that they belong to the version that answered.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from math import inf
from time import monotonic, thread_time
from typing import TypeVar

from genir.cancellation import Cancelled, cancel_when
from genir.errors import InputError
from genir.process_memory import is_out_of_memory, trim_malloc
from genir.serving.backlog import LIGHT_COST, Backlog, Item, QueueFull, ShuttingDown
from genir.serving.fair_thread import FairThread, Steps, ThreadStopped
from genir.serving.jobs import (
    ModelState,
    PendingSearch,
    SearchJob,
    SearchResult,
    Task,
    current_caller,
)
from genir.serving.metrics import Metrics
from genir.serving.protocols import Matched, SearchModel
from genir.serving.rendered_hits import RenderedHits, render
from genir.serving.settings import Settings
from genir.types import Selection

TRIM_EVERY_S = 10.0
"""Seconds between two returns of freed memory to the system."""

__all__ = ["BatchScheduler", "ModelState", "QueueFull", "SearchJob", "SearchResult", "ShuttingDown"]

log = logging.getLogger("genir.serving")
T = TypeVar("T")


class BatchScheduler:
    """The queue of queries and the thread that answers them."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        idle: Callable[[SearchModel], object] | None = None,
    ) -> None:
        """Create the queue. `idle` is called in the thread every `--poll-ms` to find changes."""
        self._settings, self._metrics, self._idle = settings, metrics, idle
        self._computing = False
        self.texts = FairThread("genir-snippet", busy=lambda: self._computing)
        # One thread, so that a document store is closed after its last use.
        self._filters = FairThread("genir-filter", busy=lambda: self._computing)
        self._backlog = Backlog(
            settings, metrics, lambda: self.texts.waiting + self._filters.waiting
        )
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._served: SearchModel | None = None
        self._generation = -1
        self._next_tidy = monotonic() + TRIM_EVERY_S

    @property
    def served(self) -> SearchModel | None:
        """The model, or None while it loads. Only the worker's thread may search with it."""
        return self._served

    @property
    def alive(self) -> bool:
        """Whether the thread runs, or will start with the first query."""
        return self._thread is None or self._thread.is_alive()

    @property
    def state(self) -> ModelState:
        """Generation of the model and version of its documents."""
        with self._lock:
            return self._generation, self._served.version if self._served is not None else 0

    @property
    def waiting(self) -> int:
        """Number of items that wait for the model, for snippets or for filters."""
        return self._backlog.waiting

    def install(self, served: SearchModel) -> SearchModel | None:
        """Replace the model from the next batch on; return the previous one."""
        with self._lock:
            before, self._served = self._served, served
            self._generation += 1
        return before

    def retire(self, served: SearchModel) -> None:
        """Close a replaced model after the batch and the filters that still use it."""
        with suppress(ShuttingDown, ThreadStopped):
            self.submit(lambda _: self._filters.submit(served.close))

    async def prepare(self, wanted: Selection) -> object:
        """Compile a filter outside the model's thread; keep the result referenced until the search.

        Errors in the filter are left to the search, which raises them for the affected queries.
        Raises QueueFull and ShuttingDown.
        """
        served = self._served
        held = None if served is None else served.prepared(wanted)
        if served is None or held is not None:
            return held

        def compile_filter(served: SearchModel) -> object:
            with suppress(InputError):
                return served.prepare(wanted)
            return None

        return await self.concurrent_with(compile_filter)

    async def concurrent_with(self, question: Callable[[SearchModel], T]) -> T:
        """Run a function of the documents outside the model's thread; return its result.

        It is skipped if the caller has been cancelled. Raises QueueFull, and ShuttingDown without a
        model.
        """
        given_up = False

        def ask() -> T:
            served = self._served
            if served is None or given_up:
                raise ShuttingDown
            return question(served)

        self._backlog.require_room(1)
        try:
            return await asyncio.wrap_future(self._filters.submit(ask, current_caller.get()))
        except ThreadStopped:
            raise ShuttingDown from None
        finally:
            given_up = True

    def watch(self) -> None:
        """Start polling for changes."""
        self._start()
        self._backlog.sync_now()

    # --- queries -------------------------------------------------------------------------------

    def submit_searches(
        self, asks: Sequence[SearchJob], deadline: float, held: Sequence[object] = ()
    ) -> list["asyncio.Future[SearchResult]"]:
        """Queue queries; return the futures of their answers. Raises QueueFull and ShuttingDown.

        `held` are the masks of their filters, from `prepare`.
        """
        loop, caller = asyncio.get_running_loop(), current_caller.get()
        heavy = sum(ask.cost for ask in asks) > LIGHT_COST
        masks = held or [None] * len(asks)
        items = [
            PendingSearch(ask, loop.create_future(), deadline, caller, heavy, mask)
            for ask, mask in zip(asks, masks, strict=True)
        ]
        self._backlog.put(items)
        self._start()
        return [item.future for item in items]

    def submit(self, run: Callable[[SearchModel], T]) -> "Future[T]":
        """Queue an internal task, without a limit. Raises ShuttingDown."""
        task = Task(run, Future())
        self._backlog.put([task], bounded=False)
        self._start()
        return task.future

    async def call(self, run: Callable[[SearchModel], T], deadline: float) -> T:
        """Run a function in the model's thread, which stops if the caller is cancelled.

        Raises QueueFull, ShuttingDown, and TimeoutError at the deadline.
        """
        task = Task(run, Future(), current_caller.get(), deadline)
        self._backlog.put([task])
        self._start()
        try:
            async with asyncio.timeout(max(0.0, deadline - monotonic())):
                result: T = await asyncio.wrap_future(task.future)
                return result
        finally:
            task.given_up = True

    def close(self, timeout: float | None = None) -> bool:
        """Refuse new work, drop waiting work, and wait at most `timeout` seconds for running work.

        Returns whether the threads have ended.
        """
        until = inf if timeout is None else monotonic() + timeout
        self._backlog.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(None if timeout is None else timeout)
        ended = [own.close(until - monotonic()) for own in (self.texts, self._filters)]
        return all(ended) and (self._thread is None or not self._thread.is_alive())

    # --- the thread ----------------------------------------------------------------------------

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="genir-model", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while not self._backlog.closed:
            batch: list[Item] = []
            try:
                self._run_batch(batch)
            except Exception as error:  # keep the thread alive: it serves every caller
                log.exception("error in the model's thread")
                for item in batch:
                    item.fail(error)

    def _run_batch(self, batch: list[Item]) -> None:
        """Answer the next task or batch, stored in `batch`, and poll for changes."""
        first = self._backlog.next()
        with self._lock:
            served, generation = self._served, self._generation
        if served is None:  # still loading: poll later instead of spinning
            self._backlog.next_sync = monotonic() + self._settings.poll_ms / 1000
            return
        if first is not None:
            batch.append(first)
            self._computing = True
            try:
                if isinstance(first, Task):
                    _run(first, served)
                else:
                    self._backlog.gather(first, batch, lambda one: _group(one.job, served))
                    items = [item for item in batch if isinstance(item, PendingSearch)]
                    self._answer(items, served, (generation, served.version))
            finally:
                self._computing = False
            batch.clear()  # later errors do not belong to these queries
        self._sync(served)

    def _sync(self, served: SearchModel) -> None:
        if monotonic() >= self._next_tidy:
            trim_malloc()  # varying batch shapes fragment the heap
            self._next_tidy = monotonic() + TRIM_EVERY_S
        if self._idle is not None and monotonic() >= self._backlog.next_sync:
            # Set before the call, since `_idle` may raise.
            self._backlog.next_sync = monotonic() + self._settings.poll_ms / 1000
            self._idle(served)

    def _answer(
        self, items: Sequence[PendingSearch], served: SearchModel, state: ModelState
    ) -> None:
        now, begun = monotonic(), thread_time()
        self._metrics.batch.observe(len(items))
        for item in items:
            self._metrics.waited.observe(now - item.since)
        for item, matched in _outcomes(items, served):
            if isinstance(matched, BaseException):
                item.fail(matched)
            else:
                self._show(item, matched, state)
        self._backlog.record_rate(thread_time() - begun, sum(item.cost for item in items))

    def _show(self, item: PendingSearch, matched: Matched, state: ModelState) -> None:
        """Create the snippets of an answer in their thread, then deliver the answer."""

        def finished(future: "Future[RenderedHits]") -> None:
            self._backlog.record_pending(item.caller, -item.job.k)
            error = ShuttingDown() if future.cancelled() else future.exception()
            if isinstance(error, Cancelled):
                self._backlog.skip(item)
            elif error is not None:
                item.fail(error)
            else:
                item.deliver(SearchResult(future.result(), state))

        self._backlog.record_pending(item.caller, item.job.k)
        try:
            showing = self.texts.run(_while_wanted(item, matched), item.caller, item.job.k)
        except ThreadStopped:
            showing = Future()
            showing.cancel()
        showing.add_done_callback(finished)


def _while_wanted(item: PendingSearch, matched: Matched) -> Steps[RenderedHits]:
    """Create an answer's snippets; raise `Cancelled` once its client has left."""
    steps = render(matched)
    while True:
        if not item.is_wanted():
            raise Cancelled
        try:
            next(steps)
        except StopIteration as end:
            shown: RenderedHits = end.value
            return shown
        yield


Outcome = tuple[PendingSearch, Matched | BaseException]


def _group(ask: SearchJob, served: SearchModel) -> Hashable:
    """Return the batch group: queries of one group have the same hits batched and one by one."""
    exact = ask.exact or (ask.exact is None and served.capabilities.proves_by_default)
    closed = ask.selection is not None and ask.selection.excluded
    return served.beam_width(ask.k, ask.beams), ask.exact, ask.k if exact else None, closed


def _outcomes(items: Sequence[PendingSearch], served: SearchModel) -> list[Outcome]:
    """Answer queries in one batch, or one by one if that fails; none if all clients have left."""
    try:
        with cancel_when(lambda: not any(item.is_wanted() for item in items)):
            found = served.match(
                [item.job.text for item in items],
                [item.job.k for item in items],
                [item.job.selection for item in items],
                items[0].job.beams,
                items[0].job.exact,
            )
        return list(zip(items, found, strict=True))
    except Cancelled:
        return []
    except Exception as error:
        if len(items) == 1:
            return [(items[0], _known(error))]
    return [outcome for item in items for outcome in _outcomes([item], served)]


def _run(task: Task, served: SearchModel) -> None:
    if not task.future.set_running_or_notify_cancel():
        return
    try:
        with cancel_when(lambda: not task.is_wanted()):
            result = task.run(served)
        task.future.set_result(result)
    except Cancelled:
        task.future.set_exception(TimeoutError())
    except BaseException as error:
        task.future.set_exception(_known(error))


def _known(error: BaseException) -> BaseException:
    """Convert an out-of-memory error of NumPy or torch to MemoryError."""
    return MemoryError(str(error)) if is_out_of_memory(error) else error
