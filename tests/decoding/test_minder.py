from math import exp

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import (
    Dice,
    RunningDice,
    beam_oracle,
    document_oracle,
    random_live,
    search_with,
    seeds,
    shares,
    weight_oracle,
)

from genir.decoding.strategies.minder import Minder, view_ranges
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable

normalisations = st.sampled_from(["vocabulary", "trie"])
models = st.sampled_from([Dice, RunningDice])
KINDS = (1, 2, 3)
END = 0


@st.composite
def tables(draw):
    """Documents of a few kinds of identifiers, which they may share."""
    rng = np.random.default_rng(draw(seeds))
    symbols, documents = draw(st.sampled_from([2, 40])), draw(st.integers(1, 40))
    owned = [
        {
            (kind, *rng.integers(4, 4 + symbols, rng.integers(0, 3)).tolist(), END)
            for kind in rng.choice(KINDS, rng.integers(1, 5))
        }
        for _ in range(documents)
    ]
    keys = [f"key-{number}" for number in rng.permutation(documents)]
    return IdentifierTable.build([sorted(own) for own in owned], keys)


def rank(table, queries, live, beams, normalise, model=Dice):
    made = model(int(table.symbols.max()) + 2)
    return search_with(Minder, made, table, queries, live, beams, normalise)


def oracle(table, query, live, beams, normalise):
    """Search each kind on its own, weight the results, and sum them by document."""
    weights, size = {}, int(table.symbols.max()) + 2
    rows = [table.identifier(row) for row in range(len(table))]
    for kind in KINDS:
        own = live & np.array([row[0] == kind for row in rows])
        total = sum(row[0] == kind and table.live[n] for n, row in enumerate(rows))
        for identifier, log_p in beam_oracle(table, query, own, beams, normalise, size).items():
            count = sum(row == identifier and table.live[n] for n, row in enumerate(rows))
            weights[identifier] = weight_oracle(log_p, count, total, 0)
    return document_oracle(table, weights, live, "views")


@settings(max_examples=30)
@given(tables(), shares, seeds, normalisations, st.integers(1, 60), models)
def test_documents_equal_the_oracle(table, share, seed, normalise, beams, model):
    live = random_live(table, share, seed)
    (ranked,) = rank(table, [7], live[None], beams, normalise, model)
    found = [(table.keys[item.document], item.score) for item in ranked]
    expected = oracle(table, 7, live, beams, normalise)
    assert dict(found) == pytest.approx(dict(expected), rel=1e-4, abs=1e-4)
    assert len(dict(found)) == len(found)
    assert [(-score, key) for key, score in found] == sorted((-s, key) for key, s in found)
    assert all(live[item.row] and table.documents[item.row] == item.document for item in ranked)


@settings(max_examples=30)
@given(tables(), shares, seeds, normalisations)
def test_enough_beams_find_every_document_that_may_be_found(table, share, seed, normalise):
    live = random_live(table, share, seed)
    (ranked,) = rank(table, [7], live[None], len(table), normalise)
    assert {item.document for item in ranked} == set(table.documents[live].tolist())


@settings(max_examples=30)
@given(tables(), seeds, normalisations, st.integers(1, 9), models)
def test_a_batch_answers_as_its_queries_alone(table, seed, normalise, beams, model):
    live = np.stack([random_live(table, share, seed) for share in (0.3, 1.0, 0.0)])
    together = rank(table, [3, 1, 4], live, beams, normalise, model)
    for query, mask, found in zip([3, 1, 4], live, together, strict=True):
        (alone,) = rank(table, [query], mask[None], beams, normalise, model)
        scores = [{item.document: item.score for item in answer} for answer in (found, alone)]
        assert scores[0] == pytest.approx(scores[1], rel=1e-4, abs=1e-4)


def test_views_of_a_document_add_up():
    """Two kinds of two identifiers each; only legal ones share the probability.

    d has one of each kind, the others one: of kind 1 or 2.
    """
    owned = [[(1, 4, END), (2, 4, END)], [(1, 5, END)], [(2, 5, END)]]
    table = IdentifierTable.build(owned, ["d", "e", "f"])
    model = Dice(7)
    model.step = lambda state, parents, symbols: (state, torch.eye(7)[4].expand(2, 1, 7) * 3)
    (ranked,) = search_with(Minder, model, table, [7], np.ones((1, 4), dtype=bool), 1, "trie")
    # p = e^3 / (e^3 + 1) of symbol 4, so odds of e^3, and even odds by chance: 3 a kind.
    assert [(table.keys[item.document], item.score) for item in ranked] == [
        ("d", pytest.approx(6, abs=1e-3))
    ]
    assert exp(3) / (exp(3) + 1) < 0.999


def test_kinds_are_identified_by_the_first_symbol():
    table = IdentifierTable.build([[(3, 1), (1, 1)], [(3, 2)], [(3, 1), (2, 1)]], list("abc"))
    assert view_ranges(table).tolist() == [0, 1, 2, 5]


def test_identifiers_that_begin_in_many_ways_are_not_of_kinds():
    table = IdentifierTable.build([[(n,)] for n in range(20)], [str(n) for n in range(20)])
    with pytest.raises(InputError, match=r"strategy = 'minder'.* 20 first symbols.*scheme 'views'"):
        view_ranges(table)
