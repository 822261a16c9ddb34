"""Highest scores; ties in order of position if `stable`."""

import numpy as np
import pytest
import torch

from genir.decoding.beam_state import Beams, top_scores


@pytest.mark.parametrize("seed", range(20))
def test_the_first_of_equal_values_are_kept(seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 4, (5, 40), generator=generator).float()
    values[values == 0] = -torch.inf
    for count in (0, 1, 7, 40):
        score, chosen = top_scores(values, count, stable=True)
        order = np.argsort(-values.numpy(), axis=1, kind="stable")[:, :count]
        assert np.array_equal(chosen.numpy(), order)
        assert torch.equal(score, values.gather(1, chosen))
        assert torch.equal(score, values.topk(count, dim=1).values)


@pytest.mark.parametrize("width", [255, 256, 257, 1791, 1792, 1797, 3000])
@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("stable", [True, False])
def test_wide_rows_are_read_by_blocks(width, count, stable):
    generator = torch.Generator().manual_seed(width)
    values = torch.randint(0, 50, (4, width), generator=generator).float()
    values[values < 25] = -torch.inf
    values[2] = -torch.inf
    values[3, -1] = 99  # after the last whole block
    score, chosen = top_scores(values, count, stable)
    assert torch.equal(score, values.topk(count, dim=1).values)
    assert torch.equal(values.gather(1, chosen), score)
    assert all(len(set(row)) == count for row in chosen.tolist())
    if stable:
        order = np.argsort(-values.numpy(), axis=1, kind="stable")[:, :count]
        assert np.array_equal(chosen.numpy(), order)


def test_without_numbers_nothing_is_decided_by_place():
    values = torch.tensor([[1.0, torch.nan, 1.0, 0.0]])
    score, chosen = top_scores(values, 2, stable=True)
    assert score.shape == chosen.shape == (1, 2)


def test_ties_go_to_the_first():
    low = torch.arange(6)[None]
    first = Beams(low[:, :3], low[:, :3] + 1, torch.tensor([[2.0, 1.0, 1.0]]))
    others = Beams(low[:, 3:], low[:, 3:] + 1, torch.tensor([[2.0, 2.0, 1.0]]))
    assert first.merge_top(others, 5, stable=True).low.tolist() == [[0, 3, 4, 1, 2]]
