"""Look-ahead: a prefix is scored by its best document (PAG, 2024, section 3.2).

The prior of a prefix is the maximum of the document prior over its live rows.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.decoding.row_mask import RowMask
from genir.models.base import DocidModel


@dataclass(frozen=True)
class PrefixMaxPrior:
    """Weighted maximum of a prior over any range of rows.

    levels: float32 [B, rows / 2 ** n] for n = 0, 1, ...: maxima over blocks of 2 ** n rows. It
    needs twice the memory of the prior and two look-ups per level.
    """

    levels: list[Tensor]

    @classmethod
    def build(cls, prior: Tensor, live: Tensor, weight: float) -> Self:
        """Build from a prior, float32 [B, rows], and live rows, bool [1 or B, rows]."""
        levels = [(weight * prior).masked_fill(~live, -torch.inf)]
        while levels[-1].shape[1] > 1:
            even = F.pad(levels[-1], (0, levels[-1].shape[1] % 2), value=-torch.inf)
            levels.append(even.view(len(even), -1, 2).amax(dim=-1))
        return cls(levels)

    def __call__(self, low: Tensor, high: Tensor) -> Tensor:
        """Return the maxima over rows [low, high), int64 [B, ...]; -inf without a live row."""
        query = torch.arange(len(low), device=low.device)
        return self.lookup(query.view(-1, *[1] * (low.dim() - 1)), low, high)

    def lookup(self, query: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Return the maxima over rows [low, high) for the given query indices, int64 [...] each."""
        best = torch.full(low.shape, -torch.inf, device=low.device)
        for level in self.levels:
            inside, last = low < high, level.shape[1] - 1
            # An odd end has no partner in the range: use it here, the rest one level up.
            for odd, place in ((low % 2 == 1, low), (high % 2 == 1, high - 1)):
                value = level[query, place.clamp(min=0, max=last)]
                best = torch.maximum(best, value.masked_fill(~(inside & odd), -torch.inf))
            low, high = (low + 1) // 2, high // 2
        return best


def make_prefix_prior(
    model: DocidModel, state: Any, live: RowMask, weight: float
) -> PrefixMaxPrior | None:
    """Return the prefix prior of encoded queries, or None if `weight` is 0.

    Raises:
        InputError: The model has no prior.
    """
    if not weight:
        return None
    prior = model.prior(state)
    rows = live.rows(prior.device)
    if live.restrict_scores:  # a prior normalised over all rows would depend on the hidden ones
        prior = prior - prior.masked_fill(~rows, -torch.inf).logsumexp(dim=-1, keepdim=True)
    return PrefixMaxPrior.build(prior, rows, weight)
