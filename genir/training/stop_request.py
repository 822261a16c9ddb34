"""Signals as a request to stop after the current step. Imports no torch: the CLI uses `Stopped`."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from genir.errors import InputError
from genir.signals import ENDING, forward, in_main_thread


class Stopped(Exception):
    """A signal stopped the run; its state is saved and can be resumed.

    Args:
        number: Signal number; SIGINT in processes that did not receive it themselves.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class StopRequest:
    """Records the first stop signal."""

    number = 0

    @property
    def is_set(self) -> bool:
        """Return whether a signal was received."""
        return bool(self.number)

    def error(self) -> Stopped:
        """Return the exception that ends the run."""
        return Stopped(self.number or signal.SIGINT)


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Record SIGINT, SIGTERM and SIGHUP within the block; a second signal acts immediately.

    No effect outside the main thread, where Python delivers no signals.

    Raises:
        Stopped: at the end of the block, if a signal was received.
    """
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        if request.is_set:
            forward(number, frame, before[number])
        request.number = number

    if not in_main_thread():
        yield request
        return
    heard = [n for n in ENDING if signal.getsignal(n) is not signal.SIG_IGN]
    before = {n: signal.signal(n, note) for n in heard}
    try:
        yield request
    except (InputError, Stopped):
        raise
    except Exception:
        if request.is_set:
            raise request.error() from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if request.is_set:
        raise request.error()
