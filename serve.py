"""Serve a trained model: `python serve.py MODEL [--host 127.0.0.1] [--port 8000]`."""

from pathlib import Path
from typing import Annotated

import typer

from genir.errors import InputError
from genir.serving.server import serve


def main(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="The model folder that training left.")
    ],
    host: Annotated[str, typer.Option(help="0.0.0.0 to serve every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = 8000,
) -> None:
    """Serve a trained model: the search page at /, the API at /search and /openapi.json."""
    try:
        serve(model, host, port)
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
