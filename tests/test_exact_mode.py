"""Exact search, from the recipe to the hits."""

import pytest
import torch
from tiny import QUERIES, SCHEMES, tiny_retriever

from genir.errors import InputError


@pytest.fixture(scope="module", params=SCHEMES)
def retriever(request, tiny_encoder, tiny_corpus, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "documents.sqlite"
    return tiny_retriever(tiny_encoder, tiny_corpus, path, request.param)


def scores(hits):
    return {hit.key: pytest.approx(hit.score, abs=1e-4) for hit in hits}


@pytest.mark.parametrize("where", [None, {"verb": ["copy", "move"]}])
def test_exact_hits_are_those_of_a_beam_as_wide_as_the_table(retriever, where):
    exact = retriever.search(QUERIES, 7, where, exact=True)
    wide = retriever.search(QUERIES, 7, where, beams=len(retriever.table))
    for own, other in zip(exact, wide, strict=True):
        assert own.proven is True and other.proven is None
        assert [hit.rank for hit in own] == list(range(1, 8))
        assert [hit.score for hit in own] == list(scores(other).values())
        assert {hit.key: hit.score for hit in own} == scores(other)


def test_where_the_budget_runs_out_beam_search_answers(retriever):
    decoding = retriever.recipe.decoding
    spent = decoding.model_copy(update={"max_nodes": 1, "mode": "exact"})
    recipe = retriever.recipe
    beam = retriever.search(QUERIES, 5)
    retriever.recipe = recipe.model_copy(update={"decoding": spent})
    try:
        exact, again = retriever.search(QUERIES, 5), retriever.search(QUERIES, 5, exact=False)
    finally:
        retriever.recipe = recipe
    assert again == beam
    if len(retriever.table) <= 1024 and retriever.model.kind == "encoder-head":
        assert all(hits.proven for hits in exact)  # one expansion completes a table this small
    else:
        assert not any(hits.proven for hits in exact)
        assert exact == beam


def test_a_filter_that_nothing_passes_is_proven_empty(retriever):
    (hits,) = retriever.search(["clone"], 3, {"verb": "fly"}, exact=True)
    assert (hits, hits.proven) == ([], True)


@pytest.fixture
def ahead(retriever, monkeypatch):
    """The same model with look-ahead."""
    decoding = retriever.recipe.decoding.model_copy(update={"lookahead_weight": 0.5})
    recipe = retriever.recipe.model_copy(update={"decoding": decoding})
    monkeypatch.setattr(retriever, "recipe", recipe)
    return retriever


def test_look_ahead_adds_the_prior_of_the_document(retriever, request):
    rows = len(retriever.table)
    plain = retriever.search(QUERIES, rows, beams=rows)
    ahead = request.getfixturevalue("ahead")
    if ahead.model.kind == "seq2seq":
        with pytest.raises(
            InputError, match=r"lookahead_weight: a 'seq2seq' model has no document prior"
        ):
            ahead.search(QUERIES, 3)
        return
    model = ahead.model
    with torch.no_grad():
        vectors = model.query_vectors(*ahead.encode(QUERIES))
        priors = (vectors @ model.head.row_vectors().T).log_softmax(dim=1)
    for exact in (False, True):
        found = ahead.search(QUERIES, rows, beams=rows, exact=exact)
        for own, before, prior in zip(found, plain, priors.tolist(), strict=True):
            known = {
                key: prior[row] for row, key in enumerate(map(ahead.table.key_of, range(rows)))
            }
            expected = {hit.key: hit.score + 0.5 * known[hit.key] for hit in before}
            assert {hit.key: hit.score for hit in own} == pytest.approx(expected, abs=1e-3)
