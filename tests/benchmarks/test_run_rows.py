"""The plan's rows one after the other: what runs, what is skipped, what survives a failure."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from benchmarks import store
from benchmarks.plan import load_plan, runs
from benchmarks.recipes import STOPPED, Setting, list_rows, main, run_rows, span
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
            found = {"digest": run.digest, "systems": {"genir": {"all": figures}}}
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


def test_a_killed_row_is_told_from_one_that_failed(setting):
    planned = runs(load_plan(setting.plan))
    run_rows(planned, setting, Worker(rows=-9))
    assert store.failure(setting.results, planned[0]) == (
        "killed by signal 9; its last words: error: told why"
    )


def test_a_stop_ends_the_run_and_is_no_failure(setting):
    planned = runs(load_plan(setting.plan))
    worker = Worker(rows=STOPPED)
    with pytest.raises(typer.Exit):
        run_rows(planned, setting, worker)
    assert worker.ran == ["rows"] and store.state(setting.results, planned[0]) == "missing"


def test_two_runs_do_not_share_a_work_folder(setting):
    planned = runs(load_plan(setting.plan))

    def inside(run, setting, log):
        with pytest.raises(InputError, match="another run is at work there"):
            run_rows(planned, setting, Worker())
        return STOPPED

    with pytest.raises(typer.Exit):
        run_rows(planned, setting, inside)


def test_what_is_asked_for_must_be_there(setting, monkeypatch):
    with pytest.raises(InputError, match=r"no row is called so.*--list"):
        main(only="tldr/*", plan=setting.plan)
    monkeypatch.setenv("GENIR_DATA", str(setting.work / "nowhere"))
    with pytest.raises(InputError, match="GENIR_DATA: set it"):
        main(plan=setting.plan)


def test_spans():
    assert (span(59.6), span(3599), span(7260)) == ("1 min 00 s", "59 min 59 s", "2 h 01 min")


def test_a_plan_runs_in_processes_stops_on_sigterm_and_goes_on(setting, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- make results: begin -->\n<!-- make results: end -->\n")
    command = [sys.executable, "-m", "benchmarks.recipes", "--only", "*/rows", "--page", page]
    for name in ("plan", "work", "results"):
        command += [f"--{name}", getattr(setting, name)]
    environment = {**os.environ, "GENIR_DATA": str(setting.data), "OMP_NUM_THREADS": "1"}

    def start():
        return subprocess.Popen(
            list(map(str, command)), cwd=TOP, env=environment, stdout=subprocess.PIPE, text=True
        )

    first = start()
    deadline = time.monotonic() + 120
    while not any(setting.work.glob("logs/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    told = first.communicate(timeout=120)[0]
    assert first.returncode == STOPPED, told
    assert "small-unseen/rows: stopped; the same command goes on from there" in told
    assert not any(setting.results.glob("*"))
    second = start()
    told = second.communicate(timeout=240)[0]
    assert second.returncode == 0, told
    assert "small-unseen/rows: done in" in told
    assert [path.name for path in setting.results.iterdir()] == ["small-unseen-rows.json"]
    assert "| rows | " in page.read_text() and "| bm25 | " in page.read_text()
