"""Latency of one client of the server, alone and beside greedy clients.

    python -m benchmarks.fairness MODEL [--queries 256] [--k 1000] [--greedy 4] [--seconds 60]

The server runs on a copy of MODEL, and every client has a token. Each greedy client repeats the
largest allowed request over one connection. The other client sends one query at a time. Exit code 1
if it gets an error or a timeout, or if its 95th percentile rises more than fivefold.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import sys
from collections import Counter
from pathlib import Path
from statistics import quantiles
from time import monotonic, perf_counter

from genir.atomic_dirs import temporary_folder
from genir.console import print_line
from genir.serving.load import Connection, Load, _pieces, started
from genir.serving.tokens import TokenSpec, new_token

MAX_RATIO = 5.0
"""Highest accepted ratio of the 95th percentiles beside greedy clients and alone."""
PAUSE_S = 0.05
"""Seconds between two queries of the measured client."""
WARM_UP_S = 3.0
Statuses = Counter[int]


async def time_queries(
    connection: Connection, texts: list[str], seconds: float
) -> tuple[list[float], Statuses]:
    """Send one query at a time; return the milliseconds and the status codes."""
    rng, end = random.Random(1), monotonic() + seconds
    milliseconds, statuses = list[float](), Statuses()
    while monotonic() < end:
        begin = perf_counter()
        body = {"query": rng.choice(texts), "k": 10}
        status, _ = await connection.send("POST", "/v1/search", body)
        milliseconds.append((perf_counter() - begin) * 1000)
        statuses[status] += 1
        await asyncio.sleep(PAUSE_S)
    return milliseconds, statuses


async def send_greedily(
    connection: Connection, body: dict[str, object], statuses: Statuses
) -> None:
    """Repeat a request forever, and count the status codes."""
    while True:
        status, _ = await connection.send("POST", "/v1/search", body)
        statuses[status] += 1
        if status != 200:
            await asyncio.sleep(0.1)


async def measure(
    address: str, texts: list[str], secrets: list[str], options: argparse.Namespace
) -> dict[str, object]:
    """Return the figures of the measured client: alone, then beside the greedy ones."""
    measured = Connection(address, secrets[0])
    await time_queries(measured, texts, WARM_UP_S)
    alone, alone_statuses = await time_queries(measured, texts, options.seconds / 2)
    greedy_statuses = Statuses()
    body = {"queries": texts[: options.queries], "k": options.k}
    greedy = [
        asyncio.create_task(send_greedily(Connection(address, secret), body, greedy_statuses))
        for secret in secrets[1:]
    ]
    await asyncio.sleep(2.0)
    beside, statuses = await time_queries(measured, texts, options.seconds)
    for task in greedy:
        task.cancel()
    alone_p95, beside_p95 = (quantiles(times, n=20)[18] for times in (alone, beside))
    all_statuses = alone_statuses + statuses
    return {
        "greedy": f"{options.greedy} x {options.queries} queries x k = {options.k}",
        "greedy_statuses": dict(greedy_statuses),
        "quiet_p95_ms": round(alone_p95, 1),
        "beside_p95_ms": round(beside_p95, 1),
        "beside_max_ms": round(max(beside), 1),
        "ratio": round(beside_p95 / alone_p95, 2),
        "asked": len(alone) + len(beside),
        "failed": all_statuses.total() - all_statuses[200],
        "timeouts": statuses[504],
    }


def main() -> int:
    """Measure, print the figures as JSON, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--k", type=int, default=1000)
    parser.add_argument("--greedy", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    with temporary_folder() as place:
        folder = shutil.copytree(options.model, Path(place) / options.model.name)
        tokens, texts = Path(place) / "tokens.json", _pieces(folder)
        secrets = [new_token(tokens, TokenSpec(f"client-{n}")) for n in range(options.greedy + 1)]
        with started(folder, Load(flags=("--tokens", os.fspath(tokens)))) as (_, address):
            figures = asyncio.run(measure(address, texts, secrets, options))
    print_line(json.dumps(figures, indent=2))
    ratio = figures["ratio"]
    return int(bool(figures["failed"]) or not isinstance(ratio, float) or ratio > MAX_RATIO)


if __name__ == "__main__":
    sys.exit(main())
