"""Latency of single queries, measured in alternating blocks per system.

Threads of a matrix library spin for some milliseconds after a query. A system with another library
that runs meanwhile competes with them, so alternating query by query would measure this
competition. Therefore each system answers a block of queries in a row. A block starts with untimed
queries, while the threads of the previous system go to sleep. Blocks alternate (A B C, B C A, ...),
so that all systems share the machine's noise.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from genir.arguments import as_texts
from genir.plurals import counted
from genir.progress import tracked
from genir.types import Searcher

WARM_UP_QUERIES = 5
"""Number of untimed queries at the start of each block."""
QUERIES_PER_BLOCK = 25
"""Number of timed queries per block."""
MIN_QUERIES = 20
"""Minimum number of timed queries; with fewer, the 95th percentile is close to the maximum."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Median and 95th percentile of the time per query, in milliseconds."""

    p50: float
    p95: float


def latencies(
    systems: Mapping[str, Searcher], texts: str | Sequence[str], k: int = 10
) -> dict[str, Latency]:
    """Time single queries in blocks that alternate between the systems; {} without queries."""
    texts = as_texts(texts, "texts")
    if not texts:
        return {}
    names = list(systems)
    times: dict[str, list[float]] = {name: [] for name in names}
    starts = range(0, len(texts), QUERIES_PER_BLOCK)
    other = _other_queries(texts)
    for turn, start in enumerate(tracked(starts, "timing")):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            for text in texts[max(0, start - WARM_UP_QUERIES) : start] or other:
                systems[name].search([text], k)
            times[name] += _timed(systems[name], texts[start : start + QUERIES_PER_BLOCK], k)
    return {name: Latency(*np.percentile(own, [50, 95]).tolist()) for name, own in times.items()}


def few_queries_warning(count: int) -> str:
    """Return a note if there are too few timed queries for a 95th percentile, else ""."""
    if count >= MIN_QUERIES:
        return ""
    times = counted(count, "time")
    return f"p95 is close to the longest of {times}; time at least {MIN_QUERIES} queries"


def _other_queries(texts: Sequence[str]) -> list[str]:
    """Return untimed queries as long as the last ones, but different, to avoid cache hits.

    Their words are reversed, and repeated as often as needed.
    """
    other, timed = list[str](), set(texts)
    for text in texts[-WARM_UP_QUERIES:]:
        words = text.split()[::-1] or ["query"]
        changed = " ".join(words)
        while changed in timed:
            changed = f"{changed} {words[0]}"
        other.append(changed)
    return other


def _timed(system: Searcher, texts: Sequence[str], k: int) -> Iterator[float]:
    for text in texts:
        start = perf_counter()
        system.search([text], k)
        yield 1000 * (perf_counter() - start)
