"""The measurement of a corpus that changes, from end to end on the tiny corpus."""

import json
import shutil

import pytest

from benchmarks.living import main, part, queries_of, ratios
from genir.corpus.folder import read_corpus, read_qrels
from genir.training.job import Job, train

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
lexical = 8
[training]
max_steps = 2
batch_size = 16
evaluations = 1
dev_queries = 4
"""


@pytest.fixture
def recipe(tiny_encoder, tmp_path):
    (tmp_path / "tiny.toml").write_text(RECIPE.format(encoder=json.dumps(str(tiny_encoder))))
    return str(tmp_path / "tiny.toml")


def test_queries_are_parted_by_what_answers_them(tiny_corpus):
    corpus = part(tiny_corpus, 0.1, 0, "test")
    assert len(corpus.held_back) == len(corpus.added) == 4
    assert part(tiny_corpus, 0.1, 0, "test").held_back == corpus.held_back
    assert part(tiny_corpus, 0.1, 1, "test").held_back != corpus.held_back
    groups = queries_of(corpus)
    assert {q.document for q in groups["old"]}.isdisjoint(corpus.held_back)
    assert {q.document for q in groups["added"]} <= corpus.held_back
    assert len(groups["old"]) + len(groups["added"]) == len(corpus.test)


def test_every_step_is_run_once_and_told(recipe, tiny_corpus, tmp_path, capsys):
    train(Job(recipe, tiny_corpus, tmp_path / "full"))
    work = tmp_path / "work"
    arguments = {"full": tmp_path / "full", "recipe": recipe, "split": "test", "share": 0.25,
                 "seed": 0, "queries": 30, "adapters": 0, "stop_after_training": False,
                 "settings": ["training.max_steps=1"]}  # fmt: skip
    main(tiny_corpus, work, **arguments)
    told = json.loads(capsys.readouterr().out)
    reduced = {one.key for one in read_corpus(work / "reduced")}
    added = {one.key for one in read_corpus(work / "added.jsonl")}
    assert (len(reduced), len(added)) == (30, 10) and not reduced & added
    assert {q.document for q in read_qrels(work / "reduced/qrels/train.tsv")} <= reduced
    assert told["before"]["added"] is None and told["deleted"]["documents"] == 10
    assert told["deleted"]["deleted hits"] == told["deleted"]["answers of fewer than 10"] == 0
    assert told["deleted"]["test queries"] == 20
    assert set(told["ratios"]) == {"added", "added with queries", "refreshed",
                                   "refreshed with queries"}  # fmt: skip
    assert told["refreshed"]["refresh"]["documents"] == 10
    shutil.rmtree(tmp_path / "full")  # no step is done again
    main(tiny_corpus, work, **arguments)
    assert json.loads(capsys.readouterr().out) == told


def test_ratios_are_shares_of_the_full_training():
    figures = {"full": {"old": 0.5, "added": 0.6}, "before": {"old": 0.52, "added": None},
               "added": {"old": 0.515, "added": 0.57}}  # fmt: skip
    assert ratios(figures) == {"added": {"added, of full": 0.95, "old, lost": 0.005}}
