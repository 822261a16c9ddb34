"""Cooperative cancellation of long computations.

A computation calls `checkpoint` between steps. It may raise within `cancel_when`, and does nothing
elsewhere.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_cancelled: ContextVar[Callable[[], bool] | None] = ContextVar("is_cancelled", default=None)


class Cancelled(Exception):
    """A computation was cancelled because its result is not needed any more."""


@contextmanager
def cancel_when(is_cancelled: Callable[[], bool]) -> Iterator[None]:
    """Make checkpoints of this thread in the block raise `Cancelled` once `is_cancelled` is
    true."""
    token = _is_cancelled.set(is_cancelled)
    try:
        yield
    finally:
        _is_cancelled.reset(token)


def raise_if_cancelled() -> None:
    """Raise `Cancelled` if the enclosing computation was cancelled."""
    unwanted = _is_cancelled.get()
    if unwanted is not None and unwanted():
        raise Cancelled
