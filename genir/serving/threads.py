"""A daemon thread that works for several callers in turn, in slices of time.

Nothing waits for it at the end of the process: a job that hangs holds up neither the server's exit
nor Python's own, as a `ThreadPoolExecutor` would. Knows no HTTP and no model.
"""

import threading
import time
from collections.abc import Callable, Generator, Hashable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from genir.serving.turns import FairQueue

T = TypeVar("T")
Steps = Generator[None, None, T]
"""Work in short steps; between two of them, another caller's work may go on."""
SLICE_S = 0.002
"""Seconds after which it is another caller's turn."""


class Stopped(Exception):
    """The thread has been closed: it takes no more work."""


@dataclass(eq=False)
class _Job(Generic[T]):
    caller: Hashable
    steps: Steps[T]
    future: "Future[T]"
    cost: float = 1.0
    begun: bool = False


class FairThread:
    """One daemon thread; `waiting` counts the jobs that are queued or running."""

    def __init__(self, name: str, busy: Callable[[], bool] = lambda: False) -> None:
        """Make the thread. busy: whether another thread should have the interpreter's lock.

        After a slice, the thread rests as long as the slice took while it is busy: pure Python
        beside the model makes each of the model's operations wait for the lock.
        """
        self._name, self._busy = name, busy
        self._queue: FairQueue[_Job[Any]] = FairQueue()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = self._dropped = False
        self._running = 0

    @property
    def waiting(self) -> int:
        """Return how many jobs are queued or running."""
        return len(self._queue) + self._running

    @property
    def alive(self) -> bool:
        """Return whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def submit(self, work: Callable[[], T], caller: Hashable = None) -> "Future[T]":
        """Run work that has no steps. Raises Stopped."""

        def once() -> Steps[T]:
            yield from ()
            return work()

        return self.run(once(), caller)

    def run(self, steps: Steps[T], caller: Hashable = None, cost: float = 1.0) -> "Future[T]":
        """Run work step by step. Raises Stopped.

        cost: its share of the work: of callers who have had as little, the least goes first.
        """
        job = _Job(caller, steps, Future[T](), cost)
        with self._change:
            if self._closed:
                raise Stopped
            self._queue.put(caller, job, cost)
            if not self.alive:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            self._change.notify()
        return job.future

    def close(self, timeout: float = 0.0) -> bool:
        """Take no more; give what waits a time to end, in seconds, and drop the rest.

        Returns whether the thread has ended.
        """
        with self._change:
            self._closed = True
            self._change.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(min(max(0.0, timeout), threading.TIMEOUT_MAX))
        with self._change:
            self._dropped = True
            dropped = self._queue.drain()
        for job in dropped:
            _drop(job)
        return not self.alive

    # --- in the thread -------------------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._next()) is not None:
            begun = time.perf_counter()
            try:
                unfinished = _slice(job, begun + SLICE_S)
            finally:
                with self._change:
                    self._running = 0
            if unfinished:
                self._put_back(job)
            del job
            if self._busy():
                time.sleep(min(time.perf_counter() - begun, 2 * SLICE_S))

    def _next(self) -> _Job[Any] | None:
        with self._change:
            while not self._queue:
                if self._closed:
                    return None
                self._change.wait()
            self._running = 1
            return self._queue.take()

    def _put_back(self, job: _Job[Any]) -> None:
        with self._change:
            if not self._dropped:
                self._queue.put(job.caller, job, job.cost)  # behind the caller's own
                return
        _drop(job)


def _drop(job: _Job[Any]) -> None:
    if not job.future.cancel():
        with suppress(InvalidStateError):  # it has ended
            job.future.set_exception(Stopped())


def _slice(job: _Job[Any], until: float) -> bool:
    """Run some steps of a job; return whether there are more."""
    if not job.begun and not job.future.set_running_or_notify_cancel():
        return False
    job.begun = True
    try:
        next(job.steps)
        while time.perf_counter() < until:
            next(job.steps)
    except StopIteration as end:
        job.future.set_result(end.value)
        return False
    except BaseException as error:
        job.future.set_exception(error)
        return False
    return True
