"""The identifier table as the decoder sees it: tensors on the device. Knows no model.

Rows are sorted, so a prefix owns one contiguous row range and a beam is (low, high, depth). An
edge is legal iff its range holds a live row: `alive[high] > alive[low]`, with `alive` the running
sum of the live mask. Wide nodes keep child lists; narrow nodes are read from the rows directly.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from genir.identifiers.table import PAD, IdentifierTable

NARROW = 32
"""Nodes of at most this many rows keep no child list."""


@dataclass(frozen=True)
class Edges:
    """The children of each beam's node, C slots a beam; unused slots have low = high = 0.

    symbols, low, high: int64 [B, K, C]. A finished identifier's only child is itself, under PAD.
    """

    symbols: Tensor
    low: Tensor
    high: Tensor


@dataclass(frozen=True)
class Level:
    """Child lists (CSR) of the wide nodes at one depth.

    nodes: int64 [W], first row of each wide node, ascending. pointers: int64 [W + 1] into the
    edges. symbols, starts: int64 [E + 1], each child's symbol and first row; the last entry is a
    sentinel. widest: the most children of any wide node.
    """

    nodes: Tensor
    pointers: Tensor
    symbols: Tensor
    starts: Tensor
    widest: int

    @property
    def tensors(self) -> list[Tensor]:
        """Return all that lies on the device."""
        return [self.nodes, self.pointers, self.symbols, self.starts]


class Trie:
    """All valid identifiers, as row ranges over a sorted table.

    symbols: int16 or int32 [rows, depth], padded with PAD.
    """

    def __init__(self, symbols: Tensor, levels: list[Level | None]) -> None:
        self.symbols = symbols
        self.levels = levels

    @classmethod
    def build(cls, table: IdentifierTable, device: torch.device | str = "cpu") -> Self:
        """Find the wide nodes of every depth and put all on the device."""
        levels: list[Level | None] = []
        bounds = np.array([0, len(table)], dtype=np.int64)
        for depth in range(table.depth):
            children = _boundaries(bounds, table.symbols[:, depth])
            levels.append(_wide_level(bounds, children, table.symbols[:, depth], device))
            bounds = children
        fits = table.symbols.max(initial=0) <= np.iinfo(np.int16).max
        symbols = np.ascontiguousarray(table.symbols, dtype=np.int16 if fits else np.int32)
        return cls(torch.from_numpy(symbols).to(device), levels)

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return self.symbols.shape[0]

    @property
    def depth(self) -> int:
        """Return the length of the longest identifier."""
        return self.symbols.shape[1]

    @property
    def bytes(self) -> int:
        """Return the size of the tensors."""
        wide = [tensor for level in self.levels if level for tensor in level.tensors]
        return sum(t.numel() * t.element_size() for t in [self.symbols, *wide])

    def children(self, low: Tensor, high: Tensor, depth: int) -> Edges:
        """Return the edges out of nodes [low, high), int64 [B, K], that lie at `depth`."""
        level = self.levels[depth]
        slots = max(min(NARROW, self.rows), level.widest if level else 0)
        offsets = torch.arange(slots, device=low.device)
        narrow = self._narrow_edges(low, high, depth, offsets[:NARROW])
        if level is None:
            return narrow
        return _wide_edges(level, low, high, offsets, _widened(narrow, slots))

    def _narrow_edges(self, low: Tensor, high: Tensor, depth: int, offsets: Tensor) -> Edges:
        """Read the rows themselves: a child begins wherever the symbol changes."""
        places = low.unsqueeze(-1) + offsets  # [B, K, C]
        inside = places < high.unsqueeze(-1)
        symbols = self.symbols[:, depth][places.clamp(max=self.rows - 1)].long()
        change = torch.ones_like(inside)
        change[..., 1:] = symbols[..., 1:] != symbols[..., :-1]
        begins = inside & change
        # A child ends where the next one begins: the running minimum from the right.
        upper = torch.where(begins, places, high.unsqueeze(-1))
        following = upper.flip(-1).cummin(-1).values.flip(-1)
        ends = torch.cat([following[..., 1:], high.unsqueeze(-1)], dim=-1)
        nothing = torch.zeros_like(places)
        return Edges(
            torch.where(begins, symbols, PAD),
            torch.where(begins, places, nothing),
            torch.where(begins, ends, nothing),
        )


def _boundaries(bounds: NDArray[np.int64], column: NDArray[np.int32]) -> NDArray[np.int64]:
    """Split row ranges [b0, b1), [b1, b2), ... wherever the next level's symbol changes."""
    change = np.flatnonzero(column[1:] != column[:-1]) + 1
    return np.union1d(bounds, change)


def _wide_level(
    bounds: NDArray[np.int64],
    children: NDArray[np.int64],
    column: NDArray[np.int32],
    device: torch.device | str,
) -> Level | None:
    wide = np.flatnonzero(np.diff(bounds) > NARROW)
    if not len(wide):
        return None
    first = np.searchsorted(children, bounds[wide])
    counts = np.searchsorted(children, bounds[wide + 1]) - first
    offsets = np.concatenate([[0], np.cumsum(counts)])
    edges = np.repeat(first - offsets[:-1], counts) + np.arange(offsets[-1])
    rows = children[edges]
    arrays = (
        bounds[wide],
        offsets,
        np.append(column[rows], PAD).astype(np.int64),
        np.append(rows, len(column)),
    )
    nodes, pointers, symbols, starts = (torch.from_numpy(array).to(device) for array in arrays)
    return Level(nodes, pointers, symbols, starts, int(counts.max()))


def _widened(edges: Edges, slots: int) -> Edges:
    """Add unused slots."""
    more = (0, slots - edges.symbols.shape[-1])
    return Edges(
        F.pad(edges.symbols, more, value=PAD), F.pad(edges.low, more), F.pad(edges.high, more)
    )


def _wide_edges(level: Level, low: Tensor, high: Tensor, offsets: Tensor, narrow: Edges) -> Edges:
    """Overwrite the edges of wide nodes, whose rows outnumber the slots, from their child lists."""
    node = torch.searchsorted(level.nodes, low.contiguous()).clamp(max=len(level.nodes) - 1)
    wide = (high - low > NARROW).unsqueeze(-1)
    begin, end = level.pointers[node], level.pointers[node + 1]
    edge = begin.unsqueeze(-1) + offsets
    inside = edge < end.unsqueeze(-1)
    edge = edge.clamp(max=len(level.starts) - 2)
    last = edge + 1 == end.unsqueeze(-1)
    above = torch.where(last, high.unsqueeze(-1), level.starts[edge + 1])
    nothing = torch.zeros_like(edge)
    return Edges(
        torch.where(wide, torch.where(inside, level.symbols[edge], PAD), narrow.symbols),
        torch.where(wide, torch.where(inside, level.starts[edge], nothing), narrow.low),
        torch.where(wide, torch.where(inside, above, nothing), narrow.high),
    )


def running_alive(live: Tensor) -> Tensor:
    """Return int32 [Q, rows + 1], the running sum of live masks, bool [Q, rows]."""
    sums = live.cumsum(dim=-1, dtype=torch.int32)
    return F.pad(sums, (1, 0))
