"""How long a change waits for other processes that write to the same folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from time import monotonic

WAIT = 60.0
"""Seconds to wait for another process that is writing, where no deadline is nearer."""
MIN_WAIT = 0.25
"""Seconds to wait even where the deadline has passed: others write for milliseconds."""

_until: ContextVar[float] = ContextVar("until", default=inf)


@contextmanager
def waiting_until(deadline: float) -> Iterator[None]:
    """Let waits for other processes in the block, in this thread, end at a deadline.

    deadline: by the monotonic clock.
    """
    token = _until.set(deadline)
    try:
        yield
    finally:
        _until.reset(token)


def seconds_to_wait() -> float:
    """Return how long to wait for another process from now on."""
    return max(MIN_WAIT, min(WAIT, _until.get() - monotonic()))
