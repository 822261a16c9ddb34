from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import beam_oracle, document_oracle, random_live, seeds, shares, tables

from genir.decoding.aggregate import rank_documents
from genir.identifiers.table import IdentifierTable

aggregations = st.sampled_from(["max", "logsumexp"])


def spans(table, scores):
    """Row ranges of identifiers and their scores, as a finished search holds them: best first."""
    rows = [table.identifier(row) for row in range(len(table))]
    best = sorted(scores, key=scores.get, reverse=True)
    low = np.array([rows.index(identifier) for identifier in best], dtype=np.int64)
    sizes = np.array([rows.count(identifier) for identifier in best], dtype=np.int64)
    return low, low + sizes, np.array([scores[i] for i in best])


@given(tables, shares, seeds, aggregations, st.integers(1, 200))
def test_documents_equal_the_oracle(table, share, seed, aggregate, beams):
    live = random_live(table, share, seed)
    size = int(table.symbols.max()) + 1
    scores = beam_oracle(table, 7, live, beams, "trie", size)
    ranked = rank_documents(table, *spans(table, scores), live, aggregate)
    expected = document_oracle(table, scores, live, aggregate)
    assert sorted(table.keys[item.document] for item in ranked) == sorted(k for k, _ in expected)
    assert [item.score for item in ranked] == pytest.approx([score for _, score in expected])
    order = [(-item.score, table.keys[item.document]) for item in ranked]
    assert order == sorted(order)
    for item in ranked:
        assert live[item.row]
        assert table.documents[item.row] == item.document
        own = [table.identifier(row) for row in table.rows_of(item.document) if live[row]]
        best = max(scores.get(identifier, -np.inf) for identifier in own)
        assert scores[table.identifier(item.row)] == best


@pytest.fixture
def table():
    """Rows 0 and 1 are shared by b and a; a has another one, row 3; c has row 2."""
    return IdentifierTable.build([[(1,)], [(1,), (3,)], [(2,)]], ["b", "a", "c"])


def rank(table, scores, live=(True,) * 4, aggregate="max"):
    low, high = np.array([0, 2, 3, 0]), np.array([2, 3, 4, 0])
    scores = np.array([*scores, -np.inf], dtype=np.float32)
    ranked = rank_documents(table, low, high, scores, np.array(live), aggregate)
    return [(table.keys[item.document], pytest.approx(item.score), item.row) for item in ranked]


def test_ties_are_broken_by_key(table):
    assert rank(table, [-1, -1, -2]) == [("a", -1, 1), ("b", -1, 0), ("c", -1, 2)]


def test_a_document_s_best_identifier_is_shown(table):
    assert rank(table, [-2, -3, -1]) == [("a", -1, 3), ("b", -2, 0), ("c", -3, 2)]


def test_several_identifiers_of_a_document_add_up(table):
    joined = log(exp(-2) + exp(-2.5))
    expected = [("c", -1.9, 2), ("a", -2, 1), ("b", -2, 0)]
    assert rank(table, [-2, -1.9, -2.5]) == expected
    summed = [("a", joined, 1), *expected[:1], ("b", -2, 0)]
    assert rank(table, [-2, -1.9, -2.5], aggregate="logsumexp") == summed


def test_dead_rows_of_a_shared_identifier_are_not_shown(table):
    assert rank(table, [-1, -2, -3], (True, False, True, True)) == [
        ("b", -1, 0),
        ("c", -2, 2),
        ("a", -3, 3),
    ]


@pytest.mark.parametrize("aggregate", ["max", "logsumexp"])
def test_dead_beams_give_nothing(table, aggregate):
    assert rank(table, [-np.inf] * 3, aggregate=aggregate) == []
