"""Every wrong command line gives one message with the problem and its fix, and exit code 2.

Existing files stay unchanged, to the byte. Errors inside collections are in
tests/corpus/test_bad_corpora.py.
"""

import errno
import json
import os
import re
import shutil
import socket
from pathlib import Path

import pytest
from in_process import run

from genir.training.pipeline import TrainingJob, train

pytestmark = pytest.mark.usefixtures("offline")

RECIPE = """
name = "tiny"
[[tasks]]
task = "queries"
[[tasks]]
task = "lead"
[model]
encoder = {encoder}
word_set_size = 0
[training]
max_steps = 2
batch_size = 16
"""


@pytest.fixture(scope="module")
def finished(tiny_encoder, tiny_corpus, tmp_path_factory):
    """A folder with everything that tests damage: corpus, recipe, model, interrupted training."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(tiny_corpus, folder / "corpus")
    (folder / "tiny.toml").write_text(RECIPE.format(encoder=json.dumps(str(tiny_encoder))))
    train(TrainingJob(str(folder / "tiny.toml"), folder / "corpus", folder / "model"))
    begun = TrainingJob(str(folder / "tiny.toml"), folder / "corpus", folder / "begun")
    train(begun, prepare_only=True)
    (folder / "file").write_text("a file\n")
    (folder / "empty").mkdir()
    (folder / "no-documents").mkdir()
    (folder / "no-documents" / "corpus.jsonl").write_text("")
    qrels = (folder / "corpus" / "qrels" / "test.tsv").read_text()
    (folder / "unknown-document.tsv").write_text(qrels + "test-1\tabsent-key\t1\n")
    (folder / "unknown-query.tsv").write_text(qrels + "absent-query\tcopy-file\t1\n")
    (folder / "no-judgements.tsv").write_text("query-id\tcorpus-id\tscore\n")
    return folder


@pytest.fixture
def place(finished, tmp_path, monkeypatch):
    """A copy of this folder, to be damaged, as the working directory."""
    shutil.copytree(finished, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


def refused(capsys, message, *arguments):
    """Run a command; check exit code 2, one message and an unchanged folder."""
    before = contents()
    capsys.readouterr()
    code = run(*arguments)
    output = capsys.readouterr().err
    assert code == 2, output
    assert "Traceback" not in output
    output = " ".join(output.replace("\u2502", " ").split())  # without typer's box
    assert re.search(message, output), output
    assert output.count("error:") <= 1
    assert contents() == before


def contents():
    """Return every file and folder below the working directory with its content."""
    return {path: path.read_bytes() if path.is_file() else b"" for path in Path.cwd().rglob("*")}


TRAIN = ("train", "tiny.toml", "--corpus", "corpus", "--out", "new")


def setting(value):
    return (*TRAIN, "--set", value)


TRAININGS = {
    # the recipe's name, file and keys
    "unknown recipe": (("train", "defualt", *TRAIN[2:]), r"'defualt'; did you mean 'default'\?"),
    "missing recipe": (("train", "no.toml", *TRAIN[2:]), r"no\.toml: no such recipe file; give"),
    "recipe a folder": (("train", "./corpus", *TRAIN[2:]), r"corpus: no such recipe file"),
    "recipe no TOML": (("train", "corpus/corpus.jsonl", *TRAIN[2:]), "not valid TOML"),
    "unknown section": (setting("trainnig.epochs=1"), r"'trainnig'; did you mean 'training'\?"),
    "unknown key": (setting("training.epoch=1"), r"'training\.epoch'; did you mean 'epochs'\?"),
    "key of model": (setting("model.word_size=1"),
    r"\[model\].*'word_size'; did you mean 'word_set_size'"),
    "key of scheme": (setting("identifiers.levels=2"), r"\[identifiers\] atomic: .*'levels'"),
    "key of task": (setting("tasks.1.word=2"), r"\[\[tasks\]\] lead: .*'word'; did you .* 'words'"),
    "ill-typed": (setting("training.epochs=many"), r"training\.epochs = 'many': .*number"),
    "out of range": (setting("training.batch_size=0"), r"training\.batch_size = 0: .*equal to 1"),
    "negative": (setting("training.learning_rate=-1"), r"learning_rate = -1: .*greater than 0"),
    "not a number": (setting("training.learning_rate=nan"), r"learning_rate = nan"),
    "dropout 1": (setting("training.dropout=1.0"), r"training\.dropout = 1\.0: .*less than 1"),
    "precision": (setting("training.precision=fp8"), r"precision = 'fp8': .*'bf16'"),
    "normalise": (setting("decoding.softmax=all"), r"decoding\.softmax = 'all': .*'trie'"),
    "beams": (setting("decoding.beams=0"), r"decoding\.beams = 0"),
    "unknown scheme": (setting("identifiers.scheme=residul"), r"'residul'.*mean 'residual'\?"),
    "unknown task": (setting("tasks.0.task=querys"), r"task 'querys'; did you mean 'queries'\?"),
    "unknown kind": (setting("model.kind=encoder-hed"),
    r"kind 'encoder-hed'; did you mean 'encoder-head'\?"),
    "text in an encoder-head model": (setting("identifiers.scheme=url"),
    r"'url' needs; use kind = 'seq2seq'"),
    "words of codes": (
        (*setting("identifiers.scheme=residual"), "--set", "model.word_set_size=8"),
        r"word_set_size = 8: with codes, word sets need \[decoding\] strategy = 'lookahead'",
    ),
    "compact words": (setting("model.compact_words=true"),
    r"\[model\] compact_words: needs codes and word_set_size"),
    "too many codes": (
        (*setting("identifiers.scheme=residual"), "--set", "identifiers.codes=7"),
        r"\[identifiers\] residual: codes = 7",
    ),
    # syntax of --set
    "set without =": (setting("training.epochs"), r"--set 'training\.epochs': write it as key="),
    "set without key": (setting("=1"), r"--set '=1': write it as key=value"),
    "set beyond tasks": (setting("tasks.7.task=lead"), r"'7' is not an index below 2"),
    "set no index": (setting("tasks.lead.words=2"), r"'lead' is not an index below 2"),
    "set below a value": (setting("name.x=1"), r"'name' holds a value, not a section"),
    # paths
    "no corpus": (("train", "tiny.toml", "--corpus", "nowhere", "--out", "new"),
                  r"nowhere: no such file or folder; check the path"),
    "corpus empty": (("train", "tiny.toml", "--corpus", "empty", "--out", "new"),
                     r"empty: no documents; put corpus\.jsonl"),
    "no documents": (("train", "tiny.toml", "--corpus", "no-documents", "--out", "new"),
                     r"corpus\.jsonl: no documents"),
    "corpus of no format": (("train", "tiny.toml", "--corpus", "file", "--out", "new"),
                            r"file: not a format genir reads"),
    "output exists": (("train", "tiny.toml", "--corpus", "corpus", "--out", "model"),
                      r"model: exists already; choose another path, or"),
    "output a file": (("train", "tiny.toml", "--corpus", "corpus", "--out", "file", "--overwrite"),
                      r"file: is a file, not a folder; choose another path"),
    "output below a file": (("train", "tiny.toml", "--corpus", "corpus", "--out", "file/new"),
                            r"file/new\.training: cannot be created .*give another --out"),
    "interrupted": (("train", "tiny.toml", "--corpus", "corpus", "--out", "begun"),
                    r"begun\.training: contains an interrupted training; --resume .*--overwrite"),
    "resume another": (("train", "tiny.toml", "--corpus", "corpus", "--out", "begun", "--resume",
                        "--set", "training.seed=7"),
                       r"setting training\.seed: 0 then, 7 now.*--overwrite"),
    "resume a finished other": (("train", "tiny.toml", "--corpus", "corpus", "--out", "model",
                                 "--resume", "--set", "training.seed=7"),
                                r"model: .*setting training\.seed: 0 then, 7 now.*--overwrite"),
    "resume a corpus that is gone": (("train", "tiny.toml", "--corpus", "nowhere", "--out", "begun",
                                      "--resume"), r"nowhere: no such file or folder"),
    "resume a finished one's": (("train", "tiny.toml", "--corpus", "nowhere", "--out", "model",
                                 "--resume"), r"nowhere: no such file or folder"),
    # queries, the encoder, the start
    "queries alone": ((*TRAIN, "--queries", "corpus/queries.jsonl"), r"--queries and --qrels: "),
    "qrels alone": ((*TRAIN, "--qrels", "corpus/qrels/train.tsv"), r"--queries and --qrels: "),
    "no queries": ((*TRAIN, "--queries", "no.jsonl", "--qrels", "corpus/qrels/train.tsv"),
                   r"no\.jsonl.*check"),
    "unknown document": ((*TRAIN, "--queries", "corpus/queries.jsonl",
                          "--qrels", "unknown-document.tsv"),
                         r"unknown-document\.tsv:22: document 'absent-key' is unknown"),
    "no encoder": (setting("model.encoder=./no"), r"cannot load '\./no': .*give 'minilm'"),
    "encoder a corpus": (setting("model.encoder=./corpus"), r"cannot load '\./corpus'"),
    "start nowhere": (setting("model.init_from=nowhere"), r"nowhere: no such model folder"),
    "start a corpus": (setting("model.init_from=./corpus"), r"manifest\.json: missing"),
    "start unknown recipe": (setting("model.init_from=no.toml"), r"no\.toml: no such recipe file"),
    "start itself": (setting("model.init_from=tiny.toml"), r"cannot start from itself"),
    "nothing to learn": (
        ("train", "tiny.toml", "--corpus", "corpus/corpus.jsonl", "--out", "new",
         "--set", "tasks=[{task = 'queries'}]"),
        r"tasks\]\]: queries make no example of this corpus",
    ),
    # errors of typer
    "no output": (("train", "tiny.toml", "--corpus", "corpus"), r"Missing option.*--out"),
    "unknown option": ((*TRAIN, "--epochs", "3"), r"No such option.*--epochs"),
    "unknown verb": (("trian",), r"No such command 'trian'"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAININGS)
def test_training(place, capsys, name):
    arguments, message = TRAININGS[name]
    refused(capsys, message, *arguments)


def evaluation(queries="corpus/queries.jsonl", qrels="corpus/qrels/test.tsv", *more):
    return "evaluate", "model", "--queries", queries, "--qrels", qrels, *more


USES = {
    "no model": (("search", "./not/there/model", "x"), r"not/there/model: no such model folder"),
    "model a file": (("search", "./file", "x"), r"file: no such model folder"),
    "model a corpus": (("search", "corpus", "x"), r"manifest\.json: missing, so this is not a"),
    "empty query": (("search", "model", " "), r"the query is empty; give some text"),
    "invisible query": (("search", "model", "\u200b\ufe0f"), r"the query is empty; give some text"),
    "k = 0": (("search", "model", "x", "-k", "0"), r"k = 0: give at least 1"),
    "k a word": (("search", "model", "x", "-k", "ten"), r"Invalid value for '-k'"),
    "beams = 0": (("search", "model", "x", "--beams", "0"), r"Invalid value for '--beams'"),
    "where without =": (("search", "model", "x", "--where", "lang"), r"'lang': write it as field="),
    "where without field": (("search", "model", "x", "--where", "=en"), r"'=en': write it as"),
    "where unknown": (("search", "model", "x", "--where", "verbs=copy"),
                      r"metadata field 'verbs'; did you mean 'verb'\?"),
    "inspect nothing": (("inspect", "nowhere"), r"nowhere: no such model folder; train one"),
    "unknown baseline": (evaluation("corpus/queries.jsonl", "corpus/qrels/test.tsv",
                                    "--baselines", "bm52"), r"'bm52'; did you mean 'bm25'\?"),
    "evaluate no queries": (evaluation("no.jsonl"), r"no\.jsonl.*check the path"),
    "evaluate no qrels": (evaluation("corpus/queries.jsonl", "no.tsv"), r"no\.tsv.*check the path"),
    "no judgements": (evaluation("corpus/queries.jsonl", "no-judgements.tsv"), "no judgements"),
    "judged unknown": (evaluation("corpus/queries.jsonl", "unknown-document.tsv"),
                       r"unknown-document\.tsv:22: document 'absent-key' is unknown"),
    "asked unknown": (evaluation("corpus/queries.jsonl", "unknown-query.tsv"),
                      r"unknown-query\.tsv:22: query 'absent-query' is unknown"),
    "json nowhere": (evaluation("corpus/queries.jsonl", "corpus/qrels/test.tsv",
                                "--json", "no/e.json"), r"no/e\.json: there is no folder no;"),
    "run a folder": (evaluation("corpus/queries.jsonl", "corpus/qrels/test.tsv",
                                "--run", "empty"), r"empty: is a folder; name a file"),
    "report a file": (evaluation("corpus/queries.jsonl", "corpus/qrels/test.tsv",
                                 "--report", "file"), r"'file' is a file"),
    "identifiers nowhere": (("identifiers", "nowhere", "--scheme", "atomic"), r"nowhere: no such"),
    "identifiers unknown": (("identifiers", "corpus", "--scheme", "atmoic"), r"mean 'atomic'\?"),
    "identifiers option": (("identifiers", "corpus", "--scheme", "residual", "--set", "level=2"),
                           r"unknown key 'level'; did you mean 'levels'\?"),
    "identifiers set": (("identifiers", "corpus", "--scheme", "residual", "--set", "levels"),
                        r"--set 'levels': write it as key=value"),
    "plot nowhere": (("identifiers", "corpus", "--scheme", "atomic", "--plot", "no/i.png"),
                     r"no/i\.png: there is no folder"),
    "docs exist": (("corpus", "python-docs", "corpus"), r"corpus: exists already; .*--overwrite"),
    "docs over others": (("corpus", "python-docs", "model", "--overwrite"),
                         r"is not a corpus folder"),
    "docs package": (("corpus", "python-docs", "new", "--packages", "no_such"),
                     r"package 'no_such' cannot be imported .*install it"),
    "no such port": (("serve", "model", "--port", "70000"), r"Invalid value for '--port'"),
    "no such host": (("serve", "model", "--host", "no host"), r"'no host': not an address"),
}  # fmt: skip


@pytest.mark.parametrize("name", USES)
def test_using(place, tiny_encoder, capsys, name):
    arguments, message = USES[name]
    if arguments[0] == "identifiers":
        arguments = (*arguments, "--encoder", tiny_encoder)
    refused(capsys, message, *arguments)


def test_a_taken_port(place, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(capsys, rf"127\.0\.0\.1:{port}: the port is in use; .*--port",
                "serve", "model", "--port", port)  # fmt: skip


def test_a_model_that_cannot_be_served(place, capsys):
    (place / "model" / "recipe.toml").unlink()
    refused(capsys, r"recipe\.toml: missing", "serve", "model", "--port", "0")


def remove(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def change(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


FILES = ["recipe.toml", "model.safetensors", "model.json", "config.json", "tokenizer.json",
         "documents.sqlite", "queries.safetensors", "identifiers/rows.safetensors",
         "identifiers/keys.marisa", "identifiers/scheme.json"]  # fmt: skip
DAMAGE = {remove: "missing from the model folder", cut: "truncated", change: "sha256 differs"}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_model(place, capsys, file, damage):
    damage(place / "model" / file)
    message = rf"model/{re.escape(file)}: .*{DAMAGE[damage]}.*restore the folder"
    refused(capsys, message, "search", "model", "x")


MANIFESTS = {
    "missing": (remove, r"manifest\.json: missing, so this is not a genir model folder"),
    "cut": (cut, r"manifest\.json: damaged; restore"),
    "of a later genir": (
        lambda path: path.write_text(path.read_text().replace('"format": 4', '"format": 99')),
        r"manifest\.json: format 99, but this genir reads 4; train the model again",
    ),
    "a list": (lambda path: path.write_text("[]"), r"manifest\.json: damaged"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_bad_manifest(place, capsys, name):
    damage, message = MANIFESTS[name]
    damage(place / "model" / "manifest.json")
    refused(capsys, message, "inspect", "model")


def test_a_recipe_spoilt_and_signed(place, capsys):
    """An invalid recipe in a model folder with a valid checksum gives one message."""
    from genir.manifest import write_manifest

    recipe = place / "model" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("[training]", "[trainnig]"))
    write_manifest(place / "model", {})
    refused(capsys, r"recipe\.toml: unknown key 'trainnig'; did you mean", "search", "model", "x")


@pytest.mark.parametrize("calls", [0, 1, 30])
def test_a_full_disk(place, capsys, monkeypatch, calls):
    """At the first flushed file, at the next, and in the middle."""
    real, made = os.fsync, []

    def fsync(descriptor):
        made.append(None)
        if len(made) > calls:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    before = contents()
    monkeypatch.setattr(os, "fsync", fsync)
    code = run("train", "tiny.toml", "--corpus", "corpus", "--out", "model", "--overwrite")
    output = capsys.readouterr().err
    assert code == 2 and "Traceback" not in output
    assert re.search("the disk is full; free space|No space left on device.*; free space", output)
    after = contents()
    assert {name: after.get(name) for name in before} == before
    assert all("model.training" in str(path) for path in after.keys() - before.keys())


def test_a_foreign_recipe_file(place, capsys):
    (place / "bad.toml").write_bytes(b'name = "\xff"')
    refused(capsys, r"bad\.toml:1: not UTF-8", "train", "./bad.toml", *TRAIN[2:])


def test_a_recipe_without_tasks(place, capsys):
    (place / "bad.toml").write_text('name = "x"')
    refused(capsys, r"the key 'tasks' is missing; add it", "train", "./bad.toml", *TRAIN[2:])
