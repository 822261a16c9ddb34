"""A daemon thread that runs the jobs of several callers in time slices.

Unlike a `ThreadPoolExecutor`, it does not delay the exit of the process when a job hangs.
"""

import threading
import time
from collections.abc import Callable, Generator, Hashable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from genir.serving.fair_queue import FairQueue

T = TypeVar("T")
Steps = Generator[None, None, T]
"""A job in short steps; the thread may switch to another job between two steps."""
TIME_SLICE_S = 0.002
"""Length of a time slice, in seconds."""


class ThreadStopped(Exception):
    """The thread is closed and accepts no more jobs."""


@dataclass(eq=False)
class _Job(Generic[T]):
    caller: Hashable
    steps: Steps[T]
    future: "Future[T]"
    cost: float = 1.0
    begun: bool = False


class FairThread:
    """A daemon thread with a fair queue of jobs."""

    def __init__(self, name: str, busy: Callable[[], bool] = lambda: False) -> None:
        """Create the thread, which starts with the first job.

        While `busy()` is true, the thread sleeps after each slice for as long as the slice took, so
        that the model's thread gets the interpreter lock.
        """
        self._name, self._busy = name, busy
        self._queue: FairQueue[_Job[Any]] = FairQueue()
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = self._dropped = False
        self._running = 0

    @property
    def waiting(self) -> int:
        """Number of jobs queued or running."""
        return len(self._queue) + self._running

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def submit(self, work: Callable[[], T], caller: Hashable = None) -> "Future[T]":
        """Queue a function as a job of one step. Raises ThreadStopped."""

        def once() -> Steps[T]:
            yield from ()
            return work()

        return self.run(once(), caller)

    def run(self, steps: Steps[T], caller: Hashable = None, cost: float = 1.0) -> "Future[T]":
        """Queue a job; return the future of its result. Raises ThreadStopped.

        `cost` is the amount of work in any unit, for fair queuing among callers.
        """
        job = _Job(caller, steps, Future[T](), cost)
        with self._change:
            if self._closed:
                raise ThreadStopped
            self._queue.put(caller, job, cost)
            if not self.alive:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            self._change.notify()
        return job.future

    def close(self, timeout: float = 0.0) -> bool:
        """Refuse new jobs, wait `timeout` seconds for queued ones, and cancel the rest.

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
                unfinished = _slice(job, begun + TIME_SLICE_S)
            finally:
                with self._change:
                    self._running = 0
            if unfinished:
                self._put_back(job)
            del job
            if self._busy():
                time.sleep(min(time.perf_counter() - begun, 2 * TIME_SLICE_S))

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
                self._queue.put(job.caller, job, job.cost)  # behind the caller's other jobs
                return
        _drop(job)


def _drop(job: _Job[Any]) -> None:
    if not job.future.cancel():
        with suppress(InvalidStateError):  # it has ended
            job.future.set_exception(ThreadStopped())


def _slice(job: _Job[Any], until: float) -> bool:
    """Run steps of a job until the time is up; return whether steps are left."""
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
