"""Rows that attend to their own places together: their runs are about equally long.

Attention wants a rectangle, [rows, places]. Where runs are of 1 to 15 symbols, one rectangle for
all is mostly padding; unless it is small, rows are brought together by the power of two that their
run reaches.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

FEW = 1024
"""Places, with padding, that are sooner attended to in one call than in several."""


@dataclass(frozen=True)
class Bundle:
    """N rows, T places that ask, L that are known.

    asked: (N, T); known: (N, L). slots: int64 [N * L], where the known ones lie. mask: added to
    scores, [N or 1, heads or 1, T, L], or None. places: int64 [N * T], which of all places each one
    that asks is (any, beyond a run's end), and inside: int64, which of them are within their runs;
    None where the bundle is all there is, in order.
    """

    asked: tuple[int, int]
    known: tuple[int, int]
    slots: Tensor
    mask: Tensor | None
    places: Tensor | None = None
    inside: Tensor | None = None

    @classmethod
    def whole(cls, slots: Tensor, run: int, mask: Tensor | None) -> Self:
        """Bundle all rows, whose runs are of one length; slots: int64 [N, L]."""
        return cls((len(slots), run), (len(slots), slots.shape[1]), slots.reshape(-1), mask)

    @classmethod
    def split(
        cls, slots: Tensor, before: Tensor, runs: Tensor, mask: Tensor | None
    ) -> Iterator[Self]:
        """Yield bundles of rows with places [N] read before and runs [N]; slots: int64 [N, L].

        mask: as it would be for all rows at once. Waits for the device.
        """
        starts = runs.cumsum(0) - runs
        sizes = (runs - 1).clamp(min=0).float().log2().floor().long().masked_fill(runs < 2, -1)
        if len(runs) * int(runs.max()) <= FEW:
            sizes.zero_()
        for size in sorted(set(sizes.tolist())):
            rows = (sizes == size).nonzero()[:, 0]
            run, length = int(runs[rows].max()), int((before[rows] + runs[rows]).max())
            within = torch.arange(run, device=slots.device)
            own = None
            if mask is not None:
                own = (mask if len(mask) == 1 else mask[rows])[..., :run, :length]
            yield cls(
                (len(rows), run),
                (len(rows), length),
                slots[rows, :length].reshape(-1),
                own,
                (starts[rows, None] + within).clamp(max=int(runs.sum()) - 1).flatten(),
                (within < runs[rows, None]).flatten().nonzero()[:, 0],
            )

    def take(self, places: Tensor) -> Tensor:
        """Return those of all places [P, ...] that ask: [N * T, ...]."""
        return places if self.places is None else places.index_select(0, self.places)

    def put(self, places: Tensor, found: Tensor) -> None:
        """Write what was found, [N * T, I], to where it belongs among all places [P, I]."""
        if self.places is None or self.inside is None:
            places.copy_(found)
        else:
            target = self.places.index_select(0, self.inside)
            places.index_copy_(0, target, found.index_select(0, self.inside))
