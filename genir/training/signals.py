"""Signals as a wish to stop at the next step. Brings no tensors: the command line catches `Stopped`
without waiting for torch.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from genir.errors import InputError
from genir.signals import ENDING, forward, in_main_thread


class Stopped(Exception):
    """A signal has come: what is done is saved, and the run can be resumed.

    number: the signal's; of many processes, SIGINT for those that did not get it themselves.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


class StopWish:
    """Whether a signal has asked the work to stop, and which."""

    number = 0

    @property
    def made(self) -> bool:
        """Tell whether a signal has come."""
        return bool(self.number)

    def stopped(self) -> Stopped:
        """Return the exception that ends the work."""
        return Stopped(self.number or signal.SIGINT)


@contextmanager
def stop_wish() -> Iterator[StopWish]:
    """Listen for SIGINT, SIGTERM and SIGHUP in a `with` block; a second one does not wait.

    Raises Stopped at the end of a block that has not heeded the wish. Outside the main thread,
    where Python delivers no signals, nothing is listened for.
    """
    wish = StopWish()

    def note(number: int, frame: FrameType | None) -> None:
        if wish.made:
            forward(number, frame, before[number])
        wish.number = number

    if not in_main_thread():
        yield wish
        return
    heard = [n for n in ENDING if signal.getsignal(n) is not signal.SIG_IGN]
    before = {n: signal.signal(n, note) for n in heard}
    try:
        yield wish
    except (InputError, Stopped):
        raise
    except Exception:
        if wish.made:
            raise wish.stopped() from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if wish.made:
        raise wish.stopped()
