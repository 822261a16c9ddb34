"""Fingerprints of the inputs of a training, compared when it resumes."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from interruptions import killed

from genir.config import StrictModel, load_recipe
from genir.corpus.query_digests import known_among
from genir.corpus.readers import read_corpus
from genir.errors import InputError
from genir.identifiers.registry import SCHEMES
from genir.models.registry import MODELS
from genir.tasks.registry import TASKS
from genir.training import pipeline, prerequisites
from genir.training.fingerprints import (
    DocumentDigest,
    describe_change,
    recipe_inputs,
    require_unchanged,
    training_inputs,
)
from genir.training.loop import Trainer
from genir.training.losses.registry import LOSSES
from genir.training.pipeline import TrainingJob, train
from genir.training.recipe_checks import train_queries

LINE = '{"document": "copy-file", "text": "made up"}\n'


@pytest.fixture
def job(make_job, tiny_corpus, tiny_encoder, tmp_path):
    """A job whose corpus, encoder and file of pseudo-queries may be changed."""
    shutil.copytree(tiny_corpus, tmp_path / "corpus")
    shutil.copytree(tiny_encoder, tmp_path / "encoder")
    (tmp_path / "made.jsonl").write_text(LINE)
    tasks = f"tasks=[{{task='queries'}}, {{task='pseudo-queries', file='{tmp_path}/made.jsonl'}}]"
    return make_job(tasks, f"model.encoder={tmp_path}/encoder", "training.max_steps=2",
                    corpus=tmp_path / "corpus", resume=True)  # fmt: skip


def edit(path, change):
    """Change a JSON record in the middle of a JSONL file."""
    lines = path.read_text().splitlines()
    record = json.loads(lines[7])
    change(record)
    path.write_text("\n".join([*lines[:7], json.dumps(record), *lines[8:]]) + "\n")


def corpus(change):
    return lambda place: edit(place / "corpus" / "corpus.jsonl", change)


def append(name, text):
    def change(place):
        with (place / name).open("a") as file:
            file.write(text)

    return change


def reorder(place):
    path = place / "corpus" / "corpus.jsonl"
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))


CHANGES = {
    "text": (corpus(lambda r: r.update(text="other")), r"documents: 40 documents, .* then, 40 doc"),
    "title": (corpus(lambda r: r.update(title="other")), "documents: 40"),
    "url": (corpus(lambda r: r.update(url="https://other.example")), "documents: 40"),
    "metadata": (corpus(lambda r: r.update(verb="other")), "documents: 40"),
    "links": (
        corpus(lambda r: r.update(links=[{"start": 0, "end": 2, "target": "copy-file"}])),
        "documents: 40",
    ),
    "a document more": (
        append("corpus/corpus.jsonl", '{"_id": "parking", "text": "deck two"}\n'),
        r"documents: 40 documents, sha256 \w{12} then, 41 documents, sha256 \w{12} now",
    ),
    "order": (reorder, "documents: 40"),
    "a query": (
        lambda place: edit(place / "corpus" / "queries.jsonl", lambda r: r.update(text="other")),
        "train queries: 80",
    ),
    "a task's file": (append("made.jsonl", LINE), r"file .*made\.jsonl: sha256"),
    "weights": (append("encoder/config.json", " "), r"weights '.*encoder': sha256"),
    "no corpus": (
        lambda place: shutil.rmtree(place / "corpus"), "corpus: no such file or folder"
    ),
}  # fmt: skip


@pytest.mark.parametrize("when", ["interrupted", "finished"])
def test_a_changed_input_is_named_and_stops_the_run(job, tmp_path, when):
    if when == "interrupted":
        killed(job, 1)
    else:
        train(job)
    kept = tmp_path / "kept"
    for name in ("corpus", "encoder", "made.jsonl"):
        copy(tmp_path / name, kept / name)
    for name, (change, message) in CHANGES.items():
        change(tmp_path)
        with pytest.raises(InputError, match=message):
            train(job)
            pytest.fail(name)
        for restored in ("corpus", "encoder", "made.jsonl"):
            copy(kept / restored, tmp_path / restored)
    assert len(train(job).search(["clone a text"], 3)[0]) == 3


def test_another_base_url_is_named(make_job, tmp_path):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "a.md").write_text("# Title\nA text.\n")
    pages = make_job(corpus=tmp_path / "pages", base_url="https://x.example/")
    recipe = load_recipe("default")
    known = training_inputs(pages, recipe)
    assert describe_change(known, training_inputs(pages, recipe)) == ""
    other = training_inputs(replace(pages, base_url="https://y.example/"), recipe)
    message = r'base URL: "https://x.example/" then, "https://y.example/" now\); restore'
    with pytest.raises(InputError, match=message):
        require_unchanged(tmp_path / "m", known, other)


def copy(source, target):
    if target.is_dir():
        shutil.rmtree(target)
    target.parent.mkdir(exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def test_a_corpus_that_only_moved_is_the_same(job, tmp_path):
    train(job)
    (tmp_path / "corpus").rename(tmp_path / "moved")
    (tmp_path / "moved" / "corpus.jsonl").touch()
    assert len(train(replace(job, corpus=tmp_path / "moved")).documents) == 40


def test_a_recipe_trained_before_is_an_input_too(make_job, recipe_file, tmp_path):
    start = tmp_path / "start.toml"
    start.write_text(recipe_file.read_text())
    recipe = load_recipe(recipe_file, [f"model.init_from={start}"])
    before = recipe_inputs(recipe)
    assert describe_change(before, recipe_inputs(recipe)) == ""
    start.write_text(start.read_text().replace("batch_size = 16", "batch_size = 8"))
    output = f"recipe {start}: setting training.batch_size: 16 then, 8 now"
    assert describe_change(before, recipe_inputs(recipe)) == output


def test_a_model_of_an_earlier_genir_is_not_resumed(job):
    train(job)
    metrics = job.out / "metrics.json"
    output = json.loads(metrics.read_text())
    del output["inputs"]
    rewrite(job.out, "metrics.json", json.dumps(output))
    with pytest.raises(InputError, match=r"has no record of its inputs.*--overwrite"):
        train(job)


def rewrite(folder, name, text):
    from genir.manifest import write_manifest

    (folder / name).write_text(text)
    known = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").unlink()
    write_manifest(folder, {k: v for k, v in known.items() if k not in ("files", "format")})


def test_work_without_a_record_of_its_inputs_is_not_resumed(job):
    killed(job, 1)
    work = job.out.with_name("model.training")
    (work / "inputs.json").unlink()
    with pytest.raises(
        InputError, match=r"model.training: has no valid record of its inputs.*--over"
    ):
        train(job)
    assert len(train(replace(job, overwrite=True, resume=False)).documents) == 40


# --- a change while a training starts ------------------------------------------------------------

OTHER = '{"document": "copy-file", "text": "another one"}\n'


def changing(monkeypatch, place, act):
    """Run an action before a function of a module, unknown to its callers."""
    module, name = place
    real = getattr(module, name)

    def changed_first(*args, **given):
        act()
        return real(*args, **given)

    monkeypatch.setattr(module, name, changed_first)


@pytest.mark.parametrize("place", [(pipeline, "build_retriever"), (Trainer, "__init__")])
@pytest.mark.parametrize("name", ["made.jsonl", "encoder/config.json"])
def test_a_file_that_changes_while_a_training_prepares(job, tmp_path, monkeypatch, place, name):
    """The training data match the recorded inputs, or training stops."""
    path = tmp_path / name
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        changing(patch, place, lambda: path.write_bytes(before + OTHER.encode()[-1:]))
        with pytest.raises(InputError, match=rf"made from other inputs \(.*{path.parts[-2]}"):
            train(job)
    path.write_bytes(before)
    assert len(train(job).documents) == 40


def test_a_file_of_queries_that_changes_before_it_is_copied(job, tmp_path, monkeypatch):
    source = tmp_path / "source.jsonl"
    source.write_text(LINE)
    job = replace(job, settings=(*job.settings, f"pseudo_queries.source={source}"))
    with monkeypatch.context() as patch:
        changing(patch, (prerequisites, "copy_queries"), lambda: source.write_text(OTHER))
        with pytest.raises(InputError, match=r"made from other inputs \(file .*source.js"):
            train(job)
    source.write_text(LINE)
    known = (train(job).folder / "train-queries.digests").read_bytes()
    assert known_among(["made up", "another one"], known) == {"made up"}


@pytest.mark.parametrize("data", ["corpus.jsonl", "queries.jsonl"])
def test_a_model_to_start_from_is_trained_on_the_same_data(
    job, recipe_file, tmp_path, monkeypatch, data
):
    start = tmp_path / "start.toml"
    start.write_text(recipe_file.read_text())
    settings = (
        f"model.encoder={tmp_path}/encoder",
        "training.max_steps=2",
        f"model.init_from={start}",
    )
    job = replace(job, settings=settings)
    edited = partial(edit, tmp_path / "corpus" / data, lambda record: record.update(text="other"))
    with monkeypatch.context() as patch:
        changing(patch, (pipeline, "resolve_parent"), edited)
        with pytest.raises(InputError, match=r"training/parent: was made from other inputs"):
            train(job)


def test_the_digest_is_of_every_field(tiny_corpus):
    documents = list(read_corpus(tiny_corpus))
    values = {digest(documents), digest(documents[::-1]), digest(documents[1:])}
    for change in ({"key": "x"}, {"text": "x"}, {"title": "x"}, {"url": "x"}, {"metadata": {}}):
        values.add(digest([replace(documents[0], **change), *documents[1:]]))
    assert len(values) == 8 and digest(documents) == digest(list(documents))


def digest(documents):
    found = DocumentDigest()
    assert list(found.update(documents)) == documents
    return found.value


# --- every option is covered ---------------------------------------------------------------------

VARIANTS = [*TASKS.values(), *LOSSES.values(), *SCHEMES.values(), *MODELS.values()]
PLAIN = {"language", "prefix", "query_prompt", "document_prompt"}
"""Strings that are neither a file nor a model."""


def all_options():
    return {kind.Options for kind in VARIANTS}


@pytest.mark.parametrize("options", sorted(all_options(), key=lambda kind: kind.__name__))
def test_every_option_that_names_a_file_or_a_model_is_declared(options, tmp_path):
    """Each string or path option is in `files` or `weights`, or is listed as plain."""
    for name, field in options.model_fields.items():
        if field.annotation not in (str, Path, str | None, Path | None) or name in PLAIN:
            continue
        named = tmp_path / f"{name}.named"
        named.write_text("x")
        values = dict.fromkeys(required(options), str(named)) | {name: str(named)}
        others = {"teacher": str(named)} if name == "queries" else {}
        others |= {"queries": str(named)} if name == "teacher" else {}
        others |= {"teacher": "dense"} if name == "encoder" else {}
        given = {"encoder": "vectors", "vectors": str(named)}
        others |= given if name == "query_vectors" else {}
        known = {key: value for key, value in others.items() if key in options.model_fields}
        made = options.model_validate(values | known)
        assert str(named) in {*map(str, made.files()), *made.weights()}, f"{options}: {name}"


def required(options: type[StrictModel]):
    return [name for name, field in options.model_fields.items() if field.is_required()]


def test_reading_queries_for_their_digest_reports_nothing(tiny_corpus, tmp_path, caplog):
    """The training reads them again, and reports skipped items then."""
    corpus = shutil.copytree(tiny_corpus, tmp_path / "corpus")
    with (corpus / "qrels" / "train.tsv").open("a", encoding="utf-8") as file:
        query = (corpus / "qrels" / "train.tsv").read_text().splitlines()[1].split("\t")[0]
        file.write(f"{query}\tcopy-disk\t0\n")
    recipe = load_recipe("default")
    training_inputs(TrainingJob("default", corpus, tmp_path / "m"), recipe)
    assert not [line for line in caplog.messages if "grade 0" in line]
    train_queries(corpus, None, None, {one.key for one in read_corpus(corpus)})
    assert len([line for line in caplog.messages if "grade 0" in line]) == 1
