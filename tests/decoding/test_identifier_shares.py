from math import exp, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import PriorDice, exhaustive_oracle

from genir.decoding.identifier_shares import identifier_shares, log_normalise
from genir.decoding.row_mask import RowMask
from genir.decoding.trie import Trie
from genir.identifiers.table import IdentifierTable

CODES = [(0, 3), (1, 3), (1, 4), (2, 3)]
"""Below 0 and 2 the second symbol is forced; there are six symbols a level."""
FIRST = {0: log(4.0), 1: log(2.0), 2: log(1.0)}
SECOND = {3: log(1.0), 4: log(3.0)}


class Known(PriorDice):
    """Logits known by hand: a forced symbol is one of six, and improbable among them."""

    def draw(self, query, prefix):
        known = SECOND if prefix else FIRST
        return np.array([known.get(symbol, log(50.0)) for symbol in range(self.vocabulary)])


def shares_of(model, table, live, query=0):
    rows = np.flatnonzero(live)
    inputs = (torch.tensor([[query]]), torch.ones(1, 1, dtype=torch.long))
    return identifier_shares(model, Trie.build(table), inputs, RowMask.build([live]), rows)


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        ([1, 1, 1, 1], [4 / 7, 2 / 7 / 4, 2 / 7 * 3 / 4, 1 / 7]),
        ([1, 1, 0, 1], [4 / 7, 2 / 7, 1 / 7]),  # the symbol below 1 is forced now
        ([0, 1, 1, 1], [2 / 3 / 4, 2 / 3 * 3 / 4, 1 / 3]),
        ([1, 0, 0, 1], [4 / 5, 1 / 5]),
        ([0, 1, 1, 0], [1 / 4, 3 / 4]),
        ([0, 0, 0, 1], [1.0]),
    ],
)
def test_shares_by_hand_under_filters_and_deletions(live, expected):
    table = IdentifierTable.build([[code] for code in CODES], list("abcd"))
    model = Known(table, free=False)
    found, low, high = shares_of(model, table, np.array(live, dtype=bool))
    assert found == pytest.approx(expected, abs=1e-6)
    assert (high - low == 1).all()
    # Among all symbols of its level, the only one left is next to impossible.
    scores = exhaustive_oracle(model, table, 0, np.array([0, 0, 0, 1], dtype=bool))
    assert exp(scores[2, 3]) < 0.001


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_shares_equal_the_exhaustive_oracle_and_sum_to_one(data):
    codes = data.draw(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=30))
    table = IdentifierTable.build([[code] for code in codes], [f"{n}" for n in range(len(codes))])
    live = np.array(data.draw(st.lists(st.booleans(), min_size=len(table), max_size=len(table))))
    if not live.any():
        return
    model = PriorDice(table, free=data.draw(st.booleans()))
    found, low, high = shares_of(model, table, live, 3)
    expected = exhaustive_oracle(model, table, 3, live, softmax="trie")
    for row, share, start, end in zip(np.flatnonzero(live), found, low, high, strict=True):
        assert share == pytest.approx(exp(expected[table.identifier(row)]), rel=1e-4)
        assert start <= row < end
        assert {table.identifier(n) for n in range(start, end)} == {table.identifier(row)}
    distinct = dict(zip(low.tolist(), found.tolist(), strict=True))
    assert sum(distinct.values()) == pytest.approx(1, abs=1e-4)


def test_an_edge_without_a_rival_costs_nothing():
    log_p = torch.tensor([[-9.0, -torch.inf], [log(0.01), log(0.03)], [-torch.inf, -torch.inf]])
    expected = torch.tensor([[1.0, 0.0], [0.25, 0.75], [0.0, 0.0]])
    assert log_normalise(log_p).exp().allclose(expected)
