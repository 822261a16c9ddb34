"""Retrievers with shared and multiple identifiers: from search to updates."""

import json
import shutil

import numpy as np
import pytest
from tiny import GATHERED, QUERIES, SHARED, tiny_retriever

from genir.config import Recipe
from genir.corpus.serialization import document_of
from genir.decoding.row_mask import RowMask
from genir.decoding.strategies.registry import check_strategy
from genir.errors import InputError
from genir.evaluation.diagnosis import diagnose
from genir.evaluation.explain import explain
from genir.retriever import Retriever
from genir.types import Query


@pytest.fixture(scope="module", params=SHARED)
def retriever(request, tiny_encoder, tiny_corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "documents.sqlite"
    way = GATHERED[request.param]
    return tiny_retriever(tiny_encoder, tiny_corpus, path, request.param, strategy=way)


@pytest.fixture
def living(retriever, tmp_path):
    retriever.save(tmp_path / "model")
    return Retriever.load(tmp_path / "model", "cpu")


def check(retriever, hits, k, matching):
    """Check the decoding contract for one query's hits."""
    keys = [hit.key for hit in hits]
    assert len(set(keys)) == len(keys) == min(k, len(matching)) and set(keys) <= set(matching)
    assert [(-hit.score, hit.key) for hit in hits] == sorted((-h.score, h.key) for h in hits)
    for hit in hits:
        own = retriever.table.identifiers_of(retriever.table.number(hit.key))
        assert hit.identifier in [retriever.decoder.stage.scheme.to_text(one) for one in own]
        assert np.isfinite(hit.score) and hit.score >= 0


def test_documents_share_rows(retriever):
    table = retriever.table
    same = (table.symbols[1:] == table.symbols[:-1]).all(axis=1)
    assert same.any() and len(table) > 3 * len(table.keys)
    assert (table.documents[1:] != table.documents[:-1])[same].all()


@pytest.mark.parametrize("k", [1, 7, 40, 1000])
def test_hits_keep_the_promises(retriever, k):
    for hits in retriever.search(QUERIES, k):
        check(retriever, hits, k, retriever.table.keys)


@pytest.mark.parametrize("where", [{"section": 2}, {"verb": "fly"}, {"tags": ["disk", "copy"]}])
def test_every_hit_passes_the_filter(retriever, where):
    matching = [
        retriever.table.keys[n] for n in np.flatnonzero(retriever.documents.matching(where))
    ]
    for k in (3, 50):
        for hits in retriever.search(QUERIES, k, where):
            check(retriever, hits, k, matching)


def test_many_queries_answer_as_each_alone(retriever):
    filters = [None, {"section": 2}, None]
    for query, where, hits in zip(
        QUERIES, filters, retriever.search(QUERIES, 9, filters), strict=True
    ):
        (alone,) = retriever.search([query], 9, where)
        scores = {hit.key: pytest.approx(hit.score, rel=1e-3, abs=1e-3) for hit in alone}
        assert {hit.key: hit.score for hit in hits} == scores


def test_more_beams_than_rows_change_nothing(retriever):
    live = RowMask.build([retriever.table.live])
    wide, wider = (
        retriever.decoder.rank(QUERIES, 5, live, len(retriever.table) + n) for n in (0, 9)
    )
    assert wide == wider


def test_saved_and_loaded_it_answers_alike(retriever, living):
    before = [[(h.key, h.score, h.identifier) for h in hits] for hits in retriever.search(QUERIES)]
    after = [[(h.key, h.score, h.identifier) for h in hits] for hits in living.search(QUERIES)]
    assert before == after


def test_features_of_one_identifier_are_refused(retriever):
    key = retriever.table.keys[0]
    message = r"strategy = '(seal|minder)' does not support it; use a model with strategy = 'beam'"
    with pytest.raises(InputError, match=message):
        retriever.search(QUERIES, 3, exact=True)
    with pytest.raises(InputError, match=message):
        explain(retriever, QUERIES[0], key)
    with pytest.raises(InputError, match=message):
        diagnose(retriever, [Query("q", "clone")], [])


def answers(retriever):
    return [[(h.key, h.identifier) for h in hits] for hits in retriever.search(QUERIES, 50)]


def test_documents_come_and_go(living):
    made = document_of({"_id": "new", "title": "clone it", "text": "clone a text, then a disk"}, "")
    before = answers(living)
    assert living.add([made]) == ["new"]
    rows = living.table.rows_of(living.table.number("new"))
    assert len(rows) > 1
    loaded = Retriever.load(living.folder, "cpu")
    for one in (living, loaded):
        check(one, one.search(["clone"], 41)[0], 41, one.table.keys)
    assert answers(living) == answers(loaded) != before
    living.replace([document_of({"_id": "new", "title": "erase", "text": "erase it"}, "")])
    check(living, living.search(["clone"], 41)[0], 41, living.table.keys)
    living.delete(["new"])
    assert answers(living) == before == answers(Retriever.load(living.folder, "cpu"))


def test_compaction_changes_no_answer(living):
    living.delete(living.table.keys[:30])
    before = living.search(QUERIES, 10)
    rows = len(living.table)
    living.compact()
    assert len(living.table) < rows
    after = living.search(QUERIES, 10)
    for old, new in zip(before, after, strict=True):
        scores = {hit.key: pytest.approx(hit.score, rel=1e-4, abs=1e-4) for hit in old}
        assert {hit.key: hit.score for hit in new} == scores


def test_a_saved_model_needs_no_query_file(tiny_encoder, tiny_corpus, tmp_path, monkeypatch):
    made = tmp_path / "made.jsonl"
    made.write_text(json.dumps({"document": "copy-disk", "text": "how to copy disks"}) + "\n")
    monkeypatch.setitem(SHARED, "views", {"queries": str(made)})
    path = tmp_path / "documents.sqlite"
    one = tiny_retriever(tiny_encoder, tiny_corpus, path, "views", strategy="minder")
    one.save(tmp_path / "model")
    shutil.move(made, tmp_path / "elsewhere")
    loaded = Retriever.load(tmp_path / "model", "cpu")
    own = loaded.table.identifiers_of(loaded.table.number("copy-disk"))
    assert "query: how to copy disks" in [loaded.decoder.stage.scheme.to_text(one) for one in own]
    loaded.add([document_of({"_id": "new", "title": "new", "text": "a text"}, "")])
    assert len(loaded.search(["new"], 41)[0]) == 41


@pytest.mark.parametrize(
    ("decoding", "message"),
    [
        ({"strategy": "seel"}, r"\[decoding\]: unknown strategy 'seel'; did you mean 'seal'"),
        ({"strategy": "seal", "lookahead_weight": 0.5}, "'seal': unknown key 'lookahead_weight'"),
        ({"strategy": "minder", "aggregate": "max"}, "'minder': unknown key 'aggregate'"),
        ({"aggregate": "sum"}, "'max' or 'logsumexp'"),
        ({"strategy": "lookahead", "lookahead_weight": 0}, "greater than 0"),
        ({"strategy": "corpusbrain", "max_identifiers": 0}, "greater than or equal to 1"),
        ({"strategy": "tome"}, r"'tome': needs a \[passage_stage\]; add one"),
    ],
)
def test_a_way_that_does_not_go_with_it_is_refused(decoding, message):
    recipe = {"name": "x", "tasks": [{"task": "lead"}], "decoding": decoding}
    with pytest.raises(InputError, match=message):
        check_strategy(Recipe.model_validate(recipe))


@pytest.mark.parametrize(
    ("second", "first", "message"),
    [
        ({"strategy": "seal"}, {}, r"'seal': does not use the \[passage_stage\]; use .* 'tome'"),
        ({"strategy": "tome"}, {"strategy": "exact"}, "the first stage uses plain beam search"),
        ({"strategy": "tome"}, {"aggregate": "logsumexp"}, "set only beams and softmax"),
        ({"strategy": "tome"}, {}, "so they must be text; take 'passage'"),
    ],
)
def test_two_stages_need_their_own_strategy(second, first, message):
    stage = {"tasks": [{"task": "lead"}]}
    recipe = {"name": "x", "decoding": second, "passage_stage": stage | {"decoding": first}}
    with pytest.raises(InputError, match=message):
        check_strategy(Recipe.model_validate(stage | recipe))
