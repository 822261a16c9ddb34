"""Stop long computations between two of their steps when nobody waits for the result any more.

A computation calls `checkpoint` between steps. Whoever runs it in `stop_when` says when to stop;
elsewhere a checkpoint does nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_unwanted: ContextVar[Callable[[], bool] | None] = ContextVar("unwanted", default=None)


class Abandoned(Exception):
    """A computation was stopped, because nobody waits for its result."""


@contextmanager
def stop_when(unwanted: Callable[[], bool]) -> Iterator[None]:
    """Have checkpoints in the block raise `Abandoned` once `unwanted` returns true.

    For this thread alone.
    """
    token = _unwanted.set(unwanted)
    try:
        yield
    finally:
        _unwanted.reset(token)


def checkpoint() -> None:
    """Raise Abandoned where the result of the computation around is not wanted any more."""
    unwanted = _unwanted.get()
    if unwanted is not None and unwanted():
        raise Abandoned
