"""Which rows each query may be led to: deletions and filters as masks. Knows no trie.

The only question is whether a row range [low, high) holds a live row, and it does iff the first
live row at or after `low` lies below `high`. So a mask is kept as the distance from each row to the
next live one, in one byte; longer distances are looked up, one entry in 256 rows. Where every row
is live, nothing is kept.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genir.errors import InputError

SHIFT = 8
BLOCK = 1 << SHIFT
"""Rows an entry of the far distances."""
FAR = BLOCK - 1
"""The distance that stands for itself and all beyond; from any row, a block begins within it."""

Mask = NDArray[np.bool_]


class LiveRows:
    """The live rows of B queries: M distinct masks, and which of them each query uses.

    masks: M arrays bool [rows], on the host. index: int64 [B], below M; None where any number of
    queries use the only mask. gaps: (near, far), or None where every row is live. near: uint8
    [M, rows + 1], the distance to the next live row, at most FAR. far: int32 [M, blocks], the first
    live row from each block on. closed: whether scores are computed from the live rows alone (see
    `Selection.closed`).
    """

    def __init__(
        self,
        masks: Sequence[Mask],
        index: Tensor | None,
        gaps: tuple[Tensor, Tensor] | None,
        closed: bool = False,
    ) -> None:
        self.masks = masks
        self.index = index
        self.gaps = gaps
        self.closed = closed

    @classmethod
    def build(
        cls, masks: Sequence[Mask], index: Sequence[int] | None = None, closed: bool = False
    ) -> Self:
        """Measure the masks. Raises ValueError for several masks without an index."""
        if index is None and len(masks) != 1:
            raise ValueError(f"{len(masks)} masks, but nothing tells which query uses which")
        places = None if index is None else torch.tensor(index, dtype=torch.long)
        if all(mask.all() for mask in masks):
            return cls(masks, places, None, closed)
        near, far = (np.stack(parts) for parts in zip(*map(_gaps, masks), strict=True))
        return cls(masks, places, (torch.from_numpy(near), torch.from_numpy(far)), closed)

    @classmethod
    def join(cls, parts: Sequence["LiveRows"], index: Sequence[int]) -> Self:
        """Put single masks, measured already, side by side. index: which of them each query uses.

        Raises ValueError where a part has several masks, and InputError where some are closed and
        others are not: queries decoded together share the way scores are normalised.
        """
        masks = [mask for part in parts for mask in part.masks]
        if len(masks) != len(parts):
            raise ValueError(f"{len(masks)} masks in {len(parts)} parts; each part must hold one")
        closed = {part.closed for part in parts}
        if len(closed) > 1:
            raise InputError(
                "where: closed selections beside others in one call; search for them apart"
            )
        places, alone = torch.tensor(index, dtype=torch.long), closed == {True}
        if all(part.gaps is None for part in parts):
            return cls(masks, places, None, alone)
        measured = [part.gaps or _as_tensors(*_gaps(part.masks[0])) for part in parts]
        near, far = (torch.cat(gaps) for gaps in zip(*measured, strict=True))
        return cls(masks, places, (near, far), alone)

    def to(self, device: torch.device | str) -> "LiveRows":
        """Return the masks on a device; those on the host stay."""
        index = None if self.index is None else self.index.to(device)
        gaps = None if self.gaps is None else (self.gaps[0].to(device), self.gaps[1].to(device))
        return LiveRows(self.masks, index, gaps, self.closed)

    def select(self, queries: Sequence[int]) -> "LiveRows":
        """Return the masks of some of the queries, in that order."""
        if self.index is None:
            return self
        return LiveRows(self.masks, self.index[list(queries)], self.gaps, self.closed)

    def places(self, queries: int) -> list[int]:
        """Return which of the masks each of so many queries uses. Waits for the device."""
        return [0] * queries if self.index is None else self.index.tolist()

    @property
    def bytes(self) -> int:
        """Return the size of what lies on the device."""
        return sum(t.numel() * t.element_size() for t in self.gaps or ())

    def legal(self, low: Tensor, high: Tensor, query: Tensor | None = None) -> Tensor:
        """Tell which row ranges [low, high) hold a live row: bool, in the shape of low and high.

        low, high: int64 [B, ...], by query; or of any shape, with `query`, int64, which of the
        queries they belong to, of their first dimensions.
        """
        if self.gaps is None:
            return low < high
        near, far = self.gaps
        place, block = low, (low + FAR) >> SHIFT
        if self.index is not None:
            mask = self.index if query is None else self.index[query]
            mask = mask.view(*mask.shape, *[1] * (low.dim() - mask.dim()))
            place, block = place + mask * near.shape[1], block + mask * far.shape[1]
        gap = near.view(-1)[place]
        return torch.where(gap < FAR, low + gap, far.view(-1)[block]) < high

    def rows(self, device: torch.device | str) -> Tensor:
        """Return which rows are live, bool [1 or B, rows], on the device of the masks."""
        if self.gaps is None:
            return torch.ones(1, len(self.masks[0]), dtype=torch.bool, device=device)
        live = self.gaps[0][:, :-1] == 0
        return live if self.index is None else live[self.index]


def _as_tensors(near: NDArray[np.uint8], far: NDArray[np.int32]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(near)[None], torch.from_numpy(far)[None]


def _gaps(mask: Mask) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return (near, far) of one mask."""
    rows = np.arange(len(mask) + 1, dtype=np.int32)
    following = np.full_like(rows, len(mask))
    np.copyto(following[:-1], rows[:-1], where=mask)
    following = np.minimum.accumulate(following[::-1])[::-1]
    near = np.minimum(following - rows, FAR).astype(np.uint8)
    return near, np.append(following[::BLOCK], np.int32(len(mask)))
