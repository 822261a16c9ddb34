"""Termination by signals at any time: one line on stderr, exit code 128 + signal number.

A handler that raises, like Python's for SIGINT, raises inside imports, destructors or libraries
that catch everything. `leave` instead runs the clean-up registered by `on_leave` and ends the
process. Resumable work and the server install their own handlers (`genir.training.stop_request`).
Entry points call `listen` first, so this module has only fast imports.
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
    """Install the handlers for SIGINT, SIGTERM and SIGHUP.

    Signals that the parent process ignores (nohup, background jobs) stay ignored.
    """
    _state["process"] = os.getpid()
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)


def guard(module: str) -> None:
    """Call `listen` if a module runs as a script; to be placed above its slow imports."""
    if module == "__main__":
        listen()


def leave(number: int, frame: FrameType | None = None) -> None:
    """Clean up and end the process; a second signal skips the clean-up."""
    code = 128 + number
    if _state["leaving"] or os.getpid() != _state["process"]:  # a forked child exits silently
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
    """Register a clean-up for `leave` within the block: remove a folder, end a child process.

    It runs in the main thread between any two instructions of the block. Other threads register
    nothing: they continue during the clean-up, and might publish a folder being removed.
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
    """Return the exit code for a broken pipe, and discard further output."""
    drop_output()
    return 128 + signal.SIGPIPE


def output_is_closed() -> bool:
    """Return whether this process was started without standard output."""
    return sys.stdout is None


def flush_output() -> None:
    """Flush stdout while a failure can still be reported. Raises OSError."""
    if sys.stdout is not None:
        sys.stdout.flush()


def drop_output() -> None:
    """Discard the buffers of stdout and stderr if they cannot be written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except AttributeError:  # the stream is missing
            continue


def forward(number: int, frame: FrameType | None, handler: object) -> None:
    """Pass a signal to the previous handler."""
    if callable(handler):
        handler(number, frame)
    elif handler == signal.SIG_DFL:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def in_main_thread() -> bool:
    """Return whether this is the main thread, which receives signals."""
    return threading.current_thread() is threading.main_thread()
