"""Progress bar for long work: on a terminal only, removed when done."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.markup import escape
from rich.progress import track

from genir.console import Console, one_line

T = TypeVar("T")


def tracked(items: Sequence[T], description: str) -> Iterable[T]:
    """Iterate over the items with a progress bar, if there are several and a description."""
    if not description or len(items) < 2:
        return items  # even a disabled bar starts a thread
    console = Console(stderr=True)
    if not console.is_terminal:
        return items
    return track(items, escape(one_line(description)), console=console, transient=True)
