"""Rows for new documents, found without training (IncDSI, Kishore et al., ICML 2023, section 3).

A new row stays as near as it can to where the encoder puts the document, such that the document's
own texts rank it first, and that queries which other documents answer still rank those first. Both
are squared hinges, since they may contradict each other, and all rows of a batch are found together
by L-BFGS: they are each other's rivals. Knows no text and no table.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = 30
"""Iterations of L-BFGS, for all rows of a batch together."""


@dataclass(frozen=True)
class Weights:
    """What a broken condition costs, beside the squared distance from the start.

    margin, leave: by how much, in logits, a document's own texts must rank it first, and others'
    queries the document that answers them. own, others: of the squared hinge of own texts (their
    mean) and of others' queries (their sum).
    """

    margin: float = 1.0
    leave: float = 3.0
    own: float = 0.005
    others: float = 0.05


@dataclass(frozen=True)
class Texts:
    """T texts and what they must rank first.

    vectors: float32 [T, trained], of the part of the row that is sought. fixed: float32 [T, M],
    the score of each of M new documents from the part of their rows that is not. rival: float32
    [T], of own texts the best score of an old document, of others' queries that of their answer.
    """

    vectors: Tensor
    fixed: Tensor
    rival: Tensor


def place_rows(
    start: Tensor, own: Texts, owner: Tensor, others: Texts, weights: Weights | None = None
) -> Tensor:
    """Return unit rows, float32 [M, trained], of M new documents.

    start: float32 [M, trained], where the encoder puts them, at unit length. own: texts of theirs;
    owner: int64 [T], whose. others: queries that old documents answer.
    """
    weights = weights or Weights()
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

    solver = torch.optim.LBFGS([rows], max_iter=STEPS, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        solver.zero_grad()
        loss = cost()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        solver.step(step)  # type: ignore[no-untyped-call]
    return F.normalize(rows.detach(), dim=1)
