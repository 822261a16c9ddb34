"""The queue in front of the model: bounded, fair among callers, and grouped into batches.

Callers share the model by the cost of their queries (`turns`). While several callers are active,
a batch takes only a few queries of a large request, so that the other callers' queries fit in.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from math import inf
from time import monotonic

from genir.serving.fair_queue import FairQueue
from genir.serving.jobs import BASE_COST, PendingSearch, Task, current_caller
from genir.serving.metrics import Metrics
from genir.serving.settings import Settings

LIGHT_COST = 4 * BASE_COST
"""Maximum cost of a request whose queries share a batch without restriction."""
BATCH_COST = 1.5 * BASE_COST
"""Maximum cost of a batch, per query of `--max-batch`."""
HEAVY_S = 0.03
"""Seconds of a batch for queries of large requests while several callers are active."""
CROWDED_WAIT_S = 1.0
"""Seconds after its last request during which a caller counts as active."""
MAX_PENDING_HITS = 2_000
"""Hits of one caller that may wait for snippets before its next query has to wait."""
RATE_WEIGHT = 0.2
"""Weight of the last batch in the moving average of seconds per unit of cost."""

Item = PendingSearch | Task


class QueueFull(Exception):
    """The queue is full; retry later."""


class ShuttingDown(Exception):
    """The server is shutting down."""


class Backlog:
    """Queries and tasks in fair order. Thread-safe."""

    def __init__(
        self, settings: Settings, metrics: Metrics, elsewhere: Callable[[], int] = lambda: 0
    ) -> None:
        """Create an empty queue. `elsewhere()` counts the items that wait in other threads."""
        self._metrics, self._elsewhere, self._most = metrics, elsewhere, settings.queue
        self._size = settings.max_batch if settings.batching else 1
        self._wait = settings.max_wait_ms / 1000 if settings.batching else 0.0
        self._queue: FairQueue[Item] = FairQueue()
        self._change = threading.Condition()
        self._last = 0  # queries in the last batch
        self._pace = 0.0  # seconds per unit of cost, moving average
        self._seen: OrderedDict[Hashable, float] = OrderedDict()  # caller -> last request
        self._pending: Counter[Hashable] = Counter()  # caller -> hits that wait for snippets
        self.next_sync = inf  # time at which `next` returns even if the queue is empty
        self.closed = False

    @property
    def waiting(self) -> int:
        """Number of waiting items, here and in other threads."""
        return len(self._queue) + self._elsewhere()

    # --- from the event loop -------------------------------------------------------------------

    def put(self, items: Sequence[Item], bounded: bool = True) -> None:
        """Queue the items of one request. Raises ShuttingDown and, if bounded, QueueFull."""
        with self._change:
            if bounded:
                self.require_room(len(items))
            elif self.closed:
                raise ShuttingDown
            for item in items:
                self._queue.put(item.caller, item, item.cost)
                self._seen[item.caller] = monotonic()
                self._seen.move_to_end(item.caller)
            self._change.notify()

    def require_room(self, more: int) -> None:
        """Raise ShuttingDown if closed, QueueFull if `more` items exceed queue and caller's share.

        A caller with few items in the queue is accepted even if others have filled it.
        """
        with self._change:
            if self.closed:
                raise ShuttingDown
            if self._fits(more):
                return
            self._queue.drop(lambda item: not item.is_wanted())
            if self._fits(more):
                return
            caller = current_caller.get()
            others = len({*self._queue.callers, *self._pending} - {caller})
            if not others or self._queue.count(caller) + more > self._most // (others + 1):
                raise QueueFull

    def _fits(self, more: int) -> bool:
        # A request of any size is accepted by an empty queue.
        return not self.waiting or self.waiting + more <= self._most

    def sync_now(self) -> None:
        """Make `next` return even if the queue is empty."""
        with self._change:
            self.next_sync = monotonic()
            self._change.notify()

    def close(self) -> None:
        """Refuse new items and drop waiting ones."""
        with self._change:
            self.closed = True
            dropped = self._queue.drain()
            self._change.notify_all()
        for item in dropped:
            item.fail(ShuttingDown())

    # --- from the model's thread ---------------------------------------------------------------

    def next(self) -> Item | None:
        """Wait for the next query or task; None when it is time to poll, or to end."""
        with self._change:
            while not self.closed:
                item = self._queue.take(self._is_shown, forfeit=True)
                if item is not None:
                    if item.is_wanted():
                        return item
                    self.skip(item)
                    continue
                pause = self.next_sync - monotonic()
                if pause <= 0:
                    break
                self._change.wait(None if pause == inf else pause)
            return None

    def skip(self, item: Item) -> None:
        """Drop an item that is late or has no client left; late queries are counted."""
        if isinstance(item, PendingSearch) and not item.future.done():
            self._metrics.late.inc()
        if isinstance(item, Task):
            item.fail(TimeoutError())

    def gather(
        self, first: PendingSearch, batch: list[Item], group_of: Callable[[PendingSearch], Hashable]
    ) -> None:
        """Add queries of the same group as the first one to a batch.

        Waits `--max-wait-ms` for more queries, unless the last batch had only one.
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
                    isinstance(one, PendingSearch)
                    and cost + one.cost <= most
                    and heavy + one.heavy_cost <= most_heavy
                    and self._is_shown(one)
                    and group_of(one) == group
                )

            while len(batch) < self._size:
                item = self._queue.take(fits)
                if not isinstance(item, PendingSearch):
                    break
                if not item.is_wanted():
                    self.skip(item)
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
        """Return whether several callers are active."""
        while self._seen and next(iter(self._seen.values())) < monotonic() - CROWDED_WAIT_S:
            self._seen.popitem(last=False)
        return len({*self._seen, *self._queue.callers}) > 1

    def _is_shown(self, item: Item) -> bool:
        """Return whether the snippets of the caller's previous answers are nearly done."""
        return isinstance(item, Task) or self._pending[item.caller] < MAX_PENDING_HITS

    def record_rate(self, seconds: float, cost: float) -> None:
        """Update the moving average of seconds per unit of cost."""
        pace = seconds / cost
        self._pace += RATE_WEIGHT * (pace - self._pace) if self._pace else pace

    def record_pending(self, caller: Hashable, hits: int) -> None:
        """Change the number of a caller's hits that wait for snippets by `hits`."""
        with self._change:
            self._pending[caller] += hits
            if not self._pending[caller]:
                del self._pending[caller]
            self._change.notify_all()
