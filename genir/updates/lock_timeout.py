"""Timeouts for the write lock of a model folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from time import monotonic

MAX_WAIT_S = 60.0
"""Maximum seconds to wait for the write lock."""
MIN_WAIT_S = 0.25
"""Minimum seconds to wait, even after the deadline: locks are usually held for milliseconds."""

_until: ContextVar[float] = ContextVar("until", default=inf)


@contextmanager
def waiting_until(deadline: float) -> Iterator[None]:
    """Limit waits for write locks in this thread to a deadline.

    Args:
        deadline: In seconds of the monotonic clock.
    """
    token = _until.set(deadline)
    try:
        yield
    finally:
        _until.reset(token)


def seconds_to_wait() -> float:
    """Return the seconds to wait for the write lock from now."""
    return max(MIN_WAIT_S, min(MAX_WAIT_S, _until.get() - monotonic()))
