"""Every verb with documents, paths and queries that contain escape sequences, markup, overrides."""

import json
import logging
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from in_process import run

from genir.cli import app
from genir.cli.root import commands_below
from genir.config import load_recipe
from genir.corpus import python_docs
from genir.serving.logs import logging_json

CONTROLS = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b31m\x08\x7f\u202e\u2066\u200f\u2028"
BAD = f"{CONTROLS}[bold]red[/] [link=http://e.org]l[/link]"
HOSTILE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\u061c]")
COLOURS = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[lh])|\r?\x1b\[(?:2K|1A)")
"""Colours, and the cursor movements of rich's progress bars."""
ELSEWHERE = {"demo", "generate-queries", "mcp", "refresh", "serve"}
"""Verbs that take long; tests/test_console.py checks that they print through genir.console."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"corpus {CONTROLS.replace('/', '')}")
    documents = [
        {"_id": f"{number} {BAD}", "title": f"copy {number} {BAD}\n  1  forged", "lang": BAD,
         "text": f"copy a file {number} {BAD}", "url": f"https://e.org/{number}/{BAD}"}
        for number in range(6)
    ]  # fmt: skip
    write(folder / "corpus.jsonl", documents)
    queries = [{"_id": f"q{number}", "text": f"copy {number} {BAD}"} for number in range(6)]
    write(folder / "queries.jsonl", queries)
    (folder / "qrels").mkdir()
    lines = [f"q{number}\t{number} {BAD}\t1\n" for number in range(6)]
    header = "query-id\tcorpus-id\tscore\n"
    for split in ("train", "test"):
        with (folder / "qrels" / f"{split}.tsv").open("w", newline="\n") as file:
            file.write(header + "".join(lines))
    return folder


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture(scope="module")
def recipe(corpus):
    text = (Path(__file__).parents[1] / "genir/recipes/default.toml").read_text()
    lines = [f"name = {json.dumps(BAD)}", f"description = {json.dumps(BAD)}"]
    kept = [line for line in text.splitlines() if not re.match("(name|description) =", line)]
    path = corpus / "recipe.toml"
    path.write_text("\n".join(lines + kept).replace("\x7f", "\\u007f"))
    return path


@pytest.fixture(scope="module")
def training(corpus, recipe, tiny_encoder):
    """Return the arguments that train a model of the corpus."""
    settings = (f"model.encoder={tiny_encoder}", "training.max_steps=1", "training.num_dev_evals=1")
    flags = [flag for setting in settings for flag in ("--set", setting)]
    return ["train", recipe, "--corpus", corpus, *flags]


@pytest.fixture(scope="module")
def model(corpus, training):
    out = corpus.with_name(f"model {CONTROLS}[bold]")
    assert run(*training, "--out", out) == 0
    return out


def calls(model, corpus, training, encoder):
    """Return the arguments of each verb, and its exit code."""
    key, judged = f"0 {BAD}", ("--queries", corpus / "queries.jsonl",
                               "--qrels", corpus / "qrels" / "test.tsv")  # fmt: skip
    new = corpus / f"new {CONTROLS}.jsonl"
    write(new, [{"_id": f"new {BAD}", "text": f"new {BAD}"}])
    pages = corpus.with_name(f"pages {CONTROLS}")
    pages.mkdir(exist_ok=True)
    (pages / f"page {CONTROLS}.md").write_text(f"# Title {BAD}\n\nA page {BAD}.\n")
    new_model = ("--corpus", corpus, corpus.with_name("imported"))
    return {
        "train": [(0, [*training, "--out", corpus.with_name(f"other {BAD.replace('/', '')}")]),
                  (2, [*training, "--out", model])],
        "search": [(0, ["search", model, f"copy {BAD}"]), (0, ["search", model, "x", "--json"]),
                   (0, ["search", model, "x", "--where", f"lang={BAD}"]),
                   (2, ["search", model, "x", "--where", f"{BAD}=x"]),
                   (2, ["search", f"{BAD}none", "x"]), (2, ["search", model, "x", f"--{BAD}"])],
        "explain": [(0, ["explain", model, f"copy {BAD}", key]),
                    (2, ["explain", model, "x", f"none {BAD}"])],
        "inspect": [(0, ["inspect", model])],
        "add": [(0, ["add", model, new]), (2, ["add", model, new]), (2, ["add", model, f"{BAD}"])],
        "delete": [(0, ["delete", model, f"new {BAD}"]), (2, ["delete", model, f"none {BAD}"])],
        "set": [(2, ["set", model, f"{BAD}=x"]), (2, ["set", model, f"base-url={BAD}"])],
        "sync": [(0, ["sync", model, pages, "--dry-run", "--max-deleted", "1"]),
                 (2, ["sync", model, f"{BAD}none"])],
        "import": [(2, ["import", "--model", f"{BAD}none", "--identifiers", new, *new_model]),
                   (2, ["import", "--model", encoder, "--identifiers", f"{BAD}none", *new_model])],
        "versions": [(0, ["versions", model])],
        "backup": [(0, ["backup", model, model.with_name(f"copy {CONTROLS}")]),
                   (2, ["backup", f"{BAD}none", "x"])],
        "recover": [(0, ["recover", model]), (2, ["recover", f"{BAD}none"])],
        "rollback": [(0, ["rollback", model, "0"]), (2, ["rollback", model, BAD])],
        "compact": [(0, ["compact", model])],
        "keygen": [(0, ["keygen", model.with_name(f"key {CONTROLS}")]),
                   (2, ["keygen", f"{BAD}/none/key"])],
        "sign": [(0, ["sign", model, "--key", model.with_name(f"key {CONTROLS}")]),
                 (2, ["sign", model, "--key", f"{BAD}none"])],
        "verify": [(0, ["verify", model, "--key", model.with_name(f"key {CONTROLS}.pub")]),
                   (2, ["verify", model, "--key", f"{BAD}none"])],
        "evaluate": [(0, ["evaluate", model, *judged, "--latency-queries", "1", "--no-typos",
                          "--report", corpus / f"report {CONTROLS}"]),
                     (2, ["evaluate", model, *judged, "--baselines", BAD])],
        "identifiers": [(0, ["identifiers", corpus, "--scheme", "title", "--encoder", encoder]),
                        (2, ["identifiers", corpus, "--scheme", BAD, "--encoder", encoder])],
        "recipes": [(0, ["recipes"])],
        "corpus python-docs": [(2, ["corpus", "python-docs", model]),
                               (0, ["corpus", "python-docs", corpus / f"docs {CONTROLS}"])],
        "token new": [(0, ["token", "new", "a", "--file", corpus / f"tokens {CONTROLS}.json"]),
                      (2, ["token", "new", BAD, "--file", corpus / "tokens.json"]),
                      (2, ["token", "new", "b", "--where", BAD])],
    }  # fmt: skip


def verbs():
    root = typer.main.get_command(app)
    named = {id(root): ""}
    for command in commands_below(root):
        for name, below in getattr(command, "commands", {}).items():
            named[id(below)] = f"{named[id(command)]} {name}".strip()
    groups = {id(one) for one in commands_below(root) if hasattr(one, "commands")}
    return {name for one, name in named.items() if one not in groups}


@pytest.mark.parametrize("colour", [{}, {"FORCE_COLOR": "1"}], ids=["piped", "coloured"])
def test_no_verb_lets_a_control_character_through(
    model, corpus, training, tiny_encoder, capsys, monkeypatch, tmp_path, colour
):
    monkeypatch.setattr(python_docs.sys, "stdlib_module_names", {"shutil", "this"})
    monkeypatch.chdir(tmp_path)
    for name, value in colour.items():
        monkeypatch.setenv(name, value)
    own = shutil.copytree(model, tmp_path / model.name)
    known = calls(own, corpus, training, tiny_encoder)
    assert verbs() == known.keys() | ELSEWHERE, "a new verb: give it hostile texts here"
    for code, arguments in [one for uses in known.values() for one in uses]:
        for path in [*corpus.parent.glob("other*"), *corpus.glob("docs*")]:
            shutil.rmtree(path)
        for path in corpus.glob("tokens*"):
            path.unlink()
        capsys.readouterr()
        assert run(*arguments) == code, arguments
        out, err = capsys.readouterr()
        shown = COLOURS.sub("", out + err) if colour else out + err
        if "--json" not in arguments:
            assert not re.search(r"\n\s+1  forged", shown)
        # Progress bars of other libraries write control sequences.
        lines = [line for line in shown.split("\n") if "it/s" not in line]
        assert not HOSTILE.search("\n".join(lines)), (arguments, ascii(shown))


def test_search_shows_markup_as_it_is_written(model, capsys):
    capsys.readouterr()
    assert run("search", model, "copy", "-k", "1") == 0
    first, second = capsys.readouterr().out.splitlines()
    shown = BAD.encode("unicode_escape").decode()
    assert first.count("[bold]red[/] [link=http://e.org]l[/link]") == 3
    assert r"\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b31m\x08\x7f\u202e\u2066\u200f\u2028" in shown
    assert first.endswith(f"{shown}   1  forged") and "[bold]red[/]" in second


def test_json_keeps_the_texts(model, capsys):
    capsys.readouterr()
    assert run("search", model, "copy", "-k", "6", "--json") == 0
    hits = json.loads(capsys.readouterr().out)["hits"]
    assert {hit["key"] for hit in hits} == {f"{number} {BAD}" for number in range(6)}


def test_the_model_card_is_plain(model):
    card = (model / "MODEL_CARD.md").read_text()
    assert not HOSTILE.search(card) and r"\[bold\]red\[/\]" in card
    recipe = load_recipe(model / "recipe.toml")
    assert recipe.name == recipe.description == BAD


def test_a_terminal_gets_colours_and_nothing_else(model):
    """In a pseudo-terminal of 60 columns, URLs are not wrapped, and only colours are escapes."""
    parent, child = pty.openpty()
    program = "from genir.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "search", str(model), "copy", "-k", "1"],
        stdin=child, stdout=child, stderr=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "60"},
    )  # fmt: skip
    os.close(child)
    written = b""
    try:
        while part := os.read(parent, 65536):
            written += part
    except OSError:  # the other end is closed
        pass
    os.close(parent)
    assert process.wait() == 0
    shown = written.decode().replace("\r\n", "\n")
    assert COLOURS.search(shown)
    lines = COLOURS.sub("", shown).splitlines()
    assert len(lines) == 2 and not any(map(HOSTILE.search, lines))
    assert "https://e.org/" in lines[0] and len(lines[0]) > 300


def test_logs_stay_json_with_the_raw_text(capsys):
    with logging_json():
        logging.getLogger("genir.serving").info(f"event {BAD}", extra={"path": BAD})
    line = capsys.readouterr().out
    assert not HOSTILE.search(line.rstrip("\n")) and line.count("\n") == 1
    output = json.loads(line)
    assert output["event"] == f"event {BAD}" and output["path"] == BAD
