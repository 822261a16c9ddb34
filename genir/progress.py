"""Progress of long work on standard error: a bar on a terminal, otherwise lines."""

from collections.abc import Iterable, Iterator, Sequence
from threading import Timer
from time import monotonic
from typing import Self, TypeVar

from rich.markup import escape

from genir.console import Console, one_line, print_line, styled

T = TypeVar("T")

SILENT_S = 2.0
"""Seconds of work before its first line."""
LINE_EVERY_S = 10.0
"""Seconds between further lines."""


def tracked(items: Sequence[T], description: str) -> Iterable[T]:
    """Iterate over the items and show progress, if there are several and a description.

    A terminal gets a bar, which is removed when done; a pipe or file gets lines with an estimate of
    the time left, the first after `SILENT_S`.
    """
    if not description or len(items) < 2:
        return items  # even a disabled bar starts a thread
    console = Console(stderr=True)
    if not console.is_terminal:
        return _with_lines(items, description)
    from rich.progress import track

    return track(items, escape(one_line(description)), console=console, transient=True)


def _with_lines(items: Sequence[T], description: str) -> Iterator[T]:
    began = monotonic()
    due = began + SILENT_S
    for done, item in enumerate(items):
        now = monotonic()
        if done and now >= due:
            left = (now - began) / done * (len(items) - done)
            text = f"{description}: {done:,} of {len(items):,}, about {left:,.0f} s left"
            print_line(text, stderr=True)
            due = now + LINE_EVERY_S
        yield item


class waiting:
    """Context of work without countable steps: a spinner on a terminal, otherwise one line.

    The line appears after `SILENT_S`. `stop` may be called earlier, from any thread.
    """

    def __init__(self, description: str) -> None:
        console = Console(stderr=True)
        self._status = console.status(styled(description)) if console.is_terminal else None
        self._timer = Timer(SILENT_S, print_line, [f"{description} ..."], {"stderr": True})
        self._timer.daemon = True

    def start(self) -> None:
        """Show the work."""
        if self._status is not None:
            self._status.start()
        else:
            self._timer.start()

    def stop(self) -> None:
        """End the display."""
        self._timer.cancel()
        if self._status is not None:
            self._status.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
