"""`make results`: run the rows of the plan that have no result yet, then write the tables anew.

Each row runs in a process of its own; what it says goes to a log in the work folder. A row that
fails is written down and the next one begins. Ctrl-C and SIGTERM reach the row, which saves a
checkpoint; the same command goes on from there.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import store
from benchmarks.plan import Run, load_plan, runs
from benchmarks.tables import rewrite
from genir.cli import guarded
from genir.errors import InputError

TOP = Path(__file__).parents[1]
PLAN = TOP / "benchmarks" / "plan.toml"
RESULTS = TOP / "docs" / "results"
PAGE = TOP / "docs" / "results.md"
STOPPED = 130
"""Exit code of a row that a signal has stopped."""
PATIENCE = 20
"""A row hangs when it takes so many times its minutes of training, and two hours on top."""
BESIDES = 4
"""Minutes that preparing, probing and measuring a row may take, before any row has told."""
CONSOLE = Console(soft_wrap=True, highlight=False, markup=False)


@dataclass(frozen=True)
class Setting:
    """What a run of the plan needs to know."""

    plan: Path
    data: Path
    work: Path
    results: Path
    minutes: float | None = None


Work = Callable[[Run, Setting, Path], int]
"""Runs a row and returns its exit code; what it says goes to the log file."""


def main(
    only: Annotated[str, typer.Option(help="rows to run: patterns, as collection/row,...")] = "*",
    show: Annotated[bool, typer.Option("--list", help="show where each row stands")] = False,
    render: Annotated[bool, typer.Option(help="write the tables anew, and run nothing")] = False,
    budget_minutes: Annotated[
        float | None, typer.Option(help="of training, for rows without minutes of their own")
    ] = None,
    plan: Annotated[Path, typer.Option(help="the plan")] = PLAN,
    work: Annotated[Path, typer.Option(help="where models are trained")] = Path(
        "~/.cache/genir-results"
    ),
    results: Annotated[Path, typer.Option(help="the folder of results")] = RESULTS,
    page: Annotated[Path, typer.Option(help="the page that has the tables")] = PAGE,
) -> None:
    """Run the plan's rows that have no result yet, and write the tables."""
    read = load_plan(plan, budget_minutes)
    patterns = only.split(",")
    chosen = [run for run in runs(read) if any(fnmatch(run.place, one) for one in patterns)]
    if not chosen:
        raise InputError(f"--only {only!r}: no row is called so; --list shows them all")
    if show:
        list_rows(chosen, results)
        return
    if not render:
        setting = Setting(plan, _data(), work.expanduser().resolve(), results, budget_minutes)
        run_rows(chosen, setting, in_a_process)
    rewrite(read, results, page)


def _data() -> Path:
    named = os.environ.get("GENIR_DATA", "")
    if not Path(named or "/none").is_dir():
        raise InputError(
            "GENIR_DATA: set it to the folder that holds the collections of benchmarks/plan.toml; "
            "data_prep/ has the scripts that make them"
        )
    return Path(named)


def list_rows(chosen: Sequence[Run], results: Path) -> None:
    """Print where each row stands, and how much is left to do."""
    states = {run.place: store.state(results, run) for run in chosen}
    for run in chosen:
        reason = store.failure(results, run)
        now = states[run.place]
        CONSOLE.print(f"{now:<18} {run.place}" + (f": {reason}" if now == "failed" else ""))
    waiting = [run for run in chosen if states[run.place] in ("missing", "stale", "failed")]
    CONSOLE.print(f"{len(waiting)} of {len(chosen)} to run, in about {_left(waiting, 0, 0)}")


def run_rows(chosen: Sequence[Run], setting: Setting, work: Work) -> None:
    """Run the rows that are not done, one after the other."""
    for run in chosen:
        if not run.has_recipe:
            say(f"{run.place}: no such recipe yet: {run.row.recipe}; skipped")
    # Those that failed before come last: they will most likely fail again.
    states = {run.place: store.state(setting.results, run) for run in chosen}
    waiting = [run for run in chosen if states[run.place] in ("missing", "stale")]
    waiting += [run for run in chosen if states[run.place] == "failed"]
    with _alone(setting.work):
        _run_all(waiting, setting, work)


def _run_all(waiting: Sequence[Run], setting: Setting, work: Work) -> None:
    taken = 0.0
    for number, run in enumerate(waiting):
        begun = time.monotonic()
        left = _left(waiting[number:], taken, number)
        say(f"{run.place}: begins, {number + 1} of {len(waiting)}; about {left} left")
        log = setting.work / "logs" / run.file.replace(".json", ".log")
        log.parent.mkdir(parents=True, exist_ok=True)
        code = work(run, setting, log)
        if code == STOPPED:
            say(f"{run.place}: stopped; the same command goes on from there")
            raise typer.Exit(STOPPED)
        taken += time.monotonic() - begun
        _tell(run, setting, log, (code, time.monotonic() - begun))


def _tell(run: Run, setting: Setting, log: Path, how: tuple[int, float]) -> None:
    """Say how a row ended; write down why, if it failed."""
    code, seconds = how
    if code == 0:
        result = store.read(setting.results, run) or {}
        figures = result["systems"]["genir"]["all"]
        say(f"{run.place}: done in {span(seconds)}: Success@10 {figures['Success@10']:.3f}, "
            f"RR@10 {figures['RR@10']:.3f}")  # fmt: skip
        return
    reason = _last_line(log) or f"exit code {code}"
    if code < 0:
        reason = f"killed by signal {-code}; its last words: {reason}"
    store.write_failure(setting.results, run, reason)
    say(f"{run.place}: FAILED after {span(seconds)}: {reason} (all of it: {log})")


def _left(waiting: Sequence[Run], taken: float, done: int) -> str:
    """Guess the time for what is waiting: as the rows so far took, or their training and a bit."""
    if done:
        return span(taken / done * len(waiting))
    return span(sum(run.budget.minutes + BESIDES for run in waiting) * 60)


def span(seconds: float) -> str:
    """Return hours and minutes, or minutes and seconds."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 60} min {whole % 60:02} s"


def say(text: str) -> None:
    """Print a line with the time."""
    CONSOLE.print(f"{time.strftime('%H:%M:%S')}  {text}")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:500]


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Hold the work folder, so that two runs do not train the same row into one place."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.set_inheritable(lock.fileno(), True)
        except OSError:
            raise InputError(
                f"{work}: another run is at work there; wait, or give --work"
            ) from None
        yield


def in_a_process(run: Run, setting: Setting, log: Path) -> int:
    """Run a row in a process of its own, which gets the signals that this one gets."""
    words = [sys.executable, "-m", "benchmarks.row", run.place]
    for name in ("plan", "data", "work", "results"):
        words += [f"--{name}", str(Path(getattr(setting, name)).resolve())]
    if setting.minutes is not None:
        words += ["--minutes", str(setting.minutes)]
    with _passing_signals() as passing, log.open("w", encoding="utf-8") as file:
        child = subprocess.Popen(
            words,
            cwd=TOP,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C reaches it once, by way of this process
            close_fds=False,  # it holds the work folder's lock as well, should this process die
        )
        passing.to(child)
        code = _wait(child, run, file.write)
    return STOPPED if passing.came else code


def _wait(child: subprocess.Popen[bytes], run: Run, note: Callable[[str], object]) -> int:
    limit = (PATIENCE * run.budget.minutes + 120) * 60
    try:
        return child.wait(limit)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        note(f"\nstopped: it took more than {span(limit)}\n")
        return 1


class Passing:
    """Hands signals on to a process, also those that came before there was one."""

    def __init__(self) -> None:
        self.came: list[int] = []
        self.child: subprocess.Popen[bytes] | None = None

    def to(self, child: subprocess.Popen[bytes]) -> None:
        """Name the process."""
        self.child = child
        for number in self.came:
            child.send_signal(number)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        self.came.append(number)
        if self.child is not None:
            self.child.send_signal(number)


@contextmanager
def _passing_signals() -> Iterator[Passing]:
    """Hand SIGINT and SIGTERM on in the block."""
    passing = Passing()
    before = {n: signal.signal(n, passing.note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield passing
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
