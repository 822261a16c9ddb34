"""Trials of a folder in a child process: a crash, hang or memory overrun rejects it."""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from genir.errors import InputError
from genir.serving import load_sandbox
from genir.serving.load_sandbox import LoadSandbox

FOLDER = Path("models/one")


def becomes(monkeypatch, code):
    """Make the child run other code in place of loading the model."""
    begin = "import sys, os, time; from genir.serving.load_sandbox import _limit_time, _attempt\n"
    monkeypatch.setattr(
        load_sandbox, "CHILD_SCRIPT", begin + "_limit_time(float(sys.argv[2]))\n" + code
    )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("os.kill(os.getpid(), 11)", "is ended by SIGSEGV"),
        ("os.abort()", "is ended by SIGABRT"),
        ("os.kill(os.getpid(), 9)", "is ended by SIGKILL"),
        ("sys.exit(3)", "exits with code 3"),
        ("os._exit(0)", "exits with code 0"),
        ("raise ZeroDivisionError", "exits with code 1"),
        ("print('no report', flush=True); os.kill(os.getpid(), 11)", "is ended by SIGSEGV"),
    ],
)
def test_a_child_that_ends_otherwise_is_a_refusal(monkeypatch, code, reason):
    becomes(monkeypatch, code)
    with pytest.raises(InputError, match=f"^{FOLDER}: refused: a process that loads it {reason}; "):
        LoadSandbox(60)(FOLDER)


def test_a_child_that_hangs_is_ended(monkeypatch):
    becomes(monkeypatch, "time.sleep(600)")
    with pytest.raises(
        InputError, match=f"^{FOLDER}: refused: .* does not finish within 0.5 seconds; get"
    ):
        LoadSandbox(0.5)(FOLDER)


def _runs(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_child_outlives_its_parent_by_little(monkeypatch):
    becomes(
        monkeypatch,
        "import signal, json, resource\n"
        "left = signal.alarm(0)\n"
        "print(json.dumps([left, os.nice(0), *resource.getrlimit(resource.RLIMIT_CPU)]))",
    )
    with pytest.raises(InputError) as error:
        LoadSandbox(20)(FOLDER)
    left, niceness, soft, hard = json.loads(str(error.value))
    assert 20 < left <= 30 and niceness >= 5
    assert soft == hard == 30 * (os.cpu_count() or 1)


def test_leaving_ends_the_trial_and_its_children(monkeypatch, tmp_path):
    note = tmp_path / "grandchild"
    becomes(
        monkeypatch,
        "import subprocess\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(note)!r} + '.part', 'w').write(str(child.pid))\n"
        f"os.rename({str(note)!r} + '.part', {str(note)!r})\n"
        "time.sleep(600)",
    )
    tried, errors = LoadSandbox(300), []

    def examine():
        try:
            tried(FOLDER)
        except InputError as error:
            errors.append(str(error))

    thread = threading.Thread(target=examine)
    thread.start()
    _wait(note.exists)
    tried.close()
    thread.join(60)
    assert errors == [
        f"{FOLDER}: refused: a process that loads it is ended by SIGKILL; get the folder from its "
        "source again"
    ]
    grandchild = int(note.read_text())
    _wait(lambda: not _runs(grandchild))
    with pytest.raises(InputError, match="not tried, since the server is shutting down"):
        tried(FOLDER)


def _wait(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


# --- the child itself ----------------------------------------------------------------------------


def loads(monkeypatch, work):
    """Replace loading by other code, in a child with the imports of a test."""
    from genir.retriever import Retriever

    monkeypatch.setattr(Retriever, "load", work)
    monkeypatch.setattr("genir.models.precision.override", lambda precision: None)


def in_child(folder):
    """Run the trial of a folder in a forked process with its memory limit; return the reason."""
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        os.write(writer, json.dumps(load_sandbox._attempt(folder)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as report:
        reply = report.read()
    assert os.waitpid(process, 0)[1] == 0
    return json.loads(reply)


def test_a_folder_that_takes_too_much_memory_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(load_sandbox, "MEMORY_BYTES", 2**28)
    (tmp_path / "weights").write_bytes(b"x" * 2**20)
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(2**40)  # does not raise the memory limit
    loads(monkeypatch, lambda folder, device: bytearray(2**30))
    assert in_child(tmp_path) == (
        f"{tmp_path}: refused: a process that loads it takes more memory than a folder of its size "
        "needs; get the folder from its source again"
    )


def test_a_folder_may_take_memory_by_its_size(monkeypatch, tmp_path):
    monkeypatch.setattr(load_sandbox, "MEMORY_BYTES", 2**26)
    (tmp_path / "weights").write_bytes(os.urandom(2**25))

    def load(folder, device):
        bytearray(2**27)
        raise InputError("enough memory")

    loads(monkeypatch, load)
    assert in_child(tmp_path) == "enough memory"


def test_an_unexpected_error_is_a_refusal(monkeypatch, tmp_path):
    def load(folder, device):
        raise LookupError("what is this")

    loads(monkeypatch, load)
    assert in_child(tmp_path).startswith(
        f"{tmp_path}: refused: a process that loads it fails (LookupError: what is this); get"
    )
