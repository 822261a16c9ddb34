"""Signals that end a process, at any moment: one line on stderr, exit code 128 + the number.

A handler that raises, as Python's own does for SIGINT, raises inside whatever runs: an import, a
destructor, a library that catches everything. So `leave` raises nothing. It runs the clean-up that
`on_leave` has registered and ends the process at once. Long work that can be resumed listens for
itself (`genir.training.signals`), and so does the server. Imports nothing that takes time: entry
points call `listen` before anything else.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
SHOW_CURSOR = b"\x1b[?25h"
_cleanups: list[Callable[[], object]] = []
_state = {"process": 0, "leaving": 0}


def listen() -> None:
    """End this process in order on SIGINT, SIGTERM and SIGHUP from now on.

    What the parent process has ignored (nohup, a background job of a script) stays ignored.
    """
    _state["process"] = os.getpid()
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)


def guard(module: str) -> None:
    """Call `listen` in a module that is run as a script: above its imports that take time."""
    if module == "__main__":
        listen()


def leave(number: int, frame: FrameType | None = None) -> None:
    """Clean up and end the process; at a second signal, without the clean-up."""
    code = 128 + number
    if _state["leaving"] or os.getpid() != _state["process"]:  # a forked child says nothing
        os._exit(code)
    _state["leaving"] = code
    with suppress(OSError):
        start = SHOW_CURSOR + b"\n" if os.isatty(2) else b""
        os.write(2, start + f"stopped by {signal.Signals(number).name}\n".encode())
    for clean_up in reversed(_cleanups):
        with suppress(Exception):
            clean_up()
    os._exit(code)


@contextmanager
def on_leave(clean_up: Callable[[], object]) -> Iterator[None]:
    """Have `leave` call something if the process ends in the block: remove a folder, end a child.

    It runs in the main thread between any two instructions of the block. In another thread nothing
    is registered: that thread goes on during the clean-up, and might publish a folder that is being
    removed.
    """
    if not in_main_thread():
        yield
        return
    _cleanups.append(clean_up)
    try:
        yield
    finally:
        _cleanups.remove(clean_up)


def broken_pipe() -> int:
    """Return the exit code after the reader of our output has gone; write no more to it."""
    drop_output()
    return 128 + signal.SIGPIPE


def output_is_closed() -> bool:
    """Return whether this process began without a standard output."""
    return sys.stdout is None


def flush_output() -> None:
    """Write what stdout holds, while a failure can still be reported. Raises OSError."""
    if sys.stdout is not None:
        sys.stdout.flush()


def drop_output() -> None:
    """Drop what stdout and stderr hold if they take no more: nothing is written at the exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except AttributeError:  # there is no such stream
            continue


def forward(number: int, frame: FrameType | None, handler: object) -> None:
    """Let the handler that stood before deal with a signal."""
    if callable(handler):
        handler(number, frame)
    elif handler == signal.SIG_DFL:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def in_main_thread() -> bool:
    """Tell whether this thread is the one to which Python delivers signals."""
    return threading.current_thread() is threading.main_thread()
