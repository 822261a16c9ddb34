"""The search for GPUs, its kernels interpreted where there is none: the same is found."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Dice, random_live, random_table, seeds, shares, tables

pytest.importorskip("triton")

from genir.decoding.beam import beam_search
from genir.decoding.beam_state import Beams
from genir.decoding.cuda import beam_search as beam_search_module
from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.trie import Trie

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
normalisations = st.sampled_from(["vocabulary", "trie", "none"])


def padded(found, beams):
    """Fill up with dead beams: their number depends on the slots of the nodes, which differ."""
    missing = beams - found.score.shape[1]
    low, high = (F.pad(rows, (0, missing)) for rows in (found.low, found.high))
    return Beams(low, high, F.pad(found.score, (0, missing), value=-torch.inf))


def assert_same(table, masks, normalise, beams):
    model, trie = Dice(int(table.symbols.max()) + 2, DEVICE), Trie.build(table, DEVICE)
    inputs = torch.tensor([[7], [8], [9]])
    live = RowMask.build(masks, [0, 1, 1]).to(DEVICE)
    decoding = SearchOptions(softmax=normalise, beams=beams)
    asked = (model, trie, (inputs, torch.ones_like(inputs)), live, decoding)
    found = padded(beam_search_module.cuda_beam_search(*asked), beams)
    expected = padded(beam_search(*asked), beams)
    torch.testing.assert_close(found.score.double(), expected.score, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.low, expected.low)
    assert torch.equal(found.high, expected.high)


@pytest.mark.parametrize("window", [16, beam_search_module.WINDOW])
@settings(max_examples=15)  # the interpreted kernels are slow
@given(tables, shares, seeds, normalisations, st.integers(1, 9))
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")  # of -inf, in numpy
def test_the_same_is_found(window, table, share, seed, normalise, beams):
    masks = [random_live(table, share, seed + query) for query in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beam_search_module, "WINDOW", window)
        assert_same(table, masks, normalise, beams)


@pytest.mark.parametrize("normalise", ["vocabulary", "trie"])
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_far_gaps_and_long_lists(normalise):
    table = random_table(documents=2_000, symbols=900, depth=2, several=1, seed=3)
    masks = [np.arange(len(table)) % 700 == 699, np.arange(len(table)) > 1_500]
    assert max(level.children.slots for level in Trie.build(table).levels if level.children) > 600
    assert_same(table, masks, normalise, 20)
