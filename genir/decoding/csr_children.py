"""Child lists, in compressed sparse row (CSR) form, of the wide nodes at one depth of the trie.

A node is wide if it has more rows than `decoding.trie` scans. A list holds the first row of each
child relative to the node, in int16 if no node has more than 32,767 rows. Symbols are stored only
if there are at most MAX_CHILDREN_PER_ROW children per row; otherwise they are read from the table's
rows, which is as fast.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genir.identifiers.table import PAD, Symbols, smallest_int

MAX_CHILDREN_PER_ROW = 0.5
"""Maximum number of children per row of the wide nodes for which symbols are stored."""


@dataclass(frozen=True)
class CSRChildren:
    """Concatenated child lists of W wide nodes with E children (edges) in total.

    Attributes:
        nodes: First row of each node, ascending, int32 [W].
        pointers: Offset of each list, int32 [W + 1].
        starts: First row of each child relative to its node, int16 or int32 [E + padding].
        symbols: Symbol of each child, int16 or int32 [E + padding], or None.
        slots: Maximum number of children of a node. Lists are read in windows of `slots` + 1
            entries (one more for the end of the last child); the padding completes the last one.
    """

    nodes: Tensor
    pointers: Tensor
    starts: Tensor
    symbols: Tensor | None
    slots: int

    @classmethod
    def build(
        cls,
        first: NDArray[np.int64],
        sizes: NDArray[np.int64],
        children: NDArray[np.int64],
        column: Symbols,
        slots: int,
    ) -> Self:
        """Build the child lists of wide nodes.

        Args:
            first: First row of each node, [W].
            sizes: Number of rows of each node, [W].
            children: First rows of their children, ascending, [E].
            column: Symbols of this depth, [rows].
            slots: Minimum of the attribute `slots`.
        """
        pointers = np.append(np.searchsorted(children, first), len(children))
        counts = np.diff(pointers)
        slots = max(slots, int(counts.max()))
        window = (0, slots + 1 - int(counts[-1]))
        starts = np.pad(smallest_int(children - np.repeat(first, counts)), window)
        few = len(children) <= MAX_CHILDREN_PER_ROW * sizes.sum()
        return cls(
            torch.from_numpy(first.astype(np.int32)),
            torch.from_numpy(pointers.astype(np.int32)),
            torch.from_numpy(starts),
            torch.from_numpy(np.pad(column[children], window)) if few else None,
            slots,
        )

    def tensors(self) -> list[Tensor]:
        """Return the tensors of the lists."""
        values = (getattr(self, field.name) for field in fields(self))
        return [value for value in values if isinstance(value, Tensor)]

    def to(self, device: torch.device | str) -> "CSRChildren":
        """Return a copy with all tensors on a device."""
        symbols = None if self.symbols is None else self.symbols.to(device)
        nodes, pointers, starts = (t.to(device) for t in (self.nodes, self.pointers, self.starts))
        return CSRChildren(nodes, pointers, starts, symbols, self.slots)

    def child_ranges(
        self, low: Tensor, high: Tensor, column: Tensor, least: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return symbol, first row and end row (exclusive) of each child, int64 [B, K, C] each.

        Unused places, and all of nodes without a list, have symbol PAD and an empty row range.

        Args:
            low: First rows of the nodes, int64 [B, K].
            high: Ends of their row ranges, exclusive, int64 [B, K].
            column: Symbols of this depth, [rows].
            least: Minimum of C. If it is below `slots`, C is the number of children of the widest
                of these nodes, at least `least`, which synchronises with the device.
        """
        node = torch.searchsorted(self.nodes, low.int()).clamp(max=len(self.nodes) - 1)
        begin = self.pointers[node]
        wide = (self.nodes[node] == low) & (low < high)
        count = torch.where(wide, self.pointers[node + 1] - begin, 0).unsqueeze(-1)
        slots = self.slots if least >= self.slots else max(1, least, int(count.max()))
        used = torch.arange(slots + 1, device=low.device) < count
        starts = torch.where(used, _windows(self.starts, begin, slots), (high - low)[..., None])
        begins = low.unsqueeze(-1) + starts
        lows, highs = (  # copies: the caller overwrites both for narrow nodes, which have no list
            part.clone(memory_format=torch.contiguous_format)
            for part in (begins[..., :-1], begins[..., 1:])
        )
        if self.symbols is None:
            symbols = column[lows.clamp(max=len(column) - 1)]
        else:
            symbols = _windows(self.symbols, begin, slots)[..., :-1]
        return torch.where(used[..., :-1], symbols, PAD).long(), lows, highs


def _windows(values: Tensor, begin: Tensor, slots: int) -> Tensor:
    """Return values [begin, begin + slots + 1) as [B, K, slots + 1], copied window by window.

    Faster than a gather, which would build an index for each entry.
    """
    return values.unfold(0, slots + 1, 1)[begin]
