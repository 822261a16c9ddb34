"""Typer application of all verbs. A verb is a function in the module of its group."""

import typer

from genir.cli import evaluate, search, signing, sync, training, updates
from genir.cli.root import Root
from genir.cli.training import train
from genir.serving.cli import serve, token_app

__all__ = ["app", "serve", "train"]

app = typer.Typer(
    name="genir",
    cls=Root,
    help="Generative retrieval: models that map a query to document identifiers.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain text, which is wrapped and not cut in a narrow terminal
    pretty_exceptions_enable=False,
)
for group in (training, search, updates, sync, evaluate, signing):
    app.add_typer(group.verbs)
app.add_typer(token_app, name="token")
