import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracle import seeds

from genir.decoding.row_mask import BLOCK_ROWS, RowMask
from genir.decoding.trie import Trie
from genir.errors import InputError

rows = st.one_of(
    st.integers(1, 20), st.integers(BLOCK_ROWS - 3, BLOCK_ROWS + 3), st.integers(500, 1200)
)
# Few live rows in many have distances above 255.
shares = st.sampled_from([1.0, 0.5, 0.01, 0.002, 0.0])


@st.composite
def masks(draw):
    """Up to 3 masks over the same rows."""
    size, rng = draw(rows), np.random.default_rng(draw(seeds))
    return [rng.random(size) < share for share in draw(st.lists(shares, min_size=1, max_size=3))]


def ranges(size, shape, seed):
    ends = np.random.default_rng(seed).integers(0, size, (2, *shape), endpoint=True)
    return tuple(torch.from_numpy(np.sort(ends, axis=0)))


def expected(low, high, mask):
    spans = zip(low.flatten().tolist(), high.flatten().tolist(), strict=True)
    return [bool(mask[a:b].any()) for a, b in spans]


@given(masks(), seeds)
def test_a_range_is_legal_if_it_holds_a_live_row_of_the_query(masks, seed):
    index = np.random.default_rng(seed).integers(0, len(masks), 4).tolist()
    low, high = ranges(len(masks[0]), (4, 3, 5), seed)
    legal = RowMask.build(masks, index).any_live(low, high)
    assert legal.dtype == torch.bool and legal.shape == (4, 3, 5)
    for place, *row in zip(index, low, high, legal, strict=True):
        assert row[2].flatten().tolist() == expected(*row[:2], masks[place])


@given(masks(), seeds)
def test_one_mask_serves_any_number_of_queries(masks, seed):
    live = RowMask.build(masks[:1])
    for shape in ((1,), (3, 2), (2, 3, 4)):
        low, high = ranges(len(masks[0]), shape, seed)
        assert live.any_live(low, high).flatten().tolist() == expected(low, high, masks[0])
    assert live.select([3, 1]) is live
    assert live.mask_index(3) == [0, 0, 0]


@given(masks(), seeds)
def test_ranges_may_name_their_queries(masks, seed):
    rng = np.random.default_rng(seed)
    index, query = rng.integers(0, len(masks), 4), rng.integers(0, 4, 9)
    low, high = ranges(len(masks[0]), (9,), seed)
    legal = RowMask.build(masks, index.tolist()).any_live(low, high, torch.from_numpy(query))
    own = [masks[place] for place in index[query]]
    assert legal.tolist() == [bool(m[a:b].any()) for m, a, b in zip(own, low, high, strict=True)]


@given(masks(), seeds)
def test_chosen_queries_keep_their_masks(masks, seed):
    index = np.random.default_rng(seed).integers(0, len(masks), 5).tolist()
    chosen = RowMask.build(masks, index).select([4, 0, 0])
    assert chosen.mask_index(3) == [index[4], index[0], index[0]]
    assert chosen.masks is masks
    low, high = ranges(len(masks[0]), (3, 6), seed)
    for place, *row in zip(
        chosen.mask_index(3), low, high, chosen.any_live(low, high), strict=True
    ):
        assert row[2].tolist() == expected(*row[:2], masks[place])


@given(masks())
def test_rows_are_the_masks_again(masks):
    index = [*range(len(masks)), 0]
    found = RowMask.build(masks, index).rows("cpu")
    if all(mask.all() for mask in masks):
        assert found.tolist() == [masks[0].tolist()]
    else:
        assert found.tolist() == [masks[place].tolist() for place in index]
    assert RowMask.build(masks[:1]).rows("cpu").tolist() == [masks[0].tolist()]


def test_queries_that_share_a_mask_share_its_memory():
    mask = np.arange(1000) % 2 == 0
    few = RowMask.build([mask, ~mask], [0, 1])
    assert few.bytes == 2 * (1001 + 5 * 4)
    assert RowMask.build([mask, ~mask], [0, 1] * 16).bytes == few.bytes


@pytest.mark.parametrize("rows_of_a_child", [1, 3, 254, 255, 256, 700])
@pytest.mark.parametrize("share", [0.5, 0.002])
@pytest.mark.parametrize("masks", [1, 2])
def test_edges_are_legal_if_a_live_row_is_below(rows_of_a_child, share, masks):
    """For child lists of each form and children of few and many rows."""
    generator = np.random.default_rng(rows_of_a_child)
    for gap in (1, 50):  # one slot for each symbol, or for each child
        first = np.repeat(np.arange(40) * gap, rows_of_a_child)
        symbols = np.stack([first, np.tile(np.arange(rows_of_a_child), 40)], axis=1)
        trie = Trie.from_symbols(symbols.astype(np.int32))
        live = RowMask.build(
            [generator.random(len(symbols)) < share for _ in range(masks)], [0, masks - 1, 0]
        )
        low = torch.zeros(3, 1, dtype=torch.long)
        edges = trie.children(low, low + trie.rows, 0)
        found = live.legal(edges, trie.levels[0].max_child_rows)
        assert trie.levels[0].max_child_rows == rows_of_a_child
        assert torch.equal(found, live.any_live(edges.low, edges.high) & edges.used)


def test_a_mask_of_live_rows_takes_nothing():
    assert RowMask.build([np.ones(1000, dtype=bool)]).bytes == 0


def test_several_masks_need_an_index():
    with pytest.raises(ValueError, match="2 masks need an index"):
        RowMask.build([np.ones(3, dtype=bool)] * 2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_returns_the_same():
    masks = [np.random.default_rng(0).random(2000) < share for share in (0.5, 0.002)]
    live = RowMask.build(masks, [1, 0])
    low, high = ranges(2000, (2, 30, 9), 0)
    there = live.to("cuda").any_live(low.cuda(), high.cuda())
    assert there.cpu().tolist() == live.any_live(low, high).tolist()


def test_a_closed_mask_stays_closed_and_is_not_joined_with_others():
    masks = [np.array([True, False, True]), np.array([True, True, True])]
    closed = [RowMask.build([mask], restrict_scores=True) for mask in masks]
    joined = RowMask.join(closed, [0, 1, 0])
    assert (
        joined.restrict_scores
        and joined.select([0, 2]).restrict_scores
        and joined.to("cpu").restrict_scores
    )
    assert not RowMask.build([masks[0]]).restrict_scores
    with pytest.raises(InputError, match="search them in separate calls"):
        RowMask.join([closed[0], RowMask.build([masks[1]])], [0, 1])
