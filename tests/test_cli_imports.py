"""The command line imports torch and other large packages only when a command needs them."""

import json
import os
import resource
import subprocess
import sys

import pytest

HEAVY = (
    "torch", "transformers", "sentence_transformers", "sklearn", "scipy", "datasets", "accelerate",
    "pandas", "matplotlib", "faiss", "ir_measures", "bm25s", "fastapi", "uvicorn",
)  # fmt: skip
NOT_FOR_SEARCH = tuple(
    {*HEAVY, "sympy", "torch._dynamo", "triton"} - {"torch", "scipy", "faiss", "bm25s"}
)
MAX_HELP_CPU_S, MAX_SEARCH_CPU_S = 3.0, 9.0
"""Three times the targets: other programs on a machine slow a process down."""
RUN = """
import json, sys
from genir.cli import main
try:
    main()
except SystemExit as end:
    code = end.code or 0
names = json.loads(sys.stdin.read())
sys.stderr.write("\\n" + json.dumps([code, [name for name in names if name in sys.modules]]))
"""


def loaded(arguments, names=HEAVY):
    """Return the exit code of a command, and which of the modules it imported."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, arguments)], input=json.dumps(names),
        capture_output=True, text=True, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    return json.loads(done.stderr.rsplit("\n", 1)[1])


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("recipes",), ("search", "--help"), ("serve", "--help")],
    ids=" ".join,
)
def test_help_imports_nothing_large(arguments):
    assert loaded(arguments)[1] == []


MODEL = "./nosuch"


@pytest.mark.parametrize(
    "arguments",
    [
        ("serch",),
        ("search", MODEL, "a question"),
        ("search", "nosuch-model", "a question"),
        ("explain", MODEL, "a question", "key"),
        ("evaluate", MODEL, "--queries", "q.tsv", "--qrels", "r.tsv"),
        ("inspect", MODEL),
        ("serve", MODEL),
        ("mcp", MODEL),
        ("add", MODEL, "new.jsonl"),
        ("delete", MODEL, "key"),
        ("versions", MODEL),
        ("rollback", MODEL, "1"),
        ("compact", MODEL),
        ("refresh", MODEL),
        ("train", "nosuch", "--corpus", ".", "--out", "out"),
        ("train", "default", "--corpus", "nosuch", "--out", "out"),
        ("identifiers", "nosuch", "--scheme", "url"),
        ("generate-queries", "nosuch", "--out", "out.jsonl"),
    ],
    ids=" ".join,
)
def test_an_error_is_reported_before_large_imports(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert loaded(arguments) == [2, []]


def test_missing_files_are_reported_before_large_imports(tiny_folder, tiny_corpus, tmp_path):
    model = tiny_folder("atomic")
    missing = tmp_path / "missing.tsv"
    asked = (
        ("evaluate", model, "--queries", missing, "--qrels", missing),
        ("add", model, tiny_corpus, "--queries", missing, "--qrels", missing),
        ("refresh", model, "--queries", missing, "--qrels", missing),
        ("train", "default", "--corpus", tiny_corpus, "--out", "out", "--queries", missing),
    )
    for arguments in asked:
        assert loaded(arguments) == [2, []], arguments


def test_search_imports_what_it_needs(tiny_folder):
    code, names = loaded(("search", tiny_folder("atomic"), "copy a file"), NOT_FOR_SEARCH)
    assert (code, names) == (0, [])


def cpu_seconds(*arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "genir", *map(str, arguments)], check=False,
                   capture_output=True)  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_errors_and_search_take_little_processor_time(tiny_folder):
    assert cpu_seconds("--help") < MAX_HELP_CPU_S
    assert cpu_seconds("search", MODEL, "a question") < MAX_HELP_CPU_S
    assert cpu_seconds("search", tiny_folder("atomic"), "copy a file") < MAX_SEARCH_CPU_S
