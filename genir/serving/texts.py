"""Threads beside the model's: snippets are made in some of them, filters are compiled in another.

Knows no HTTP and no model.
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

SNIPPET_THREADS = 4
"""One slow text holds up a thread, not the answers that the other threads make."""

T = TypeVar("T")


class TextThreads:
    """Runs text work; `waiting` counts what is queued or running, so that callers can bound it."""

    def __init__(self) -> None:
        self._snippets = ThreadPoolExecutor(SNIPPET_THREADS, thread_name_prefix="genir-snippet")
        # One thread: what uses a document store comes before what closes it, in order.
        self._filters = ThreadPoolExecutor(1, thread_name_prefix="genir-filter")
        self._lock = threading.Lock()
        self._turns: dict[Hashable, deque[tuple[Callable[[], Any], Future[Any]]]] = {}
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Return how many jobs are queued or running."""
        return self._waiting

    def show(self, work: Callable[[], T], owner: Hashable = None) -> "Future[T]":
        """Make the snippets of an answer; requests (`owner`) take turns, an answer each.

        Raises RuntimeError after `close`.
        """
        future: Future[T] = Future()
        with self._lock:
            self._turns.setdefault(owner, deque()).append((work, future))
            self._waiting += 1
        future.add_done_callback(self._count_down)
        try:
            self._snippets.submit(self._next)
        except RuntimeError:
            future.cancel()
            raise
        return future

    def _next(self) -> None:
        """Run the next answer of the request whose turn it is."""
        with self._lock:
            owner, jobs = next(iter(self._turns.items()))
            work, future = jobs.popleft()
            del self._turns[owner]
            if jobs:
                self._turns[owner] = jobs  # behind all others
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

    def filter(self, work: Callable[[], T]) -> "Future[T]":
        """Read from a document store, or close it: one job after the other."""
        return self._submit(self._filters, work)

    def close(self) -> None:
        """Finish what is queued, then take no more."""
        self._snippets.shutdown(wait=True)
        self._filters.shutdown(wait=True)

    def _submit(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> "Future[T]":
        future = threads.submit(work)
        with self._lock:
            self._waiting += 1
        future.add_done_callback(self._count_down)
        return future

    def _count_down(self, _: "Future[T]") -> None:
        with self._lock:
            self._waiting -= 1
