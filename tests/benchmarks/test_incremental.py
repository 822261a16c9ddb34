"""The benchmark of updates, from end to end on the tiny corpus."""

import json
import shutil

import pytest

from benchmarks.updates.incremental import SplitCorpus, main, ratios
from genir.corpus.readers import read_corpus, read_qrels
from genir.training.pipeline import TrainingJob, train

RECIPE = """
name = "tiny"
[identifiers]
scheme = "atomic"
[[tasks]]
task = "queries"
[[tasks]]
task = "title"
[model]
encoder = {encoder}
word_set_size = 8
[training]
max_steps = 2
batch_size = 16
num_dev_evals = 1
dev_queries = 4
"""


@pytest.fixture
def recipe(tiny_encoder, tmp_path):
    (tmp_path / "tiny.toml").write_text(RECIPE.format(encoder=json.dumps(str(tiny_encoder))))
    return str(tmp_path / "tiny.toml")


def test_test_queries_are_split_by_the_documents_that_answer_them(tiny_corpus):
    corpus = SplitCorpus.read(tiny_corpus, 0.1, 0, "test")
    assert len(corpus.held_back) == len(corpus.added) == 4
    assert SplitCorpus.read(tiny_corpus, 0.1, 0, "test").held_back == corpus.held_back
    assert SplitCorpus.read(tiny_corpus, 0.1, 1, "test").held_back != corpus.held_back
    on_added = {qrel.query for qrel in corpus.test if qrel.document in corpus.held_back}
    assert corpus.queries_on_added == on_added and len(on_added) < len(corpus.test)


def test_every_step_runs_once(recipe, tiny_corpus, tmp_path, capsys):
    train(TrainingJob(recipe, tiny_corpus, tmp_path / "full"))
    work = tmp_path / "work"
    options = {"full": tmp_path / "full", "recipe": recipe, "share": 0.25, "queries": 30}
    options["settings"] = ["training.max_steps=1"]
    main(tiny_corpus, work, **options)
    printed = json.loads(capsys.readouterr().out)
    reduced = {one.key for one in read_corpus(work / "reduced")}
    assert len(reduced) == 30
    assert {q.document for q in read_qrels(work / "reduced/qrels/train.tsv")} <= reduced
    assert printed["before"]["added"] is None and printed["deleted"]["documents"] == 10
    assert printed["deleted"]["deleted hits"] == 0
    assert printed["deleted"]["answers of fewer than 10"] == 0
    assert printed["deleted"]["test queries"] == 20
    added = {"added", "added with queries", "refreshed", "refreshed with queries"}
    assert set(printed["ratios"]) == added
    assert printed["refreshed"]["refresh"]["documents"] == 10
    shutil.rmtree(tmp_path / "full")  # no step runs again
    main(tiny_corpus, work, **options)
    assert json.loads(capsys.readouterr().out) == printed


def test_ratios_are_shares_of_the_full_training():
    figures = {"full": {"old": 0.5, "added": 0.6}, "before": {"old": 0.52, "added": None},
               "added": {"old": 0.515, "added": 0.57}}  # fmt: skip
    assert ratios(figures) == {"added": {"added, of full": 0.95, "old, lost": 0.005}}
