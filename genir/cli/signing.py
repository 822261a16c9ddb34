"""Verbs that sign model folders and verify signatures."""

from pathlib import Path
from typing import Annotated

import typer

from genir.cli.options import AsJson, Model
from genir.console import print_json, print_line

verbs = typer.Typer()


@verbs.command()
def keygen(
    file: Annotated[
        Path, typer.Argument(help="the private key, a new file; FILE.pub is the public key")
    ],
    as_json: AsJson = False,
) -> None:
    """Make a key pair: the private key signs model folders, the public key verifies them."""
    from genir.signatures import PUBLIC_SUFFIX, make_keys

    made = make_keys(file)
    public = file.with_name(file.name + PUBLIC_SUFFIX)
    if as_json:
        print_json({"key": made, "private": str(file), "public": str(public)})
    else:
        print_line(f"key {made}: keep {file} secret, distribute {public}")


@verbs.command()
def sign(
    model: Model,
    key: Annotated[Path, typer.Option(help="private key of genir keygen")],
    as_json: AsJson = False,
) -> None:
    """Sign a model folder: its manifest, and thereby the sha256 of every file."""
    from genir.signatures import read_private_key
    from genir.updates.signing import sign

    made = sign(model, read_private_key(key))
    _print(f"{model}: signed by key {made}", {"folder": str(model), "key": made}, as_json)


@verbs.command()
def verify(
    model: Model,
    key: Annotated[Path, typer.Option(help="public keys, one or more: FILE.pub of genir keygen")],
    as_json: AsJson = False,
) -> None:
    """Verify the signature of a model folder and every file, and that its journal is empty."""
    from genir.signatures import read_public_keys
    from genir.updates.signing import verify

    found = verify(model, read_public_keys(key))
    text = f"{model}: signed by key {found}, every file is unchanged"
    _print(text, {"folder": str(model), "key": found}, as_json)


def _print(text: str, values: dict[str, str], as_json: bool) -> None:
    if as_json:
        print_json(values)
    else:
        print_line(text)
