"""Beams as row ranges of the trie. It does not use the model."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from genir.decoding.trie import Trie

BLOCK_SIZE = 64
"""Values per block of a two-stage top-k."""
MIN_BLOCKS_PER_VALUE = 4
"""Blocks per wanted value from which a two-stage top-k is faster."""


@dataclass(frozen=True)
class Beams:
    """Partial or complete identifiers: row ranges [low, high) with scores, best first.

    Attributes:
        low: First row, int64 [B, K].
        high: End of the row range, exclusive, int64 [B, K].
        score: Score, float32 [B, K]; -inf for a dead beam.
    """

    low: Tensor
    high: Tensor
    score: Tensor

    @classmethod
    def empty(cls, batch: int, device: torch.device) -> Self:
        """Return zero beams for each of `batch` queries."""
        empty = torch.zeros(batch, 0, dtype=torch.long, device=device)
        return cls(empty, empty, empty.float())

    def with_final_scores(self, score: Tensor) -> Self:
        """Return the same ranges with scores float32 [B, K]; -inf marks a dead beam."""
        dead = score == -torch.inf
        return type(self)(self.low.masked_fill(dead, 0), self.high.masked_fill(dead, 0), score)

    def merge_top(self, others: Self, beams: int, stable: bool = False) -> Self:
        """Return the top `beams` of both sets for each query; stable: see `top_scores`."""
        low, high, score = (
            torch.cat([getattr(own, name) for own in (self, others)], dim=1)
            for name in ("low", "high", "score")
        )
        score, chosen = top_scores(score, min(beams, score.shape[1]), stable)
        return type(self)(low.gather(1, chosen), high.gather(1, chosen), score)


def top_scores(values: Tensor, count: int, stable: bool = False) -> tuple[Tensor, Tensor]:
    """Return the top `count` values of each row of [B, N], and their indices, [B, count] each.

    stable: ties are broken by index. Otherwise `topk` breaks them arbitrarily, depending on N.
    """
    best, places = _top_of_blocks(values, count)
    if not stable or not count or values.isnan().any():
        return best, places
    last = best[:, -1:]
    above, equal = values > last, values == last
    room = count - above.sum(dim=1, keepdim=True)
    taken = above | (equal & (equal.cumsum(dim=1) <= room))
    chosen = taken.nonzero()[:, 1].view(len(values), count)
    score, order = values.gather(1, chosen).sort(dim=1, descending=True, stable=True)
    return score, chosen.gather(1, order)


def _top_of_blocks(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the top `count` values of each row of [B, N], and their indices.

    They are in the `count` blocks with the highest maxima, so `topk` reads these blocks only.
    """
    blocks = values.shape[1] // BLOCK_SIZE
    if blocks < MIN_BLOCKS_PER_VALUE * count or not count:
        best = values.topk(count, dim=1)
        return best.values, best.indices
    inside = blocks * BLOCK_SIZE
    maxima = values[:, :inside].view(len(values), blocks, BLOCK_SIZE).amax(dim=-1)
    first = BLOCK_SIZE * maxima.topk(count, dim=1, sorted=False).indices
    places = first.unsqueeze(-1) + torch.arange(BLOCK_SIZE, device=values.device)
    places = places.flatten(1)
    if inside < values.shape[1]:
        rest = torch.arange(inside, values.shape[1], device=values.device)
        places = torch.cat([places, rest.expand(len(values), -1)], dim=1)
    best = values.gather(1, places).topk(count, dim=1)
    return best.values, places.gather(1, best.indices)


def initial_beams(trie: Trie, batch: int) -> Beams:
    """Return the initial beams: one for each query, covering all rows."""
    device = trie.symbols.device
    low = torch.zeros(batch, 1, dtype=torch.long, device=device)
    return Beams(low, low + trie.rows, torch.zeros(batch, 1, device=device))
