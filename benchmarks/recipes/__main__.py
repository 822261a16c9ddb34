"""`make results`: train and measure the rows without a current result, then write the tables.

Rows run one after the other. A failed row is reported and the next one runs. After Ctrl-C or
SIGTERM the same command continues from the last checkpoint.
"""

from genir.signals import guard

guard(__name__)  # before the slow imports

import os
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from benchmarks.provenance import TOP, commit, processor
from benchmarks.recipes.corpora import write_collection
from benchmarks.recipes.measure import measure
from benchmarks.recipes.plan import Run, load_plan, runs
from benchmarks.recipes.results import Result, accept, status, write_result
from benchmarks.recipes.tables import PAGE, rewrite
from benchmarks.recipes.training import RowTrainer, remove
from genir.cli import guarded
from genir.errors import InputError
from genir.training.stop_request import Stopped

PLAN = Path(__file__).parent / "plan.toml"
RESULTS = TOP / "docs" / "results"
WORK = Path("~/.cache/genir-results")
CONSOLE = Console(soft_wrap=True, highlight=False, markup=False)


def main(
    only: Annotated[str, typer.Option(help="rows to run: patterns of collection/row,...")] = "*",
    show: Annotated[bool, typer.Option("--list", help="list the rows with their status")] = False,
    render: Annotated[bool, typer.Option(help="only write the tables")] = False,
    accept_stale: Annotated[
        bool,
        typer.Option(
            "--accept", help="mark stale results as current, after a change that keeps all figures"
        ),
    ] = False,
    plan: Annotated[Path, typer.Option(help="the plan")] = PLAN,
    work: Annotated[Path, typer.Option(help="folder for training")] = WORK,
    results: Annotated[Path, typer.Option(help="folder of result files")] = RESULTS,
    page: Annotated[Path, typer.Option(help="Markdown file that has the tables")] = PAGE,
) -> None:
    """Run the rows without a current result, and write the tables."""
    loaded = load_plan(plan)
    patterns = only.split(",")
    chosen = [run for run in runs(loaded) if any(fnmatch(run.id, each) for each in patterns)]
    if not chosen:
        raise InputError(f"--only {only!r}: no row matches; --list shows all")
    if show:
        list_rows(chosen, results)
        return
    failed: list[Run] = []
    if accept_stale:
        for run in chosen:
            accept(results, run)
    elif not render:
        data, work = _data_folder(), work.expanduser().resolve()
        failed = run_rows(chosen, results, lambda run: run_row(run, data, work))
    rewrite(loaded, results, page)
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


def list_rows(chosen: Sequence[Run], results: Path) -> None:
    """Print the status of each row."""
    states = [status(results, run) for run in chosen]
    for run, state in zip(chosen, states, strict=True):
        CONSOLE.print(f"{state:<8} {run.id}")
    CONSOLE.print(f"{len(chosen) - states.count('done')} of {len(chosen)} to run")


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
        figures = result["systems"]["genir"]["all"]
        _log(
            f"{run.id}: done: Success@10 {figures['Success@10']:.3f}, RR@10 {figures['RR@10']:.3f}"
        )
    if failed:
        _log(f"{len(failed)} rows failed: {', '.join(run.id for run in failed)}")
    return failed


def run_row(run: Run, data: Path, work: Path) -> Result:
    """Train and measure a row, remove its model, and return its result."""
    corpus = write_collection(run.collection, data, work)
    trainer = RowTrainer(run, corpus, work)
    model = trainer.train_row()
    begin = time.monotonic()
    figures = measure(model, corpus)
    shown = trainer.shown(corpus)
    evaluation = (
        f"genir evaluate {trainer.shown(model)} --queries {shown}/queries.jsonl "
        f"--qrels {shown}/qrels/test.tsv"
    )
    remove(model)
    return {
        "collection": run.collection.name,
        "row": run.name,
        "recipe": run.row.recipe,
        "settings": list(run.settings),
        "fingerprint": run.fingerprint,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit(),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "commands": [*trainer.commands, evaluation],
        "trained": trainer.trained,
        **figures,
        "evaluating": round(time.monotonic() - begin, 1),
    }


def _log(text: str) -> None:
    CONSOLE.print(f"{time.strftime('%H:%M:%S')}  {text}")


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
