from functools import partial
from math import log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import (
    Dice,
    RunningDice,
    ngram_oracle,
    prefix_oracle,
    random_live,
    random_table,
    search_with,
    seeds,
    shares,
    tables,
    weight_oracle,
)

from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.strategies.ngram_weights import MAX_PROBABILITY, log_odds_weight
from genir.decoding.strategies.seal import (
    ScoredPrefixes,
    Seal,
    rank_prefixes,
    search_prefixes,
)
from genir.decoding.trie import Trie
from genir.identifiers.table import IdentifierTable

approx = partial(pytest.approx, rel=1e-4, abs=1e-4)
normalisations = st.sampled_from(["vocabulary", "trie"])
models = st.sampled_from([Dice, RunningDice])


def size(table):
    return int(table.symbols.max()) + 2


def ask(search, table, queries, live, beams, normalise, model):
    """Run `search_prefixes` or the strategy under live masks, bool [Q, rows]."""
    if search is Seal:
        return search_with(Seal, model(size(table)), table, queries, live, beams, normalise)
    inputs = torch.tensor(queries)[:, None]
    pair = (inputs, torch.ones_like(inputs))
    rows = RowMask.build(live, None if len(live) == 1 else range(len(live)))
    options = SearchOptions(softmax=normalise, beams=beams)
    return search(model(size(table)), Trie.build(table), pair, rows, options)


@settings(max_examples=30)
@given(tables, shares, seeds, normalisations, st.integers(1, 9), models)
def test_all_that_a_plain_beam_search_holds_is_found(table, share, seed, normalise, beams, model):
    live = random_live(table, share, seed)
    (found,) = ask(search_prefixes, table, [7], live[None], beams, normalise, model)
    prefixes = {}
    for low, high, depth, score in zip(*map(np.ndarray.tolist, found), strict=True):
        (prefix,) = {table.identifier(row)[:depth] for row in range(low, high)}
        assert prefix not in prefixes
        prefixes[prefix] = score
    held, done = prefix_oracle(table, 7, live, beams, normalise, size(table))
    assert prefixes == pytest.approx(held | done)


@settings(max_examples=30)
@given(tables, shares, seeds, normalisations, st.integers(1, 200), models)
def test_documents_equal_the_oracle(table, share, seed, normalise, beams, model):
    live = random_live(table, share, seed)
    (ranked,) = ask(Seal, table, [7], live[None], beams, normalise, model)
    held, done = prefix_oracle(table, 7, live, beams, normalise, size(table))
    expected = ngram_oracle(table, held | done, live)
    found = {table.keys[item.document]: item.score for item in ranked}
    assert found == approx({key: score for key, (score, _) in expected.items()})
    assert len(found) == len(ranked)
    order = [(-item.score, table.keys[item.document]) for item in ranked]
    assert order == sorted(order)
    for item in ranked:
        assert item.row in expected[table.keys[item.document]][1]


@settings(max_examples=30)
@given(tables, shares, seeds, normalisations)
def test_enough_beams_find_every_document_that_may_be_found(table, share, seed, normalise):
    live = random_live(table, share, seed)
    (ranked,) = ask(Seal, table, [7], live[None], len(table), normalise, Dice)
    assert {item.document for item in ranked} == set(table.documents[live].tolist())


@settings(max_examples=30)
@given(tables, seeds, normalisations, st.integers(1, 9), models)
def test_a_batch_answers_as_its_queries_alone(table, seed, normalise, beams, model):
    live = np.stack([random_live(table, share, seed) for share in (0.3, 1.0, 0.0)])
    together = ask(Seal, table, [3, 1, 4], live, beams, normalise, model)
    for query, mask, found in zip([3, 1, 4], live, together, strict=True):
        (alone,) = ask(Seal, table, [query], mask[None], beams, normalise, model)
        scores = [{item.document: item.score for item in answer} for answer in (found, alone)]
        assert scores[0] == approx(scores[1])


@settings(max_examples=30)
@given(tables, seeds)
def test_deleted_rows_are_not_counted(table, seed):
    """A deleted document does not count for the frequency of an n-gram, filtered or not."""
    alive = random_live(table, 0.5, seed)
    kept = np.flatnonzero(alive)
    if not len(kept):
        return
    (before,) = ask(Seal, deleted(table, alive), [7], alive[None], 9, "trie", Dice)
    owners = np.unique(table.documents[kept])
    smaller = IdentifierTable.from_arrays(
        table.symbols[kept],
        np.searchsorted(owners, table.documents[kept]),
        [table.keys[n] for n in owners],
    )
    everything = np.ones((1, len(kept)), dtype=bool)
    (after,) = ask(Seal, smaller, [7], everything, 9, "trie", Dice)
    found = {table.keys[item.document]: item.score for item in before}
    assert found == approx({smaller.keys[item.document]: item.score for item in after})


def deleted(table, alive):
    return IdentifierTable(table.symbols, table.documents, table.keys, alive)


# --- by hand -----------------------------------------------------------------------------------

THE, OIL, CRISIS, PRICE, END = 1, 2, 3, 4, 0
TEXTS = {"a": (THE, OIL, CRISIS), "b": (THE, OIL, PRICE), "c": (PRICE, THE)}


@pytest.fixture
def corpus():
    """Three documents as rows of two tokens, of which `the oil` is shared."""
    rows = [[(*text, END)[n : n + 2] for n in range(len(text))] for text in TEXTS.values()]
    return IdentifierTable.build(rows, list(TEXTS))


def found(table, *ngrams):
    """Return n-grams with their log p as a search finds them."""
    parts = []
    for ngram, log_p in ngrams:
        held = [r for r in range(len(table)) if table.identifier(r)[: len(ngram)] == ngram]
        parts.append((held[0], held[-1] + 1, len(ngram), log_p))
    low, high, depth, score = zip(*parts, strict=True)
    return ScoredPrefixes(np.array(low), np.array(high), np.array(depth), np.array(score))


def scores(table, *ngrams, live=None):
    live = np.ones(len(table), dtype=bool) if live is None else live
    ranked = rank_prefixes(table, found(table, *ngrams), live, table.live)
    return {table.keys[item.document]: item.score for item in ranked}


def test_rows_are_places_and_shared_ones_one_range(corpus):
    shared = found(corpus, ((THE, OIL), -1.0))
    assert (shared.high - shared.low).tolist() == [2] and len(corpus) == 8


def test_documents_add_up_the_squares_of_weights(corpus):
    """`price` is at 2 of 8 positions, `crisis` at 1."""
    price, crisis = weight_oracle(-0.5, 2, 8, 5), weight_oracle(-0.7, 1, 8, 5)
    assert price > 0 and crisis > 0
    assert scores(corpus, ((PRICE,), -0.5), ((CRISIS,), -0.7)) == {
        "b": pytest.approx(price**2),
        "c": pytest.approx(price**2),
        "a": pytest.approx(crisis**2),
    }


def test_an_n_gram_and_its_beginning_count_once_where_they_stand_together(corpus):
    """`the` is better: it takes the place of `the oil` wherever that stands."""
    the, pair = ((THE,), -0.1), ((THE, OIL), -0.4)
    assert weight_oracle(-0.1, 3, 8, 5) > weight_oracle(-0.4, 2, 8, 5) > 0
    assert scores(corpus, the, pair) == scores(corpus, the)


def test_a_better_longer_one_takes_the_place_of_its_beginning(corpus):
    pair, the = weight_oracle(-0.1, 2, 8, 5), weight_oracle(-0.1, 3, 8, 5)
    assert pair > the
    assert scores(corpus, ((THE, OIL), -0.1), ((THE,), -0.1)) == {
        "a": pytest.approx(pair**2),
        "b": pytest.approx(pair**2),
        "c": pytest.approx(the**2),  # where only the beginning stands
    }


def test_tokens_that_a_better_n_gram_has_are_worth_less(corpus):
    """Of the two tokens of `oil crisis`, `oil` is known from `the oil`: 1 - .8 / 2 is left."""
    first, second = weight_oracle(-0.1, 2, 8, 5), weight_oracle(-0.5, 1, 8, 5)
    assert first > second > 0
    assert scores(corpus, ((THE, OIL), -0.1), ((OIL, CRISIS), -0.5)) == {
        "a": pytest.approx(first**2 + 0.6 * second**2),
        "b": pytest.approx(first**2),
    }


def test_an_ngram_as_likely_as_chance_has_weight_zero(corpus):
    assert scores(corpus, ((THE,), -5.0)) == {"a": 0.0, "b": 0.0, "c": 0.0}


def test_documents_that_may_not_be_found_are_not_but_count(corpus):
    live = corpus.documents != 0
    whole = scores(corpus, ((THE, OIL), -0.1))
    assert scores(corpus, ((THE, OIL), -0.1), live=live) == {"b": whole["b"]}


def test_weights_are_log_odds_above_chance():
    counts = np.array([1, 2, 50, 1])
    found = log_odds_weight(np.array([log(0.5), log(0.5), log(0.5), -np.inf]), counts, 100)
    assert found[:3] == pytest.approx([log(99), log(49), 0])
    assert found[3] == -np.inf
    (smoothed,) = log_odds_weight(np.array([log(0.5)]), np.array([1]), 95, smoothing=5)
    assert smoothed == pytest.approx(log(94 / 6))


def test_certainty_has_a_limit():
    (sure,) = log_odds_weight(np.array([0.0]), np.array([1]), 2)
    assert sure == pytest.approx(log(MAX_PROBABILITY / (1 - MAX_PROBABILITY)))
    assert log_odds_weight(np.array([0.0]), np.array([3]), 3) == pytest.approx([0.0])


def test_wide_nodes_and_many_documents_are_ranked_alike():
    table = random_table(documents=200, symbols=60, depth=4, several=3, seed=1)
    live = np.ones((1, len(table)), dtype=bool)
    (ranked,) = ask(Seal, table, [7], live, 20, "vocabulary", RunningDice)
    held, done = prefix_oracle(table, 7, live[0], 20, "vocabulary", size(table))
    expected = ngram_oracle(table, held | done, live[0])
    assert {table.keys[item.document]: item.score for item in ranked} == approx(
        {key: score for key, (score, _) in expected.items()}
    )
