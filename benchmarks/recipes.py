"""`make results`: run the rows of the plan that have no result yet, then write the tables anew.

Each row runs in a process of its own, `--jobs` of them at a time; what it says goes to a log in the
work folder. A row that fails is written down and the next one begins. Ctrl-C and SIGTERM reach all
rows at work, which save checkpoints; the same command goes on from there.
"""

from genir.signals import guard

guard(__name__)  # the imports below take time

import fcntl
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from benchmarks import store
from benchmarks.crew import STOPPED, TOP, Crew
from benchmarks.order import Needs, needs_of, next_run
from benchmarks.plan import Run, load_plan, runs
from benchmarks.spans import span
from benchmarks.tables import rewrite
from genir.cli import guarded
from genir.errors import InputError

PLAN = TOP / "benchmarks" / "plan.toml"
RESULTS = TOP / "docs" / "results"
PAGE = TOP / "docs" / "results" / "recipes.md"
BESIDES = 4
"""Minutes that preparing, probing and measuring a row may take, before any row has told."""
TO_RUN = ("missing", "stale", "waits")
CONSOLE = Console(soft_wrap=True, highlight=False, markup=False)


@dataclass(frozen=True)
class Setting:
    """What a run of the plan needs to know. seconds: until rows at work are stopped, if any."""

    plan: Path
    data: Path
    work: Path
    results: Path
    minutes: float | None = None
    jobs: int = 1
    seconds: float | None = None


Work = Callable[[Run, Setting, Path], int]
"""Runs a row and returns its exit code; what it says goes to the log file."""


def main(
    only: Annotated[str, typer.Option(help="rows to run: patterns, as collection/row,...")] = "*",
    show: Annotated[bool, typer.Option("--list", help="show where each row stands")] = False,
    render: Annotated[bool, typer.Option(help="write the tables anew, and run nothing")] = False,
    budget_minutes: Annotated[
        float | None, typer.Option(help="of training, for rows without minutes of their own")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="rows at a time; 1, on a GPU as the plan has it")
    ] = None,
    stop_after: Annotated[
        float | None, typer.Option(min=1, help="seconds after which rows at work are stopped")
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
        at_once = jobs or (read.budget.jobs if torch.cuda.is_available() else 1)
        setting = Setting(plan, _data(), work.expanduser().resolve(), results, budget_minutes,
                          at_once, stop_after)  # fmt: skip
        crew = Crew()
        with crew.on_duty(stop_after):
            whole = run_rows(chosen, setting, crew.work, lambda: crew.stopped)
        if not (whole or crew.late):
            raise typer.Exit(128 + crew.came[0] if crew.came else STOPPED)
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
        if run.like is not None and now == "waits":
            reason = f"for {run.like.name}"
        elif now in TO_RUN:
            reason = store.settled(results, run).elsewhere
        told = f": {reason}" if reason and now != "done" else ""
        CONSOLE.print(f"{now:<18} {run.place}{told}")
    waiting = [run for run in chosen if states[run.place] in (*TO_RUN, "failed")]
    CONSOLE.print(f"{len(waiting)} of {len(chosen)} to run, in about {span(guess(waiting, (), 1))}")


def run_rows(
    chosen: Sequence[Run],
    setting: Setting,
    work: Work,
    halted: Callable[[], bool] = lambda: False,
) -> bool:
    """Run the rows that are not done, so many at a time; tell whether none was stopped.

    halted: tells whether no more rows are to begin.
    """
    for run in chosen:
        if not run.has_recipe:
            say(f"{run.place}: no such recipe yet: {run.row.recipe}; skipped")
    # Those that failed before come last: they will most likely fail again.
    states = {run.place: store.state(setting.results, run) for run in chosen}
    chosen = list(_here(chosen, states, setting.results))
    waiting = [run for run in chosen if states[run.place] in TO_RUN]
    failed = [run for run in chosen if states[run.place] == "failed"]
    awaited = {run.like.place for run in waiting if run.like and states[run.place] == "waits"}
    for run in _like_any(waiting, awaited - {run.place for run in (*waiting, *failed)}):
        _skip(run)
        waiting.remove(run)
    with _alone(setting.work), ThreadPoolExecutor(setting.jobs) as pool:
        return _Rows(waiting, failed, setting, work, halted, awaited).run(pool)


def _here(chosen: Sequence[Run], states: Mapping[str, str], results: Path) -> Iterator[Run]:
    """Yield the rows that this machine can run, and tell of the others."""
    for run in chosen:
        elsewhere = store.settled(results, run).elsewhere
        if elsewhere and states[run.place] in (*TO_RUN, "failed"):
            say(f"{run.place}: {elsewhere}; skipped")
        else:
            yield run


def _like_any(rows: Sequence[Run], places: Collection[str]) -> list[Run]:
    """Return those of the rows that are to be like one of these places."""
    return [run for run in rows if run.like is not None and run.like.place in places]


def _skip(run: Run) -> None:
    assert run.like is not None
    say(f"{run.place}: waits for {run.like.place}, which has no result of this plan yet; skipped")


@dataclass
class _Rows:
    """The rows of one call: those that wait, those at work, and what the others took.

    awaited: places of rows that others are to be like, and that are not done.
    """

    waiting: list[Run]
    failed: list[Run]
    setting: Setting
    work: Work
    halted: Callable[[], bool]
    awaited: set[str]
    running: dict[Future[int], tuple[Run, float]] = field(default_factory=dict)
    taken: list[float] = field(default_factory=list)
    stopped: bool = False

    def run(self, pool: ThreadPoolExecutor) -> bool:
        """Begin rows and tell how they end, until none is left or one was stopped."""
        self.began, self.total = time.monotonic(), len(self.waiting) + len(self.failed)
        queue = [store.settled(self.setting.results, run) for run in (*self.waiting, *self.failed)]
        needs = needs_of(queue, self.setting.work)
        while self._begin(pool, needs) or self.running:
            done, _ = wait(self.running, 1.0, FIRST_COMPLETED)
            for future in done:
                self._end(*self.running.pop(future), future.result())
        whole = not (self.stopped or self.halted())
        for run in _like_any(self.waiting, self.awaited) if whole else []:
            _skip(run)
        return whole

    def _begin(self, pool: ThreadPoolExecutor, needs: Needs) -> bool:
        """Begin as many rows as may run; tell whether there was one."""
        began = False
        while len(self.running) < self.setting.jobs and (run := self._next(needs)) is not None:
            left = span(self._left())
            say(f"{run.place}: begins, {self._number} of {self.total}; about {left} left")
            (self.waiting if run in self.waiting else self.failed).remove(run)
            log = self.setting.work / "logs" / run.file.replace(".json", ".log")
            log.parent.mkdir(parents=True, exist_ok=True)
            future = pool.submit(self.work, run, self.setting, log)
            self.running[future] = (run, time.monotonic())
            began = True
        return began

    def _next(self, needs: Needs) -> Run | None:
        """Return the row to begin; None where there is none, or no time for it."""
        later = _like_any(self.waiting, self.awaited)
        rows = [run for run in self.waiting if run not in later] or self.failed
        if self.setting.jobs > 1 and len(rows) > 1:
            rows = [next_run(rows, [run for run, _ in self.running.values()], needs, later)]
        if self.stopped or self.halted() or not rows or not self._in_time():
            return None
        return rows[0]

    @property
    def _number(self) -> int:
        return self.total - len(self.waiting) - len(self.failed) + 1

    def _left(self) -> float:
        waiting = [*self.waiting, *self.failed, *(run for run, _ in self.running.values())]
        return guess(waiting, self.taken, self.setting.jobs)

    def _in_time(self) -> bool:
        """Tell whether there is time for one more, be it as short as the shortest so far."""
        if self.setting.seconds is None or not self.taken:
            return True
        return time.monotonic() - self.began + min(self.taken) < self.setting.seconds

    def _end(self, run: Run, begun: float, code: int) -> None:
        """Tell how a row ended, and remember how long it took."""
        seconds = time.monotonic() - begun
        if code == STOPPED:
            self.stopped = True
            say(f"{run.place}: stopped; the same command goes on from there")
            return
        self.taken.append(seconds)
        if code == 0:
            self.awaited.discard(run.place)
        log = self.setting.work / "logs" / run.file.replace(".json", ".log")
        _tell(run, self.setting, log, (code, seconds))


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


def guess(waiting: Sequence[Run], taken: Sequence[float], jobs: int) -> float:
    """Guess the seconds for what is waiting: as rows so far took, or their training and a bit."""
    if taken:
        return sum(taken) / len(taken) * len(waiting) / jobs
    return sum(run.budget.minutes + BESIDES for run in waiting) * 60 / jobs


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


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
