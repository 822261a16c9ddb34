"""Latency of one client of the server, alone and beside greedy clients.

The server runs on a copy of the model, and every client has a token. Each greedy client repeats the
largest allowed request over one connection. The other client sends one query at a time. Exit code 1
if it gets an error or a timeout, or if its 95th percentile rises more than fivefold.
"""

from genir.signals import guard

guard(__name__)  # before the slow imports

import asyncio
import os
import random
import shutil
from collections import Counter
from pathlib import Path
from time import monotonic, perf_counter
from typing import Annotated, Any

import httpx2 as httpx
import numpy as np
import typer

from benchmarks.load.server import connect, passages, started
from genir.atomic_dirs import temporary_folder
from genir.cli import guarded
from genir.console import print_json
from genir.serving.tokens import TokenSpec, new_token

MAX_RATIO = 5.0
"""Highest accepted ratio of the 95th percentiles beside greedy clients and alone."""
PAUSE_S = 0.05
"""Seconds between two queries of the measured client."""
WARM_UP_S = 3.0


async def time_queries(
    client: httpx.AsyncClient, texts: list[str], seconds: float, statuses: Counter[int]
) -> list[float]:
    """Send one query at a time; count the status codes and return the milliseconds."""
    rng, end, milliseconds = random.Random(1), monotonic() + seconds, list[float]()
    while monotonic() < end:
        begin = perf_counter()
        answer = await client.post("/v1/search", json={"query": rng.choice(texts), "k": 10})
        milliseconds.append((perf_counter() - begin) * 1000)
        statuses[answer.status_code] += 1
        await asyncio.sleep(PAUSE_S)
    return milliseconds


async def send_greedily(client: httpx.AsyncClient, body: Any, statuses: Counter[int]) -> None:
    """Repeat a request forever, and count the status codes."""
    while True:
        status = (await client.post("/v1/search", json=body)).status_code
        statuses[status] += 1
        if status != 200:
            await asyncio.sleep(0.1)


async def measure(
    address: str, texts: list[str], secrets: list[str], body: Any, seconds: float
) -> dict[str, Any]:
    """Return the figures of the measured client: alone, then beside the greedy ones."""
    measured, *others = [connect(address, secret) for secret in secrets]
    statuses, greedy_statuses = Counter[int](), Counter[int]()
    await time_queries(measured, texts, WARM_UP_S, Counter())
    alone = await time_queries(measured, texts, seconds / 2, statuses)
    tasks = [asyncio.create_task(send_greedily(one, body, greedy_statuses)) for one in others]
    await asyncio.sleep(2.0)
    beside = await time_queries(measured, texts, seconds, statuses)
    for task in tasks:
        task.cancel()
    alone_p95, beside_p95 = (float(np.percentile(times, 95)) for times in (alone, beside))
    return {
        "greedy_statuses": dict(greedy_statuses),
        "quiet_p95_ms": round(alone_p95, 1),
        "beside_p95_ms": round(beside_p95, 1),
        "beside_max_ms": round(max(beside), 1),
        "ratio": round(beside_p95 / alone_p95, 2),
        "asked": len(alone) + len(beside),
        "failed": statuses.total() - statuses[200],
        "timeouts": statuses[504],
    }


def main(
    model: Annotated[Path, typer.Argument(help="a model folder")],
    queries: Annotated[int, typer.Option(help="queries of a greedy request")] = 256,
    k: Annotated[int, typer.Option(help="hits of each of them")] = 1000,
    greedy: Annotated[int, typer.Option(help="number of greedy clients")] = 4,
    seconds: Annotated[float, typer.Option(help="duration beside greedy clients")] = 60.0,
) -> None:
    """Measure, print the figures as JSON, and compare them with the targets."""
    with temporary_folder() as place:
        folder = shutil.copytree(model, Path(place) / model.name)
        tokens, texts = Path(place) / "tokens.json", passages(folder)
        secrets = [new_token(tokens, TokenSpec(f"client-{n}")) for n in range(greedy + 1)]
        body = {"queries": texts[:queries], "k": k}
        with started(folder, "--cache", "0", "--tokens", os.fspath(tokens)) as (_, address):
            figures = asyncio.run(measure(address, texts, secrets, body, seconds))
    print_json(figures)
    raise typer.Exit(bool(figures["failed"]) or figures["ratio"] > MAX_RATIO)


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
