"""Hold idle and slow connections to a server, and time a normal client beside them.

The server runs with a limit of `--files` open files, the slow clients in a separate process. A
connection that the server closes is opened again after five seconds.
"""

from genir.signals import guard

guard(__name__)  # before the slow imports

import asyncio
import os
import resource
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, sleep
from typing import Annotated
from urllib.parse import urlsplit

import httpx2 as httpx
import numpy as np
import typer

from benchmarks.load.server import resident_bytes, started
from genir.cli import guarded
from genir.console import print_line
from genir.errors import InputError, did_you_mean

HEAD = b"POST /v1/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
QUERY = {"query": "copy a file", "k": 5}
PAUSE_S = 0.05
"""Seconds between two requests of the normal client."""
RECONNECT_S = 5.0
SLOW_BUFFER_BYTES = 4_096
"""Receive buffer of a client that reads nothing, soon full."""


def repeat(
    opening: bytes, piece: bytes, pause_s: float
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Return a client that sends an opening, then a piece again and again, and reads nothing."""

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(opening)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return run


async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send nothing until the server closes the connection."""
    await reader.read()


KINDS = {
    "idle": wait,
    "slow headers": repeat(HEAD, b"a", 1.0),
    "slow bodies": repeat(HEAD + b'Content-Length: 1000000\r\n\r\n{"query": "', b"a", 1.0),
    "endless headers": repeat(HEAD, b"a: b\r\n" * 700, 0.2),
    "unread answers": repeat(b"", b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 5.0),
}


async def hold(address: str, kind: str) -> None:
    """Keep one connection of a kind open forever."""
    parts = urlsplit(address)
    while True:
        connection = socket.socket()
        connection.setblocking(False)
        if kind == "unread answers":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER_BYTES)
        with suppress(OSError):
            place = (parts.hostname, parts.port)
            await asyncio.get_running_loop().sock_connect(connection, place)
            reader, writer = await asyncio.open_connection(sock=connection)
            try:
                await KINDS[kind](reader, writer)
            finally:
                writer.transport.abort()
        connection.close()
        await asyncio.sleep(RECONNECT_S)


def attack(address: str, kinds: Sequence[str], connections: int) -> None:
    """Hold connections of some kinds until the process is terminated."""
    os.nice(10)  # real clients take no time of the server's processor
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def run() -> None:
        every = (kinds[number % len(kinds)] for number in range(connections))
        await asyncio.gather(*(hold(address, kind) for kind in every))

    asyncio.run(run())


def time_searches(address: str, seconds: float) -> str:
    """Search over new connections, one at a time; return the figures as a line."""
    times, failed, end = list[float](), Counter[str](), perf_counter() + seconds
    while perf_counter() < end:
        begin = perf_counter()
        try:
            with httpx.Client(base_url=address, timeout=30, trust_env=False, verify=False) as one:
                one.post("/v1/search", json=QUERY).raise_for_status()
            times.append(1000 * (perf_counter() - begin))
        except httpx.HTTPStatusError as error:
            failed[str(error.response.status_code)] += 1
        except httpx.TransportError as error:
            failed[type(error).__name__] += 1
        sleep(PAUSE_S)
    p50, p99, slowest = np.percentile(times or [0.0], [50, 99, 100])
    return (
        f"{len(times)} answers, {failed.total()} failed {dict(failed)}; median {p50:.0f} ms, "
        f"p99 {p99:.0f} ms, slowest {slowest:.0f} ms"
    )


def main(
    model: Annotated[Path, typer.Argument(help="a model folder")],
    connections: Annotated[int, typer.Option(help="number of slow connections")] = 2_000,
    seconds: Annotated[float, typer.Option(help="duration for each kind")] = 30.0,
    only: Annotated[str, typer.Option(help="one kind, none, or all together")] = "",
    files: Annotated[int, typer.Option(help="limit of open files of the server")] = 1_024,
) -> None:
    """Print a line for each kind of connection, and one for all kinds together."""
    cases = {"none": [], **{kind: [kind] for kind in KINDS}, "all": [*KINDS]}
    if only and only not in cases:
        raise InputError(f"--only {only!r}: unknown kind{did_you_mean(only, cases)}")
    with started(model, max_files=files) as (process, address):
        for name in [only] if only else cases:
            arguments = (address, cases[name], connections if cases[name] else 0)
            attacker = get_context("spawn").Process(target=attack, args=arguments)
            attacker.start()
            try:
                figures = time_searches(address, seconds)
            finally:
                attacker.terminate()
                attacker.join()
            print_line(f"{name}: {figures}; server {resident_bytes(process.pid) // 2**20} MiB")


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
