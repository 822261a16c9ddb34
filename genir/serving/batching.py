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

from genir.errors import InputError
from genir.memory import give_back, is_out_of_memory
from genir.records import Selection
from genir.serving.asks import Ask, Found, ModelState, Task, Waiting, asking
from genir.serving.backlog import LIGHT_COST, Backlog, Busy, Closed, Item
from genir.serving.metrics import Metrics
from genir.serving.served import Matched, Served
from genir.serving.settings import Settings
from genir.serving.shown import Shown, show
from genir.serving.threads import FairThread, Steps, Stopped
from genir.stopping import Abandoned, stop_when

TIDY = 10.0
"""Seconds between two returns of freed memory to the system."""

__all__ = ["Ask", "Busy", "Closed", "Found", "ModelState", "Worker"]

log = logging.getLogger("genir.serving")
T = TypeVar("T")


class Worker:
    """The queue of queries and the thread that answers them."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        idle: Callable[[Served], object] | None = None,
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
        self._served: Served | None = None
        self._generation = -1
        self._next_tidy = monotonic() + TIDY

    @property
    def served(self) -> Served | None:
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

    def install(self, served: Served) -> Served | None:
        """Replace the model from the next batch on; return the previous one."""
        with self._lock:
            before, self._served = self._served, served
            self._generation += 1
        return before

    def retire(self, served: Served) -> None:
        """Close a replaced model after the batch and the filters that still use it."""
        with suppress(Closed, Stopped):
            self.do(lambda _: self._filters.submit(served.close))

    async def prepare(self, wanted: Selection) -> object:
        """Compile a filter outside the model's thread; keep the result referenced until the search.

        Errors in the filter are left to the search, which raises them for the affected queries.
        Raises Busy and Closed.
        """
        served = self._served
        held = None if served is None else served.prepared(wanted)
        if served is None or held is not None:
            return held

        def compile_filter(served: Served) -> object:
            with suppress(InputError):
                return served.prepare(wanted)
            return None

        return await self.beside(compile_filter)

    async def beside(self, question: Callable[[Served], T]) -> T:
        """Run a function of the documents outside the model's thread; return its result.

        It is skipped if the caller has been cancelled. Raises Busy, and Closed without a model.
        """
        given_up = False

        def ask() -> T:
            served = self._served
            if served is None or given_up:
                raise Closed
            return question(served)

        self._backlog.refuse(1)
        try:
            return await asyncio.wrap_future(self._filters.submit(ask, asking.get()))
        except Stopped:
            raise Closed from None
        finally:
            given_up = True

    def watch(self) -> None:
        """Start polling for changes."""
        self._start()
        self._backlog.look_now()

    # --- queries -------------------------------------------------------------------------------

    def ask(
        self, asks: Sequence[Ask], deadline: float, held: Sequence[object] = ()
    ) -> list["asyncio.Future[Found]"]:
        """Queue queries; return the futures of their answers. Raises Busy and Closed.

        `held` are the masks of their filters, from `prepare`.
        """
        loop, caller = asyncio.get_running_loop(), asking.get()
        heavy = sum(ask.cost for ask in asks) > LIGHT_COST
        masks = held or [None] * len(asks)
        items = [
            Waiting(ask, loop.create_future(), deadline, caller, heavy, mask)
            for ask, mask in zip(asks, masks, strict=True)
        ]
        self._backlog.put(items)
        self._start()
        return [item.future for item in items]

    def do(self, run: Callable[[Served], T]) -> "Future[T]":
        """Queue an internal task, without a limit. Raises Closed."""
        task = Task(run, Future())
        self._backlog.put([task], bounded=False)
        self._start()
        return task.future

    async def call(self, run: Callable[[Served], T], deadline: float) -> T:
        """Run a function in the model's thread, which stops if the caller is cancelled.

        Raises Busy, Closed, and TimeoutError at the deadline.
        """
        task = Task(run, Future(), asking.get(), deadline)
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
                self._turn(batch)
            except Exception as error:  # keep the thread alive: it serves every caller
                log.exception("error in the model's thread")
                for item in batch:
                    item.fail(error)

    def _turn(self, batch: list[Item]) -> None:
        """Answer the next task or batch, stored in `batch`, and poll for changes."""
        first = self._backlog.next()
        with self._lock:
            served, generation = self._served, self._generation
        if served is None:  # still loading: poll later instead of spinning
            self._backlog.next_look = monotonic() + self._settings.poll_ms / 1000
            return
        if first is not None:
            batch.append(first)
            self._computing = True
            try:
                if isinstance(first, Task):
                    _run(first, served)
                else:
                    self._backlog.gather(first, batch, lambda one: _group(one.ask, served))
                    items = [item for item in batch if isinstance(item, Waiting)]
                    self._answer(items, served, (generation, served.version))
            finally:
                self._computing = False
            batch.clear()  # later errors do not belong to these queries
        self._look(served)

    def _look(self, served: Served) -> None:
        if monotonic() >= self._next_tidy:
            give_back()  # varying batch shapes fragment the heap
            self._next_tidy = monotonic() + TIDY
        if self._idle is not None and monotonic() >= self._backlog.next_look:
            # Set before the call, since `_idle` may raise.
            self._backlog.next_look = monotonic() + self._settings.poll_ms / 1000
            self._idle(served)

    def _answer(self, items: Sequence[Waiting], served: Served, state: ModelState) -> None:
        now, begun = monotonic(), thread_time()
        self._metrics.batch.observe(len(items))
        for item in items:
            self._metrics.waited.observe(now - item.since)
        for item, matched in _outcomes(items, served):
            if isinstance(matched, BaseException):
                item.fail(matched)
            else:
                self._show(item, matched, state)
        self._backlog.note_pace(thread_time() - begun, sum(item.cost for item in items))

    def _show(self, item: Waiting, matched: Matched, state: ModelState) -> None:
        """Create the snippets of an answer in their thread, then deliver the answer."""

        def finished(future: "Future[Shown]") -> None:
            self._backlog.note_pending(item.caller, -item.ask.k)
            error = Closed() if future.cancelled() else future.exception()
            if isinstance(error, Abandoned):
                self._backlog.leave_out(item)
            elif error is not None:
                item.fail(error)
            else:
                item.deliver(Found(future.result(), state))

        self._backlog.note_pending(item.caller, item.ask.k)
        try:
            showing = self.texts.run(_while_wanted(item, matched), item.caller, item.ask.k)
        except Stopped:
            showing = Future()
            showing.cancel()
        showing.add_done_callback(finished)


def _while_wanted(item: Waiting, matched: Matched) -> Steps[Shown]:
    """Create an answer's snippets; raise Abandoned once its client has left."""
    steps = show(matched)
    while True:
        if not item.is_wanted():
            raise Abandoned
        try:
            next(steps)
        except StopIteration as end:
            shown: Shown = end.value
            return shown
        yield


Outcome = tuple[Waiting, Matched | BaseException]


def _group(ask: Ask, served: Served) -> Hashable:
    """Return the batch group: queries of one group have the same hits batched and one by one."""
    exact = ask.exact or (ask.exact is None and served.recipe.decoding.mode == "exact")
    closed = ask.selection is not None and ask.selection.closed
    return served.width(ask.k, ask.beams), ask.exact, ask.k if exact else None, closed


def _outcomes(items: Sequence[Waiting], served: Served) -> list[Outcome]:
    """Answer queries in one batch, or one by one if that fails; none if all clients have left."""
    try:
        with stop_when(lambda: not any(item.is_wanted() for item in items)):
            found = served.match(
                [item.ask.text for item in items],
                [item.ask.k for item in items],
                [item.ask.selection for item in items],
                items[0].ask.beams,
                items[0].ask.exact,
            )
        return list(zip(items, found, strict=True))
    except Abandoned:
        return []
    except Exception as error:
        if len(items) == 1:
            return [(items[0], _known(error))]
    return [outcome for item in items for outcome in _outcomes([item], served)]


def _run(task: Task, served: Served) -> None:
    if not task.future.set_running_or_notify_cancel():
        return
    try:
        with stop_when(lambda: not task.is_wanted()):
            result = task.run(served)
        task.future.set_result(result)
    except Abandoned:
        task.future.set_exception(TimeoutError())
    except BaseException as error:
        task.future.set_exception(_known(error))


def _known(error: BaseException) -> BaseException:
    """Convert an out-of-memory error of NumPy or torch to MemoryError."""
    return MemoryError(str(error)) if is_out_of_memory(error) else error
