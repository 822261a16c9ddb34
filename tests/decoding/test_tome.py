"""Two stages against brute force: every passage and every URL scored by the training loss."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from tiny import QUERIES, SCRATCH, under

from genir.config import Recipe, StageConfig
from genir.corpus.readers import read_corpus
from genir.corpus.store import DocumentStore
from genir.decoding.strategies.tome import FOLDER
from genir.errors import InputError
from genir.evaluation.explain import explain
from genir.models.base import Batch
from genir.models.tokenization import encode_texts, pad_batch
from genir.retriever import Retriever
from genir.training.build import build_retriever

WHERE = {"verb": ["copy", "move"]}
PARTS = {"tasks": [{"task": "spans"}], "training": {"precision": "fp32"}}


def stage(identifiers, seed):
    training = PARTS["training"] | {"seed": seed}
    return PARTS | {"identifiers": identifiers, "model": SCRATCH, "training": training}


@pytest.fixture(scope="module")
def retriever(tiny_corpus, tmp_path_factory):
    """Ten documents, some of which share a passage; networks with different rankings."""
    path = tmp_path_factory.mktemp("store") / "documents.sqlite"
    documents = DocumentStore.create(path, list(read_corpus(tiny_corpus))[::4])
    passages = {"scheme": "passage", "words": 3, "count": 2}
    first = StageConfig.model_validate(stage(passages, 1))
    url = {"name": "two", "passage_stage": first.model_dump(), **stage({"scheme": "url"}, 2)}
    url["decoding"] = {"strategy": "tome"}
    recipe = Recipe.model_validate(url)
    before = build_retriever(Recipe(name="passage_stage", **dict(first)), documents, {}, None)
    folder = tmp_path_factory.mktemp("first") / FOLDER
    before.save(folder)
    built = build_retriever(recipe, documents, {}, None, folder.parent)
    for model in (built.model.eval(), first_stage(built).model):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(3.0)
    return built


def first_stage(retriever):
    return retriever.decoder.strategy.passage_stage


def answering(retriever, beams, **options):
    """The same retriever under other settings; beams: of the first stage."""
    changed, first = under(retriever, **options), first_stage(retriever)
    decoding = first.config.decoding.model_copy(update={"beams": beams})
    narrow = first.with_config(first.config.model_copy(update={"decoding": decoding}))
    changed.decoder.strategy.stages = [narrow]
    return changed


@cache
def log_p(ranker, text, identifier):
    """log p(identifier | text) out of the training loss, which is a mean over symbols."""
    ids, mask = pad_batch(encode_texts(ranker.model.tokenizer, [text], 64), 0)
    row = torch.tensor([0])
    batch = Batch(ids, mask, torch.tensor([identifier]), row, torch.ones(1))
    with torch.no_grad():
        return -float(ranker.model.loss(batch, 0.0)) * len(identifier)


def passages_of(retriever, keys):
    """The texts of all passages of some documents, with their identifiers."""
    table = first_stage(retriever).table
    rows = [row for row in range(len(table)) if table.key_of(row) in keys]
    return {
        first_stage(retriever).scheme.to_text(table.identifier(r)): table.identifier(r)
        for r in rows
    }


def brute_force(retriever, query, texts, aggregate, keys):
    """The score of each document by key, by way of the passages of these texts."""
    first, table, scores = first_stage(retriever), retriever.table, {}
    known = passages_of(retriever, table.keys)
    for key in keys:
        (url,) = table.identifiers_of(table.number(key))
        joint = [
            log_p(first, query, known[t]) + log_p(retriever.decoder.stage, t, url) for t in texts
        ]
        scores[key] = max(joint) if aggregate == "max" else np.logaddexp.reduce(joint)
    return scores


def found_first(retriever, query, where):
    live = retriever.row_mask(where)
    (readings,) = retriever.decoder.strategy.passages([query], live, retriever.table)
    return readings


def keys_of(retriever, where):
    verbs = where["verb"] if where else None
    return {d.key for d in retriever.documents if not verbs or d.metadata["verb"] in verbs}


@pytest.mark.parametrize("aggregate", ["max", "logsumexp"])
@pytest.mark.parametrize(("beams", "where"), [(99, None), (99, WHERE), (2, None), (1, WHERE)])
def test_the_joint_score_is_that_of_brute_force(retriever, beams, where, aggregate):
    asked, keys = answering(retriever, beams, aggregate=aggregate), keys_of(retriever, where)
    every = passages_of(retriever, keys)
    for query, hits in zip(QUERIES, asked.search(QUERIES, 99, where), strict=True):
        texts = [reading.text for reading in found_first(asked, query, where)]
        assert len(set(texts)) == len(texts) == min(beams, len(every)) and set(texts) <= set(every)
        expected = brute_force(asked, query, texts, aggregate, keys)
        assert {hit.key: hit.score for hit in hits} == pytest.approx(expected, abs=1e-3)
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("where", [None, WHERE])
@pytest.mark.parametrize("aggregate", ["max", "logsumexp"])
def test_a_second_stage_that_reads_the_query_too_mixes_both_answers(retriever, aggregate, where):
    asked, keys = (
        answering(retriever, 3, aggregate=aggregate, query_weight=0.25),
        keys_of(retriever, where),
    )
    for query, hits in zip(QUERIES, asked.search(QUERIES, 99, where), strict=True):
        texts = [reading.text for reading in found_first(asked, query, where)]
        passages = brute_force(asked, query, texts, aggregate, keys)
        expected = {}
        for key in keys:
            (url,) = asked.table.identifiers_of(asked.table.number(key))
            ways = (
                passages[key] + np.log(0.75),
                log_p(asked.decoder.stage, query, url) + np.log(0.25),
            )
            expected[key] = max(ways) if aggregate == "max" else np.logaddexp(*ways)
        assert {hit.key: hit.score for hit in hits} == pytest.approx(expected, abs=1e-3)


def test_a_passage_s_score_is_its_log_probability(retriever):
    known = passages_of(retriever, retriever.table.keys)
    assert len(known) < len(first_stage(retriever).table)  # some are shared
    for query in QUERIES:
        for reading in found_first(answering(retriever, 4), query, None):
            expected = log_p(first_stage(retriever), query, known[reading.text])
            assert reading.score == pytest.approx(expected, abs=1e-3)


def test_many_queries_answer_as_each_alone_each_under_its_own_filter(retriever):
    asked, filters = answering(retriever, 3), [None, WHERE, {"verb": "watch"}]
    together = asked.search(QUERIES, 4, filters)
    for query, where, hits in zip(QUERIES, filters, together, strict=True):
        (alone,) = asked.search([query], 4, where)
        assert [hit.key for hit in hits] == [hit.key for hit in alone]
        assert [h.score for h in hits] == pytest.approx([h.score for h in alone], abs=1e-3)


def test_a_deleted_document_is_neither_found_nor_read(retriever):
    asked = answering(retriever, 99)
    gone = asked.table.keys[0]
    index = replace(asked.index, table=asked.table.with_live([0], False))
    asked.updates.loaded = asked.updates.loaded.with_index(index)
    left = passages_of(retriever, set(asked.table.keys) - {gone})
    for query, hits in zip(QUERIES, asked.search(QUERIES, 99), strict=True):
        assert {hit.key for hit in hits} == set(asked.table.keys) - {gone}
        assert {reading.text for reading in found_first(asked, query, None)} == set(left)


def test_features_of_one_beam_search_are_refused(retriever):
    with pytest.raises(InputError, match=r"exact search: .*strategy = 'tome' does not support it"):
        retriever.search(QUERIES, 2, exact=True)
    with pytest.raises(InputError, match=r"explain: .*strategy = 'tome' does not support it"):
        explain(retriever, "copy", retriever.table.keys[0])


def test_both_stages_are_saved_and_loaded(retriever, tmp_path):
    retriever.save(tmp_path / "model")
    loaded = Retriever.load(tmp_path / "model")
    assert loaded.search(QUERIES, 5) == retriever.search(QUERIES, 5)
    assert loaded.recipe == retriever.recipe
    assert loaded.parameters == retriever.parameters
    assert loaded.bytes_per_document == retriever.bytes_per_document > 0
    (tmp_path / "model" / "passage_stage" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"passage_stage/model.safetensors: missing"):
        Retriever.load(tmp_path / "model")
