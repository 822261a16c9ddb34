"""Ctrl-C and SIGTERM as a wish to stop at the next step. Brings no tensors: the command line
catches `Stopped` without waiting for torch.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(Exception):
    """Ctrl-C or SIGTERM: a checkpoint is saved and the run can be resumed."""


class StopWish:
    """Whether a signal has asked the training to stop."""

    made = False


@contextmanager
def stop_wish() -> Iterator[StopWish]:
    """Listen for SIGINT and SIGTERM in a `with` block; a second one does not wait.

    Outside the main thread, where Python delivers no signals, nothing is listened for.
    """
    wish = StopWish()

    def note(number: int, frame: FrameType | None) -> None:
        if wish.made:
            raise KeyboardInterrupt
        wish.made = True

    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before = {n: signal.signal(n, note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
