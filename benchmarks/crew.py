"""Rows at work, each in a process of its own, and the signals that reach all of them."""

import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any

from benchmarks.plan import Run
from benchmarks.spans import span
from genir.signals import ENDING

TOP = Path(__file__).parents[1]
STOPPED = 130
"""Exit code of a row that a signal has stopped, whichever it was."""
ENDED = tuple(128 + number for number in ENDING)
PATIENCE = 20
"""A row hangs when it takes so many times its minutes of training, and two hours on top."""
AGAIN = 20.0
"""Seconds after which rows still at work are told once more that the time is up: a training at its
last step hears nothing, and a second signal it does not wait for."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


class Crew:
    """Starts rows, and hands signals on to all that are at work, also those that came before."""

    def __init__(self) -> None:
        self.came: list[int] = []
        self.late = False
        self._children: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.RLock()  # a signal may come while it is held

    @property
    def stopped(self) -> bool:
        """Tell whether rows were told to stop."""
        return bool(self.came)

    def work(self, run: Run, setting: Any, log: Path) -> int:
        """Run a row, write what it says to the log, and return its exit code."""
        words = [sys.executable, "-m", "benchmarks.row", run.place, "--jobs", str(setting.jobs)]
        for name in ("plan", "data", "work", "results"):
            words += [f"--{name}", str(Path(getattr(setting, name)).resolve())]
        if setting.minutes is not None:
            words += ["--minutes", str(setting.minutes)]
        with log.open("w", encoding="utf-8") as file:
            child = self._start(words, setting.jobs, file)
            try:
                code = _wait(child, run, file)
            finally:
                with self._lock:
                    self._children.discard(child)
        return STOPPED if code in ENDED or (self.stopped and code) else code

    def _start(self, words: list[str], jobs: int, log: IO[str]) -> subprocess.Popen[bytes]:
        with self._lock:
            child = subprocess.Popen(
                words,
                cwd=TOP,
                env=surroundings(jobs),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C reaches it once, by way of this process
                close_fds=False,  # it holds the work folder's lock as well, should this one die
            )
            self._children.add(child)
            for number in self.came:
                child.send_signal(number)
        return child

    def note(self, number: int, frame: FrameType | None) -> None:
        """Take a signal; the alarm of `--stop-after` asks rows to stop as SIGTERM does."""
        if number == signal.SIGALRM:
            self.late, number = True, signal.SIGTERM
        with self._lock:
            self.came.append(number)
            for child in self._children:
                child.send_signal(number)

    @contextmanager
    def on_duty(self, seconds: float | None) -> Iterator[None]:
        """Hand SIGINT and SIGTERM on in the block; ask all to stop after so many seconds."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
        before = {number: signal.signal(number, self.note) for number in numbers}
        signal.setitimer(signal.ITIMER_REAL, seconds or 0, AGAIN if seconds else 0)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)


def surroundings(jobs: int) -> dict[str, str]:
    """Return the environment of a row: of several at a time, each has its share of the cores."""
    if jobs == 1:
        return dict(os.environ)
    threads = str(max(1, math.floor((os.cpu_count() or 1) / jobs)))
    return {**os.environ, **dict.fromkeys(THREADS, threads), "TOKENIZERS_PARALLELISM": "false"}


def _wait(child: subprocess.Popen[bytes], run: Run, log: IO[str]) -> int:
    limit = (PATIENCE * run.budget.minutes + 120) * 60
    try:
        return child.wait(limit)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        log.write(f"\nstopped: it took more than {span(limit)}\n")
        return 1
