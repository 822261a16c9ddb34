from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genir.models import length_bucketing
from genir.models.length_bucketing import batches_of_tokens, encode_in_groups, group_by_length


def cost(groups, lengths, call):
    return sum(call + len(rows) * max(lengths[row] for row in rows) for rows in groups)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 60))
def test_no_cut_of_the_sorted_rows_is_cheaper(lengths, call):
    groups = group_by_length(lengths, call)
    assert sorted(row for rows in groups for row in rows) == list(range(len(lengths)))
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    ways = (
        [order[a:b] for a, b in zip((0, *cuts), (*cuts, len(order)), strict=True)]
        for size in range(len(order))
        for cuts in combinations(range(1, len(order)), size)
    )
    assert cost(groups, lengths, call) == min(cost(way, lengths, call) for way in ways)


@pytest.mark.parametrize("lengths", [[3], [5, 5], [2, 40, 3, 39, 1, 40], [7, 1]])
def test_each_row_is_encoded_without_padding_that_changes_it(lengths):
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(1, 100, mask.shape) * mask
    seen = []

    def encode(inputs, kept):
        seen.append(tuple(inputs.shape))
        return torch.stack([(inputs * kept).sum(1), kept.sum(1)], dim=1)

    found = encode_in_groups(encode, ids, mask)
    assert torch.equal(found, encode(ids, mask))
    if 40 in lengths:
        assert seen[:-1] == [(3, 40), (3, 3)]


def test_batches_hold_a_bounded_number_of_tokens(monkeypatch):
    monkeypatch.setattr(length_bucketing, "MAX_BATCH_TOKENS", 12)
    lengths = [2, 2, 3, 5, 6, 40]
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    # 3 rows of 3 are 9 tokens, 4 rows of 5 would be 20; the row of 40 is alone
    assert batches_of_tokens(range(6), lengths, 4, cpu) == [[0, 1, 2], [3, 4], [5]]
    assert batches_of_tokens(range(6), lengths, 4, gpu) == [[0, 1, 2, 3], [4, 5]]
    assert batches_of_tokens([], [], 4, cpu) == []
