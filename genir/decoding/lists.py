"""Child lists (CSR) of the wide nodes at one depth of the trie.

A list holds where each child begins, counted from the node's own first row, so 2 bytes do in nodes
of up to 32,767 rows. The children's symbols are kept only where that is less than a byte a row;
else they are as quickly read from the rows.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genir.identifiers.table import PAD, Symbols, narrowest

SPARSE = 0.5
"""At most so many children a row of the wide nodes, for their symbols to be kept."""


@dataclass(frozen=True)
class ChildLists:
    """The lists of W wide nodes, one behind the other, E children in all.

    nodes: int32 [W], first row of each node, ascending. pointers: int32 [W + 1] into the children.
    starts: int16 or int32 [E and more], each child's first row, from the node's. symbols: int16 or
    int32 [E and more], or None. Lists are read in windows of `slots` + 1 entries, at least the most
    children of one node; the last window is why there are more entries than children.
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
        """List the children of wide nodes.

        first, sizes: [W], each node's first row and number of rows. children: [E], first rows of
        their children, ascending. column: [rows], the symbols of this depth.
        """
        pointers = np.append(np.searchsorted(children, first), len(children))
        counts = np.diff(pointers)
        slots = max(slots, int(counts.max()))
        window = (0, slots + 1 - int(counts[-1]))
        starts = np.pad(narrowest(children - np.repeat(first, counts)), window)
        few = len(children) <= SPARSE * sizes.sum()
        return cls(
            torch.from_numpy(first.astype(np.int32)),
            torch.from_numpy(pointers.astype(np.int32)),
            torch.from_numpy(starts),
            torch.from_numpy(np.pad(column[children], window)) if few else None,
            slots,
        )

    def tensors(self) -> list[Tensor]:
        """Return all that lies on the device."""
        values = (getattr(self, field.name) for field in fields(self))
        return [value for value in values if isinstance(value, Tensor)]

    def to(self, device: torch.device | str) -> "ChildLists":
        """Return the lists on a device."""
        symbols = None if self.symbols is None else self.symbols.to(device)
        nodes, pointers, starts = (t.to(device) for t in (self.nodes, self.pointers, self.starts))
        return ChildLists(nodes, pointers, starts, symbols, self.slots)

    def read(
        self, low: Tensor, high: Tensor, column: Tensor, least: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return symbols, first rows and ends of the children of nodes [low, high), int64 [B, K].

        Each int64 [B, K, C]. Unused slots, and all of a node that has no list, are empty ranges
        with PAD. column: [rows], the symbols of this depth. least: how many slots there must be;
        with fewer than `slots`, as many as needed, for which the device is looked at.
        """
        node = torch.searchsorted(self.nodes, low.int()).clamp(max=len(self.nodes) - 1)
        begin = self.pointers[node]
        wide = (self.nodes[node] == low) & (low < high)
        count = torch.where(wide, self.pointers[node + 1] - begin, 0).unsqueeze(-1)
        slots = self.slots if least >= self.slots else max(1, least, int(count.max()))
        used = torch.arange(slots + 1, device=low.device) < count
        starts = torch.where(used, _windows(self.starts, begin, slots), (high - low)[..., None])
        begins = low.unsqueeze(-1) + starts
        lows, highs = (  # copies: both are written to where a narrow node has no list
            part.clone(memory_format=torch.contiguous_format)
            for part in (begins[..., :-1], begins[..., 1:])
        )
        if self.symbols is None:
            symbols = column[lows.clamp(max=len(column) - 1)]
        else:
            symbols = _windows(self.symbols, begin, slots)[..., :-1]
        return torch.where(used[..., :-1], symbols, PAD).long(), lows, highs


def _windows(values: Tensor, begin: Tensor, slots: int) -> Tensor:
    """Return values [begin, begin + slots + 1), [B, K, slots + 1]: copied as a whole, where an
    index of each of them would be made and read first.
    """
    return values.unfold(0, slots + 1, 1)[begin]
