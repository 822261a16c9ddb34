"""The command line. `train.py` and `serve.py` are thin doors into it.

Exit codes: 0 fine, 2 bad input (one clear message, no traceback), 1 a bug, 128 + the number of the
signal that ended it (130 for SIGINT, 143 for SIGTERM), 141 where the reader of a pipe has gone.

This module imports next to nothing, not even `typing`: until `main` listens for signals, one of
them ends the process with Python's traceback. `app`, `train` and `serve` are those of
`genir.cli.verbs`, imported when they are used.
"""

import errno
import os
import sys

from genir.signals import broken_pipe, drop_output, flush_output, listen, output_is_closed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from genir.cli.verbs import app, serve, train

FULL = "the disk is full ({}); make room, run it again"
FAULTS = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EBADF: "is not open for writing ({}); send it to a file, or to /dev/null",
}
"""Errors of writing that are no bugs, by number."""
FIRST_FREE = 3
"""The first descriptor behind standard input, output and error."""

__all__ = ["app", "guarded", "main", "run_serve", "run_train", "serve", "train"]


def __getattr__(name: str) -> "Any":
    """Import the application or one of its verbs."""
    if name not in ("app", "serve", "train"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from genir.cli import verbs

    return getattr(verbs, name)


def guarded(run: "Callable[[], Any]") -> None:
    """Run a command; turn the user's mistakes into one message and exit code 2."""
    from genir.console import prepare_streams
    from genir.errors import InputError
    from genir.training.signals import Stopped

    prepare_streams()
    try:
        try:
            run()
        finally:
            flush_output()
    except InputError as error:
        _fail(f"error: {error}", 2)
    except Stopped as stop:
        text = "stopped; a checkpoint is saved: the same with --resume goes on from it"
        _fail(text, 128 + stop.number, style="")
    except BrokenPipeError:
        sys.exit(broken_pipe())
    except SystemExit as end:
        # typer and rich meet the closed pipe first, and exit with 1.
        if isinstance(end.__context__, BrokenPipeError):
            sys.exit(broken_pipe())
        raise
    except OSError as error:
        if error.errno not in FAULTS:
            raise
        drop_output()
        place = error.filename or "output"
        _fail(f"error: {place}: {FAULTS[error.errno].format(error.strerror)}", 2)


def _fail(message: str, code: int, style: str = "red") -> None:
    """Print a message on stderr and exit."""
    from genir.console import print_line
    from genir.errors import InputError

    try:
        print_line((message, style), stderr=True)
    except (InputError, OSError):  # a message that cannot be written changes no exit code
        drop_output()
    sys.exit(code)


def main() -> None:
    """Run `genir`."""
    _start()
    guarded(lambda: _verbs().app())


def run_train() -> None:
    """Run `train.py`."""
    _start()
    guarded(lambda: _run_verb("train"))


def run_serve() -> None:
    """Run `serve.py`."""
    _start()
    guarded(lambda: _run_verb("serve"))


def _start() -> None:
    """Listen for signals, and refuse a closed standard output before any work is done for it."""
    listen()
    # No file may take the number of a closed stream, or a library's own message could end up in it.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < FIRST_FREE:
        pass
    os.close(descriptor)
    if output_is_closed():
        _fail("error: standard output is closed; send it to a file, or to /dev/null", 2)


def _verbs() -> "Any":
    from genir.cli import verbs

    return verbs


def _run_verb(name: str) -> None:
    import typer

    from genir.cli.root import run_command

    verb = typer.main.get_command(_verbs().app).commands[name]  # type: ignore[attr-defined]
    run_command(verb.main, prog=f"{name}.py")
