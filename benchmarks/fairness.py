"""Fairness of the server: an honest client alone, then beside greedy ones.

    python -m benchmarks.fairness MODEL [--queries 256] [--k 1000] [--greedy 4] [--seconds 60]

A server of its own answers from a copy of MODEL; every caller has a token. Each greedy caller sends
its largest request again as soon as the last one is answered, over one connection. The honest one
asks one query at a time. Exit code 1 where it times out or waits over 5 times as long as alone
(95th percentile).
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

from genir.console import print_line
from genir.folders import temporary_folder
from genir.serving.load import Connection, Load, _pieces, started
from genir.serving.tokens import Wish, new_token

MAX_RATIO = 5.0
"""How many times the quiet 95th percentile an honest client may wait beside greedy ones."""
PAUSE_S = 0.05
"""Seconds between two queries of the honest client."""


class Honest:
    """A client that asks one query at a time."""

    def __init__(self, connection: Connection, pieces: list[str]) -> None:
        self.connection, self.pieces = connection, pieces
        self.random = random.Random(1)

    async def ask(self, seconds: float) -> tuple[list[float], Counter[int]]:
        """Ask for a time; return the milliseconds of each answer, and the statuses."""
        until, took, statuses = monotonic() + seconds, list[float](), Counter[int]()
        while monotonic() < until:
            body = {"query": self.random.choice(self.pieces), "k": 10}
            begun = perf_counter()
            status, _ = await self.connection.ask("POST", "/v1/search", body)
            took.append((perf_counter() - begun) * 1000)
            statuses[status] += 1
            await asyncio.sleep(PAUSE_S)
        return took, statuses


async def be_greedy(connection: Connection, body: dict[str, object], told: Counter[int]) -> None:
    """Ask for as much as a request may, again and again."""
    while True:
        status, _ = await connection.ask("POST", "/v1/search", body)
        told[status] += 1
        if status != 200:
            await asyncio.sleep(0.1)


async def measure(
    address: str, pieces: list[str], secrets: list[str], given: argparse.Namespace
) -> dict[str, object]:
    """Return the figures of the honest client: alone, then beside the others."""
    honest = Honest(Connection(address, secrets[0]), pieces)
    await honest.ask(3.0)
    quiet, quiet_statuses = await honest.ask(given.seconds / 2)
    told = Counter[int]()
    body = {"queries": pieces[: given.queries], "k": given.k}
    others = [
        asyncio.create_task(be_greedy(Connection(address, secret), body, told))
        for secret in secrets[1:]
    ]
    await asyncio.sleep(2.0)
    beside, statuses = await honest.ask(given.seconds)
    for other in others:
        other.cancel()
    before, after = (quantiles(one, n=20)[18] for one in (quiet, beside))
    return {
        "greedy": f"{given.greedy} x {given.queries} queries x k = {given.k}",
        "greedy_statuses": dict(told),
        "quiet_p95_ms": round(before, 1),
        "beside_p95_ms": round(after, 1),
        "beside_max_ms": round(max(beside), 1),
        "ratio": round(after / before, 2),
        "asked": len(quiet) + len(beside),
        "failed": sum(n for status, n in (quiet_statuses + statuses).items() if status != 200),
        "timeouts": statuses[504],
    }


def main() -> int:
    """Measure, print the figures as JSON, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("model", type=Path)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--k", type=int, default=1000)
    parser.add_argument("--greedy", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    with temporary_folder() as place:
        folder = shutil.copytree(given.model, Path(place) / given.model.name)
        tokens = Path(place) / "tokens.json"
        secrets = [new_token(tokens, Wish(f"caller-{n}")) for n in range(given.greedy + 1)]
        pieces = _pieces(folder)
        with started(folder, Load(flags=("--tokens", os.fspath(tokens)))) as (_, address):
            figures = asyncio.run(measure(address, pieces, secrets, given))
    print_line(json.dumps(figures, indent=2))
    ratio, failed = figures["ratio"], figures["failed"]
    return int(bool(failed) or not isinstance(ratio, float) or ratio > MAX_RATIO)


if __name__ == "__main__":
    sys.exit(main())
