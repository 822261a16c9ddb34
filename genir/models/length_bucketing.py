"""Length bucketing: rows are encoded in groups that minimise padding and number of calls."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

MAX_BATCH_TOKENS = 2_048
"""Maximum number of tokens of a batch on a CPU, including padding: with MiniLM, the states inside
a feed-forward block then take 13 MB."""
PASS_COST_TOKENS = 64
"""Fixed cost of a forward pass, in tokens (measured with MiniLM on one core)."""


def group_by_length(lengths: Sequence[int], call: int = PASS_COST_TOKENS) -> list[list[int]]:
    """Return groups of rows with the fewest padded tokens, counting `call` tokens per group."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    # best[n]: the cost of the n shortest rows, and where their last group begins.
    best = [(0, 0)]
    for end in range(1, len(order) + 1):
        longest = lengths[order[end - 1]]
        best.append(min((best[i][0] + call + (end - i) * longest, i) for i in range(end)))
    groups, end = list[list[int]](), len(order)
    while end:
        start = best[end][1]
        groups.append(order[start:end])
        end = start
    return groups


def encode_in_groups(
    encode: Callable[[Tensor, Tensor], Tensor], input_ids: Tensor, attention_mask: Tensor
) -> Tensor:
    """Return `encode` of all rows, [B, ...], in groups of similar length.

    On a CPU only: on a GPU a call costs more than its padding.
    """
    if input_ids.device.type != "cpu" or len(input_ids) < 2:
        return encode(input_ids, attention_mask)
    lengths = attention_mask.sum(dim=1).tolist()
    groups = group_by_length(lengths)
    if len(groups) == 1:
        return encode(input_ids, attention_mask)
    parts = []
    for rows in groups:
        longest = max(lengths[row] for row in rows)
        parts.append(encode(input_ids[rows, :longest], attention_mask[rows, :longest]))
    back = torch.tensor([row for rows in groups for row in rows]).argsort()
    return torch.cat(parts)[back]


def batches_of_tokens(
    order: Sequence[int], lengths: Sequence[int], texts: int, device: torch.device
) -> list[list[int]]:
    """Return rows, sorted by length, in batches of at most `texts` rows.

    On a CPU a batch has at most `MAX_BATCH_TOKENS`: larger ones need more memory and save no time.
    """
    batches: list[list[int]] = []
    for row in order:
        whole = len(batches[-1]) + 1 if batches else 0
        full = device.type == "cpu" and whole * lengths[row] > MAX_BATCH_TOKENS
        if not batches or whole > texts or full:
            batches.append([])
        batches[-1].append(row)
    return batches
