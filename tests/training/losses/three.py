"""Three documents of two codes each, and a model that consists of two levels of logits."""

from math import log

import torch
from torch import nn

from genir.models.base import Batch

LOG3 = log(3)
A, B, C = 0, 1, 2
"""The rows of the documents a = (0, 0), b = (0, 1) and c = (1, 0)."""


class Fixed(nn.Module):
    """log p of a, b, c = log of 3/16, 9/16, 1/16; over legal symbols 3/16, 9/16, 4/16.

    Every prefix and every source gets the same logits, as hidden states [B, K, 2].
    """

    supports_multi_token = False
    shares_vocabulary = False

    def __init__(self, first=(LOG3, 0.0), second=(0.0, LOG3)):
        super().__init__()
        self.levels = nn.ParameterList(nn.Parameter(torch.tensor(v)) for v in (first, second))

    def teacher_forced_states(self, inputs, symbols):
        *shape, depths = symbols.shape
        self.asked = depths
        return [level.expand(*shape, 2) for level in self.levels[:depths]]

    def logits(self, hidden, depth, candidates):
        return hidden.gather(-1, candidates)

    def level_logits(self, hidden, depth):
        return hidden

    def scores(self, hidden, depth, candidates):
        return self.logits(hidden, depth, candidates), self.log_normaliser(hidden, depth)

    def log_normaliser(self, hidden, depth):
        return hidden.logsumexp(dim=-1)

    def encode(self, input_ids, attention_mask):
        return (len(input_ids), 0)

    def step(self, state, parents, symbols):
        batch, depth = state
        beams = 1 if parents is None else parents.shape[1]
        return (batch, depth + 1), self.levels[depth].expand(batch, beams, 2)

    def forward(self, batch, objective):
        return objective(self, batch)


def batch(row, *answers, source="q", weight=1.0):
    """A batch of one source whose target is a row; answers: other relevant documents."""
    ids = torch.zeros(1, 1, dtype=torch.long)
    target = torch.tensor([[(0, 0), (0, 1), (1, 0)][row]])
    known = torch.tensor([[row, *answers]])
    return Batch(
        ids, torch.ones_like(ids), target, torch.tensor([row]), torch.tensor([weight]), known,
        (source,),
    )  # fmt: skip


def join(*batches):
    """Concatenate several batches."""
    tensors = [torch.cat(parts) for parts in zip(*map(fields, batches), strict=True)]
    return Batch(*tensors, tuple(b.sources[0] for b in batches))


def fields(one):
    return one.input_ids, one.attention_mask, one.targets, one.rows, one.weights, one.answers
