"""Load of concurrent clients on one server, beside changes of its documents."""

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import httpx2 as httpx
import numpy as np

from benchmarks.load.server import connect, passages, resident_bytes, started
from genir.atomic_dirs import temporary_folder
from genir.corpus.readers import read_queries
from genir.errors import InputError

WARM_UP_S = 3.0
"""Seconds of load before the measurement; the writer's copy of the model is loaded in them."""
CHANGE_EVERY_S = 0.5
"""Seconds between changes."""
PAUSE_S = 0.1
"""Seconds until a client retries after a broken connection."""
MIN_SEARCHES = 100
"""Minimum number of timed searches for a 99th percentile that differs from the maximum."""
DOCUMENT = {"_id": "load test", "url": "https://load.example.org/test"}


@dataclass(frozen=True)
class Load:
    """Parameters of a load test."""

    clients: int = 64
    seconds: float = 300.0
    batching: bool = True
    changes: bool = True
    k: int = 10


@dataclass
class LoadStats:
    """Counts and times of responses.

    Attributes:
        statuses: Number of responses by route and status; "broken" for a connection without one.
        milliseconds: Times of successful searches; fast errors would bias them.
        memory: Samples of the server's resident memory in bytes.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def add(self, route: str, status: int, seconds: float) -> None:
        """Count a response, with status 0 for a broken connection."""
        self.statuses[f"{route} {status or 'broken'}"] += 1
        if route == "search" and 200 <= status < 300:
            self.milliseconds.append(seconds * 1000)

    def to_dict(self, seconds: float) -> dict[str, Any]:
        """Return the figures of a number of seconds. Raises InputError without a search."""
        statuses, searches = dict(sorted(self.statuses.items())), len(self.milliseconds)
        if not searches:
            counts = ", ".join(f"{count} times {name}" for name, count in statuses.items())
            raise InputError(
                f"no search was answered ({counts or 'none was sent'}); check that the queries "
                "are shorter than --max-query of genir serve, and give more minutes"
            )
        p50, p99 = np.percentile(self.milliseconds, [50, 99])
        samples = self.memory[:: max(1, len(self.memory) // 12)] + self.memory[-1:]
        return {
            "searches": searches,
            "changes": sum(n for name, n in statuses.items() if name.startswith("change")),
            "seconds": round(seconds, 1),
            "searches_per_second": round(searches / max(seconds, 1e-9), 1),
            "p50_ms": round(float(p50), 1),
            "p99_ms": round(float(p99), 1),
            "wrong_statuses": sum(n for name, n in statuses.items() if " 2" not in name),
            "statuses": statuses,
            "memory_mb": [round(size / 2**20) for size in samples],
        }


class LoadTest:
    """Clients of one server, with one connection each."""

    def __init__(self, address: str, queries: Sequence[str], load: Load, process: int) -> None:
        self.address, self.queries, self.load, self.process = address, queries, load, process
        self.stats = LoadStats()

    async def run(self) -> dict[str, Any]:
        """Warm up, measure, and return the figures."""
        await self._all(min(WARM_UP_S, self.load.seconds))
        self.stats, start = LoadStats(), perf_counter()
        await self._all(self.load.seconds)
        return self.stats.to_dict(perf_counter() - start)

    async def _all(self, seconds: float) -> None:
        until = monotonic() + seconds
        tasks = [self._search(random.Random(seed), until) for seed in range(self.load.clients)]
        tasks += [self._sample_memory(until)] + ([self._change(until)] if self.load.changes else [])
        await asyncio.gather(*tasks)

    async def _send(self, client: httpx.AsyncClient, route: str, *request: Any) -> None:
        method, path, body = request
        begin = perf_counter()
        try:
            status = (await client.request(method, path, json=body)).status_code
        except httpx.TransportError:
            status = 0
        self.stats.add(route, status, perf_counter() - begin)
        if not status:
            await asyncio.sleep(PAUSE_S)

    async def _search(self, rng: random.Random, until: float) -> None:
        async with connect(self.address) as client:
            while monotonic() < until:
                body = {"query": rng.choice(self.queries), "k": self.load.k}
                await self._send(client, "search", "POST", "/v1/search", body)

    async def _change(self, until: float) -> None:
        async with connect(self.address) as client:
            for number in range(1_000_000):
                for request in _changes(self.queries[number % len(self.queries)], number):
                    await self._send(client, "change", *request)
                if monotonic() > until:
                    return
                await asyncio.sleep(CHANGE_EVERY_S)

    async def _sample_memory(self, until: float) -> None:
        while monotonic() < until:
            self.stats.memory.append(resident_bytes(self.process))
            await asyncio.sleep(min(5.0, max(0.2, self.load.seconds / 12)))


def _changes(text: str, number: int) -> Iterator[tuple[str, str, Any]]:
    """Yield requests that add, replace and delete a document."""
    document = {**DOCUMENT, "title": text, "text": f"{text}. Load {number}."}
    yield "POST", "/v1/documents", {"document": document}
    yield "POST", "/v1/documents", {"document": document | {"text": text}, "replace": True}
    yield "DELETE", "/v1/documents/load%20test", None


def run_load(model: Path, queries: Path | None, load: Load) -> dict[str, Any]:
    """Run a load test on a copy of a model folder and return the figures.

    Args:
        model: The model folder.
        queries: Query file; None for passages of the documents.
        load: Parameters of the test.

    Raises:
        InputError: The model folder or the query file is invalid, or no search was answered.
    """
    texts = [q.text for q in read_queries(queries).values()] if queries else passages(model)
    flags = ["--cache", "0", *([] if load.batching else ["--no-batching"])]
    with temporary_folder() as place:
        try:
            folder = shutil.copytree(model, Path(place) / model.name)
        except OSError as error:
            raise InputError(f"{model}: cannot be copied ({error})") from None
        with started(folder, *flags) as (process, address):
            figures = asyncio.run(LoadTest(address, texts, load, process.pid).run())
    return asdict(load) | figures


def few_searches_warning(searches: int) -> str:
    """Return a warning if there are too few searches for a 99th percentile, else ""."""
    if searches >= MIN_SEARCHES:
        return ""
    return f"p99 is close to the maximum of {searches} times; give more minutes"
