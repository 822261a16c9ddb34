"""train.py in a separate process, killed at random moments: GENIR_KILLS of them, 2 by default.

The first half is at any moment after the start, the rest during the last save.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genir.manifest import check_manifest
from genir.retriever import Retriever

TOP = Path(__file__).parents[2]
KILLS = int(os.environ.get("GENIR_KILLS", "2"))
PATIENCE = 120
"""Seconds without progress after which a process counts as hung."""


class Training:
    """One folder, and the processes that train into it, one after another."""

    def __init__(self, recipe, corpus, out):
        self.out = out
        self.work = out.with_name(f"{out.name}.training")
        self.command = [sys.executable, "train.py", recipe, "--corpus", corpus, "--out", out,
                        "--set", f"training.max_steps={20 * KILLS}",
                        "--set", "training.epochs=999",
                        "--set", "training.checkpoint_seconds=0"]  # fmt: skip

    def start(self, *options):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [*map(str, self.command), *options],
            cwd=TOP,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until(self, come, process):
        """Wait for `come()` or the process's end, and check the folder meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and not come():
            self.check()
            assert time.monotonic() < deadline, "the training hangs"
            time.sleep(0.002)

    def check(self):
        """The model folder is absent or complete at every moment."""
        if self.out.exists():
            check_manifest(self.out)

    def steps(self):
        try:
            return json.loads((self.work / "checkpoint" / "progress.json").read_text())["step"]
        except FileNotFoundError:
            return 0

    def saving(self):
        return any(self.work.glob(".finished.*")) or (self.work / "finished").exists()


@pytest.fixture
def training(recipe_file, tiny_corpus, tmp_path):
    return Training(recipe_file, tiny_corpus, tmp_path / "model")


def test_killed_at_random_moments_it_resumes_each_time(training):
    rng = random.Random()
    for number in range(KILLS):
        begun = training.steps()
        process = training.start("--resume")
        if number < KILLS - KILLS // 2:
            training.wait_until(lambda old=begun: moved(training, old), process)
            pause(rng.uniform(0, 1), training, process)
        else:
            training.wait_until(training.saving, process)
            pause(rng.uniform(0, 0.05), training, process)
        process.kill()
        errors = process.communicate()[1]
        assert process.returncode in (-signal.SIGKILL, 0), errors
        assert training.steps() >= begun or training.out.exists()
        if training.out.exists():
            Retriever.load(training.out)
    process = training.start("--resume")
    training.wait_until(lambda: False, process)
    errors = process.communicate()[1]
    assert process.returncode == 0, errors
    assert len(Retriever.load(training.out).search(["copy a file"], 10)[0]) == 10
    assert json.loads((training.out / "metrics.json").read_text())["steps"] == 20 * KILLS
    assert sorted(os.listdir(training.out.parent)) == ["model", "tiny.toml"]


def moved(training, old):
    return training.steps() > old if old else training.work.exists()


def pause(seconds, training, process):
    until = time.monotonic() + seconds
    training.wait_until(lambda: time.monotonic() > until, process)


def test_ctrl_c_saves_and_exits_with_its_own_code(training):
    process = training.start()
    training.wait_until(lambda: training.steps() > 2, process)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130
    assert "stopped; a checkpoint is saved" in errors and "--resume" in errors
    assert "Traceback" not in errors
    assert not training.out.exists() and training.steps() > 2
