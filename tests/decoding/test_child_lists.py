"""Forms of child lists, and scores that do not depend on the form."""

import numpy as np
import pytest
import torch
from oracle import Dice

from genir.decoding.child_lists import CSRChildren, DenseChildren
from genir.decoding.edge_scorers import score_edges
from genir.decoding.edges import Candidates
from genir.decoding.trie import Trie


def root(first, rows=3):
    """The trie of `rows` identifiers for each first symbol."""
    symbols = [(symbol, row) for symbol in first for row in range(rows)]
    return Trie.from_symbols(np.array(symbols, dtype=np.int32))


@pytest.mark.parametrize(
    ("first", "form"),
    [(range(40), DenseChildren), (range(0, 40_000, 1_000), CSRChildren)],
)
@pytest.mark.parametrize("rows", [1, 3, 820])
def test_each_form_gives_the_children_of_the_root(first, form, rows):
    trie = root(first, rows)
    assert isinstance(trie.levels[0].children, form)
    low = torch.zeros(1, 1, dtype=torch.long)
    edges = trie.children(low, low + trie.rows, 0)
    used = edges.used[0, 0]
    assert edges.symbols[0, 0][used].tolist() == list(first)
    assert edges.low[0, 0][used].tolist() == [rows * place for place in range(40)]
    assert edges.high[0, 0][used].tolist() == [rows * (place + 1) for place in range(40)]
    taken = edges.take(torch.tensor([[39, 0]]))
    assert taken.symbols.tolist() == [[first[39], first[0]]]
    assert taken.low.tolist() == [[39 * rows, 0]] and taken.high.tolist() == [[40 * rows, rows]]


@pytest.mark.parametrize("softmax", ["vocabulary", "trie", "none"])
def test_scores_do_not_depend_on_the_form(softmax):
    """Other queries of a batch decide whether symbols are given: not a bit may differ."""
    model = Dice(50, "cpu")
    inputs = torch.tensor([[7], [8]])
    _, hidden = model.step(model.encode(inputs, torch.ones_like(inputs)), None, None)
    legal = torch.rand(2, 1, 40, generator=torch.Generator().manual_seed(0)) < 0.5
    given = Candidates(torch.arange(40).expand(2, 1, 40))
    found, expected = (
        score_edges(model, hidden, 0, candidates, legal, softmax)
        for candidates in (Candidates(None), given)
    )
    assert torch.equal(found, expected) and torch.equal(found > -torch.inf, legal)
