"""Prometheus metrics of one server."""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCH_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

__all__ = ["CONTENT_TYPE", "Metrics"]


class Metrics:
    """The metrics of one server; labels never contain a query, a key or a token."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.seconds = Histogram(
            "genir_request_seconds",
            "Time from a request's first byte to the last of its answer.",
            ["route", "method"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.requests = Counter(
            "genir_requests", "Requests answered.", ["route", "method", "status"], registry=registry
        )
        self.batch = Histogram(
            "genir_batch_queries",
            "Queries in a batch.",
            buckets=BATCH_SIZE_BUCKETS,
            registry=registry,
        )
        self.waited = Histogram(
            "genir_queue_seconds",
            "Time queries waited for their batch.",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.late = Counter(
            "genir_late_queries",
            "Queries dropped because their deadline had passed.",
            registry=registry,
        )
        self.cache = Counter(
            "genir_cache", "Queries looked up in the answer cache.", ["outcome"], registry=registry
        )
        self.changes = Counter(
            "genir_changes", "Changes committed by this server.", ["kind"], registry=registry
        )
        self.swaps = Counter("genir_models_swapped", "Models swapped in.", registry=registry)
        self.sync_failures = Counter(
            "genir_sync_failures",
            "Times the changes of other processes could not be read.",
            registry=registry,
        )

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge whose value is computed when the metrics are read."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def exposition(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self.registry)
