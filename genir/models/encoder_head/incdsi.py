"""Rows of new documents by constrained optimization (IncDSI, Kishore et al., ICML 2023, section 3).

A new row stays close to the document's encoder vector, subject to two kinds of constraints: the
document's own texts rank it first, and protected queries still rank their documents first. Both are
squared hinge losses, since they may conflict. All rows of a batch are optimized jointly by L-BFGS,
since they compete with each other.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_LBFGS_ITERATIONS = 30
"""Maximum number of L-BFGS iterations for a batch."""


@dataclass(frozen=True)
class IncDSIWeights:
    """Margins of the constraints, and loss weights relative to the squared distance.

    Attributes:
        margin: Score margin, in logits, by which a document's own texts must rank it first.
        leave: Score margin, in logits, by which protected queries must rank their documents first.
        own: Weight of the mean squared hinge of own texts.
        others: Weight of the summed squared hinge of protected queries.
    """

    margin: float = 1.0
    leave: float = 3.0
    own: float = 0.005
    others: float = 0.05


@dataclass(frozen=True)
class RankingConstraints:
    """Ranking constraints of T texts.

    Attributes:
        vectors: Query vectors, trained columns, float32 [T, trained].
        fixed: Scores of the M new documents from the other columns, float32 [T, M].
        rival: Score to compare with, float32 [T]: the best existing document (own texts), or the
            query's document (protected queries).
    """

    vectors: Tensor
    fixed: Tensor
    rival: Tensor


def optimize_rows(
    start: Tensor,
    own: RankingConstraints,
    owner: Tensor,
    others: RankingConstraints,
    weights: IncDSIWeights | None = None,
) -> Tensor:
    """Return unit rows of M new documents, float32 [M, trained].

    Args:
        start: Initial rows at unit length, float32 [M, trained].
        own: Texts of the new documents.
        owner: New document of each own text, int64 [T].
        others: Protected queries.
        weights: Margins and loss weights; None for the defaults.
    """
    weights = weights or IncDSIWeights()
    mine = F.one_hot(owner, len(start)).bool()
    share = 1 / owner.bincount(minlength=len(start)).clamp(min=1)[owner]
    rows = start.clone().requires_grad_()

    def cost() -> Tensor:
        unit = F.normalize(rows, dim=1)
        asked = own.vectors @ unit.T + own.fixed
        best_new = asked.masked_fill(mine, -torch.inf).amax(dim=1)
        right = asked.gather(1, owner[:, None])[:, 0]
        lost = F.relu(torch.maximum(own.rival, best_new) + weights.margin - right)
        taken = F.relu(
            others.vectors @ unit.T + others.fixed + weights.leave - others.rival[:, None]
        )
        away = (unit - start).square().sum()
        own_cost = weights.own * (share * lost.square()).sum()
        return away + own_cost + weights.others * taken.square().sum()

    solver = torch.optim.LBFGS([rows], max_iter=MAX_LBFGS_ITERATIONS, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        solver.zero_grad()
        loss = cost()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        solver.step(step)  # type: ignore[no-untyped-call]
    return F.normalize(rows.detach(), dim=1)
