"""Places that only one process may fill at a time; the others wait, and find them filled."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(work: Path, name: str) -> Iterator[None]:
    """Hold what is called `name` in a work folder; wait for as long as another process does.

    The file stays, in a folder of its own: a lock that is removed while others wait for it would be
    held twice.
    """
    file = work / "locks" / f"{name}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
