"""Cooperative cancellation of long computations.

A computation calls `checkpoint` between steps. It may raise within `stop_when`, and does nothing
elsewhere.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_unwanted: ContextVar[Callable[[], bool] | None] = ContextVar("unwanted", default=None)


class Abandoned(Exception):
    """A computation was cancelled because its result is not needed any more."""


@contextmanager
def stop_when(unwanted: Callable[[], bool]) -> Iterator[None]:
    """Make checkpoints of this thread in the block raise `Abandoned` once `unwanted` is true."""
    token = _unwanted.set(unwanted)
    try:
        yield
    finally:
        _unwanted.reset(token)


def checkpoint() -> None:
    """Raise Abandoned if the enclosing computation was cancelled."""
    unwanted = _unwanted.get()
    if unwanted is not None and unwanted():
        raise Abandoned
