"""Scoring of the candidate edges of beam search, level by level.

`StepReader` runs one decoder step per level for every beam and never synchronises with the device.
On a CPU, `runs.RunReader` needs fewer forward passes for the same scores.
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
    """Beams that a step has kept, with their origin. Shapes [B, K]; int64 if not stated otherwise.

    Attributes:
        low: First row; equal to `high` for a dead beam.
        high: End of the row range, exclusive.
        score: Log-probability, float32, best first.
        parents: Previous beam that each beam extends.
        symbols: Last symbol of each beam.
        done: Scores of the complete identifiers so far, float32 [B, D], best first.
    """

    low: Tensor
    high: Tensor
    score: Tensor
    parents: Tensor
    symbols: Tensor
    done: Tensor


class EdgeReader(Protocol):
    """Scores edges level by level. `may_wait`: whether it synchronises with the device."""

    passes: int
    may_wait: bool

    def read(self, depth: int, taken: Taken | None, edges: Edges, legal: Tensor) -> Tensor:
        """Return log p of each edge, float32 [B, K, C]: -inf if illegal, 0 for PAD edges.

        Args:
            depth: Depth of the nodes that the edges leave.
            taken: Beams at this depth; None at the root.
            edges: Candidate edges, [B, K, C].
            legal: Edges that lead to a live row, bool [B, K, C].
        """

    def follow(self, depth: int, taken: Taken) -> None:
        """Update the state to the new beams at `depth`."""

    def next_choice(self, depth: int, taken: Taken) -> int:
        """Return the first depth >= `depth` at which a beam may branch.

        Equals `depth` if forced levels cannot be skipped.
        """

    def finals(self, depth: int, taken: Taken) -> Tensor | None:
        """Return the final scores of the beams, float32 [B, K], once the top `wanted` is decided.

        None if it is not decided yet, or if this scorer does not check.
        """


class StepReader:
    """Runs one decoder step per level for every beam."""

    may_wait = False

    def __init__(self, model: DocidModel, state: object, normalise: Normalise) -> None:
        self.model = model
        self.state = state
        self.normalise: Normalise = normalise
        self.passes = 0

    def read(self, depth: int, taken: Taken | None, edges: Edges, legal: Tensor) -> Tensor:
        """Run the decoder on the last symbol of every beam, then score the edges."""
        moves = (None, None) if taken is None else (taken.parents, taken.symbols)
        self.state, hidden = self.model.step(self.state, *moves)
        self.passes += 1
        return score_edges(self.model, hidden, depth, edges, legal, self.normalise)

    def follow(self, depth: int, taken: Taken) -> None:
        """Do nothing; `read` updates the decoder state."""

    def next_choice(self, depth: int, taken: Taken) -> int:
        """Return `depth`; finding the next branch would synchronise with the device."""
        return depth

    def finals(self, depth: int, taken: Taken) -> None:
        """Return None; the check would synchronise with the device."""


def score_edges(
    model: DocidModel,
    hidden: Tensor,
    depth: int,
    edges: Edges,
    legal: Tensor,
    normalise: Normalise,
) -> Tensor:
    """Return log p of each edge, float32 [B, K, C]: -inf if illegal, 0 for PAD edges."""
    finished = edges.symbols == PAD
    candidates = edges.symbols.clamp(min=0)
    if normalise == "vocabulary":
        logits, total = model.scores(hidden, depth, candidates)
    else:
        logits = model.logits(hidden, depth, candidates)
        total = logits.masked_fill(~legal, -torch.inf).logsumexp(dim=-1)
    return (logits - total.unsqueeze(-1)).masked_fill(finished, 0.0).masked_fill(~legal, -torch.inf)
