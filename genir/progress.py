"""The progress bar of long work: on a terminal only, and gone when done."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.markup import escape
from rich.progress import track

from genir.console import Console, one_line

T = TypeVar("T")


def tracked(items: Sequence[T], description: str) -> Iterable[T]:
    """Pass over the items, under a bar if there are several and a description."""
    console = Console(stderr=True)
    disabled = not (console.is_terminal and description and len(items) > 1)
    text = escape(one_line(description))
    return track(items, text, console=console, transient=True, disable=disabled)
