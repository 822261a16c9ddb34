"""How long one query takes, with all systems in the same minutes so that they share the noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from genir.arguments import as_texts
from genir.progress import tracked
from genir.records import Searcher

WARM_UP = 5
"""Queries that each system answers before the clock starts."""


@dataclass(frozen=True, slots=True)
class Latency:
    """The median and the 95th percentile of one query's time, in milliseconds."""

    p50: float
    p95: float


def latencies(
    systems: Mapping[str, Searcher], texts: str | Sequence[str], k: int = 10
) -> dict[str, Latency]:
    """Time one query at a time; at each query another system goes first. {} without queries."""
    texts = as_texts(texts, "texts")
    if not texts:
        return {}
    for searcher in systems.values():
        for text in texts[:WARM_UP]:
            searcher.search([text], k)
    names = list(systems)
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn, text in enumerate(tracked(texts, "timing")):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            start = perf_counter()
            systems[name].search([text], k)
            times[name].append(1000 * (perf_counter() - start))
    return {name: _latency(own) for name, own in times.items()}


def _latency(times: Sequence[float]) -> Latency:
    p50, p95 = np.percentile(times, [50, 95])
    return Latency(float(p50), float(p95))
