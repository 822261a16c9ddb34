"""The plan's rows one after the other: what runs, what is skipped, what survives a failure."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import store
from benchmarks.crew import STOPPED, Crew, surroundings
from benchmarks.plan import load_plan, runs
from benchmarks.recipes import Setting, list_rows, main, run_rows
from benchmarks.spans import span
from genir.errors import InputError

TOP = Path(__file__).parents[2]


@pytest.fixture
def setting(plan_file, data, tmp_path):
    return Setting(plan_file, data, tmp_path / "work", tmp_path / "results")


class Worker:
    """Stands in for a process a row: writes a result, or ends with a code."""

    def __init__(self, **codes):
        self.codes, self.ran = codes, []

    def __call__(self, run, setting, log):
        self.ran.append(run.name)
        code = self.codes.get(run.name.replace("-", "_"), 0)
        log.write_text("much\nerror: told why\n\n")
        if code == 0:
            figures = {"Success@10": 0.5, "RR@10": 0.25}
            trained = [{"recipe": run.row.recipe, "steps": 3}]
            own = store.settled(setting.results, run)
            found = {"digest": own.digest, "systems": {"genir": {"all": figures}},
                     "trained": trained}  # fmt: skip
            store.write(setting.results, run, found)
        return code


def test_rows_without_a_result_run_once(setting, capsys):
    planned = runs(load_plan(setting.plan))
    worker = Worker()
    run_rows(planned, setting, worker)
    assert worker.ran == ["rows", "rows-queries"]
    told = capsys.readouterr().out
    assert "yet-to-come: no such recipe yet: yet-to-come; skipped" in told
    assert "small-unseen/rows: begins, 1 of 2; about 8 min 00 s left" in told
    assert "small-unseen/rows: done in 0 min 00 s: Success@10 0.500, RR@10 0.250" in told
    run_rows(planned, setting, worker)
    assert worker.ran == ["rows", "rows-queries"]


def test_a_failure_is_written_down_and_the_next_row_runs(setting, capsys):
    planned = runs(load_plan(setting.plan))
    worker = Worker(rows=1)
    run_rows(planned, setting, worker)
    assert worker.ran == ["rows", "rows-queries"]
    assert "small-unseen/rows: FAILED" in capsys.readouterr().out
    assert store.failure(setting.results, planned[0]) == "error: told why"
    list_rows(planned, setting.results)
    assert capsys.readouterr().out.splitlines() == [
        "failed             small-unseen/rows: error: told why",
        "done               small-unseen/rows-queries",
        "no such recipe yet small-unseen/yet-to-come",
        "1 of 3 to run, in about 4 min 00 s",
    ]
    again = Worker()
    run_rows(planned, setting, again)
    assert again.ran == ["rows"] and store.state(setting.results, planned[0]) == "done"


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_row_begins_once_the_one_it_is_like_is_done(like_file, setting, jobs):
    planned = runs(load_plan(like_file))
    worker = Worker()
    run_rows(planned[::-1], replace(setting, jobs=jobs), worker)
    assert worker.ran == ["rows", "rows-queries"]
    assert store.state(setting.results, planned[1]) == "done"


WAITS = "small-unseen/rows-queries: waits for small-unseen/rows, which has no result of this plan"


def test_a_row_is_skipped_where_the_one_it_is_like_has_no_result(like_file, setting, capsys):
    planned = runs(load_plan(like_file))
    worker = Worker(rows=1)
    run_rows(planned[1:], setting, worker)
    assert worker.ran == [] and WAITS in " ".join(capsys.readouterr().out.split())
    run_rows(planned, setting, worker)
    assert worker.ran == ["rows"] and WAITS in " ".join(capsys.readouterr().out.split())
    list_rows(planned, setting.results)
    told = capsys.readouterr().out.splitlines()
    assert told[1] == "waits              small-unseen/rows-queries: for rows"
    assert told[-1].startswith("2 of 3 to run")
    again = Worker()
    run_rows(planned, setting, again)
    assert again.ran == ["rows", "rows-queries"], "first what failed, then what waits for it"


def test_a_killed_row_is_told_from_one_that_failed(setting):
    planned = runs(load_plan(setting.plan))
    run_rows(planned, setting, Worker(rows=-9))
    assert store.failure(setting.results, planned[0]) == (
        "killed by signal 9; its last words: error: told why"
    )


def test_a_stop_ends_the_run_and_is_no_failure(setting):
    planned = runs(load_plan(setting.plan))
    worker = Worker(rows=STOPPED)
    assert not run_rows(planned, setting, worker)
    assert worker.ran == ["rows"] and store.state(setting.results, planned[0]) == "missing"


def test_two_runs_do_not_share_a_work_folder(setting):
    planned = runs(load_plan(setting.plan))

    def inside(run, setting, log):
        with pytest.raises(InputError, match="another run is at work there"):
            run_rows(planned, setting, Worker())
        return STOPPED

    assert not run_rows(planned, setting, inside)


def test_so_many_rows_run_at_a_time_and_one_failure_stops_no_other(setting):
    several = replace(setting, jobs=2)
    planned = runs(load_plan(setting.plan))
    both = threading.Barrier(2)
    worker = Worker(rows=1)

    def together(run, setting, log):
        both.wait(60)  # no row gets past before the other one is at work
        return worker(run, setting, log)

    assert run_rows(planned, several, together)
    assert sorted(worker.ran) == ["rows", "rows-queries"]
    assert [store.state(setting.results, run) for run in planned[:2]] == ["failed", "done"]


def test_a_row_without_time_left_does_not_begin(setting):
    short = replace(setting, seconds=0.4)
    worker = Worker()

    def slowly(run, setting, log):
        time.sleep(0.25)
        return worker(run, setting, log)

    assert run_rows(runs(load_plan(setting.plan)), short, slowly)
    assert worker.ran == ["rows"], "another one would take .25 s again"


def test_rows_at_a_time_share_the_cores(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    assert surroundings(1)["OMP_NUM_THREADS"] == "7"
    assert surroundings(5)["OMP_NUM_THREADS"] == surroundings(5)["MKL_NUM_THREADS"] == "3"
    assert surroundings(40)["OMP_NUM_THREADS"] == "1"
    assert surroundings(5)["TOKENIZERS_PARALLELISM"] == "false"


def test_what_is_asked_for_must_be_there(setting, monkeypatch):
    with pytest.raises(InputError, match=r"no row is called so.*--list"):
        main(only="tldr/*", plan=setting.plan)
    monkeypatch.setenv("GENIR_DATA", str(setting.work / "nowhere"))
    with pytest.raises(InputError, match="GENIR_DATA: set it"):
        main(plan=setting.plan)


def test_spans():
    assert (span(59.6), span(3599), span(7260)) == ("1 min 00 s", "59 min 59 s", "2 h 01 min")


HARD_OF_HEARING = """
import signal, sys, time
came = []
def note(number, frame):
    came.append(number)
    if len(came) == 2:
        sys.exit(3)
signal.signal(signal.SIGTERM, note)
time.sleep(60)
"""


def test_who_does_not_hear_that_the_time_is_up_is_told_again(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.crew.AGAIN", 0.2)
    crew = Crew()
    with crew.on_duty(3.0), (tmp_path / "log").open("w") as log:
        child = crew._start([sys.executable, "-c", HARD_OF_HEARING], 1, log)
        assert child.wait(30) == 3
    assert crew.late and crew.stopped


def command(setting, page, *more):
    words = [sys.executable, "-m", "benchmarks.recipes", "--page", page, *more]
    for name in ("plan", "work", "results"):
        words += [f"--{name}", getattr(setting, name)]
    environment = {**os.environ, "GENIR_DATA": str(setting.data), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        list(map(str, words)), cwd=TOP, env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("<!-- make results: begin -->\n<!-- make results: end -->\n")
    return path


def test_a_plan_runs_in_processes_stops_on_sigterm_and_goes_on(setting, page):
    more = ("--only", "*/rows*", "--jobs", "2")
    first = command(setting, page, *more)
    deadline = time.monotonic() + 120
    while len(list(setting.work.glob("logs/*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    told = first.communicate(timeout=120)[0]
    assert first.returncode == 128 + signal.SIGTERM, told
    for name in ("rows", "rows-queries"):
        assert f"small-unseen/{name}: stopped; the same command goes on from there" in told
    assert not any(setting.results.glob("*"))
    second = command(setting, page, *more)
    told = second.communicate(timeout=240)[0]
    assert second.returncode == 0, told
    names = ["small-unseen-rows-queries.json", "small-unseen-rows.json"]
    assert sorted(path.name for path in setting.results.iterdir()) == names
    assert "| rows | " in page.read_text() and "| bm25 | " in page.read_text()
    results = [store.read(setting.results, run) for run in runs(load_plan(setting.plan))[:2]]
    assert [result["jobs"] for result in results] == [2, 2]


def test_after_its_time_a_run_ends_and_writes_the_tables_of_what_is_done(setting, page):
    whole = command(setting, page, "--only", "*/rows", "--stop-after", "1")
    told = whole.communicate(timeout=120)[0]
    assert whole.returncode == 0, told
    assert "small-unseen/rows: stopped; the same command goes on from there" in told
    assert "**Not measured**: rows," in page.read_text()


def test_rows_of_another_machine_are_left_to_it(setting, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    text = setting.plan.read_text().replace("[budget]", '[budget]\ndevice = "gpu"', 1)
    setting.plan.write_text(text)
    planned, worker = runs(load_plan(setting.plan)), Worker()
    run_rows(planned, setting, worker)
    assert worker.ran == []
    assert "small-unseen/rows: its minutes are of a GPU; skipped" in capsys.readouterr().out
    list_rows(planned, setting.results)
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "missing            small-unseen/rows: its minutes are of a GPU"
