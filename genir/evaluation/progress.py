"""The progress bar of an evaluation: on a terminal only, and gone when done."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


def tracked(items: Sequence[T], description: str) -> Iterable[T]:
    """Pass over the items under a bar."""
    console = Console(stderr=True)
    disabled = not console.is_terminal
    return track(items, description, console=console, transient=True, disable=disabled)
