"""Masks of the rows that each query may reach, given deletions and filters.

A row range [low, high) holds a live row if and only if the first live row at or after `low` is
below `high`. So a mask stores the distance from each row to the next live row in one byte. Longer
distances are stored for every 256th row. Nothing is stored if every row is live.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genir.decoding.edges import Edges
from genir.errors import InputError
from genir.plurals import counted

BLOCK_SHIFT = 8
BLOCK_ROWS = 1 << BLOCK_SHIFT
"""Rows per entry of the far distances."""
MAX_NEAR_DISTANCE = BLOCK_ROWS - 1
"""Largest distance stored in `near`, meaning "this or more"; a block begins within it."""

Mask = NDArray[np.bool_]


class RowMask:
    """Live rows of B queries: M distinct masks, and the mask index of each query.

    Attributes:
        masks: M arrays bool [rows], on the host.
        index: Mask of each query, int64 [B]; None if all queries use the only mask.
        next_live: (near, far), or None if every row is live. near: distance to the next live row,
            at most FAR, uint8 [M, rows + 1]. far: first live row from each block on, int32
            [M, blocks].
        restrict_scores: Whether scores are normalised over live rows only (`Selection.excluded`).
    """

    def __init__(
        self,
        masks: Sequence[Mask],
        index: Tensor | None,
        next_live: tuple[Tensor, Tensor] | None,
        restrict_scores: bool = False,
    ) -> None:
        self.masks = masks
        self.index = index
        self.next_live = next_live
        self.restrict_scores = restrict_scores

    @classmethod
    def build(
        cls,
        masks: Sequence[Mask],
        index: Sequence[int] | None = None,
        restrict_scores: bool = False,
    ) -> Self:
        """Compute the distances of the masks.

        Raises:
            ValueError: There are several masks and no index.
        """
        if index is None and len(masks) != 1:
            raise ValueError(f"RowMask.build: {len(masks)} masks need an index; pass `index`")
        places = None if index is None else torch.tensor(index, dtype=torch.long)
        if all(mask.all() for mask in masks):
            return cls(masks, places, None, restrict_scores)
        return cls(masks, places, _next_live(masks), restrict_scores)

    @classmethod
    def join(cls, parts: Sequence["RowMask"], index: Sequence[int]) -> Self:
        """Combine parts of one mask each. index: part that each query uses.

        Raises:
            ValueError: A part has several masks.
            InputError: Parts differ in `restrict_scores`; queries of one call share the normaliser.
        """
        masks = [mask for part in parts for mask in part.masks]
        if len(masks) != len(parts):
            raise ValueError(
                f"RowMask.join: {counted(len(masks), 'mask')} in "
                f"{counted(len(parts), 'part')}; pass one mask per part"
            )
        closed = {part.restrict_scores for part in parts}
        if len(closed) > 1:
            raise InputError(
                "where: closed and open selections in one call; search them in separate calls"
            )
        places, alone = torch.tensor(index, dtype=torch.long), closed == {True}
        if all(part.next_live is None for part in parts):
            return cls(masks, places, None, alone)
        gaps = [part.next_live or _next_live(part.masks) for part in parts]
        near, far = (torch.cat(own) for own in zip(*gaps, strict=True))
        return cls(masks, places, (near, far), alone)

    def to(self, device: torch.device | str) -> "RowMask":
        """Return a copy on a device; `masks` stays on the host."""
        index = None if self.index is None else self.index.to(device)
        gaps = self.next_live
        if gaps is not None:
            gaps = gaps[0].to(device), gaps[1].to(device)
        return RowMask(self.masks, index, gaps, self.restrict_scores)

    def select(self, queries: Sequence[int]) -> "RowMask":
        """Return the masks of a subset of the queries, in the given order."""
        if self.index is None:
            return self
        return RowMask(self.masks, self.index[list(queries)], self.next_live, self.restrict_scores)

    def mask_index(self, queries: int) -> list[int]:
        """Return the mask index of each query. Synchronises with the device."""
        return [0] * queries if self.index is None else self.index.tolist()

    @property
    def bytes(self) -> int:
        """Size of the tensors on the device in bytes."""
        return sum(t.numel() * t.element_size() for t in self.next_live or ())

    def any_live(self, low: Tensor, high: Tensor, query: Tensor | None = None) -> Tensor:
        """Return whether row ranges [low, high) hold a live row, bool [...].

        Args:
            low: First rows, int64 [B, ...], or [...] with `query`.
            high: Ends of the ranges, exclusive, same shape.
            query: Query index of the leading dimensions; None if the first dimension is B.
        """
        if self.next_live is None:
            return low < high
        return self._any_live(low, high - low, query)

    def legal(self, edges: Edges, max_rows: int) -> Tensor:
        """Return whether edges lead to a live row, bool [B, K, C]; max_rows: of any child."""
        if self.next_live is None:
            return edges.used
        low = edges.bounds[..., :-1].int() + edges.first.int().unsqueeze(-1)
        far_too = max_rows > MAX_NEAR_DISTANCE
        sizes = edges.sizes if far_too else edges.sizes.to(torch.uint8)  # one type is faster
        return self._any_live(low, sizes, None, far_too)

    def _any_live(
        self, low: Tensor, sizes: Tensor, query: Tensor | None, far_too: bool = True
    ) -> Tensor:
        """Return whether `sizes` rows from `low` on hold a live row, int [B, ...] each.

        far_too: whether a range may have more than `MAX_NEAR_DISTANCE` rows.
        """
        assert self.next_live is not None
        near, far = self.next_live
        row, mask = low, None
        if self.index is not None:
            mask = self.index if query is None else self.index[query]
            mask = mask.view(*mask.shape, *[1] * (low.dim() - mask.dim()))
            row = low + mask * near.shape[1]
        gap = near.view(-1).index_select(0, row.reshape(-1)).view(row.shape)
        legal = gap < sizes
        if not far_too:
            return legal
        block = (low + MAX_NEAR_DISTANCE) >> BLOCK_SHIFT
        block = block if mask is None else block + mask * far.shape[1]
        return torch.where(gap < MAX_NEAR_DISTANCE, legal, far.view(-1)[block] < low + sizes)

    def rows(self, device: torch.device | str) -> Tensor:
        """Return the live rows as bool [1 or B, rows]."""
        if self.next_live is None:
            return torch.ones(1, len(self.masks[0]), dtype=torch.bool, device=device)
        live = self.next_live[0][:, :-1] == 0
        return live if self.index is None else live[self.index]


def _next_live(masks: Sequence[Mask]) -> tuple[Tensor, Tensor]:
    """Return the distances (near, far) of masks."""
    near, far = [], []
    for mask in masks:
        rows = np.arange(len(mask) + 1, dtype=np.int32)
        following = np.full_like(rows, len(mask))
        np.copyto(following[:-1], rows[:-1], where=mask)
        following = np.minimum.accumulate(following[::-1])[::-1]
        near.append(np.minimum(following - rows, MAX_NEAR_DISTANCE).astype(np.uint8))
        far.append(np.append(following[::BLOCK_ROWS], np.int32(len(mask))))
    return torch.from_numpy(np.stack(near)), torch.from_numpy(np.stack(far))
