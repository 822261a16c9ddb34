from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import PriorDice, ask, exhaustive_oracle, identifiers, random_live, seeds, tables

from genir.decoding.beam import beam_search
from genir.decoding.exact import SCORE_TOLERANCE, exact_search
from genir.identifiers.table import IdentifierTable

QUERIES = [3, 1, 4]
approx = partial(pytest.approx, abs=1e-5)
decodings = st.fixed_dictionaries(
    {
        "softmax": st.sampled_from(["vocabulary", "trie"]),
        "lookahead_weight": st.sampled_from([0.0, 0.5]),
    }
)
frees = st.booleans()


def masks(table, seed):
    return np.stack([random_live(table, share, seed) for share in (0.3, 1.0, 0.0)])


def is_top(found, expected, k):
    """The top k, and possibly ties with the last one up to rounding."""
    floor = ([*expected.values(), *[-np.inf] * k])[k - 1]
    assert found == approx({identifier: expected[identifier] for identifier in found})
    assert all(score >= floor - SCORE_TOLERANCE for score in found.values())
    assert {i for i, score in expected.items() if score > floor + SCORE_TOLERANCE} <= set(found)
    assert len(found) >= min(k, len(expected))


@settings(max_examples=30)
@given(tables, seeds, frees, decodings, st.integers(0, 5))
def test_enough_beams_are_exhaustive(table, seed, free, decoding, more):
    live, model, width = masks(table, seed), PriorDice(table, free), len(table) + more
    found = identifiers(
        table, ask(beam_search, model, table, QUERIES, live, beams=width, **decoding)
    )
    for query, mask, own in zip(QUERIES, live, found, strict=True):
        assert own == approx(exhaustive_oracle(model, table, query, mask, **decoding))


@settings(max_examples=30)
@given(tables, seeds, frees, decodings, st.integers(1, 20))
def test_the_best_are_found_and_proven(table, seed, free, decoding, k):
    live, model = masks(table, seed), PriorDice(table, free)
    found = ask(exact_search, model, table, QUERIES, live, k, max_nodes=10**6, **decoding)
    assert found.proven.all()
    for query, mask, own in zip(QUERIES, live, identifiers(table, found.beams), strict=True):
        is_top(own, exhaustive_oracle(model, table, query, mask, **decoding), k)


@settings(max_examples=30)
@given(tables, seeds, frees, decodings, st.integers(1, 9), st.integers(1, 40))
def test_a_budget_is_kept_and_proven_results_are_exact(table, seed, free, decoding, k, budget):
    live, model = masks(table, seed), PriorDice(table, free)
    found = ask(exact_search, model, table, QUERIES, live, k, max_nodes=budget, **decoding)
    assert (found.expanded_nodes <= budget).all()
    answers = zip(QUERIES, live, identifiers(table, found.beams), found.proven, strict=True)
    for query, mask, own, proven in answers:
        expected = exhaustive_oracle(model, table, query, mask, **decoding)
        if proven:
            is_top(own, expected, k)
        else:
            assert own == approx({identifier: expected[identifier] for identifier in own})


@settings(max_examples=30)
@given(tables, seeds, frees, st.integers(1, 9))
def test_a_batch_answers_as_its_queries_alone(table, seed, free, k):
    live, model = masks(table, seed), PriorDice(table, free)
    together = ask(exact_search, model, table, QUERIES, live, k, max_nodes=50)
    for place, query in enumerate(QUERIES):
        alone = ask(exact_search, model, table, [query], live[place : place + 1], k, max_nodes=50)
        assert alone.expanded_nodes[0] == together.expanded_nodes[place]
        (expected,) = identifiers(table, alone.beams)
        assert identifiers(table, together.beams)[place] == approx(expected)


def test_all_identifiers_that_tie_with_the_last_come_back():
    """Without logits that differ, all of a length score alike."""
    table = IdentifierTable.build([[(1, n)] for n in range(50)], [str(n) for n in range(50)])
    model = PriorDice(table, free=True)
    model.draw = lambda query, prefix: np.zeros(model.vocabulary)
    live = np.ones((1, 50), bool)
    for free in (True, False):
        model.free = free
        found = ask(exact_search, model, table, [7], live, 3, max_nodes=1000)
        assert found.proven.all()
        assert len(identifiers(table, found.beams)[0]) == 50


def test_a_clear_winner_costs_few_expansions():
    """2,000 identifiers, of which one keeps nearly all of the probability at every step."""
    digits = [[(a, b, c, 9)] for a in range(10) for b in range(10) for c in range(20)]
    table = IdentifierTable.build(digits, [str(n) for n in range(2000)])
    model = PriorDice(table, free=False)
    model.draw = lambda query, prefix: np.eye(model.vocabulary)[[2, 4, 6, 9][len(prefix)]] * 20
    found = ask(exact_search, model, table, [7], np.ones((1, 2000), bool), 1)
    assert identifiers(table, found.beams) == [{(2, 4, 6, 9): approx(0, abs=1e-4)}]
    assert found.proven.all()
    assert found.expanded_nodes.item() <= 4 * 32  # far from the 1 + 10 + 100 + 2000 nodes there are


def test_where_the_budget_runs_out_there_is_no_proof():
    table = IdentifierTable.build([[(n, n % 7, 1)] for n in range(99)], [str(n) for n in range(99)])
    live = np.ones((1, 99), bool)
    found = ask(exact_search, PriorDice(table, free=False), table, [7], live, 5, max_nodes=3)
    assert (found.proven.tolist(), found.expanded_nodes.tolist()) == ([False], [3])
