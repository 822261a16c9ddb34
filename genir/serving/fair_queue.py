"""Weighted fair queuing among callers: the caller with the least work so far goes first.

Virtual time advances by the cost of each job divided by the number of active callers. A caller's
job starts, in virtual time, where its last one ended, or now if that is later; jobs are taken in
the order of their virtual end times. So an infrequent caller is next in line even if others have
queued many jobs, and a caller's many jobs delay only its own.
"""

from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterator
from itertools import count, islice
from typing import Generic, TypeVar

J = TypeVar("J")
MAX_LOOK_AHEAD = 64
"""Number of a caller's jobs that are searched for one that fits."""
MAX_IDLE_CALLERS = 256
"""Number of callers without a job whose virtual times are kept before old ones are dropped."""


class FairQueue(Generic[J]):
    """Fair queue of the jobs of several callers. Not thread-safe.

    Example:
        >>> queue = FairQueue[str]()
        >>> for job in ("big 1", "big 2", "big 3"):
        ...     queue.put("greedy", job, 1000)
        >>> queue.put("honest", "small", 10)
        >>> [queue.take() for _ in range(4)]
        ['small', 'big 1', 'big 2', 'big 3']
    """

    def __init__(self) -> None:
        self._jobs: dict[Hashable, deque[tuple[J, float]]] = {}
        self._start: dict[Hashable, float] = {}  # virtual time at which a caller's next job starts
        self._arrival: dict[Hashable, int] = {}  # breaks ties: first to arrive or to be served
        self._now = 0.0
        self._count = count()
        self._length = 0

    def __len__(self) -> int:
        """Return the number of jobs."""
        return self._length

    def __iter__(self) -> Iterator[J]:
        """Yield all jobs, by caller."""
        return (job for jobs in self._jobs.values() for job, _ in jobs)

    @property
    def callers(self) -> Collection[Hashable]:
        """Callers with at least one job."""
        return self._jobs.keys()

    def count(self, caller: Hashable) -> int:
        """Return the number of a caller's jobs."""
        return len(self._jobs.get(caller, ()))

    def put(self, caller: Hashable, job: J, cost: float = 1.0) -> None:
        """Add a job of a caller. `cost` is its amount of work, in any unit."""
        if caller not in self._jobs:
            self._jobs[caller] = deque()
            self._start[caller] = max(self._now, self._start.get(caller, 0.0))
            self._arrival[caller] = next(self._count)
        self._jobs[caller].append((job, cost))
        self._length += 1

    def take(self, fits: Callable[[J], bool] = lambda job: True, forfeit: bool = False) -> J | None:
        """Remove and return the next job that fits; None if there is none.

        With `forfeit`, a caller without a job that fits loses the turns it misses.
        """
        found = self._find(fits, forfeit)
        if found is None:
            return None
        caller, place = found
        jobs = self._jobs[caller]
        job, cost = jobs[place]
        del jobs[place]
        self._length -= 1
        self._now += cost / self._active()
        self._start[caller] += cost
        self._arrival[caller] = next(self._count)
        if not jobs:
            del self._jobs[caller], self._arrival[caller]
            self._evict_idle()
        return job

    def _active(self) -> int:
        """Return the number of callers with a job, or with more work so far than their share."""
        ahead = sum(at > self._now for one, at in self._start.items() if one not in self._jobs)
        return len(self._jobs) + ahead

    def _find(self, fits: Callable[[J], bool], forfeit: bool) -> tuple[Hashable, int] | None:
        """Return the caller of the next job that fits and the job's index in its queue."""
        for caller in sorted(self._jobs, key=self._end):
            for place, (job, _) in enumerate(islice(self._jobs[caller], MAX_LOOK_AHEAD)):
                if fits(job):
                    return caller, place
            if forfeit:
                self._start[caller] = max(self._now, self._start[caller])
        return None

    def _end(self, caller: Hashable) -> tuple[float, int]:
        _, cost = self._jobs[caller][0]
        return self._start[caller] + cost, self._arrival[caller]

    def _evict_idle(self) -> None:
        """Drop the virtual times of callers without a job that are not ahead of others."""
        if not self._jobs:
            self._start.clear()
            self._now = 0.0
        elif len(self._start) > len(self._jobs) + MAX_IDLE_CALLERS:
            kept = {one: at for one, at in self._start.items() if one in self._jobs}
            ahead = {one: at for one, at in self._start.items() if at > self._now}
            self._start = (kept | ahead) if len(ahead) <= MAX_IDLE_CALLERS else kept

    def drop(self, unwanted: Callable[[J], bool]) -> None:
        """Remove the unwanted jobs."""
        for caller, jobs in list(self._jobs.items()):
            kept = deque(pair for pair in jobs if not unwanted(pair[0]))
            self._length -= len(jobs) - len(kept)
            self._jobs[caller] = kept
            if not kept:
                del self._jobs[caller], self._arrival[caller]
        self._evict_idle()

    def drain(self) -> list[J]:
        """Remove and return all jobs."""
        jobs = list(self)
        self._jobs.clear()
        self._arrival.clear()
        self._length = 0
        self._evict_idle()
        return jobs
