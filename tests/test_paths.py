"""Every path of a user is looked up once, by `as_path`, which reports what the system refuses."""

import os
import re
import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from in_process import run

import genir
from genir.arguments import as_path
from genir.cli import app
from genir.cli.root import commands_below
from genir.corpus.readers import read_corpus
from genir.corpus.writer import write_corpus
from genir.errors import InputError
from genir.generation.generator import QueryGenerator
from genir.models.checkpoint_checks import check_files
from genir.models.digests import weights_digest
from genir.training.checkpoints import WorkFolder
from genir.training.losses.teachers import run_files

pytestmark = pytest.mark.usefixtures("offline")
LONG = "x" * 300
REACHED = "cannot be reached .*; check the path and its permissions"


@pytest.fixture
def locked(tmp_path):
    """A folder in a folder that this process may not search; root becomes another user."""
    (tmp_path / "locked" / "folder").mkdir(parents=True)
    (tmp_path / "locked").chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield tmp_path / "locked" / "folder"
    if root:
        os.seteuid(0)
    (tmp_path / "locked").chmod(0o700)


def test_a_folder_must_be_readable_too(tmp_path, monkeypatch):
    def fail(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(InputError, match=r"cannot be reached \(Permission denied"):
        as_path(tmp_path, "corpus")


def path_parameters():
    import typer

    root = typer.main.get_command(app)
    for command in commands_below(root):
        for parameter in command.params:
            annotation = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
            if Path in {annotation, *get_args(annotation)}:
                yield pytest.param(command, parameter, id=f"{command.name} {parameter.name}")


PARAMETERS = list(path_parameters())


def test_there_are_paths_in_most_verbs():
    assert len(PARAMETERS) > 35


@pytest.mark.parametrize(("command", "parameter"), PARAMETERS)
def test_every_path_of_every_verb_is_looked_up(command, parameter, locked):
    for path, reason in ((LONG, "File name too long"), (locked, "Permission denied")):
        with pytest.raises(InputError, match=f"cannot be reached \\({reason}\\)"):
            parameter.process_value(None, str(path))
    with pytest.raises(InputError, match="the path is empty; give a path"):
        parameter.process_value(None, "")


VERBS = {
    "search": ("search", LONG, "a question"),
    "inspect": ("inspect", LONG),
    "recover": ("recover", LONG),
    "train": ("train", "default", "--corpus", LONG, "--out", "new"),
    "out": ("train", "default", "--corpus", ".", "--out", LONG),
    "working folder": ("train", "default", "--corpus", "{corpus}", "--out", "x" * 250),
    "recipe": ("train", f"{LONG}.toml", "--corpus", ".", "--out", "new"),
    "encoder": ("train", "default", "--corpus", "{corpus}", "--out", "new",
                "--set", f"model.encoder={LONG}"),
    "start": ("train", "default", "--corpus", "{corpus}", "--out", "new",
              "--set", f"model.init_from={LONG}"),
    "queries": ("train", "default", "--corpus", "{corpus}", "--out", "new",
                "--set", f"pseudo_queries.source={LONG}.jsonl"),
    "generator": ("generate-queries", "{corpus}", "--out", "new.jsonl", "--model", LONG),
    "preview": ("identifiers", "{corpus}", "--scheme", "url", "--encoder", LONG),
    "token": ("token", "new", "me", "--file", LONG),
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_a_name_that_is_too_long_is_refused(verb, capsys, tiny_corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*(str(part).format(corpus=tiny_corpus) for part in VERBS[verb])) == 2
    assert "cannot be reached (File name too long)" in " ".join(capsys.readouterr().err.split())


CALLS = {
    "load": genir.Retriever.load,
    "from_pretrained": genir.Retriever.from_pretrained,
    "recipe": genir.load_recipe,
    "recipe of train": lambda path: genir.train([], path, out="new"),
    "corpus": lambda path: genir.train(path, out="new"),
    "out": lambda path: genir.train([{"_id": "a", "text": "A."}], out=path),
    "queries": lambda path: genir.evaluate(None, path, {}),
    "qrels": lambda path: genir.evaluate(None, {}, path),
    "read_corpus": read_corpus,
    "write_corpus": lambda path: write_corpus(path, [{"_id": "a", "text": "A."}]),
    "encoder": lambda path: check_files(str(path)),
    "weights": lambda path: weights_digest(str(path)),
    "teacher": lambda path: run_files(str(path), "queries"),
    "generator": lambda path: QueryGenerator.open(str(path), "cpu"),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("path", [LONG, "x" * 100_000, "a/\ud800", "a\0b"])
def test_a_path_that_cannot_be_looked_up_is_refused(name, path):
    with pytest.raises(InputError, match=REACHED):
        CALLS[name](path)


@pytest.mark.parametrize("name", CALLS)
def test_a_folder_without_search_permission_is_refused(name, locked):
    with pytest.raises(InputError, match=REACHED):
        CALLS[name](str(locked))


@pytest.mark.parametrize("path", [None, 5, b"x", np.array("x")])
def test_other_types_are_no_path(path):
    for name in ("load", "from_pretrained", "recipe", "recipe of train", "out", "write_corpus"):
        with pytest.raises(InputError, match="; give a path"):
            CALLS[name](path)


def test_an_error_inside_a_folder_has_no_traceback(capsys, monkeypatch, tiny_folder):
    """A folder in a model or corpus may be locked, too."""

    def fail(*arguments):
        raise PermissionError(13, "Permission denied", "model/identifiers")

    monkeypatch.setattr(genir.Retriever, "load", fail)
    assert run("inspect", tiny_folder("atomic")) == 2
    assert "model/identifiers: cannot be used (Permission denied)" in capsys.readouterr().err


# --- the working folder ----------------------------------------------------------------------


def test_the_working_folder_has_an_absolute_path(tmp_path, monkeypatch):
    (tmp_path / "model" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "model" / "inner")
    assert as_path(".", "path") == tmp_path / "model" / "inner"
    assert as_path("..", "path") == tmp_path / "model"
    assert as_path("other", "path") == Path("other")
    assert WorkFolder(Path(".")).path == tmp_path / "model" / "inner.training"
    assert WorkFolder(Path("..")).path == tmp_path / "model.training"
    with pytest.raises(InputError, match="is the root folder; give a folder in it"):
        WorkFolder(Path("/"))


def test_a_removed_working_folder_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(InputError, match=r"cannot be reached \(No such file or directory"):
        as_path("model", "MODEL")


@pytest.mark.parametrize("out", [".", "/"])
def test_train_does_not_write_to_the_working_folder(out, tiny_corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("train", "default", "--corpus", tiny_corpus, "--out", out) == 2
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["", "/", "."])
def test_keygen_needs_a_name(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("keygen", path) == 2
    assert not any(tmp_path.iterdir())


def test_a_model_is_compacted_from_inside(tiny_folder, tmp_path, monkeypatch, capsys):
    """The folder is replaced, and with it the working folder."""
    shutil.copytree(tiny_folder("atomic"), tmp_path / "model")
    monkeypatch.chdir(tmp_path / "model" / "identifiers")
    genir.Retriever.load("..").delete("copy-file")
    assert run("compact", "..") == 0
    assert "39 documents" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path / "model")
    genir.Retriever.load(".").delete("move-file")
    assert run("compact", ".") == 0
    assert re.search(r"38 documents; .* (?!0\.0)[0-9.]+ MB now", capsys.readouterr().out)
    assert len(genir.Retriever.load(tmp_path / "model").documents) == 38


def test_a_backup_may_replace_the_working_folder(tiny_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("backup", tiny_folder("atomic"), ".", "--overwrite") == 0
    assert re.search(rf"copied to {tmp_path}, (?!0\.0)[0-9.]+ MB", capsys.readouterr().out)
    assert (tmp_path / "manifest.json").is_file()
