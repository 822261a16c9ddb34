"""TOME and pseudo-queries from files to a model folder, and after kills."""

import json
import os
import shutil
from dataclasses import replace

import pytest
from interruptions import killed
from safetensors.numpy import load_file

from genir.corpus.pseudo_queries import read_pseudo_queries
from genir.errors import InputError
from genir.manifest import check_manifest
from genir.retriever import Retriever
from genir.training.dev_split import DevSplit
from genir.training.loop import Trainer
from genir.training.pipeline import TrainingJob, train
from genir.training.pseudo_queries import join_queries
from genir.types import Document

SCRATCH = """
[model]
kind = "seq2seq"
source = "scratch"
vocabulary_size = 400
width = 16
heads = 2
layers = 1
feedforward = 32
[training]
batch_size = 16
max_steps = 4
learning_rate = 0.01
source_length = 24
dev_queries = 4
num_dev_evals = 1
"""
GENERATOR = (
    """
name = "writer"
[identifiers]
scheme = "passage"
words = 2
[[tasks]]
task = "write-queries"
[decoding]
strategy = "text"
"""
    + SCRATCH
)
TOME = (
    """
name = "two"
[pseudo_queries]
source = {writer}
count = 2
length = 6
[passage_stage.identifiers]
scheme = "passage"
words = 5
[[passage_stage.tasks]]
task = "queries"
[passage_stage.decoding]
beams = 2
[identifiers]
scheme = "url"
[[tasks]]
task = "written-passages"
words = 5
[decoding]
strategy = "tome"
beams = 4
"""
    + SCRATCH
)


VIEWS = (
    """
name = "views"
[pseudo_queries]
source = {writer}
count = 2
length = 6
[identifiers]
scheme = "views"
n = 3
ngrams = 2
[[tasks]]
task = "queries"
[decoding]
beams = 4
strategy = "minder"
"""
    + SCRATCH
)


def make_job(folder, corpus):
    writer = folder / "writer.toml"
    writer.write_text(GENERATOR)
    recipe = folder / "two.toml"
    recipe.write_text(TOME.format(writer=json.dumps(str(writer))))
    return TrainingJob(str(recipe), corpus, folder / "model")


@pytest.fixture
def job(tiny_corpus, tmp_path):
    """TOME on the tiny corpus: three trainings of 4 steps, and query generation."""
    return make_job(tmp_path, tiny_corpus)


@pytest.fixture(scope="module")
def whole(tiny_corpus, tmp_path_factory):
    """The model folder of an uninterrupted training."""
    job = make_job(tmp_path_factory.mktemp("whole"), tiny_corpus)
    train(job)
    return job.out


def weights_of(folder):
    """All tensors of both stages as bytes; files may list tied names differently."""
    tensors = [load_file(folder / part / "model.safetensors") for part in ("passage_stage", "")]
    return [{name: t.tobytes() for name, t in own.items()} for own in tensors]


def test_one_command_trains_both_stages_into_one_folder(whole):
    assert sorted(os.listdir(whole.parent)) == ["model", "two.toml", "writer.toml"]
    files = check_manifest(whole)["files"]
    assert {
        "passage_stage/model.safetensors",
        "passage_stage/identifiers/rows.safetensors",
    } <= files.keys()
    card = (whole / "MODEL_CARD.md").read_text()
    assert "in two stages" in card and "[passage_stage.identifiers]" in card
    loaded = Retriever.load(whole)
    hits = loaded.search(["duplicate a document", "erase"], 40)
    assert [len({hit.key for hit in found}) for found in hits] == [40, 40]
    urls = {loaded.decoder.stage.scheme.text(document) for document in loaded.documents}
    assert {hit.identifier for hit in hits[0]} == urls
    assert loaded.decoder.strategy.passage_stage.config.training.max_steps == 4
    assert loaded.index.query_counts.sum() == 76  # pseudo-queries do not make a document seen


def test_documents_are_deleted_from_two_stages_but_none_is_added(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy")
    retriever = Retriever.load(tmp_path / "copy")
    (best,) = retriever.search(["erase a disk"], 1)[0]
    with pytest.raises(InputError, match="strategy = 'tome' does not support insertions"):
        retriever.add([Document("new", "a new text", url="https://a.example/new")])
    retriever.delete([best.key])
    assert best.key not in {hit.key for hit in retriever.search(["erase a disk"], 10)[0]}
    retriever.delete([key for key in retriever.table.keys[:20] if key != best.key])
    before = [(hit.key, hit.score) for hit in retriever.search(["erase a disk"], 30)[0]]
    retriever.compact()  # renumbers documents in both stages
    for one in (retriever, Retriever.load(tmp_path / "copy")):
        assert [(hit.key, hit.score) for hit in one.search(["erase a disk"], 30)[0]] == before
        assert one.decoder.strategy.passage_stage.table.keys == one.table.keys and len(
            one.table.keys
        ) == len(before)


def test_a_compaction_numbers_documents_anew_and_passages_follow(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy")
    retriever = Retriever.load(tmp_path / "copy")
    gone = ["copy-file", "delete-disk"]
    retriever.delete(gone)
    expected = [
        [(hit.key, hit.score) for hit in retriever.search(["erase a disk"], 40, where)[0]]
        for where in (None, {"verb": ["watch"]})
    ]
    retriever.compact()
    for where, hits in zip((None, {"verb": ["watch"]}), expected, strict=True):
        found = Retriever.load(tmp_path / "copy").search(["erase a disk"], 40, where)[0]
        assert [(hit.key, hit.score) for hit in found] == hits
    assert len(expected[0]) == 38 and len(expected[1]) == 5


@pytest.mark.parametrize("saved_before", [False, True])
def test_a_compaction_drops_the_passages_of_deleted_documents(whole, tmp_path, saved_before):
    shutil.copytree(whole, tmp_path / "copy")
    retriever = Retriever.load(tmp_path / "copy")
    retriever.delete([key for key in retriever.table.keys if "copy" in key or "disk" in key])
    if saved_before:  # so that the deletions are in the folder, not in a journal
        retriever.save(tmp_path / "copy", overwrite=True)
    retriever.compact()
    for one in (retriever, Retriever.load(tmp_path / "copy")):
        left = list(one.documents)
        own = {
            passage
            for passages in one.decoder.strategy.passage_stage.scheme.encode(left)
            for passage in passages
        }
        first = one.decoder.strategy.passage_stage.table
        assert {first.identifier(row) for row in range(len(first))} == own
        assert len(left) == 28 and len(first.keys) == len(one.table.keys) == 28
        assert not any(
            "copy" in one.decoder.strategy.passage_stage.scheme.to_text(passage) for passage in own
        )


def test_a_kill_in_each_of_the_trainings_is_resumed(whole, job):
    killed(job, 2)  # in the generator
    with pytest.raises(InputError, match="contains an interrupted training"):
        train(job)
    job = replace(job, resume=True)
    killed(job, 6)  # in the first stage, after four steps of the generator
    killed(job, 6)  # in the second stage, after four steps of the first
    train(job)
    assert weights_of(job.out) == weights_of(whole)
    assert not job.out.with_name("model.training").exists()


@pytest.fixture
def splits(monkeypatch):
    """Return recipe name -> its train queries and seed."""
    seen, real = {}, Trainer.__init__

    def note(self, retriever, split, *rest, **named):
        seen[retriever.recipe.name] = (retriever.recipe.training.seed, split)
        real(self, retriever, split, *rest, **named)

    monkeypatch.setattr(Trainer, "__init__", note)
    return seen


def test_a_file_of_queries_is_learned_from(job, splits, tmp_path):
    lines = [{"document": "copy-file", "text": f"made up {n}"} for n in range(3)]
    path = tmp_path / "made.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    train(replace(job, settings=[f"pseudo_queries.source={path}", "training.max_steps=1"]))
    assert splits.keys() == {"two, first stage", "two"}
    for _, split in splits.values():
        assert split.train["copy-file"][-3:] == ["made up 0", "made up 1", "made up 2"]
        assert sum(map(len, split.train.values())) == 76 + 3


def test_another_file_of_queries_is_not_resumed_with(job, tmp_path):
    path = tmp_path / "made.jsonl"
    path.write_text('{"document": "copy-file", "text": "made up"}\n')
    job = replace(job, settings=[f"pseudo_queries.source={path}"])
    killed(job, 1)  # in the first of two trainings, before the second is prepared
    before, job = path.read_text(), replace(job, resume=True)
    path.write_text(before.replace("made up", "made otherwise"))
    with pytest.raises(InputError, match=r"other inputs \(file .*made.jsonl: sha256"):
        train(job)
    path.write_text(before)
    killed(job, 6)  # in the second
    path.write_text(before * 2)
    with pytest.raises(InputError, match=r"other inputs \(file .*made.jsonl: sha256"):
        train(job)
    path.write_text(before)
    train(job)


def test_bad_queries_leave_no_trace(job, tmp_path):
    path = tmp_path / "made.jsonl"
    path.write_text('{"document": "absent", "text": "what"}\n')
    with pytest.raises(InputError, match=r"made.jsonl:1: document 'absent' is unknown"):
        train(replace(job, settings=[f"pseudo_queries.source={path}"]))
    path.write_text('{"document": "copy-file", "query": "what"}\n')
    with pytest.raises(InputError, match=r'made.jsonl:1: .*write {"document": key, "text": query}'):
        read_pseudo_queries(path, {"copy-file"})
    assert "model.training" not in os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("passage_stage.identifiers={scheme='atomic'}", "must be text; take 'passage'"),
        ("decoding.strategy=exact", "does not use the .passage_stage."),
        ("passage_stage.tasks.0.task=query", "unknown task 'query'"),
        (
            "pseudo_queries.source=default",
            "this recipe generates no queries; take 'query-generator'",
        ),
        (
            "pseudo_queries.prompt='of {name}'",
            r"KeyError\('name'\); use only {title} and {text} in",
        ),
        ("pseudo_queries.prompt='{title.no}'", "use only {title} and {text} in braces"),
        ("pseudo_queries.settings=['training.epoch=3']", "did you mean 'epochs'"),
    ],
)
def test_an_invalid_recipe_is_refused_before_any_work(job, tmp_path, setting, message):
    with pytest.raises(InputError, match=message):
        train(replace(job, settings=[setting]))
    assert "model.training" not in os.listdir(tmp_path)


def test_a_generator_needs_train_queries(job, tiny_corpus):
    with pytest.raises(InputError, match=r"is trained on queries.*pseudo_queries.source= to dis"):
        train(replace(job, corpus=tiny_corpus / "corpus.jsonl"))


def test_the_generator_never_sees_dev_queries(job, splits):
    train(
        replace(job, settings=["training.seed=5", "pseudo_queries.settings=['training.epochs=1']"])
    )
    (seed, generator), (_, second) = splits["writer"], splits["two"]
    assert seed == 5 and len(second.questions) == 4 and not generator.questions
    learned = {text for texts in generator.train.values() for text in texts}
    assert not learned & second.questions.keys() and len(learned) == 76
    assert len({t for texts in second.train.values() for t in texts} - learned) > 10


def query_views(folder):
    """Return the query views of a saved model, as texts by key."""
    loaded, shown = Retriever.load(folder), {}
    for row in range(len(loaded.table)):
        text = loaded.decoder.stage.scheme.to_text(loaded.table.identifier(row))
        if text.startswith("query: "):
            shown.setdefault(loaded.table.key_of(row), set()).add(text.removeprefix("query: "))
    return shown


def test_one_command_makes_queries_up_that_are_views_and_learned_from(job, splits, tmp_path):
    recipe = tmp_path / "views.toml"
    recipe.write_text(VIEWS.format(writer=json.dumps(str(tmp_path / "writer.toml"))))
    job = replace(job, recipe=str(recipe))
    train(job)
    shown = query_views(job.out)
    assert len(shown) == 40 and {len(texts) for texts in shown.values()} <= {1, 2}
    assert sum(map(len, splits["views"][1].train.values())) > 76
    assert len(Retriever.load(job.out).search(["duplicate a document"], 5)[0]) == 5
    made = tmp_path / "made.jsonl"
    made.write_text('{"document": "copy-file", "text": "clone  a text"}\n')
    train(replace(job, out=tmp_path / "other", settings=[f"pseudo_queries.source={made}"]))
    assert query_views(tmp_path / "other") == {"copy-file": {"clone a text"}}
    (held_out, *_) = splits["views"][1].questions
    made.write_text("".join(
        json.dumps({"document": "copy-file", "text": text}) + "\n"
        for text in ("clone a text", held_out.upper())
    ))  # fmt: skip
    train(replace(job, out=tmp_path / "third", settings=[f"pseudo_queries.source={made}"]))
    assert query_views(tmp_path / "third") == {"copy-file": {"clone a text"}}


def test_dev_queries_are_excluded_from_generated_ones():
    split = DevSplit({"a": ["one"]}, {"held out": frozenset({"a"})}, is_synthetic=False)
    joined = join_queries(split, {"a": ["two", "Held  out"], "b": ["held out"]})
    assert joined.train == {"a": ["one", "two"]} and split.train == {"a": ["one"]}
