"""The command line: the verbs of genir. `train.py` and `serve.py` are thin doors into it.

A verb is a function in the file of its group. Exit codes: 0 fine, 2 bad input (one clear message,
no traceback), 1 a bug, 130 interrupted, 141 when the reader of the output has gone.
"""

import sys
from collections.abc import Callable
from typing import Any

import typer

from genir.cli import answers, collection, measures, training
from genir.cli.root import Root, run_command
from genir.cli.training import train
from genir.console import prepare_streams, print_line
from genir.errors import InputError
from genir.serving.verb import serve, token_app

__all__ = ["app", "guarded", "main", "run_serve", "run_train", "serve", "train"]

app = typer.Typer(
    name="genir",
    cls=Root,
    help="Generative retrieval: a sequence-to-sequence model that is the search engine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for group in (training, answers, collection, measures):
    app.add_typer(group.verbs)
app.add_typer(token_app, name="token")


def guarded(run: Callable[[], Any]) -> None:
    """Run a command; turn the user's mistakes into one message and exit code 2."""
    from genir.training.signals import Stopped

    prepare_streams()
    try:
        run()
    except InputError as error:
        print_line((f"error: {error}", "red"), stderr=True)
        sys.exit(2)
    except Stopped:
        text = "stopped; a checkpoint is saved: the same with --resume goes on from it"
        print_line(text, stderr=True)
        sys.exit(130)


def main() -> None:
    """Run `genir`."""
    guarded(app)


def run_train() -> None:
    """Run `train.py`."""
    guarded(lambda: _run_verb("train"))


def run_serve() -> None:
    """Run `serve.py`."""
    guarded(lambda: _run_verb("serve"))


def _run_verb(name: str) -> None:
    verb = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    run_command(verb.main, prog=f"{name}.py")
