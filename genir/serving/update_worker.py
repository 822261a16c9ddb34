"""The thread that changes documents, on a second copy of the model while the first one answers.

The copy is loaded at the first change and writes to the journal of the model folder. The answering
model then reads the change from the journal, like changes of other processes. After a rollback, a
compaction or a swap the model is loaded again here and replaced when it is ready. A folder that
this process has not written or loaded before is checked first (`model_checks`).
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from genir.errors import InputError
from genir.process_memory import trim_malloc
from genir.serving.batching import BatchScheduler, QueueFull, ShuttingDown
from genir.serving.fair_thread import FairThread, ThreadStopped
from genir.serving.model_checks import ModelChecker, NoChecks, identity
from genir.serving.protocols import Opener, SearchModel, UpdatableModel
from genir.serving.settings import Settings
from genir.updates.base_folder import folder_fingerprint
from genir.updates.journal import FolderReplaced
from genir.updates.lock_timeout import waiting_until

T = TypeVar("T")
RETRY_S = 5.0
"""Seconds until a folder that could not be loaded is loaded again."""
log = logging.getLogger("genir.serving")


class DeadlineExceeded(Exception):
    """The deadline passed before the work started."""


class UpdateWorker:
    """The thread that changes documents and loads models."""

    def __init__(
        self,
        worker: BatchScheduler,
        load_folder: Opener,
        settings: Settings,
        checker: ModelChecker | None = None,
    ) -> None:
        self._worker, self._load_folder, self._settings = worker, load_folder, settings
        self._checker = checker or NoChecks()
        self._examining = False
        self._known: tuple[int, ...] = ()  # stamp of the folder of the answering model
        self._bad: tuple[int, ...] = ()  # identity of a replaced folder that was rejected
        self._thread = FairThread("genir-writer")
        self._trials = FairThread("genir-trial")
        self._copy: UpdatableModel | None = None
        self._waiting = 0
        self._catching_up = threading.Event()
        self._resting = 0.0  # monotonic time before which no folder is loaded

    @property
    def waiting(self) -> int:
        """Number of changes that wait or run."""
        return self._waiting

    # --- from the event loop -------------------------------------------------------------------

    async def change(self, work: Callable[[UpdatableModel], T], deadline: float) -> tuple[T, int]:
        """Apply a change; return its result and the new version once every query sees it.

        `deadline` is in seconds of the monotonic clock. A change that has started by then is
        finished, but no longer waits for locks of other processes.

        Raises:
            QueueFull: Too many changes wait.
            ShuttingDown: The server is shutting down.
            DeadlineExceeded: The deadline passed before the change started.
        """
        return await self._run(lambda: self._change(work), deadline)

    async def swap(self, folder: Path, deadline: float) -> SearchModel:
        """Load another model folder and replace the model when it is ready."""
        return await self._run(lambda: self._swap(folder), deadline)

    async def examine(self, folder: Path) -> None:
        """Check a folder in a separate thread, in parallel to changes and searches.

        Raises:
            QueueFull: Another folder is being checked.
            ShuttingDown: The server is shutting down.
            InputError: The folder is rejected.
        """
        if self._examining:
            raise QueueFull
        self._examining = True
        try:
            await asyncio.wrap_future(self._trials.submit(lambda: self._checker(folder)))
        except ThreadStopped:
            raise ShuttingDown from None
        finally:
            self._examining = False

    async def _run(self, work: Callable[[], T], deadline: float) -> T:
        if self._waiting >= self._settings.write_queue:
            raise QueueFull

        def in_time() -> T:
            if monotonic() >= deadline:
                raise DeadlineExceeded
            try:
                with waiting_until(deadline):
                    return work()
            finally:
                trim_malloc()  # a change reads the whole model in blocks

        future = self.submit(in_time)
        self._waiting += 1
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda done: _call_threadsafe(loop, self._left))
        # A client that disconnects does not stop the change.
        answer = asyncio.wrap_future(future)
        await asyncio.wait((answer,), timeout=max(0.0, deadline - monotonic()))
        if not answer.done() and future.cancel():  # it has not started
            raise DeadlineExceeded
        return await asyncio.shield(answer)

    def _left(self) -> None:
        self._waiting -= 1

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """Run work in the thread. Raises ShuttingDown."""
        try:
            return self._thread.submit(work)
        except ThreadStopped:
            raise ShuttingDown from None

    def schedule_sync(self) -> None:
        """Queue a reload of the folder that another process has changed, unless one is queued."""
        if self._catching_up.is_set() or monotonic() < self._resting:
            return
        self._catching_up.set()

        def follow() -> None:
            self._catching_up.clear()
            try:
                self._sync_copy()
            except InputError as error:
                if not self._bad:  # a rejected folder is already logged and not retried
                    self._resting = monotonic() + RETRY_S
                    log.error("the model folder cannot be reloaded: %s", error)

        with suppress(ShuttingDown):
            self.submit(follow)

    def close(self, timeout: float) -> bool:
        """Drop waiting work and wait for running work; return whether the threads have ended."""
        until = monotonic() + timeout
        self._checker.close()
        ended = self._trials.close(timeout) & self._thread.close(until - monotonic())
        if ended and self._copy is not None:
            self._copy.close()
        return ended

    # --- in the thread -------------------------------------------------------------------------

    def _change(self, work: Callable[[UpdatableModel], T]) -> tuple[T, int]:
        copy = self._own_copy()
        outcome = work(copy)
        self._sync_copy(own=True)
        return outcome, copy.version

    def _own_copy(self) -> UpdatableModel:
        served = self._worker.served
        if served is None or served.folder is None:
            raise InputError("the model is in no folder yet; save it before changing documents")
        self._examine_replaced(served.folder)  # the copy would load it
        if self._copy is None:
            self._copy = self._load_folder(served.folder)
        assert self._copy is not None
        return self._copy

    def _sync_copy(self, own: bool = False) -> None:
        """Apply new changes to the answering model. `own`: the copy has just made them."""
        served = self._worker.served
        if served is None or served.folder is None:
            return
        try:
            with suppress(ShuttingDown):
                self._worker.submit(_sync).result()
        except FolderReplaced:
            if not own:
                self._examine_replaced(served.folder)
            self.install(self._load_folder(served.folder))

    def _examine_replaced(self, folder: Path) -> None:
        """Check a folder that another process has replaced.

        Raises InputError if it is rejected; it is not checked again until it changes.
        """
        if folder_fingerprint(folder) == self._known:
            self._bad = ()
            return
        now = identity(folder)
        if now == self._bad:
            raise InputError(f"{folder}: was replaced by a folder that was refused; restore it")
        try:
            self._checker(folder)
        except InputError as error:
            self._bad = now
            log.error("the replaced model folder is refused: %s", error)
            raise
        self._known, self._bad = folder_fingerprint(folder), ()

    def _swap(self, folder: Path) -> SearchModel:
        fresh: SearchModel = self._load_folder(folder)
        self.install(fresh)
        if self._copy is not None:
            self._copy.close()
            self._copy = None
        return fresh

    def install(self, fresh: SearchModel) -> None:
        """Make a model the answering one, and close the previous one."""
        fresh.shown_base_url = self._settings.base_url
        self._known = () if fresh.folder is None else folder_fingerprint(fresh.folder)
        before = self._worker.install(fresh)
        if before is not None:
            self._worker.retire(before)


def _sync(served: SearchModel) -> bool:
    """Apply new changes in the model's thread, without waiting for locks of other processes."""
    with waiting_until(monotonic()):
        return served.sync(reload=False)


def _call_threadsafe(loop: asyncio.AbstractEventLoop, call: Callable[[], Any]) -> None:
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call)
