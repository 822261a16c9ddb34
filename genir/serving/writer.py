"""Changes, one at a time, on a second copy of the model: the first goes on answering.

The copy is loaded at the first change. It writes to the journal of the model folder; what answers
then reads the change from there, as it reads those of other processes. What needs a whole new load
(a rollback, a compaction, another folder) is loaded here too, and swapped in when it is ready.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from genir.errors import InputError
from genir.living.journal import Moved
from genir.serving.batching import Busy, Closed, Worker
from genir.serving.served import Changed, Opener, Served
from genir.serving.settings import Settings

T = TypeVar("T")
RETRY = 5.0
"""Seconds after which a folder that could not be loaded is tried again."""
log = logging.getLogger("genir.serving")


class Late(Exception):
    """The deadline passed before the work was begun."""


class Writer:
    """The thread that changes, loads and swaps."""

    def __init__(self, worker: Worker, opener: Opener, settings: Settings) -> None:
        self._worker, self._opener, self._settings = worker, opener, settings
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="genir-writer")
        self._copy: Changed | None = None
        self._waiting = 0
        self._catching_up = threading.Event()
        self._resting = 0.0  # no folder is loaded before, by the monotonic clock

    @property
    def waiting(self) -> int:
        """Return how many changes wait or are being made."""
        return self._waiting

    # --- from the event loop -------------------------------------------------------------------

    async def change(self, work: Callable[[Changed], T], deadline: float) -> tuple[T, int]:
        """Make a change; return its outcome and the version once every query sees it.

        deadline: by the monotonic clock; what has begun by then is finished. Raises Busy, Closed
        and Late, and what the work raises.
        """
        return await self._run(lambda: self._change(work), deadline)

    async def swap(self, folder: Path, deadline: float) -> Served:
        """Load another model folder, and answer from it once it is ready."""
        return await self._run(lambda: self._swap(folder), deadline)

    async def _run(self, work: Callable[[], T], deadline: float) -> T:
        if self._waiting >= self._settings.write_queue:
            raise Busy

        def in_time() -> T:
            if monotonic() >= deadline:
                raise Late
            return work()

        future = self.submit(in_time)
        self._waiting += 1
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda done: _soon(loop, self._left))
        # Shielded: a client that goes away stops waiting, not the change.
        return await asyncio.shield(asyncio.wrap_future(future))

    def _left(self) -> None:
        self._waiting -= 1

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Run work in the thread. Raises Closed."""
        try:
            return self._thread.submit(work)
        except RuntimeError:
            raise Closed from None

    def follow_soon(self) -> None:
        """Load the folder anew in the thread, because others have changed it; once at a time."""
        if self._catching_up.is_set() or monotonic() < self._resting:
            return
        self._catching_up.set()

        def follow() -> None:
            self._catching_up.clear()
            try:
                self._follow()
            except InputError as error:
                self._resting = monotonic() + RETRY
                log.error("the folder cannot be loaded again: %s", error)

        with suppress(Closed):
            self.submit(follow)

    def close(self) -> None:
        """Finish what has begun; drop the rest."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._copy is not None:
            self._copy.close()

    # --- in the thread -------------------------------------------------------------------------

    def _change(self, work: Callable[[Changed], T]) -> tuple[T, int]:
        copy = self._own_copy()
        outcome = work(copy)
        self._follow()
        return outcome, copy.version

    def _own_copy(self) -> Changed:
        served = self._worker.served
        if served is None or served.folder is None:
            raise InputError("the model is in no folder yet; save it before changing documents")
        if self._copy is None:
            self._copy = self._opener(served.folder)
        assert self._copy is not None
        return self._copy

    def _follow(self) -> None:
        """See to it that what answers knows all that is written."""
        served = self._worker.served
        if served is None or served.folder is None:
            return
        try:
            with suppress(CancelledError):
                self._worker.do(lambda now: now.catch_up(reload=False), bounded=False).result()
        except Moved:
            self._install(self._opener(served.folder))

    def _swap(self, folder: Path) -> Served:
        fresh: Served = self._opener(folder)
        self._install(fresh)
        if self._copy is not None:
            self._copy.close()
            self._copy = None
        return fresh

    def _install(self, fresh: Served) -> None:
        before = self._worker.install(fresh)
        if before is not None:
            self._worker.retire(before)


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], Any]) -> None:
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call)
