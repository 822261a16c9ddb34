"""Look-ahead: a prefix is worth what the best document below it promises (PAG, 2024, section 3.2).

A prior of every row is lifted to every prefix as the maximum over its live rows. Knows no beams.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.decoding.masks import LiveRows
from genir.models.base import DocidModel


@dataclass(frozen=True)
class Lift:
    """The weighted maximum of a prior over any range of rows.

    levels: float32 [B, rows / 2 ** n], the maxima of rows, of pairs, of pairs of pairs, and so on:
    twice the prior in memory, and two look-ups a level.
    """

    levels: list[Tensor]

    @classmethod
    def build(cls, prior: Tensor, live: Tensor, weight: float) -> Self:
        """Take the maxima of prior, float32 [B, rows], over live rows, bool [1 or B, rows]."""
        levels = [(weight * prior).masked_fill(~live, -torch.inf)]
        while levels[-1].shape[1] > 1:
            even = F.pad(levels[-1], (0, levels[-1].shape[1] % 2), value=-torch.inf)
            levels.append(even.view(len(even), -1, 2).amax(dim=-1))
        return cls(levels)

    def __call__(self, low: Tensor, high: Tensor) -> Tensor:
        """Return the maxima over rows [low, high), int64 [B, ...]; -inf where none is alive."""
        query = torch.arange(len(low), device=low.device)
        return self.of(query.view(-1, *[1] * (low.dim() - 1)), low, high)

    def of(self, query: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Return the maxima over rows [low, high) of the queries named, int64 [...] each."""
        best = torch.full(low.shape, -torch.inf, device=low.device)
        for level in self.levels:
            inside, last = low < high, level.shape[1] - 1
            # An odd end has no partner in the range: it is taken here, the others one level up.
            for odd, place in ((low % 2 == 1, low), (high % 2 == 1, high - 1)):
                value = level[query, place.clamp(min=0, max=last)]
                best = torch.maximum(best, value.masked_fill(~(inside & odd), -torch.inf))
            low, high = (low + 1) // 2, high // 2
        return best


def look_ahead(model: DocidModel, state: Any, live: LiveRows, weight: float) -> Lift | None:
    """Lift the model's prior for the queries that it has started; None without a weight.

    Raises InputError for a model without a prior.
    """
    if not weight:
        return None
    prior = model.prior(state)
    rows = live.rows(prior.device)
    if live.closed:  # a prior over all rows would tell of the others
        prior = prior - prior.masked_fill(~rows, -torch.inf).logsumexp(dim=-1, keepdim=True)
    return Lift.build(prior, rows, weight)
