"""What waits for the model: bounded, shared fairly among callers, and put together in batches.

Callers share the model by the work they ask for (`turns`). A large request is cut: while others
ask too, a batch holds a few of its queries only, so that theirs ride in between.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from math import inf
from time import monotonic

from genir.serving.asks import BASE_COST, Task, Waiting, asking
from genir.serving.metrics import Metrics
from genir.serving.settings import Settings
from genir.serving.turns import FairQueue

LIGHT_COST = 4 * BASE_COST
"""Cost up to which a request's queries share a batch with any others."""
BATCH_COST = 1.5 * BASE_COST
"""Cost of a batch, at most: so much for each of `--max-batch`."""
HEAVY_S = 0.03
"""Seconds of a batch that go to queries of large requests while several callers ask."""
CROWD_S = 1.0
"""Seconds after a caller's last request in which others make room for the next one."""
MAX_PENDING_HITS = 2_000
"""Hits of one caller that wait for snippets, before the caller's next query goes to the model."""
PACE_WEIGHT = 0.2
"""Weight of the last batch in the running mean of the time that a unit of cost takes."""

Item = Waiting | Task


class Busy(Exception):
    """Too much waits already: come back in a moment."""


class Closed(Exception):
    """The server is leaving."""


class Backlog:
    """Queries and tasks in fair order. Safe to use from several threads."""

    def __init__(
        self, settings: Settings, metrics: Metrics, elsewhere: Callable[[], int] = lambda: 0
    ) -> None:
        """Make an empty one. elsewhere: how much of it waits in other threads, and counts too."""
        self._metrics, self._elsewhere, self._most = metrics, elsewhere, settings.queue
        self._size = settings.max_batch if settings.batching else 1
        self._wait = settings.max_wait_ms / 1000 if settings.batching else 0.0
        self._queue: FairQueue[Item] = FairQueue()
        self._change = threading.Condition()
        self._last = 0  # queries in the batch before
        self._pace = 0.0  # seconds a unit of cost, of late
        self._seen: OrderedDict[Hashable, float] = OrderedDict()  # callers, and when they asked
        self._pending: Counter[Hashable] = Counter()  # hits of callers that wait for snippets
        self.next_look = inf  # when `next` returns though nothing waits
        self.closed = False

    @property
    def waiting(self) -> int:
        """Return how much waits, here and elsewhere."""
        return len(self._queue) + self._elsewhere()

    # --- from the event loop -------------------------------------------------------------------

    def put(self, items: Sequence[Item], bounded: bool = True) -> None:
        """Queue what belongs to one request. Raises Closed and, if bounded, Busy."""
        with self._change:
            if bounded:
                self.refuse(len(items))
            elif self.closed:
                raise Closed
            for item in items:
                self._queue.put(item.caller, item, item.cost)
                self._seen[item.caller] = monotonic()
                self._seen.move_to_end(item.caller)
            self._change.notify()

    def refuse(self, more: int) -> None:
        """Raise Closed; raise Busy where so many more would not fit, and are more than a share.

        A caller who has little in the queue is let in, however much others have filled it with.
        """
        with self._change:
            if self.closed:
                raise Closed
            if self._fits(more):
                return
            self._queue.drop(lambda item: not item.is_wanted())
            if self._fits(more):
                return
            caller = asking.get()
            others = len({*self._queue.callers, *self._pending} - {caller})
            if not others or self._queue.count(caller) + more > self._most // (others + 1):
                raise Busy

    def _fits(self, more: int) -> bool:
        # A lone request may fill the queue, however many queries it brings.
        return not self.waiting or self.waiting + more <= self._most

    def look_now(self) -> None:
        """Have `next` return though nothing waits."""
        with self._change:
            self.next_look = monotonic()
            self._change.notify()

    def close(self) -> None:
        """Take no more, and drop what waits."""
        with self._change:
            self.closed = True
            dropped = self._queue.drain()
            self._change.notify_all()
        for item in dropped:
            item.fail(Closed())

    # --- from the model's thread ---------------------------------------------------------------

    def next(self) -> Item | None:
        """Wait for the next query or task; None when it is time to look around, or to end."""
        with self._change:
            while not self.closed:
                item = self._queue.take(self._is_shown, forfeit=True)
                if item is not None:
                    if item.is_wanted():
                        return item
                    self.leave_out(item)
                    continue
                pause = self.next_look - monotonic()
                if pause <= 0:
                    break
                self._change.wait(None if pause == inf else pause)
            return None

    def leave_out(self, item: Item) -> None:
        """Count late queries, and drop queries that no client waits for."""
        if isinstance(item, Waiting) and not item.future.done():
            self._metrics.late.inc()
        if isinstance(item, Task):
            item.fail(TimeoutError())

    def gather(
        self, first: Waiting, batch: list[Item], group_of: Callable[[Waiting], Hashable]
    ) -> None:
        """Add to a batch what can be answered with its first query: what is of the same group.

        Waits a little for more; not for one that comes alone, as the last did.
        """
        group = group_of(first)
        with self._change:
            self._wait_for_more()
            cost, heavy = first.cost, first.heavy_cost
            most = BATCH_COST * self._size
            most_heavy = HEAVY_S / self._pace if self._pace and self._is_crowded() else inf
            most_heavy = max(most_heavy, heavy)

            def fits(one: Item) -> bool:
                return (
                    isinstance(one, Waiting)
                    and cost + one.cost <= most
                    and heavy + one.heavy_cost <= most_heavy
                    and self._is_shown(one)
                    and group_of(one) == group
                )

            while len(batch) < self._size:
                item = self._queue.take(fits)
                if not isinstance(item, Waiting):
                    break
                if not item.is_wanted():
                    self.leave_out(item)
                    continue
                batch.append(item)
                cost, heavy = cost + item.cost, heavy + item.heavy_cost
            self._last = len(batch)

    def _wait_for_more(self) -> None:
        until = monotonic() + (self._wait if self._last > 1 else 0.0)
        while len(self._queue) + 1 < self._size and not self.closed:
            pause = until - monotonic()
            if pause <= 0:
                break
            self._change.wait(pause)

    def _is_crowded(self) -> bool:
        """Tell whether several callers have asked of late."""
        while self._seen and next(iter(self._seen.values())) < monotonic() - CROWD_S:
            self._seen.popitem(last=False)
        return len({*self._seen, *self._queue.callers}) > 1

    def _is_shown(self, item: Item) -> bool:
        """Tell whether the caller's former answers have been sent, but for a few."""
        return isinstance(item, Task) or self._pending[item.caller] < MAX_PENDING_HITS

    def note_pace(self, seconds: float, cost: float) -> None:
        """Note how long a batch took."""
        pace = seconds / cost
        self._pace += PACE_WEIGHT * (pace - self._pace) if self._pace else pace

    def note_pending(self, caller: Hashable, hits: int) -> None:
        """Note that so many hits more, or fewer, of a caller wait for snippets."""
        with self._change:
            self._pending[caller] += hits
            if not self._pending[caller]:
                del self._pending[caller]
            self._change.notify_all()
