import numpy as np
import pytest
import torch
from hypothesis import given
from oracle import random_live, seeds, shares, tables

from genir.decoding.trie import NARROW, Trie, running_alive
from genir.identifiers.table import PAD, IdentifierTable


def dictionary(table):
    """{prefix: {symbol: rows}}; a finished identifier's only symbol is PAD."""
    nodes = {}
    for row in range(len(table)):
        padded = (*table.identifier(row), PAD)
        for depth, symbol in enumerate(padded):
            nodes.setdefault(padded[:depth], {}).setdefault(symbol, []).append(row)
    return nodes


def stretch(rows):
    """[low, high) of rows that lie together."""
    assert rows == list(range(rows[0], rows[-1] + 1))
    return rows[0], rows[-1] + 1


@given(tables)
def test_children_are_those_of_a_dictionary(table):
    nodes, trie = dictionary(table), Trie.build(table)
    level = {(): (0, len(table))}
    for depth in range(table.depth):
        ranges = torch.tensor([[(0, 0), *level.values()]])  # the first is a dead beam
        edges = trie.children(ranges[..., 0], ranges[..., 1], depth)
        dead, *found = (
            [edge for edge in zip(*columns, strict=True) if edge[1] < edge[2]]
            for columns in zip(
                *(t[0].tolist() for t in (edges.symbols, edges.low, edges.high)), strict=True
            )
        )
        assert dead == []
        below = {}
        for prefix, children in zip(level, found, strict=True):
            expected = {symbol: stretch(rows) for symbol, rows in nodes[prefix].items()}
            assert [symbol for symbol, _, _ in children] == sorted(expected)
            assert {symbol: (low, high) for symbol, low, high in children} == expected
            below |= {
                (prefix if symbol == PAD else (*prefix, symbol)): span
                for symbol, span in expected.items()
            }
        level = below


@given(tables)
def test_unused_slots_hold_nothing(table):
    trie = Trie.build(table)
    edges = trie.children(torch.tensor([[0, 0]]), torch.tensor([[len(table), 0]]), 0)
    unused = edges.low == edges.high
    assert unused[0, 1].all()
    assert (edges.symbols[unused] == PAD).all()
    assert (edges.high[unused] == 0).all()


@given(tables, shares, seeds)
def test_running_sums_tell_what_is_alive(table, share, seed):
    live = random_live(table, share, seed)
    alive = running_alive(torch.from_numpy(np.stack([live, ~live])))
    assert alive.shape == (2, len(table) + 1)
    assert alive.dtype == torch.int32
    for low in range(len(table)):
        for high in range(low, min(low + 3, len(table)) + 1):
            assert bool(alive[0, high] > alive[0, low]) == bool(live[low:high].any())
            assert bool(alive[1, high] > alive[1, low]) == bool((~live)[low:high].any())


@pytest.mark.parametrize(("highest", "width"), [(32_767, 2), (32_768, 4)])
def test_symbols_take_as_few_bytes_as_they_need(highest, width):
    table = IdentifierTable.build([[(0, highest)], [(5, 3)], [(highest,)]], ["a", "b", "c"])
    trie = Trie.build(table)
    assert trie.bytes == 3 * 2 * width
    edges = trie.children(torch.tensor([[0]]), torch.tensor([[3]]), 0)
    assert edges.symbols[0, 0].tolist() == [0, 5, highest]


def test_only_wide_nodes_keep_child_lists():
    identifiers = [[(0, n)] for n in range(NARROW)] + [[(1, n)] for n in range(NARROW + 1)]
    table = IdentifierTable.build(identifiers, [str(n) for n in range(2 * NARROW + 1)])
    root, second = Trie.build(table).levels
    assert (root.nodes.tolist(), root.widest) == ([0], 2)
    assert (second.nodes.tolist(), second.widest) == ([NARROW], NARROW + 1)


@pytest.mark.parametrize("rows", [NARROW - 1, NARROW, NARROW + 1, NARROW + 2])
def test_a_node_of_many_rows_may_have_few_children(rows):
    keys = [str(number) for number in range(rows)]
    table = IdentifierTable.build([[(1,)]] * (rows - 1) + [[(2,)]], keys)
    edges = Trie.build(table).children(torch.tensor([[0]]), torch.tensor([[rows]]), 0)
    found = zip(*(t[0, 0].tolist() for t in (edges.symbols, edges.low, edges.high)), strict=True)
    assert {edge for edge in found if edge[0] != PAD} == {(1, 0, rows - 1), (2, rows - 1, rows)}
