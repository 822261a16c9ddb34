"""The command line: the verbs of genir. `train.py` and `serve.py` are thin doors into it.

A verb is a function in the file of its group. Exit codes: 0 fine, 2 bad input (one clear message,
no traceback), 1 a bug, 130 interrupted.
"""

import sys
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console

from genir.cli import answers, measures, training
from genir.cli.training import train
from genir.errors import InputError
from genir.serving.verb import load, serve, token_app

__all__ = ["app", "guarded", "main", "run_serve", "run_train", "serve", "train"]

app = typer.Typer(
    name="genir",
    help="Generative retrieval: a sequence-to-sequence model that is the search engine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for group in (training, answers, measures):
    app.add_typer(group.verbs)
app.add_typer(token_app, name="token")
measures.benchmark_app.command()(load)


def guarded(run: Callable[[], Any]) -> None:
    """Run a command; turn the user's mistakes into one message and exit code 2."""
    from genir.training.signals import Stopped

    errors = Console(stderr=True, soft_wrap=True)
    try:
        run()
    except InputError as error:
        errors.print(f"error: {error}", style="red", markup=False, highlight=False)
        sys.exit(2)
    except Stopped:
        errors.print("stopped; a checkpoint is saved: the same with --resume goes on from it")
        sys.exit(130)


def main() -> None:
    """Run `genir`."""
    guarded(app)


def run_train() -> None:
    """Run `train.py`."""
    guarded(lambda: typer.run(train))


def run_serve() -> None:
    """Run `serve.py`."""
    guarded(lambda: typer.run(serve))
