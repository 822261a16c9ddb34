"""Typer application of all verbs. A verb is a function in the module of its group."""

from typing import Annotated

import typer

from genir import __version__
from genir.cli import evaluate, search, signing, sync, training, updates
from genir.cli.root import Root
from genir.cli.training import train
from genir.console import print_line
from genir.serving.cli import serve, token_app

__all__ = ["app", "serve", "train"]


def print_version(wanted: bool) -> None:
    """Print the version and exit, if the option is given."""
    if wanted:
        print_line(f"genir {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="genir",
    cls=Root,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain text, which is wrapped and not cut in a narrow terminal
    pretty_exceptions_enable=False,
)


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", help="print the version", callback=print_version, is_eager=True),
    ] = False,
) -> None:
    """Generative retrieval: models that map a query to document identifiers."""


for group in (training, search, updates, sync, evaluate, signing):
    app.add_typer(group.verbs)
app.add_typer(token_app, name="token")
