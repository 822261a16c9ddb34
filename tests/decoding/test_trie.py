from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracle import seeds, tables

import genir.decoding.trie as trie_module
from genir.decoding.trie import NARROW_NODE_ROWS, Trie
from genir.identifiers.table import PAD, IdentifierTable, sorted_order


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


@contextmanager
def looking(cheap):
    """Whether the trie asks how wide nodes are, and up to which size it then reads rows."""
    with pytest.MonkeyPatch.context() as patch:
        if cheap is not None:
            patch.setattr(trie_module, "SYNC_FREE_SCAN_ROWS", cheap)
        yield cheap is not None


LOOKS = pytest.mark.parametrize("cheap", [None, 0, trie_module.SYNC_FREE_SCAN_ROWS])


@LOOKS
@given(tables)
def test_children_equal_a_dictionary(cheap, table):
    with looking(cheap) as looks:
        assert_those_of_a_dictionary(table, looks)


def assert_those_of_a_dictionary(table, looks):
    nodes, trie = dictionary(table), Trie.build(table)
    level = {(): (0, len(table))}
    for depth in range(table.depth):
        ranges = torch.tensor([[(0, 0), *level.values()]])  # the first is a dead beam
        edges = trie.children(ranges[..., 0], ranges[..., 1], depth, looks)
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
def test_unique_prefix_lengths_equal_a_dictionary(table):
    nodes, trie = dictionary(table), Trie.build(table)
    for row in range(len(table)):
        padded = (*table.identifier(row), PAD)
        depths = [
            depth
            for depth in range(1, len(padded))
            if sum(map(len, nodes[padded[:depth]].values())) == 1
        ]
        expected = depths[0] if depths else len(table.identifier(row))
        assert int(trie.unique_prefix_length(torch.tensor(row))) == expected


@given(tables)
def test_unused_slots_hold_nothing(table):
    trie = Trie.build(table)
    dead = torch.zeros(1, 2, dtype=torch.long)
    assert trie.children(dead, dead, 0, allow_sync=True).low.shape == (1, 2, 1)
    edges = trie.children(torch.tensor([[0, 0]]), torch.tensor([[len(table), 0]]), 0)
    assert (edges.low <= edges.high).all()
    unused = edges.low == edges.high
    assert unused[0, 1].all()
    assert (edges.symbols[unused] == PAD).all()
    assert (edges.high <= len(table)).all()


@LOOKS
@given(tables, seeds)
def test_nodes_are_read_together_as_alone(cheap, table, seed):
    with looking(cheap) as looks:
        assert_together_as_alone(table, seed, looks)


def assert_together_as_alone(table, seed, looks):
    trie, rng = Trie.build(table), np.random.default_rng(seed)
    level = [(0, len(table))]
    for depth in range(table.depth):
        nodes = torch.from_numpy(rng.choice([*level, (0, 0)], size=(3, 4)))
        together = triples(trie.children(nodes[..., 0], nodes[..., 1], depth, looks))
        for row, edges in zip(nodes.view(-1, 2).tolist(), together, strict=True):
            low, high = torch.tensor(row).view(2, 1, 1)
            assert triples(trie.children(low, high, depth)) == [edges]
        low, high = torch.tensor(level).T[:, None]
        level = [(low, high) for edges in triples(trie.children(low, high, depth))
                 for _, low, high in edges]  # fmt: skip


def triples(edges):
    """The used slots of each node, as (symbol, low, high)."""
    stacked = torch.stack([edges.symbols, edges.low, edges.high], dim=-1).flatten(0, 1)
    return [[tuple(edge) for edge in node if edge[1] < edge[2]] for node in stacked.tolist()]


@given(tables, st.data())
def test_forced_runs_equal_the_common_prefix_of_rows(table, data):
    trie = Trie.build(table)
    padded = [(*table.identifier(row), PAD) for row in range(len(table))]
    spans = {(0, 0, 0)}
    for prefix, children in dictionary(table).items():
        low, high = stretch(sorted(row for rows in children.values() for row in rows))
        spans.add((len(prefix), low, high))
    spans = sorted(span for span in spans if span[0] < table.depth)
    for depth in range(table.depth):
        nodes = [(low, high) for at, low, high in spans if at == depth]
        if not nodes:
            continue
        low, high = torch.tensor([nodes]).unbind(-1)
        runs = trie.run_length(low, high, depth)
        assert runs.dtype == torch.int64 and runs.shape == low.shape
        for (first, last), run in zip(nodes, runs[0].tolist(), strict=True):
            rests = {identifier[depth:] for identifier in padded[first:last]}
            alike = [n for n in range(table.depth + 1) if len({r[:n] for r in rests}) == 1]
            shared = next(iter(rests), ())[: max(alike, default=0)]
            assert run == len([symbol for symbol in shared if symbol != PAD])


@given(tables, seeds, st.integers(0, 6))
def test_symbols_are_read_from_any_depth(table, seed, length):
    rng = np.random.default_rng(seed)
    rows, starts = rng.integers(0, len(table), 6), rng.integers(0, table.depth + 1, 6)
    found = Trie.build(table).symbols_of(*map(torch.from_numpy, (rows, starts)), length)
    assert found.dtype == torch.int64 and found.shape == (6, length)
    for row, start, symbols in zip(rows, starts, found.tolist(), strict=True):
        wanted = table.identifier(row)[start : start + length]
        assert symbols == [*wanted, *[PAD] * (length - len(wanted))]


@pytest.mark.parametrize(("highest", "width"), [(32_767, 2), (32_768, 4)])
def test_symbols_take_as_few_bytes_as_they_need(highest, width):
    table = IdentifierTable.build([[(0, highest)], [(5, 3)], [(highest,)]], ["a", "b", "c"])
    trie = Trie.build(table)
    assert trie.bytes == 3 * 2 * width
    edges = trie.children(torch.tensor([[0]]), torch.tensor([[3]]), 0)
    assert edges.symbols[0, 0].tolist() == [0, 5, highest]


def test_only_wide_nodes_keep_child_lists():
    identifiers = [[(0, n)] for n in range(NARROW_NODE_ROWS)] + [
        [(1, n)] for n in range(NARROW_NODE_ROWS + 1)
    ]
    table = IdentifierTable.build(identifiers, [str(n) for n in range(2 * NARROW_NODE_ROWS + 1)])
    root, second = Trie.build(table).levels
    assert (root.children.nodes.tolist(), root.children.slots, root.max_scan) == ([0], 2, 0)
    assert second.children.nodes.tolist() == [NARROW_NODE_ROWS]
    assert (second.children.slots, second.max_scan) == (NARROW_NODE_ROWS + 1, NARROW_NODE_ROWS)


def test_levels_are_as_wide_as_their_nodes_need():
    symbols = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]])
    trie = Trie.from_symbols(symbols)
    assert [(level.max_scan, level.children) for level in trie.levels] == [
        (4, None),
        (3, None),
        (2, None),
    ]
    edges = trie.children(torch.tensor([[0, 3]]), torch.tensor([[3, 4]]), 1)
    assert edges.symbols.tolist() == [[[0, PAD, 1], [0, PAD, PAD]]]


@pytest.mark.parametrize(("rows", "width"), [(30_000, 2), (60_000, 4)])
@pytest.mark.parametrize(("codes", "kept"), [(3, True), (300_000, False)])
def test_long_lists_mark_symbol_changes(rows, width, codes, kept):
    """60,000 rows are more than 2 bytes count; of 300,000 codes, most rows have one alone."""
    codes = 1000 * np.sort(np.random.default_rng(0).integers(0, codes, rows))  # not dense
    trie = Trie.from_symbols(np.stack([np.zeros_like(codes), codes], axis=1))
    lists = trie.levels[1].children
    assert (lists.starts.itemsize, lists.symbols is not None) == (width, kept)
    (found,) = triples(trie.children(torch.tensor([[0]]), torch.tensor([[rows]]), 1))
    values, first, counts = np.unique(codes, return_index=True, return_counts=True)
    assert found == list(zip(values, first, first + counts, strict=True))


@pytest.mark.parametrize("rows", [1_000, 10_000, 100_000])
def test_an_identifier_takes_no_more_than_it_may(rows):
    """Levels x 2 + 8 bytes: 4 for the document number, 1 live flag, 1 of a filter."""
    rng = np.random.default_rng(0)
    symbols = rng.integers(0, 256, (rows, 8))
    symbols = symbols[sorted_order(symbols)]
    assert Trie.from_symbols(symbols).bytes <= rows * (8 * 2 + 2)


def test_a_trie_on_the_cpu_is_the_table_itself():
    table = IdentifierTable.build([[(1, 2)], [(3, 4)]], ["a", "b"])
    assert Trie.build(table).symbols.data_ptr() == table.symbols.ctypes.data


@pytest.mark.parametrize(
    "rows", [NARROW_NODE_ROWS - 1, NARROW_NODE_ROWS, NARROW_NODE_ROWS + 1, NARROW_NODE_ROWS + 2]
)
def test_a_node_of_many_rows_may_have_few_children(rows):
    keys = [str(number) for number in range(rows)]
    table = IdentifierTable.build([[(1,)]] * (rows - 1) + [[(2,)]], keys)
    edges = Trie.build(table).children(torch.tensor([[0]]), torch.tensor([[rows]]), 0)
    found = zip(*(t[0, 0].tolist() for t in (edges.symbols, edges.low, edges.high)), strict=True)
    assert {edge for edge in found if edge[0] != PAD} == {(1, 0, rows - 1), (2, rows - 1, rows)}


def test_wide_nodes_are_looked_up_and_others_read_where_that_is_asked():
    rows = np.arange(1000).reshape(-1, 1) // np.array([[100, 1]]) * 10  # not dense
    trie = Trie.from_symbols(rows)
    low, high = torch.tensor([[0, 100]]), torch.tensor([[1000, 200]])
    slots = trie.levels[0].children.slots
    assert trie.children(low, high, 0).low.shape[-1] == slots < 1000
    assert trie.children(low, high, 0, allow_sync=True).low.shape[-1] == 1000
    many = torch.zeros(20, 1, dtype=torch.long)
    assert trie.children(many, many + 1000, 0, allow_sync=True).low.shape[-1] == slots
    assert trie.children(many, many + 7, 1, allow_sync=True).low.shape[-1] == 7


def test_lists_are_read_up_to_the_widest_requested_node():
    size = 2 * trie_module.SYNC_FREE_SCAN_ROWS
    node, place = np.divmod(np.arange(2 * size), size)
    symbols = 10 * (place // np.where(node == 0, 400, 1000))  # not dense
    trie = Trie.from_symbols(np.stack([node, symbols], axis=1))
    low, high = torch.tensor([[0, size]]), torch.tensor([[size, 2 * size]])
    many, few = -(-size // 400), -(-size // 1000)
    assert trie.children(low, high, 1, allow_sync=True).low.shape[-1] == many
    assert trie.children(low[:, 1:], high[:, 1:], 1, allow_sync=True).low.shape[-1] == few
    assert trie.children(low[:, 1:], high[:, 1:], 1).low.shape[-1] == many
    assert trie.children(low[:, :0], high[:, :0], 1, allow_sync=True).low.shape == (1, 0, many)


@LOOKS
@given(tables)
def test_the_first_edges_belong_to_the_root_and_are_read_once(cheap, table):
    trie = Trie.build(table)
    low = torch.zeros(3, 1, dtype=torch.long)
    with looking(cheap) as may_wait:
        first = trie.first_edges(3, may_wait)
        again = trie.first_edges(1, may_wait)
        expected = trie.children(low, low + trie.rows, 0, may_wait)
    for name in ("symbols", "low", "high"):
        assert torch.equal(getattr(first, name), getattr(expected, name))
    for name in ("first", "bounds", "used"):
        assert getattr(first, name).data_ptr() == getattr(again, name).data_ptr()
