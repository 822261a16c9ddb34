"""Shared by the scripts: options, downloads with checksums, corpus cards, exit codes."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from download import CONSOLE, digest, fetch
from rich.progress import track

from genir.cli import guarded
from genir.errors import InputError

Out = Annotated[Path, typer.Argument(help="the corpus folder to write")]
Source = Annotated[Path | None, typer.Option(help="a local copy of the published file")]
Downloads = Annotated[Path, typer.Option(help="where downloaded files are kept")]
Sha256 = Annotated[str, typer.Option("--sha256", help="the checksum that the file must have")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace an existing corpus folder")]

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A published file of a data set: its address, and its checksum if one is known."""

    url: str
    checksum: str = ""

    def obtain(self, source: Path | None, downloads: Path, sha256: str = "") -> Path:
        """Return the local copy, or download the file. Raises InputError for a wrong checksum."""
        checksum = f"sha256:{sha256}" if sha256 else self.checksum
        if source is None:
            return fetch(self.url, downloads / self.url.rpartition("/")[2], checksum)
        if not source.exists():
            raise InputError(
                f"{source}: does not exist; check --source, or leave it out to download"
            )
        if sha256 and digest(source) != sha256.lower():
            raise InputError(f"{source}: sha256 is {digest(source)}, expected {sha256}")
        return source


def card(name: str, about: str, files: Iterable[Path], licence: str, origin: str) -> str:
    """Return the README of a corpus folder, with the checksum of each file it was made of."""
    sums = [f"- `{file.name}`: sha256 `{digest(file)}`" for file in files if file.is_file()]
    CONSOLE.print(*(line.replace("`", "") for line in sums), sep="\n")
    return (
        f"# {name}\n\n{about.strip()}\n\nLicence: {licence}\n\nOrigin: {origin}\n\n"
        "## Files it was made of\n\n" + ("\n".join(sums) or "A folder, without a checksum.") + "\n"
    )


def in_share(text: str, share: float) -> bool:
    """Whether the hash of a text falls into a share of all hashes."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return number < share * 2**64


def show(items: Iterable[Item], label: str) -> Iterator[Item]:
    """Yield the items under a progress bar that vanishes."""
    return iter(
        track(items, label, console=CONSOLE, transient=True, disable=not CONSOLE.is_terminal)
    )


def run(main: Callable[..., None]) -> None:
    """Run a script's command with the exit codes and messages of `genir`."""
    guarded(lambda: typer.run(main))
