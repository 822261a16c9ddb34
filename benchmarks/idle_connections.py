"""Hold idle and slow connections to a server, and time an honest client beside them.

python -m benchmarks.idle_connections MODEL [--connections N] [--seconds S] [--files N]

Kinds: idle, slow headers, slow bodies, endless headers, unread answers. A connection that the
server closes is opened again after five seconds. The server runs with `ulimit -n` at `--files`,
the slow clients and the honest one in processes of their own.
"""

import argparse
import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

import typer

from genir.serving.load import START

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Slow = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HEAD = b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
QUERY = json.dumps({"query": "copy a file", "k": 5}).encode()
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(QUERY), QUERY)
BETWEEN = 0.05
"""Seconds between two questions of the honest client."""
AGAIN = 5.0
"""Seconds after which a slow client connects again."""


@dataclass
class Tally:
    """What the honest client saw. seconds: of each answer; failed: by reason."""

    seconds: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)

    def told(self) -> str:
        """Return the figures as a line."""
        ordered = sorted(self.seconds) or [0.0]
        p99 = ordered[int(0.99 * (len(ordered) - 1))]
        return (
            f"{len(self.seconds)} answers, {sum(self.failed.values())} failed "
            f"{dict(self.failed)}; median {1000 * ordered[len(ordered) // 2]:.0f} ms, "
            f"p99 {1000 * p99:.0f} ms, slowest {1000 * ordered[-1]:.0f} ms"
        )


async def idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send nothing."""
    await reader.read()


async def slow_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a byte of a header a second."""
    await _drip(writer, HEAD, b"a")


async def slow_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a byte of a body a second."""
    await _drip(writer, HEAD + b'Content-Length: 1000000\r\n\r\n{"query": "', b"a")


async def endless_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send 4 KiB of headers five times a second, without an end."""
    writer.write(HEAD)
    while True:
        writer.write(b"a: b\r\n" * 700)
        await writer.drain()
        await asyncio.sleep(0.2)


async def unread(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ask for a long answer every five seconds, and read none."""
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    while True:
        writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(5)


KINDS: dict[str, Slow] = {
    "idle": idle,
    "slow headers": slow_headers,
    "slow bodies": slow_body,
    "endless headers": endless_headers,
    "unread answers": unread,
}


async def _drip(writer: asyncio.StreamWriter, opening: bytes, drop: bytes) -> None:
    writer.write(opening)
    while True:
        writer.write(drop)
        await writer.drain()
        await asyncio.sleep(1)


async def hold(place: tuple[str, int], kind: Slow) -> None:
    """Keep one connection of a kind open for ever."""
    while True:
        with suppress(OSError):
            reader, writer = await _open(place, small=kind is unread)
            try:
                await kind(reader, writer)
            finally:
                writer.transport.abort()
        await asyncio.sleep(AGAIN)


def attack(address: str, kinds: Sequence[str], connections: int) -> None:
    """Hold connections until the process is ended."""
    os.nice(10)  # real ones take no time of the server's processor
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def run() -> None:
        asked = [KINDS[kinds[number % len(kinds)]] for number in range(connections)]
        await asyncio.gather(*(hold(_place(address), kind) for kind in asked))

    asyncio.run(run())


def _place(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    return parts.hostname or "", parts.port or 80


async def _open(place: tuple[str, int], small: bool) -> Streams:
    """Connect; small: with a receive buffer that is soon full."""
    connection = socket.socket()
    connection.setblocking(False)
    if small:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    try:
        await asyncio.get_running_loop().sock_connect(connection, place)
    except BaseException:
        connection.close()
        raise
    return await asyncio.open_connection(sock=connection)


async def ask(place: tuple[str, int], tally: Tally, until: float) -> None:
    """Search over a new connection, again and again."""
    while perf_counter() < until:
        begun = perf_counter()
        try:
            reader, writer = await asyncio.open_connection(*place)
            writer.write(WHOLE)
            status = (await asyncio.wait_for(reader.readline(), 30)).split()
            took = perf_counter() - begun
            writer.close()
            if status[1:2] == [b"200"]:
                tally.seconds.append(took)
            else:
                tally.failed[status[1].decode() if status else "closed"] += 1
        except (OSError, TimeoutError) as error:
            tally.failed[type(error).__name__] += 1
        await asyncio.sleep(BETWEEN)


def measure(address: str, kinds: Sequence[str], connections: int, seconds: float) -> Tally:
    """Hold connections of some kinds in another process; return what an honest client sees."""
    tally, attacker = Tally(), None
    if kinds:
        attacker = get_context("spawn").Process(target=attack, args=(address, kinds, connections))
        attacker.start()
    try:
        asyncio.run(ask(_place(address), tally, perf_counter() + seconds))
    finally:
        if attacker is not None:
            attacker.terminate()
            attacker.join()
    return tally


@contextmanager
def served(model: Path, files: int, flags: Sequence[str] = ()) -> Iterator[tuple[int, str]]:
    """Run `genir serve` with a limit on open files; yield its process id and address."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files})); "
    process = subprocess.Popen(
        [sys.executable, "-c", limit + START, "serve", str(model), "--port", "0", *flags],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        if " answers at " not in line:
            raise SystemExit(f"the server did not start: {line}{process.stderr.read()}")
        yield process.pid, line.split(" answers at ")[1].split()[0]
    finally:
        process.terminate()
        process.wait(60)
        process.stderr.close()


def resident(process: int) -> int:
    """Return the resident size of a process in bytes."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    """Print a line for each kind of connection, and one for all of them together."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("model", type=Path, help="a model folder")
    parser.add_argument("--connections", type=int, default=2_000, help="held at a time")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each kind")
    parser.add_argument("--only", choices=[*KINDS, "all"], help="one kind, or all together")
    parser.add_argument("--files", type=int, default=1_024, help="ulimit -n of the server")
    asked = parser.parse_args()
    with served(asked.model, asked.files) as (process, address):
        for name, kinds in {"none": (), **{one: (one,) for one in KINDS}, "all": KINDS}.items():
            if asked.only not in (None, name):
                continue
            tally = measure(address, tuple(kinds), asked.connections, asked.seconds)
            typer.echo(f"{name}: {tally.told()}; server {resident(process) // 2**20} MiB")


if __name__ == "__main__":
    main()
