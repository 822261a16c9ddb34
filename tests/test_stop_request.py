"""A signal at any moment ends a command with one line on stderr and exit code 128 + its number."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest

from genir.retriever import Retriever
from genir.signals import on_leave

TOP = Path(__file__).parents[1]
GENIR = (sys.executable, "-c", "from genir.cli import main; main()")
DELAYS = (0.0, 0.15, 0.4, 0.9, 2.0, 4.0)
"""Seconds after the process has installed its handlers: imports, loading, work, exit."""
PATIENCE = 120


def start(*command, **options):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(TOP)}
    return subprocess.Popen(
        list(map(str, command)), cwd=TOP, env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=hear, **options
    )  # fmt: skip


def hear():
    """Undo the signal settings that a background test run inherits."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_until_it_listens(process):
    """Wait until the process has a handler for SIGTERM, according to /proc."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
        if int(caught, 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.001)


def ended(process):
    errors = process.communicate(timeout=PATIENCE)[1]
    return process.returncode, errors


def evaluation(model, corpus):
    return (
        "evaluate",
        model,
        "--queries",
        corpus / "queries.jsonl",
        "--qrels",
        corpus / "qrels" / "test.tsv",
        "--baselines",
        "bm25",
        "--latency-queries",
        "20",
    )


COMMANDS = {
    "search": lambda model, corpus, out: (*GENIR, "search", model, "copy a file"),
    "evaluate": lambda model, corpus, out: (*GENIR, *evaluation(model, corpus)),
    "train": lambda model, corpus, out: (
        sys.executable, "train.py", model / "recipe.toml", "--corpus", corpus, "--out", out),
    "serve": lambda model, corpus, out: (sys.executable, "serve.py", model, "--port", "0"),
    "recipes": lambda model, corpus, out: (sys.executable, "-m", "benchmarks.recipes", "--list"),
    "data_prep": lambda model, corpus, out: (
        sys.executable, "data_prep/make_split.py", corpus, out, "--queries", "5"),
}  # fmt: skip


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_at_any_moment(name, tiny_folder, tiny_corpus, tmp_path):
    offset = list(COMMANDS).index(name) % 2
    for place, delay in enumerate(DELAYS[offset::2]):  # neighbours share the moments
        number = (signal.SIGINT, signal.SIGTERM)[(place + offset) % 2]
        out = tmp_path / f"out-{place}"
        process = start(*COMMANDS[name](tiny_folder("atomic"), tiny_corpus, out))
        wait_until_it_listens(process)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        code, errors = ended(process)
        assert code in (0, 128 + number, -number), (delay, code, errors)  # see AT_EXIT
        assert "Traceback" not in errors and "Exception ignored" not in errors, (delay, errors)
        if code == 128 + number:
            assert [line[:7] for line in errors.splitlines()[-1:]] == ["stopped"], (delay, errors)
        elif name == "serve":
            assert " answers at " in errors, (delay, errors)
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".out")]


AT_EXIT = """While the interpreter ends, after the work, a signal has its default effect."""
CHANGES = {
    "add": lambda folder, file: ("add", folder, file),
    "backup": lambda folder, file: ("backup", folder, file.with_name("copy")),
    "compact": lambda folder, file: ("compact", folder),
    "recover": lambda folder, file: ("recover", folder),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "delay"), [("add", 0.8), ("backup", 1.2), ("compact", 1.6), ("recover", 2.0)]
)
def test_a_signal_leaves_a_folder_as_it_was_or_changed(name, delay, tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder("atomic"), tmp_path / "model")
    file = tmp_path / "new.jsonl"
    file.write_text('{"_id": "new", "text": "a new document"}\n')
    process = start(*GENIR, *CHANGES[name](folder, file))
    wait_until_it_listens(process)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
    code, errors = ended(process)
    assert code in (0, 128 + signal.SIGTERM, -signal.SIGTERM), (code, errors)  # see AT_EXIT
    assert "Traceback" not in errors, errors
    assert Retriever.load(folder, "cpu").version in (0, int(name == "add"))
    names = {path.name for path in tmp_path.iterdir()}
    assert names in ({"model", "new.jsonl"}, {"model", "new.jsonl", "copy"})


def test_two_signals_at_once(tiny_folder):
    process = start(*GENIR, "search", tiny_folder("atomic"), "copy a file")
    wait_until_it_listens(process)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    code, errors = ended(process)
    assert code == 130 and "Traceback" not in errors


SLEEPER = """
import sys, time
from pathlib import Path
from genir.signals import listen
listen()
from genir.atomic_dirs import new_folder, temporary_folder
place = Path(sys.argv[1])
with temporary_folder(place) as one, new_folder(place / "model") as two:
    (one / "file").write_text("x")
    (two / "file").write_text("x")
    (place / "ready").touch()
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_folders_in_the_making_are_removed(tmp_path, number):
    process = start(sys.executable, "-c", SLEEPER, tmp_path)
    wait_for(tmp_path / "ready", process)
    process.send_signal(number)
    code, errors = ended(process)
    assert (code, errors) == (128 + number, f"stopped by {number.name}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["ready"]


def wait_for(path, process):
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def test_other_threads_register_no_clean_up(monkeypatch):
    registered = []
    monkeypatch.setattr("genir.signals._cleanups", registered)

    def work():
        with on_leave(print):
            seen.append(list(registered))

    seen = []
    thread = Thread(target=work)
    thread.start()
    thread.join()
    work()
    assert seen == [[], [print]] and registered == []


IGNORING = """
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from genir.signals import listen
listen()
os.kill(os.getpid(), signal.SIGHUP)
child = os.fork()
if not child:
    os.kill(os.getpid(), signal.SIGTERM)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 143
"""


def test_nohup_is_respected_and_forked_children_say_nothing():
    assert ended(start(sys.executable, "-c", IGNORING)) == (0, "")


WISHING = """
import os, signal
from genir.cli import guarded
from genir.signals import listen
from genir.training.stop_request import stop_request
listen()
def work():
    with stop_request() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.is_set
        {rest}
guarded(work)
"""


@pytest.mark.parametrize(
    ("rest", "code", "message"),
    [
        ("pass", 143, "stopped; a checkpoint is saved"),
        ("raise ValueError('of work that was cut short')", 143, "stopped; a checkpoint is saved"),
        ("os.kill(os.getpid(), signal.SIGINT)", 130, "stopped by SIGINT"),
    ],
)
def test_an_unhandled_stop_request_is_raised_at_the_end(rest, code, message):
    found, errors = ended(start(sys.executable, "-c", WISHING.format(rest=rest)))
    assert found == code and errors.startswith(message) and "Traceback" not in errors


def test_a_reader_that_has_gone_is_no_error_of_ours():
    process = subprocess.Popen(
        [*GENIR, "recipes"], cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(PATIENCE), errors) == (141, "")


def test_output_to_a_full_disk_is_one_message():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*GENIR, "recipes"], cwd=TOP, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2 and "standard output cannot be written" in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
