"""A writer killed at random moments, GENIR_KILLS times (3 by default), under a reader: while it
adds, replaces, deletes, compacts and refreshes, or mirrors a folder of pages.

Nothing that was acknowledged is lost, nothing is half there, and every load succeeds.
"""

import json
import logging
import multiprocessing
import os
import random
import signal
import time
from collections import Counter

import pytest
from changing import found, make_document, state, text_of, write_page
from tiny import small
from writer import KEYS, follow, work

from genir.api import train
from genir.corpus.readers import read_corpus
from genir.retriever import Retriever

KILLS = int(os.environ.get("GENIR_KILLS", "3"))
PATIENCE = 60


class Expected:
    """States that the log of a writer requires, and states that it allows."""

    def __init__(self, live):
        self.live = live
        self.read = 0
        self.acknowledged = 0
        self.kinds = Counter()

    def follow(self, log):
        """Read new lines of the log; return the allowed states."""
        lines = log.read_bytes().splitlines()[self.read :]
        self.read += len(lines)
        pending = None
        for kind, *words in map(json.loads, lines):
            if kind == "begin":
                pending = self._after(*words)
                self.kinds[words[0]] += 1
            else:
                self.live, pending = pending, None
                self.acknowledged += 1
        return [self.live] if pending is None else [self.live, pending]

    def _after(self, name, keys, text):
        if name in ("compact", "refresh"):
            return self.live
        if name == "delete":
            return {key: one for key, one in self.live.items() if key not in keys}
        return self.live | {key: text_of(make_document(key, text)) for key in keys}


@pytest.fixture
def start():
    """Start writers from a process that has imported genir already; none outlives the test."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["genir.retriever", "genir.training.incremental"])
    begun = []

    def start(*arguments, target=work):
        begun.append(context.Process(target=target, args=arguments))
        begun[-1].start()
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.join()


@pytest.mark.timeout(300 + 30 * KILLS)
def test_killed_at_random_moments_nothing_acknowledged_is_lost(folder, tmp_path, start):
    log, rng = tmp_path / "log", random.Random()
    log.touch()
    reader = Retriever.load(folder, "cpu")
    expected = Expected(state(reader))
    for number in range(KILLS):
        done, process = log.read_text().count("done"), start(folder, log, number, KEYS, True)
        deadline = time.monotonic() + PATIENCE
        while log.read_text().count("done") == done:
            assert process.is_alive() and time.monotonic() < deadline, "the writer does not write"
            time.sleep(0.005)
        until = time.monotonic() + rng.choice((0.1, 0.6, 3)) * rng.random()
        while time.monotonic() < until:
            assert process.is_alive(), "the writer has failed"
            reader.sync()
            assert len(reader.search(["erase a drive"], 5)[0]) == 5
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        right, loaded = expected.follow(log), Retriever.load(folder, "cpu")
        assert state(loaded) in right
        expected.live = state(loaded)
        reader.sync()
        assert state(reader) == expected.live and reader.version == loaded.version
    assert expected.acknowledged >= KILLS
    logging.info(
        "%d kills, %d changes acknowledged: %s", KILLS, expected.acknowledged, dict(expected.kinds)
    )
    reader.add([make_document("last")])
    reader.compact()
    assert set(os.listdir(tmp_path)) <= {"log", "model", "model.refresh"}
    assert sorted(found(Retriever.load(folder, "cpu"))) == sorted([*expected.live, "last"])


@pytest.mark.timeout(300 + 30 * KILLS)
def test_a_mirror_killed_at_random_moments_is_whole_or_not_begun(tiny_encoder, tmp_path, start):
    log, site, model, rng = tmp_path / "log", tmp_path / "site", tmp_path / "model", random.Random()
    for number in range(20):
        write_page(site, rng, f"part-{number % 3}/page-{number}.md")
    settings = small("default", tiny_encoder, tmp_path)
    before = state(train(site, out=model, settings=settings, base_url="https://x.org/docs"))
    log.touch()
    outcomes, version = Counter(), 0
    for number in range(KILLS):
        seen, process = len(log.read_bytes()), start(model, site, log, number, target=follow)
        deadline = time.monotonic() + PATIENCE
        while log.read_bytes()[seen:].count(b"done") < 1:
            assert process.is_alive() and time.monotonic() < deadline, "nothing is mirrored"
            time.sleep(0.005)
        time.sleep(rng.random())
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        lines = list(map(json.loads, log.read_bytes()[seen:].splitlines()))
        wanted = [one for kind, one in lines if kind == "begin"]
        acknowledged = [one for kind, one in lines if kind == "done"]
        states = [before, *wanted]
        loaded = Retriever.load(model, "cpu")
        applied = loaded.version - version
        assert applied in (len(acknowledged), len(wanted))  # acknowledged, or committed just before
        assert state(loaded) == states[applied]
        pending = len(wanted) - len(acknowledged)
        outcomes["idle" if not pending else "lost" if applied < len(wanted) else "kept"] += 1
        version, before = loaded.version, states[applied]
    logging.info("%d kills, %d versions, changes in progress: %s", KILLS, version, dict(outcomes))
    reader = Retriever.load(model, "cpu")
    reader.mirror(site)
    assert state(reader) == {one.key: text_of(one) for one in read_corpus(site, reader.base_url)}


def test_two_writers_at_once_lose_nothing(folder, tmp_path, start):
    logs = [tmp_path / f"log-{number}" for number in range(2)]
    reader = Retriever.load(folder, "cpu")
    before = state(reader)
    processes = [start(folder, log, n, KEYS[4 * n : 4 * n + 4]) for n, log in enumerate(logs)]
    deadline = time.monotonic() + PATIENCE
    while not all(log.exists() and log.read_text().count("done") > 5 for log in logs):
        assert all(process.is_alive() for process in processes), "a writer has failed"
        assert time.monotonic() < deadline, "a writer hangs"
        reader.sync()
        time.sleep(0.01)
    for process in processes:
        process.kill()
        process.join()
    loaded = state(Retriever.load(folder, "cpu"))
    for number, log in enumerate(logs):
        own = KEYS[4 * number : 4 * number + 4]
        right = Expected({}).follow(log)
        assert {key: one for key, one in loaded.items() if key in own} in right
    assert before.items() <= loaded.items()
    reader.sync()
    assert state(reader) == loaded
