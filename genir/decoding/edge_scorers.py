"""Scoring of the candidate edges of beam search, level by level.

`StepScorer` runs one decoder step per level for every beam and never synchronises with the device.
On a CPU, `forced_runs.ForcedRunScorer` needs fewer forward passes for the same scores.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from genir.decoding.edges import Candidates, Edges
from genir.models.base import ConstrainedDecoder

Softmax = Literal["vocabulary", "trie", "none"]
"""Normalisation of the scores of symbols; none: a score is a logit (RIPOR)."""
ILLEGAL = torch.tensor(-torch.inf)
"""Log-probability of an illegal edge; a tensor, since a number would be converted in each call."""


@dataclass(frozen=True)
class BeamUpdate:
    """Beams that a step has kept, with their origin. Shapes [B, K]; int64 if not stated otherwise.

    Attributes:
        low: First row; equal to `high` for a dead beam.
        high: End of the row range, exclusive.
        score: Log-probability, float32, best first.
        parents: Previous beam that each beam extends.
        symbols: Last symbol of each beam.
        finished_scores: Scores of the complete identifiers so far, float32 [B, D], best first.
    """

    low: Tensor
    high: Tensor
    score: Tensor
    parents: Tensor
    symbols: Tensor
    finished_scores: Tensor


class EdgeScorer(Protocol):
    """Scores edges level by level. `allow_sync`: whether it synchronises with the device."""

    forward_passes: int
    allow_sync: bool

    def score(self, depth: int, update: BeamUpdate | None, edges: Edges, legal: Tensor) -> Tensor:
        """Return log p of each edge, float32 [B, K, C]: -inf if illegal, 0 for PAD edges.

        Args:
            depth: Depth of the nodes that the edges leave.
            update: Beams at this depth; None at the root.
            edges: Candidate edges, [B, K, C].
            legal: Edges that lead to a live row, bool [B, K, C].
        """

    def advance(self, depth: int, update: BeamUpdate) -> None:
        """Update the state to the new beams at `depth`."""

    def next_branch_depth(self, depth: int, update: BeamUpdate) -> int:
        """Return the first depth >= `depth` at which a beam may branch.

        Equals `depth` if forced levels cannot be skipped.
        """

    def final_scores(self, depth: int, update: BeamUpdate) -> Tensor | None:
        """Return the final scores of the beams, float32 [B, K], once the top `top_k` is decided.

        None if it is not decided yet, or if this scorer does not check.
        """


class StepScorer:
    """Runs one decoder step per level for every beam."""

    def __init__(
        self, model: ConstrainedDecoder, state: object, softmax: Softmax, allow_sync: bool = False
    ) -> None:
        self.allow_sync = allow_sync
        self.model = model
        self.state = state
        self.softmax: Softmax = softmax
        self.forward_passes = 0

    def score(self, depth: int, update: BeamUpdate | None, edges: Edges, legal: Tensor) -> Tensor:
        """Run the decoder on the last symbol of every beam, then score the edges."""
        moves = (None, None) if update is None else (update.parents, update.symbols)
        self.state, hidden = self.model.step(self.state, *moves)
        self.forward_passes += 1
        return score_edges(self.model, hidden, depth, edges.candidates, legal, self.softmax)

    def advance(self, depth: int, update: BeamUpdate) -> None:
        """Do nothing; `score` updates the decoder state."""

    def next_branch_depth(self, depth: int, update: BeamUpdate) -> int:
        """Return `depth`; finding the next branch would synchronise with the device."""
        return depth

    def final_scores(self, depth: int, update: BeamUpdate) -> None:
        """Return None; the check would synchronise with the device."""


def score_edges(
    model: ConstrainedDecoder,
    hidden: Tensor,
    depth: int,
    candidates: Candidates,
    legal: Tensor,
    softmax: Softmax,
) -> Tensor:
    """Return log p of each edge, float32 [B, K, C]: -inf if illegal, 0 for complete identifiers.

    With softmax "none": the logit of each edge.
    """
    symbols, finished = candidates
    if softmax == "vocabulary":
        if symbols is None:
            # As `scores` computes it: other queries of the batch decide whether symbols are given.
            logits = model.level_logits(hidden, depth)
            total = logits.logsumexp(dim=-1, keepdim=True)
            return _mask_many(logits[..., : legal.shape[-1]] - total, legal)
        logits, total = model.scores(hidden, depth, symbols)
        log_p = logits - total.unsqueeze(-1)
    else:
        if symbols is None:
            log_p = model.level_logits(hidden, depth)[..., : legal.shape[-1]]
        else:
            log_p = model.logits(hidden, depth, symbols)
        if softmax == "trie":
            total = torch.where(legal, log_p, -torch.inf).logsumexp(dim=-1, keepdim=True)
            log_p = log_p - total
    if finished is not None:
        log_p = log_p.masked_fill(finished, 0.0)
    return torch.where(legal, log_p, ILLEGAL)


def _mask_many(log_p: Tensor, legal: Tensor) -> Tensor:
    """Return log p with -inf where illegal. A NaN stays: the search reports it.

    A minimum with +-inf: up to eight times as fast as `torch.where` for mixed masks, which is not
    vectorised on a CPU. A mask that all queries share is converted once.
    """
    own = legal[:1] if legal.stride(0) == 0 else legal
    bound = own.view(torch.uint8).float().sub_(0.5).mul_(torch.inf)
    return torch.minimum(log_p, bound)
