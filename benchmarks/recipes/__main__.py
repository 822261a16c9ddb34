"""`make results`: train and measure the rows without a current result, then write the pages.

Rows run one after the other. A failed row is reported and the next one runs. After Ctrl-C or
SIGTERM the same command continues from the last checkpoint.
"""

from genir.signals import guard

guard(__name__)  # before the slow imports

import os
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.provenance import TOP, commit, processor
from benchmarks.recipes.corpora import write_collection
from benchmarks.recipes.measure import measure
from benchmarks.recipes.pages import Pages
from benchmarks.recipes.plan import Run, load_plan, runs
from benchmarks.recipes.results import Result, read_result, status, write_result
from benchmarks.recipes.training import RowTrainer
from genir.cli import guarded
from genir.console import print_line
from genir.errors import InputError
from genir.training.stop_request import Stopped

PLAN = Path(__file__).parent / "plan.toml"
RESULTS = TOP / "docs" / "results" / "recipes"
WORK = Path("~/.cache/genir-results")


def main(
    only: Annotated[str, typer.Option(help="rows to run: patterns of collection/row,...")] = "*",
    show: Annotated[bool, typer.Option("--list", help="list the rows with their status")] = False,
    render: Annotated[bool, typer.Option(help="only write the pages")] = False,
    accept: Annotated[
        bool, typer.Option(help="mark stale results as current, after a change without effect")
    ] = False,
    plan: Annotated[Path, typer.Option(help="the plan")] = PLAN,
    work: Annotated[Path, typer.Option(help="folder for training")] = WORK,
    results: Annotated[Path, typer.Option(help="folder of result files and pages")] = RESULTS,
) -> None:
    """Run the rows without a current result, and write the pages."""
    loaded = load_plan(plan)
    patterns = only.split(",")
    chosen = [run for run in runs(loaded) if any(fnmatch(run.id, each) for each in patterns)]
    if not chosen:
        raise InputError(f"--only {only!r}: no row matches; --list shows all")
    if show:
        states = [status(results, run) for run in chosen]
        for run, state in zip(chosen, states, strict=True):
            print_line(f"{state:<8} {run.id}")
        print_line(f"{len(chosen) - states.count('done')} of {len(chosen)} to run")
        return
    failed: list[Run] = []
    if accept:
        for run in chosen:
            if (result := read_result(results, run)) is not None:
                write_result(results, run, {**result, "fingerprint": run.fingerprint})
    elif not render:
        data, work = _data_folder(), work.expanduser().resolve()
        failed = run_rows(chosen, results, lambda run: run_row(run, data, work))
    Pages(loaded, results).write()
    if failed:
        raise typer.Exit(1)


def _data_folder() -> Path:
    path = os.environ.get("GENIR_DATA", "")
    if not path or not Path(path).is_dir():
        raise InputError(
            "GENIR_DATA: not a folder; set it to the folder of the collections in the plan (the "
            "scripts in data_prep/ write them)"
        )
    return Path(path)


def run_rows(chosen: Sequence[Run], results: Path, measured: Callable[[Run], Result]) -> list[Run]:
    """Run the rows that are not done, write their results, and return the failed rows.

    Raises:
        Stopped: on a signal; finished rows keep their results.
    """
    waiting = [run for run in chosen if status(results, run) != "done"]
    failed = []
    for number, run in enumerate(waiting, 1):
        _log(f"{run.id}: row {number} of {len(waiting)}")
        try:
            result = measured(run)
        except Stopped:
            _log(f"{run.id}: stopped; run the same command again to continue")
            raise
        except Exception as error:
            traceback.print_exc()
            _log(f"{run.id}: failed: {type(error).__name__}: {error}")
            failed.append(run)
            continue
        write_result(results, run, result)
        success, rank = (result["systems"]["genir"]["all"][key] for key in ("Success@10", "RR@10"))
        _log(f"{run.id}: done: Success@10 {success:.3f}, RR@10 {rank:.3f}")
    if failed:
        _log(f"{len(failed)} rows failed: {', '.join(run.id for run in failed)}")
    return failed


def run_row(run: Run, data: Path, work: Path) -> Result:
    """Train and measure a row, remove its model, and return its result."""
    corpus = write_collection(run.collection, data, work)
    trainer = RowTrainer(corpus, work)
    model = trainer.train(run.training)
    figures = measure(model, corpus)
    evaluation = (
        f"genir evaluate {model} --queries {corpus}/queries.jsonl --qrels {corpus}/qrels/test.tsv"
    )
    shutil.rmtree(model)
    return {
        "collection": run.collection.name,
        "row": run.name,
        "recipe": run.row.recipe,
        "settings": list(run.training.settings),
        "fingerprint": run.fingerprint,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit(),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "commands": [*trainer.commands, trainer.shown(evaluation)],
        "trained": trainer.trained,
        **figures,
    }


def _log(text: str) -> None:
    print_line(f"{time.strftime('%H:%M:%S')}  {text}")


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
