"""One thread owns the model: queries of several requests wait in one queue and go in together.

Knows no HTTP and no documents. What waits is bounded, what is late is left out, and a query that
fails takes no other with it. Snippets are made in threads of their own, from texts that were read
in the model's thread: they belong to the version that answered, and a long text delays no other
query.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf
from time import monotonic
from typing import Any, TypeVar

from genir.errors import InputError
from genir.memory import give_back
from genir.records import Hit, Selection
from genir.serving.metrics import Metrics
from genir.serving.served import Matched, Served
from genir.serving.settings import Settings
from genir.serving.texts import TextThreads

TIDY = 10.0
"""Seconds between two times that freed memory is given back."""

log = logging.getLogger("genir.serving")
T = TypeVar("T")
ModelState = tuple[int, int]
"""Which model answers (counted from 0 as they are swapped in), and the version of its documents."""


class Busy(Exception):
    """Too much waits already: come back in a moment."""


class Closed(Exception):
    """The server is leaving."""


@dataclass(frozen=True)
class Ask:
    """A query and what is wanted of its answer."""

    text: str
    k: int = 10
    selection: Selection | None = None
    beams: int | None = None
    exact: bool | None = None

    @property
    def name(self) -> Hashable:
        """Return what equal questions share."""
        selection = None if self.selection is None else self.selection.name
        return self.text, self.k, selection, self.beams, self.exact


@dataclass(frozen=True)
class Found:
    """The hits of one query, and the state of what answered."""

    hits: list[Hit]
    state: ModelState


@dataclass(eq=False)
class _Waiting:
    """A query in the queue. deadline: by the monotonic clock."""

    ask: Ask
    future: "asyncio.Future[Found]"
    deadline: float
    owner: object  # shared by the queries of one request
    since: float = field(default_factory=monotonic)


@dataclass(eq=False)
class _Task:
    """Something else to ask the model, alone."""

    run: Callable[[Served], Any]
    future: "Future[Any]"


class Worker:
    """The queue, and the thread that answers it."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        idle: Callable[[Served], object] | None = None,
    ) -> None:
        """Make the queue. idle: called in the thread now and then, to look for changes."""
        self._settings, self._metrics, self._idle = settings, metrics, idle
        self._size = settings.max_batch if settings.batching else 1
        self._wait = settings.max_wait_ms / 1000 if settings.batching else 0.0
        self.texts = TextThreads()
        self._queue: deque[_Waiting | _Task] = deque()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._served: Served | None = None
        self._generation = -1
        self._last = 0  # queries in the batch before
        self._next_look = inf
        self._next_tidy = monotonic() + TIDY
        self._closed = False

    @property
    def served(self) -> Served | None:
        """Return what answers, if anything does yet. Only the thread may ask it to search."""
        return self._served

    @property
    def alive(self) -> bool:
        """Return whether the thread runs, or will start with the first query."""
        return self._thread is None or self._thread.is_alive()

    @property
    def state(self) -> ModelState:
        """Return which model answers, and the version of its documents."""
        with self._change:
            return self._state()

    def _state(self) -> ModelState:
        return self._generation, self._served.version if self._served is not None else 0

    @property
    def waiting(self) -> int:
        """Return how much waits: for the model, or for its snippets."""
        return len(self._queue) + self.texts.waiting

    def install(self, served: Served) -> Served | None:
        """Answer with another model from the next batch on; return the one before."""
        with self._change:
            before, self._served = self._served, served
            self._generation += 1
        return before

    def retire(self, served: Served) -> None:
        """Close a model that was replaced, after the batch and the filters that still read it."""
        with suppress(Busy, Closed):
            self.do(lambda _: self.texts.filter(served.close), bounded=False)

    async def prepare(self, wanted: Sequence[Selection]) -> None:
        """Compile filters beside the model's thread. Raises Busy.

        An error is left to the search: it raises the same one, for the queries it belongs to.
        """

        def compile_filters(served: Served) -> None:
            with suppress(InputError):
                served.prepare(wanted)

        await self.beside(compile_filters)

    async def beside(self, question: Callable[[Served], T]) -> T:
        """Return the answer to a question about documents, asked beside the model's thread.

        Raises Busy, and Closed without a model.
        """
        if self.waiting >= self._settings.queue:
            raise Busy

        def ask() -> T:
            served = self._served
            if served is None:
                raise Closed
            return question(served)

        return await asyncio.wrap_future(self.texts.filter(ask))

    def watch(self) -> None:
        """Begin to look for changes now and then."""
        with self._change:
            self._next_look = monotonic()
            self._start()
            self._change.notify()

    # --- asking --------------------------------------------------------------------------------

    def ask(self, asks: Sequence[Ask], deadline: float) -> list["asyncio.Future[Found]"]:
        """Queue queries; return their answers to come. Raises Busy, and Closed."""
        loop = asyncio.get_running_loop()
        owner = object()
        items = [_Waiting(ask, loop.create_future(), deadline, owner) for ask in asks]
        with self._change:
            if self._closed:
                raise Closed
            # A lone request may fill the queue, however many queries it brings.
            if self.waiting and self.waiting + len(items) > self._settings.queue:
                raise Busy
            self._queue.extend(items)
            self._start()
            self._change.notify()
        return [item.future for item in items]

    def do(self, run: Callable[[Served], T], bounded: bool = True) -> "Future[T]":
        """Queue something else; a call that is cancelled before its turn is left out.

        Raises Busy, if bounded, and Closed.
        """
        task = _Task(run, Future())
        with self._change:
            if self._closed:
                raise Closed
            if bounded and self.waiting >= self._settings.queue:
                raise Busy
            self._queue.append(task)
            self._start()
            self._change.notify()
        return task.future

    def close(self) -> None:
        """Take no more; drop what waits, and wait for what is being answered."""
        with self._change:
            self._closed = True
            dropped, self._queue = list(self._queue), deque()
            self._change.notify_all()
        for item in dropped:
            if isinstance(item, _Task):
                item.future.cancel()
            else:
                _deliver(item, Closed())
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self.texts.close()

    # --- the thread ----------------------------------------------------------------------------

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="genir-model", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (batch := self._take()) is not None:
            served, state = self._now()
            if served is None:  # still loading: look again later, or this thread would spin
                self._next_look = monotonic() + self._settings.poll_ms / 1000
                continue
            try:
                if isinstance(batch, _Task):
                    _run(batch, served)
                else:
                    self._answer(batch, served, state)
                self._look(served)
            except Exception as error:  # this thread answers everybody: it goes on
                log.exception("the model's thread met an error")
                for item in batch if isinstance(batch, list) else ():
                    _deliver(item, error)

    def _now(self) -> tuple[Served | None, ModelState]:
        with self._change:
            return self._served, self._state()

    def _take(self) -> list[_Waiting] | _Task | None:
        """Wait for something to do: queries for one batch, or one task, or none (look around)."""
        with self._change:
            while not self._queue:
                if self._closed:
                    return None
                pause = self._next_look - monotonic()
                if pause <= 0:
                    return []
                self._change.wait(None if pause == inf else pause)
            first = self._queue.popleft()
            if isinstance(first, _Task):
                return first
            self._queue.appendleft(first)
            self._gather()
            batch: list[_Waiting] = []
            while self._queue and len(batch) < self._size:
                head = self._queue[0]
                if isinstance(head, _Task):
                    break
                batch.append(head)
                self._queue.popleft()
            self._last = len(batch)
            return batch

    def _gather(self) -> None:
        """Wait a little for more queries; not for one that comes alone, as the last did."""
        until = monotonic() + (self._wait if self._last > 1 else 0.0)
        while len(self._queue) < self._size and not self._closed:
            pause = until - monotonic()
            if pause <= 0:
                break
            self._change.wait(pause)

    def _look(self, served: Served) -> None:
        if monotonic() >= self._next_tidy:
            give_back()  # batches of ever other shapes leave holes behind
            self._next_tidy = monotonic() + TIDY
        if self._idle is not None and monotonic() >= self._next_look:
            self._next_look = monotonic() + self._settings.poll_ms / 1000  # also where it fails
            self._idle(served)

    def _answer(self, items: Sequence[_Waiting], served: Served, state: ModelState) -> None:
        now = monotonic()
        groups: dict[Hashable, list[_Waiting]] = {}
        for item in items:
            if item.future.done():
                continue
            if item.deadline <= now:  # whoever asked knows
                self._metrics.late.inc()
                continue
            self._metrics.waited.observe(now - item.since)
            groups.setdefault(_group(item.ask, served), []).append(item)
        for group in groups.values():
            self._metrics.batch.observe(len(group))
            for item, matched in _outcomes(group, served):
                if isinstance(matched, BaseException):
                    _deliver(item, matched)
                else:
                    self.texts.show(partial(self._show, item, matched, state), item.owner)

    def _show(self, item: _Waiting, matched: Matched, state: ModelState) -> None:
        """Make the snippets of an answer and deliver it; in a thread for texts."""
        if item.future.done():
            return
        if item.deadline <= monotonic():
            self._metrics.late.inc()
            return
        try:
            _deliver(item, Found(matched.hits(), state))
        except Exception as error:
            _deliver(item, error)


Outcome = tuple[_Waiting, Matched | BaseException]


def _group(ask: Ask, served: Served) -> Hashable:
    """Return what queries must share to be answered together as they would be alone."""
    exact = ask.exact or (ask.exact is None and served.recipe.decoding.mode == "exact")
    closed = ask.selection is not None and ask.selection.closed
    return served.width(ask.k, ask.beams), ask.exact, ask.k if exact else None, closed


def _outcomes(items: Sequence[_Waiting], served: Served) -> list[Outcome]:
    try:
        found = served.match(
            [item.ask.text for item in items],
            [item.ask.k for item in items],
            [item.ask.selection for item in items],
            items[0].ask.beams,
            items[0].ask.exact,
        )
        return list(zip(items, found, strict=True))
    except Exception as error:
        if len(items) == 1:
            return [(items[0], error)]
    return [outcome for item in items for outcome in _outcomes([item], served)]


def _run(task: _Task, served: Served) -> None:
    if task.future.set_running_or_notify_cancel():
        try:
            task.future.set_result(task.run(served))
        except BaseException as error:
            task.future.set_exception(error)


def _deliver(item: _Waiting, answer: Found | BaseException) -> None:
    """Hand an answer, or an error, to the event loop that waits for it."""
    with suppress(RuntimeError):  # the loop is closed: nobody waits
        item.future.get_loop().call_soon_threadsafe(_settle, item.future, answer)


def _settle(future: "asyncio.Future[Found]", answer: Found | BaseException) -> None:
    if future.done():
        return
    if isinstance(answer, Found):
        future.set_result(answer)
    else:
        future.set_exception(answer)
