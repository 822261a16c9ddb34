"""Length buckets for self-attention over runs of different length.

Attention needs a rectangle [rows, positions]. For runs of 1 to 15 symbols one rectangle would be
mostly padding, so rows are grouped by the power of two of their run length, unless it is small.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

MIN_BUCKET_ENTRIES = 1024
"""Padded positions up to which one attention call is faster than several."""


@dataclass(frozen=True)
class LengthBucket:
    """N rows with T query positions and L key positions.

    Attributes:
        queries: (N, T).
        cached: (N, L).
        slots: Pool slot of each key position, int64 [N * L].
        mask: Added to scores, [N or 1, heads or 1, T, L], or None.
        places: Index of each query position among all, int64 [N * T], arbitrary after a run's end;
            None if the bucket holds all positions in order.
        padding_mask: Query positions that are within their runs, int64; None likewise.
    """

    queries: tuple[int, int]
    cached: tuple[int, int]
    slots: Tensor
    mask: Tensor | None
    places: Tensor | None = None
    padding_mask: Tensor | None = None

    @classmethod
    def whole(cls, slots: Tensor, run: int, mask: Tensor | None) -> Self:
        """Return one bucket of all rows, with runs of equal length; slots: int64 [N, L]."""
        return cls((len(slots), run), (len(slots), slots.shape[1]), slots.reshape(-1), mask)

    @classmethod
    def split(
        cls, slots: Tensor, before: Tensor, runs: Tensor, mask: Tensor | None
    ) -> Iterator[Self]:
        """Yield buckets of rows with `before` [N] earlier positions and `runs` [N] new ones.

        slots: int64 [N, L]. mask: for all rows at once. Synchronises with the device.
        """
        starts = runs.cumsum(0) - runs
        sizes = (runs - 1).clamp(min=0).float().log2().floor().long().masked_fill(runs < 2, -1)
        if len(runs) * int(runs.max()) <= MIN_BUCKET_ENTRIES:
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

    def gather(self, places: Tensor) -> Tensor:
        """Select the query positions from all positions [P, ...]: [N * T, ...]."""
        return places if self.places is None else places.index_select(0, self.places)

    def scatter(self, places: Tensor, found: Tensor) -> None:
        """Write results [N * T, I] to their positions among all [P, I]."""
        if self.places is None or self.padding_mask is None:
            places.copy_(found)
        else:
            target = self.places.index_select(0, self.padding_mask)
            places.index_copy_(0, target, found.index_select(0, self.padding_mask))
