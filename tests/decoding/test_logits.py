"""Search by unnormalised scores (RIPOR): sums of logits, and what they exclude."""

import pytest
import torch
from tiny import SCRATCH, tiny_retriever, under

from genir.config import Recipe
from genir.decoding.strategies.registry import check_strategy
from genir.errors import InputError

QUERIES = ["clone a text", "erase"]


@pytest.fixture
def seq2seq(tiny_encoder, tiny_corpus, tmp_path):
    return tiny_retriever(
        tiny_encoder, tiny_corpus, tmp_path / "x.sqlite", "residual", SCRATCH, softmax="none"
    )


@pytest.fixture
def encoder_head(tiny_encoder, tiny_corpus, tmp_path):
    return tiny_retriever(
        tiny_encoder, tiny_corpus, tmp_path / "y.sqlite", "residual", softmax="none"
    )


def sums_of_logits(retriever, query):
    """The score of every document, by teacher forcing."""
    stage, table = retriever.decoder.stage, retriever.table
    symbols = torch.from_numpy(table.symbols).long()[None]
    inputs = stage.encode([query])
    with torch.no_grad():
        states = stage.model.teacher_forced_states(inputs, symbols)
        totals = 0
        for depth, hidden in enumerate(states):
            every = stage.model.level_logits(hidden, depth).expand(1, len(table), -1)
            totals = totals + every.gather(2, symbols[..., depth : depth + 1])[0, :, 0]
    return {table.key_of(row): float(total) for row, total in enumerate(totals)}


@pytest.mark.parametrize("kind", ["seq2seq", "encoder_head"])
def test_a_score_is_the_sum_of_the_logits(kind, request):
    retriever = request.getfixturevalue(kind)
    for query, hits in zip(QUERIES, retriever.search(QUERIES, k=40, beams=40), strict=True):
        expected = sums_of_logits(retriever, query)
        assert len(hits) == 40
        for hit in hits:
            assert hit.score == pytest.approx(expected[hit.key], rel=1e-4, abs=1e-4)
        normalised = under(retriever, softmax="vocabulary").search([query], k=40, beams=40)[0]
        assert [hit.score for hit in normalised] != [hit.score for hit in hits]


def test_exact_search_has_no_bound(seq2seq):
    with pytest.raises(InputError, match="softmax = 'none' have no bound"):
        seq2seq.search(["erase"], k=1, exact=True)


def test_full_scores_need_log_probabilities(encoder_head):
    looking = under(encoder_head, strategy="lookahead", full_scores=True)
    with pytest.raises(InputError, match=r"full_scores: adds log-probabilities"):
        looking.search(["erase"], k=1)


@pytest.mark.parametrize("strategy", ["exact", "seal", "minder", "corpusbrain"])
def test_strategies_that_read_probabilities_are_refused(strategy):
    recipe = Recipe.model_validate(
        {
            "name": "x",
            "tasks": [{"task": "queries"}],
            "identifiers": {"scheme": {"seal": "ngram", "minder": "views"}.get(strategy, "title")},
            "model": {"kind": "seq2seq"},
            "decoding": {"strategy": strategy, "softmax": "none"},
        }
    )
    with pytest.raises(InputError, match=f"strategy '{strategy}' needs log-probabilities"):
        check_strategy(recipe)
