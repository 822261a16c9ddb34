"""Load test of `genir benchmark load`: concurrent clients of one server, with document changes.

The server runs as a separate process on a copy of the model folder. The clients speak HTTP over raw
sockets, to use little CPU on the same machine.
"""

import asyncio
import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic, perf_counter
from urllib.parse import urlsplit

import numpy as np

from genir.arguments import is_blank
from genir.atomic_dirs import temporary_folder
from genir.corpus.store import DocumentStore
from genir.corpus.tokens import join_words, words
from genir.errors import InputError
from genir.signals import on_leave

WARM_UP_S = 3.0
"""Seconds of load before the measurement; the writer's copy of the model is loaded in them."""
CHANGE_EVERY_S = 0.5
"""Seconds between changes."""
PAUSE = 0.1
"""Seconds until a client retries after a broken connection."""
MIN_SEARCHES = 100
"""Minimum number of timed searches for a 99th percentile that differs from the maximum."""
START = "import sys; from genir.cli import main; sys.argv[0] = 'genir'; main()"


@dataclass(frozen=True)
class Load:
    """Parameters of a load test; `flags` are further options of `genir serve`."""

    clients: int = 64
    seconds: float = 300.0
    batching: bool = True
    changes: bool = True
    k: int = 10
    flags: tuple[str, ...] = ()


@dataclass
class LoadStats:
    """Counts and times of responses.

    Attributes:
        seconds: Duration of the measurement.
        statuses: Number of responses by route and status; "broken" for a connection without one.
        wrong: Number of responses other than 2xx.
        searches: Number of successful searches.
        changes: Number of changes.
        milliseconds: Times of successful searches; fast errors would bias them.
        memory: Samples of the server's resident memory in bytes.
    """

    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    searches: int = 0
    changes: int = 0
    milliseconds: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def note(self, route: str, status: int, took: float) -> None:
        """Count a response, with status 0 for a broken connection; only searches are timed."""
        self.statuses[f"{route} {status or 'broken'}"] += 1
        answered = 200 <= status < 300
        self.wrong += not answered
        if route == "search" and answered:
            self.searches += 1
            self.milliseconds.append(took * 1000)
        elif route == "change":
            self.changes += 1

    def to_dict(self) -> dict[str, object]:
        """Return the figures. Raises InputError if no search was successful."""
        statuses = dict(sorted(self.statuses.items()))
        if not self.searches:
            counts = ", ".join(f"{count} times {name}" for name, count in statuses.items())
            raise InputError(
                f"no search was answered ({counts or 'none was sent'}); check that the queries "
                "are shorter than --max-query of genir serve, and give more minutes"
            )
        p50, p99 = np.percentile(self.milliseconds, [50, 99])
        return {
            "searches": self.searches,
            "changes": self.changes,
            "seconds": round(self.seconds, 1),
            "searches_per_second": round(self.searches / max(self.seconds, 1e-9), 1),
            "p50_ms": round(float(p50), 1),
            "p99_ms": round(float(p99), 1),
            "wrong_statuses": self.wrong,
            "statuses": statuses,
            "memory_mb": [round(size / 2**20) for size in _thin(self.memory)],
        }


def _thin(sizes: Sequence[int], most: int = 12) -> Sequence[int]:
    """Return the first, the last and at most `most` evenly spaced samples."""
    step = max(1, (len(sizes) - 1) // (most - 1)) if len(sizes) > 1 else 1
    return [*sizes[:-1:step], *sizes[-1:]]


class Connection:
    """A persistent HTTP/1.1 connection with one request at a time."""

    def __init__(self, address: str, token: str = "") -> None:
        parts = urlsplit(address)
        self._place = parts.hostname or "", parts.port or 80
        self._token = f"Authorization: Bearer {token}\r\n" if token else ""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Send a request; return status and body. Raises OSError for a broken connection."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._place)
        reader, writer = self._streams
        content = b"" if body is None else json.dumps(body).encode()
        host = f"{self._place[0]}:{self._place[1]}"
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"{self._token}Content-Length: {len(content)}\r\n\r\n".encode()
            + content
        )
        try:
            return await self._answer(reader)
        except (asyncio.IncompleteReadError, ValueError) as error:
            await self.close()
            raise ConnectionError(f"incomplete response: {error}") from None

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        status = int(head[0].split()[1])
        facts = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
        content = await reader.readexactly(int(facts.get("content-length", "0")))
        if facts.get("connection") == "close":
            await self.close()
        return status, content

    async def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Run:
    """One run of a load test."""

    def __init__(self, address: str, queries: Sequence[str], load: Load) -> None:
        self.address, self.queries, self.load = address, queries, load
        self.tally = LoadStats()
        self.until = 0.0

    async def run(self) -> LoadStats:
        """Warm up, then measure; return the counts and times."""
        if self.load.changes:
            await self._change(Connection(self.address), 0, LoadStats())
        await self._all(min(WARM_UP_S, self.load.seconds))
        self.tally, start = LoadStats(), perf_counter()
        await self._all(self.load.seconds)
        self.tally.seconds = perf_counter() - start
        return self.tally

    async def _all(self, seconds: float) -> None:
        self.until = monotonic() + seconds
        clients = [self._search(random.Random(seed)) for seed in range(self.load.clients)]
        beside = [self._sample_memory()] + ([self._changes()] if self.load.changes else [])
        await asyncio.gather(*clients, *beside)

    async def _search(self, rng: random.Random) -> None:
        connection = Connection(self.address)
        while monotonic() < self.until:
            body = {"query": rng.choice(self.queries), "k": self.load.k}
            await self._send(connection, self.tally, "search", ("POST", "/v1/search", body))
        await connection.close()

    async def _send(
        self,
        connection: Connection,
        tally: LoadStats,
        route: str,
        question: tuple[str, str, object],
    ) -> None:
        """Send a request and count its response; reconnect after a broken connection."""
        start = perf_counter()
        try:
            status, _ = await connection.send(*question)
        except OSError:
            await connection.close()
            status = 0
        tally.note(route, status, perf_counter() - start)
        if not status:
            await asyncio.sleep(PAUSE)

    async def _changes(self) -> None:
        """Add, replace and delete a document repeatedly."""
        connection, number = Connection(self.address), 1
        while monotonic() < self.until:
            await self._change(connection, number, self.tally)
            number += 1
            await asyncio.sleep(CHANGE_EVERY_S)
        await connection.close()

    async def _change(self, connection: Connection, number: int, tally: LoadStats) -> None:
        text = self.queries[number % len(self.queries)]
        document = {"_id": "load test", "title": text, "text": f"{text}. Load {number}.",
                    "url": "https://load.example.org/test"}  # fmt: skip
        for method, path, body in (
            ("POST", "/v1/documents", {"document": document}),
            ("POST", "/v1/documents", {"document": document | {"text": text}, "replace": True}),
            ("DELETE", "/v1/documents/load%20test", None),
        ):
            await self._send(connection, tally, "change", (method, path, body))

    async def _sample_memory(self) -> None:
        connection = Connection(self.address)
        while monotonic() < self.until:
            content = b""
            with suppress(OSError):  # a dead server shows in the search results
                _, content = await connection.send("GET", "/v1/metrics")
            await connection.close()  # the server may close idle connections before the next sample
            lines = (line.split() for line in content.decode().splitlines())
            sizes = [float(words[1]) for words in lines
                     if words[0] == "process_resident_memory_bytes"]  # fmt: skip
            self.tally.memory += map(int, sizes)
            await asyncio.sleep(min(5.0, max(0.2, self.load.seconds / 12)))


def run_load(model: Path, queries: Path | None, load: Load) -> dict[str, object]:
    """Run a load test on a copy of a model folder and return the figures.

    Args:
        model: The model folder.
        queries: Query file; None for passages of the documents.
        load: Parameters of the test.

    Raises:
        InputError: The model folder or the query file is invalid.
    """
    asked = _read(queries) if queries else _pieces(model)
    with temporary_folder() as place:
        try:
            folder = shutil.copytree(model, Path(place) / model.name)
        except OSError as error:
            raise InputError(f"{model}: cannot be copied ({error})") from None
        with started(folder, load) as (_, address):
            tally = asyncio.run(Run(address, asked, load).run())
    shown = {name: value for name, value in asdict(load).items() if name != "flags"}
    return shown | tally.to_dict()


def few_searches_warning(searches: int) -> str:
    """Return a warning if there are too few searches for a 99th percentile, else ""."""
    if searches >= MIN_SEARCHES:
        return ""
    return f"p99 is close to the maximum of {searches} times; give more minutes"


@contextmanager
def started(folder: Path, load: Load) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a server process on a model folder; yield the process and its address."""
    flags = ["--port", "0", "--cache", "0", *load.flags]
    if not load.batching:
        flags.append("--no-batching")
    process = subprocess.Popen(
        [sys.executable, "-c", START, "serve", str(folder), *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        with on_leave(process.terminate):
            line = process.stderr.readline()
            if " answers at " not in line:
                raise InputError(f"the server did not start: {line}{process.stderr.read()}")
            yield process, line.split(" answers at ")[1].split()[0]
    finally:
        process.terminate()
        process.stderr.close()
        process.wait(60)


def _read(path: Path) -> list[str]:
    from genir.corpus.readers import read_queries

    return [query.text for query in read_queries(path).values()]


def _pieces(model: Path, count: int = 5_000) -> list[str]:
    """Return random passages of 3 to 8 words from the documents."""
    store, rng, found = DocumentStore(model / "documents.sqlite"), random.Random(0), list[str]()
    numbers = [rng.randrange(len(store)) for _ in range(count)]
    for number in numbers:
        read = words(f"{store[number].title} {store[number].text}")
        start = rng.randrange(max(1, len(read) - 3))
        found.append(join_words(read[start : start + rng.randint(3, 8)])[:500])
    store.close()
    return [text for text in found if not is_blank(text)]
