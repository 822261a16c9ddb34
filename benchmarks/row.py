"""One row from nothing to its result, in a process of its own: `python -m benchmarks.row`."""

from genir.signals import guard

guard(__name__)  # the imports below take time

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks import store
from benchmarks.budget import seconds_of
from benchmarks.corpora import build
from benchmarks.measure import Asking, measure
from benchmarks.origin import commit, processor
from benchmarks.parts import Bench, Trained, remove, train_row
from benchmarks.plan import Run, load_plan, runs
from genir.cli import guarded
from genir.errors import InputError


@dataclass(frozen=True)
class Places:
    """Where things are: the real collections, the work folder, the results.

    jobs: how many rows run there side by side.
    """

    data: Path
    work: Path
    results: Path
    jobs: int = 1


def complete(run: Run, places: Places) -> None:
    """Train a row, measure it, write its result, and remove its model.

    Raises InputError for bad input, Stopped on a signal: the same call goes on from there.
    """
    run = store.settled(places.results, run)
    if run.like is not None and run.taken is None:
        raise InputError(f"{run.place}: waits for {run.like.place}; run that one first")
    corpus = build(run.collection, places.data, places.work)
    bench = Bench(corpus, places.work, run.budget, run.taken or {})
    out = places.work / "rows" / f"{run.collection.name}-{run.name}-{run.digest}" / "model"
    out.parent.mkdir(parents=True, exist_ok=True)
    row = run.row
    trained = train_row(bench, row.recipe, row.settings, seconds_of(run.budget), out)
    began = time.monotonic()
    # Beside other rows, a query's time says little.
    timed = run.budget.timed if places.jobs == 1 else 0
    measured = measure(out, Asking(bench.corpus, places.work, timed))
    evaluating = round(time.monotonic() - began, 1)
    store.write(places.results, run, {**_head(run, trained, bench), "jobs": places.jobs,
                                      **measured, "evaluating": evaluating})  # fmt: skip
    remove(out)
    out.parent.rmdir()


def _head(run: Run, trained: Trained, bench: Bench) -> dict[str, Any]:
    """Return what a result says of where it comes from."""
    model = bench.shown(trained.place)
    corpus = bench.shown(bench.corpus)
    asking = (
        f"genir evaluate {model} --queries {corpus}/queries.jsonl --qrels {corpus}/qrels/test.tsv"
    )
    return {
        "collection": run.collection.name,
        "row": run.name,
        "recipe": run.row.recipe,
        "settings": list(run.row.settings),
        "digest": run.digest,
        "minutes": run.budget.minutes,
        **({"like": run.like.name} if run.like is not None else {}),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit(),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "commands": [*trained.commands, asking],
        "trained": [{**told, "dev": _short(told["dev"])} for told in trained.told],
    }


def _short(dev: dict[str, Any]) -> dict[str, Any]:
    return {key: dev[key] for key in ("questions", "RR@10", "Success@10")}


def main(arguments: Sequence[str]) -> None:
    """Run the row that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.row", description=__doc__)
    parser.add_argument("place", help="collection/row")
    for name in ("plan", "data", "work", "results"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args(arguments)
    known = {run.place: run for run in runs(load_plan(asked.plan, asked.minutes))}
    if asked.place not in known:
        raise InputError(f"{asked.plan}: no row {asked.place!r}")
    places = Places(asked.data, asked.work.resolve(), asked.results, asked.jobs)
    complete(known[asked.place], places)


if __name__ == "__main__":
    guarded(lambda: main(sys.argv[1:]))
