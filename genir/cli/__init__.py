"""Entry points of the command line, also used by `train.py` and `serve.py`.

Exit codes: 0 success, 2 bad input (one message, no traceback), 1 a bug, 128 + signal number (130
for SIGINT, 143 for SIGTERM), 141 for a broken pipe.

Imports are kept minimal, without even `typing`: a signal before `main` installs its handlers ends
the process with a traceback. `app`, `train` and `serve` of `genir.cli.verbs` are imported lazily.
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

FULL = "the disk is full ({}); free space and run it again"
FAULTS = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EROFS),
        "cannot be used ({}); check the path and its permissions",
    ),
    errno.EBADF: "is not open for writing ({}); redirect it to a file or to /dev/null",
}
"""Messages for errors of the file system that a user can mend, by errno."""
FIRST_FREE = 3
"""Lowest file descriptor after standard input, output and error."""

__all__ = ["app", "guarded", "main", "run_serve", "run_train", "serve", "train"]


def __getattr__(name: str) -> "Any":
    """Import the application or one of its verbs on first access."""
    if name not in ("app", "serve", "train"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from genir.cli import verbs

    return getattr(verbs, name)


def guarded(run: "Callable[[], Any]") -> None:
    """Run a command; print user errors as one message and exit with code 2."""
    from genir.console import prepare_streams
    from genir.errors import InputError
    from genir.training.stop_request import Stopped

    prepare_streams()
    try:
        try:
            run()
        finally:
            flush_output()
    except InputError as error:
        _fail(f"error: {error}", 2)
    except Stopped as stop:
        text = "stopped; a checkpoint is saved: run the same command with --resume to continue"
        _fail(text, 128 + stop.number, style="")
    except BrokenPipeError:
        sys.exit(broken_pipe())
    except SystemExit as end:
        # typer and rich catch the broken pipe first, and exit with 1.
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
    """Print a message to stderr and exit."""
    from genir.console import print_line
    from genir.errors import InputError

    try:
        print_line((message, style), stderr=True)
    except (InputError, OSError):  # keep the exit code if stderr fails
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
    """Install signal handlers, and refuse a closed standard output before any work."""
    listen()
    # No file may get the descriptor of a closed stream: messages of libraries would end up in it.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < FIRST_FREE:
        pass
    os.close(descriptor)
    if output_is_closed():
        _fail("error: standard output is closed; redirect it to a file or to /dev/null", 2)


def _verbs() -> "Any":
    from genir.cli import verbs

    return verbs


def _run_verb(name: str) -> None:
    import typer

    from genir.cli.root import run_command

    verb = typer.main.get_command(_verbs().app).commands[name]  # type: ignore[attr-defined]
    run_command(verb.main, prog=f"{name}.py")
