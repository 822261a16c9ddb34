"""Exact search, from the recipe to the hits."""

import pytest
import torch
from tiny import QUERIES, SCHEMES, tiny_retriever, under

from genir.errors import InputError
from genir.types import Selection


@pytest.fixture(scope="module", params=SCHEMES)
def retriever(request, tiny_encoder, tiny_corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "documents.sqlite"
    return tiny_retriever(tiny_encoder, tiny_corpus, path, request.param)


def scores(hits):
    return {hit.key: pytest.approx(hit.score, abs=1e-4) for hit in hits}


@pytest.mark.parametrize("where", [None, {"verb": ["copy", "move"]}])
def test_exact_hits_equal_a_beam_as_wide_as_the_table(retriever, where):
    exact = retriever.search(QUERIES, 7, where, exact=True)
    wide = retriever.search(QUERIES, 7, where, beams=len(retriever.table))
    for own, other in zip(exact, wide, strict=True):
        assert own.proven is True and other.proven is None
        assert [hit.rank for hit in own] == list(range(1, 8))
        assert [hit.score for hit in own] == list(scores(other).values())
        assert {hit.key: hit.score for hit in own} == scores(other)


def test_where_the_budget_runs_out_beam_search_answers(retriever):
    beam = retriever.search(QUERIES, 5)
    spent = under(retriever, max_nodes=1, strategy="exact")
    exact, again = spent.search(QUERIES, 5), spent.search(QUERIES, 5, exact=False)
    assert again == beam
    if len(retriever.table) <= 1024 and retriever.model.kind == "encoder-head":
        assert all(hits.proven for hits in exact)  # one expansion completes a table this small
    else:
        assert not any(hits.proven for hits in exact)
        assert exact == beam


def test_a_filter_that_nothing_passes_is_proven_empty(retriever):
    (hits,) = retriever.search(["clone"], 3, {"verb": "fly"}, exact=True)
    assert (hits, hits.proven) == ([], True)


def test_look_ahead_adds_the_prior_of_the_document(retriever):
    rows = len(retriever.table)
    plain = retriever.search(QUERIES, rows, beams=rows)
    ahead = under(retriever, strategy="lookahead", lookahead_weight=0.5)
    if ahead.model.kind == "seq2seq":
        with pytest.raises(
            InputError, match=r"lookahead_weight: a 'seq2seq' model has no document prior"
        ):
            ahead.search(QUERIES, 3)
        return
    model = ahead.model
    with torch.no_grad():
        state = model.encode(*ahead.decoder.stage.encode(QUERIES))
        scores = state.query @ model.head.row_vectors().T
        if state.word_scores is not None:
            scores = scores + state.word_scores[:, model.head.codes[:, 0].long()]
        priors = scores.log_softmax(dim=1)
    for exact in (False, True):
        found = ahead.search(QUERIES, rows, beams=rows, exact=exact)
        for own, before, prior in zip(found, plain, priors.tolist(), strict=True):
            known = {
                key: prior[row] for row, key in enumerate(map(ahead.table.key_of, range(rows)))
            }
            expected = {hit.key: hit.score + 0.5 * known[hit.key] for hit in before}
            assert {hit.key: hit.score for hit in own} == pytest.approx(expected, abs=1e-3)


def test_full_scores_make_any_beam_width_exact(tiny_encoder, tiny_corpus, tmp_path):
    words = {"word_set_size": 6, "compact_words": True}
    retriever = tiny_retriever(
        tiny_encoder, tiny_corpus, tmp_path / "codes.sqlite", "residual", words,
        strategy="lookahead", full_scores=True,
    )  # fmt: skip
    rows = len(retriever.table)
    whole = retriever.search(QUERIES, rows, beams=rows)
    added = under(retriever, strategy="lookahead", full_scores=False)
    for own, other in zip(added.search(QUERIES, rows, beams=rows), whole, strict=True):
        assert [hit.key for hit in own] == [hit.key for hit in other]
        scores = {hit.key: hit.score for hit in other}
        assert {hit.key: hit.score for hit in own} == pytest.approx(scores, abs=1e-3)
    for exact in (False, True):
        found = retriever.search(QUERIES, 3, beams=3, exact=exact)
        assert [[h.key for h in own] for own in found] == [
            [h.key for h in own[:3]] for own in whole
        ]
    state = retriever.model.encode(*retriever.decoder.stage.encode(QUERIES))
    assert (state.word_scores > 0).any(dim=1).all()


def test_full_scores_may_be_normalised_over_documents_that_can_be_found(retriever):
    if retriever.model.kind == "seq2seq":
        pytest.skip("a seq2seq model has no document prior")
    closed = Selection(({"section": 2},), excluded=True)
    for softmax, where in (("vocabulary", closed), ("trie", None), ("trie", {"section": 2})):
        ways = [
            under(retriever, strategy="lookahead", softmax=softmax, full_scores=full)
            for full in (False, True)
        ]
        if softmax == "trie" and retriever.table.depth > 1:
            with pytest.raises(InputError, match="full_scores: with softmax = 'trie'"):
                ways[1].search(QUERIES, 3, where)
            continue
        added, whole = (way.search(QUERIES, 40, where) for way in ways)
        for own, other in zip(added, whole, strict=True):
            assert len(own) > 0 and {hit.key: hit.score for hit in own} == scores(other)


def test_full_scores_need_log_probabilities_without_a_prefix(retriever):
    if retriever.model.kind == "seq2seq":
        pytest.skip("a seq2seq model has no document prior")
    ahead = under(retriever, strategy="lookahead", full_scores=True)
    ahead.model.prefix_free_log_probs = lambda state: None
    try:
        with pytest.raises(InputError, match="full_scores: the log-probabilities of a 'encoder-h"):
            ahead.search(QUERIES, 3)
    finally:
        del ahead.model.prefix_free_log_probs
