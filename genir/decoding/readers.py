"""What the model says of the edges that a beam search may take. Knows no beams to come.

`StepReader` reads one symbol a level, for every beam, and never waits for the device. On a CPU,
`runs` reads less, and gives the same scores.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from genir.decoding.trie import Edges
from genir.identifiers.table import PAD
from genir.models.base import DocidModel

Normalise = Literal["vocabulary", "legal"]


@dataclass(frozen=True)
class Taken:
    """How the beams came to be: int64 [B, K] each.

    low, high: their row ranges, empty where dead. score: float32, their log p, best first. parents:
    the beams before that they continue. symbols: what they took. done: float32 [B, D], the scores
    of the identifiers that have ended, best first.
    """

    low: Tensor
    high: Tensor
    score: Tensor
    parents: Tensor
    symbols: Tensor
    done: Tensor


class EdgeReader(Protocol):
    """Scores the edges of one level after the other. may_wait: whether it looks at the device."""

    passes: int
    may_wait: bool

    def read(self, depth: int, taken: Taken | None, edges: Edges, legal: Tensor) -> Tensor:
        """Return log p of each edge, float32 [B, K, C]: -inf where illegal, 0 where finished.

        taken: how the beams that the edges lead out of came to be; None at the root.
        """

    def follow(self, depth: int, taken: Taken) -> None:
        """Go on with the beams at a depth, which have just come to be."""

    def next_choice(self, depth: int, taken: Taken) -> int:
        """Return the first depth, from this one on, at which a beam may have to choose, if to pass
        over those before changes nothing.
        """

    def finals(self, depth: int, taken: Taken) -> Tensor | None:
        """Return the scores that the beams at a depth will end with, float32 [B, K], once nothing
        of use is left to choose below any of them; None before, or where that is not looked at.
        """


class StepReader:
    """One symbol a level and beam."""

    may_wait = False

    def __init__(self, model: DocidModel, state: object, normalise: Normalise) -> None:
        self.model = model
        self.state = state
        self.normalise: Normalise = normalise
        self.passes = 0

    def read(self, depth: int, taken: Taken | None, edges: Edges, legal: Tensor) -> Tensor:
        """Advance every beam by the symbol it took."""
        moves = (None, None) if taken is None else (taken.parents, taken.symbols)
        self.state, hidden = self.model.step(self.state, *moves)
        self.passes += 1
        return score_edges(self.model, hidden, depth, edges, legal, self.normalise)

    def follow(self, depth: int, taken: Taken) -> None:
        """Do nothing: the model follows when it reads."""

    def next_choice(self, depth: int, taken: Taken) -> int:
        """Pass over nothing: to look for it would wait for the device."""
        return depth

    def finals(self, depth: int, taken: Taken) -> None:
        """Never look: it would wait for the device."""


def score_edges(
    model: DocidModel,
    hidden: Tensor,
    depth: int,
    edges: Edges,
    legal: Tensor,
    normalise: Normalise,
) -> Tensor:
    """Return log p of each edge, float32 [B, K, C]: -inf where illegal, 0 where finished."""
    finished = edges.symbols == PAD
    candidates = edges.symbols.clamp(min=0)
    if normalise == "vocabulary":
        logits, total = model.scores(hidden, depth, candidates)
    else:
        logits = model.logits(hidden, depth, candidates)
        total = logits.masked_fill(~legal, -torch.inf).logsumexp(dim=-1)
    return (logits - total.unsqueeze(-1)).masked_fill(finished, 0.0).masked_fill(~legal, -torch.inf)
