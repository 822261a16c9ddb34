"""Prefixes under way, as row ranges of the trie. Knows no model."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from genir.decoding.trie import Trie


@dataclass(frozen=True)
class Beams:
    """Prefixes under way, or finished identifiers: row ranges [low, high) with scores.

    low, high: int64 [B, K]; score: float32 [B, K], -inf for a dead beam. Best first.
    """

    low: Tensor
    high: Tensor
    score: Tensor

    @classmethod
    def none(cls, batch: int, device: torch.device) -> Self:
        """Return no beams, of so many queries."""
        empty = torch.zeros(batch, 0, dtype=torch.long, device=device)
        return cls(empty, empty, empty.float())

    def ending(self, score: Tensor) -> Self:
        """Return these with the scores, float32 [B, K], that they end with: dead where -inf."""
        dead = score == -torch.inf
        return type(self)(self.low.masked_fill(dead, 0), self.high.masked_fill(dead, 0), score)

    def best(self, others: Self, beams: int, stable: bool = False) -> Self:
        """Return the best of these and others, at most so many a query; stable: see `top`."""
        low, high, score = (
            torch.cat([getattr(own, name) for own in (self, others)], dim=1)
            for name in ("low", "high", "score")
        )
        score, chosen = top(score, min(beams, score.shape[1]), stable)
        return type(self)(low.gather(1, chosen), high.gather(1, chosen), score)


def top(values: Tensor, count: int, stable: bool = False) -> tuple[Tensor, Tensor]:
    """Return the highest values of each query and their places, [B, count]; values: [B, N].

    stable: of equal values, those that come first. Else `topk` takes any, depending on N.
    """
    best = values.topk(count, dim=1)
    if not stable or not count or values.isnan().any():
        return best.values, best.indices
    last = best.values[:, -1:]
    above, equal = values > last, values == last
    room = count - above.sum(dim=1, keepdim=True)
    taken = above | (equal & (equal.cumsum(dim=1) <= room))
    chosen = taken.nonzero()[:, 1].view(len(values), count)
    score, order = values.gather(1, chosen).sort(dim=1, descending=True, stable=True)
    return score, chosen.gather(1, order)


def root(trie: Trie, batch: int) -> Beams:
    """Return the beams before the first symbol: one a query, of all rows."""
    device = trie.symbols.device
    low = torch.zeros(batch, 1, dtype=torch.long, device=device)
    return Beams(low, low + trie.rows, torch.zeros(batch, 1, device=device))
