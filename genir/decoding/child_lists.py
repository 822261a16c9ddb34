"""Child lists of the wide nodes at one depth of the trie.

A node is wide if it has more than NARROW_NODE_ROWS rows. A list holds the first row of each child
relative to its node, in int16 if no node has more than 32,767 rows. There are two forms, of which
the smaller is kept: a row for each symbol of the level (`DenseChildren`), and compressed sparse
rows (`CSRChildren`).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genir.decoding.edges import Candidates, Edges
from genir.identifiers.table import PAD, Symbols

MAX_CHILDREN_PER_ROW = 0.5
"""Maximum number of children per row of the wide nodes for which a sparse list stores symbols;
with more, they are read from the table's rows, which is as fast."""
NARROW_NODE_ROWS = 32
"""Maximum number of rows of a node without a child list."""


@dataclass(frozen=True)
class Nodes:
    """Nodes of a search at one depth.

    Attributes:
        low: First rows, int64 [B, K].
        sizes: Numbers of rows, int64 [B, K]; 0 for a dead beam.
        column: Symbols of this depth, int16 or int32 [rows].
        ends: Whether the column holds PAD.
    """

    low: Tensor
    sizes: Tensor
    column: Tensor
    ends: bool

    def read(self, rows: Tensor) -> Tensor:
        """Return the symbols of rows, int64 [...]."""
        return self.column.index_select(0, rows.reshape(-1)).view(rows.shape).long()

    def read_from(self, offsets: Tensor) -> Tensor:
        """Return the symbols of rows relative to the nodes, int64 [B, K, C].

        Rows after the last one of the table count as the last.
        """
        rows = offsets.int() + self.low.int().unsqueeze(-1)  # without slow mixed types
        return self.read(rows.clamp_(max=len(self.column) - 1))

    def candidates(self, symbols: Tensor) -> Candidates:
        """Return candidates of symbols of the column, int64 [B, K, C]."""
        return Candidates.of(symbols) if self.ends else Candidates(symbols)


@dataclass(frozen=True)
class ChildLists(ABC):
    """Child lists of W wide nodes.

    Attributes:
        nodes: First row of each node, ascending, int32 [W].
        starts: First row of each child relative to its node, int16 or int32.
        slots: Maximum number of children of a node.
    """

    nodes: Tensor
    starts: Tensor
    slots: int

    @property
    def bytes(self) -> int:
        """Size of the tensors in bytes."""
        values = (getattr(self, field.name) for field in fields(self))
        return sum(v.numel() * v.element_size() for v in values if isinstance(v, Tensor))

    def to(self, device: torch.device | str) -> Self:
        """Return a copy with all tensors on a device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            name: v.to(device) for name, v in values.items() if isinstance(v, Tensor)
        }
        return replace(self, **moved)

    @abstractmethod
    def read(self, at: Nodes, least: int) -> Edges:
        """Return the children of nodes; a node without a list has unused slots only.

        Args:
            at: Nodes of a search.
            least: Minimum of C. If it is below `slots`, C may be the number of children of the
                widest of these nodes, at least `least`, which synchronises with the device.
        """

    def find(self, at: Nodes) -> tuple[Tensor, Tensor]:
        """Return the index of each node, int64 [B * K], and whether it has a list, [B, K]."""
        index = torch.searchsorted(self.nodes, at.low.view(-1).int())
        return index.clamp(max=len(self.nodes) - 1), at.sizes > NARROW_NODE_ROWS


@dataclass(frozen=True)
class DenseChildren(ChildLists):
    """Lists with a slot for each symbol of the level; a symbol without rows is an empty range.

    starts: [W, slots + 1]; the last entry is the number of rows of the node.
    """

    def read(self, at: Nodes, least: int) -> Edges:
        """Return the children of nodes, in `slots` slots; see `ChildLists.read`."""
        index, listed = self.find(at)
        bounds = self.starts.index_select(0, index).view(*at.low.shape, self.slots + 1)
        bounds *= listed.to(bounds.dtype).unsqueeze(-1)
        used = (bounds[..., 1:] - bounds[..., :-1]).bool()  # faster than a comparison
        return Edges(at.low, bounds, used, Candidates(None))


@dataclass(frozen=True)
class CSRChildren(ChildLists):
    """Concatenated lists with E children in total.

    Attributes:
        pointers: Offset of each list, int32 [W + 1].
        symbols: Symbol of each child, int16 or int32 [E + padding], or None.

    starts: [E + padding]. Lists are read in windows of `slots` + 1 entries (one more for the end
    of the last child); the padding completes the last one.
    """

    pointers: Tensor
    symbols: Tensor | None

    def read(self, at: Nodes, least: int) -> Edges:
        """Return the children of nodes; see `ChildLists.read`."""
        index, listed = self.find(at)
        begin = self.pointers.index_select(0, index)
        count = self.pointers.index_select(0, index + 1) - begin
        count = (count.view(at.low.shape) * listed).unsqueeze(-1)
        slots = self.slots if least >= self.slots else max(1, least, int(count.max()))
        bounds = _windows(self.starts, begin, slots).view(*at.low.shape, slots + 1)
        # 1 for a child, 0 for an unused slot; integers are faster than a comparison
        inside = count.to(bounds.dtype) - torch.arange(
            slots + 1, dtype=bounds.dtype, device=bounds.device
        )
        inside = inside.clamp_(0, 1)
        bounds = bounds.mul_(inside).add_(at.sizes.to(bounds.dtype).unsqueeze(-1) * (1 - inside))
        if self.symbols is None:
            symbols = at.read_from(bounds[..., :-1])
        else:
            symbols = _windows(self.symbols, begin, slots).view(bounds.shape)[..., :-1].long()
        return Edges(at.low, bounds, inside[..., :-1].bool(), at.candidates(symbols))


def _windows(values: Tensor, begin: Tensor, slots: int) -> Tensor:
    """Return values [begin, begin + slots + 1) as [N, slots + 1], copied window by window.

    Faster than a gather, which would build an index for each entry.
    """
    return values.unfold(0, slots + 1, 1).index_select(0, begin)


def build_child_lists(
    first: NDArray[np.int64],
    sizes: NDArray[np.int64],
    children: NDArray[np.int64],
    column: Symbols,
    slots: int,
) -> ChildLists:
    """Build the child lists of wide nodes in the smaller form.

    Args:
        first: First row of each node, [W].
        sizes: Number of rows of each node, [W].
        children: First rows of their children, ascending, [E].
        column: Symbols of this depth, [rows].
        slots: Minimum of the attribute `slots` of sparse lists.
    """
    pointers = np.append(np.searchsorted(children, first), len(children))
    counts, symbols, nodes = np.diff(pointers), column[children], torch.from_numpy(first).int()
    owner = np.repeat(np.arange(len(first)), counts)
    starts = (children - first[owner]).astype(np.int16 if sizes.max() < 1 << 15 else np.int32)
    stored = len(children) <= MAX_CHILDREN_PER_ROW * sizes.sum()
    sparse_bytes = starts.nbytes + 4 * len(pointers) + stored * symbols.nbytes
    width = int(symbols.max()) + 1
    dense_bytes = starts.itemsize * len(first) * (width + 1)
    if symbols.min() != PAD and width >= slots and dense_bytes <= sparse_bytes:
        dense = np.repeat(sizes.astype(starts.dtype)[:, None], width + 1, axis=1)
        dense[owner, symbols] = starts
        dense = np.minimum.accumulate(dense[:, ::-1], axis=1)[:, ::-1].copy()
        return DenseChildren(nodes, torch.from_numpy(dense), width)
    slots = max(slots, int(counts.max()))
    window = (0, slots + 1 - int(counts[-1]))
    return CSRChildren(
        nodes,
        torch.from_numpy(np.pad(starts, window)),
        slots,
        torch.from_numpy(pointers).int(),
        torch.from_numpy(np.pad(symbols, window)) if stored else None,
    )
