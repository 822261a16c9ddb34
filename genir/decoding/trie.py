"""The trie of identifiers as row ranges of a sorted table, in tensors on the device.

A prefix owns one contiguous row range, so a node is (low, high, depth). Wide nodes have child
lists; the children of narrow nodes are read from the rows. `decoding.row_mask` holds the live rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from genir.decoding.csr_children import CSRChildren
from genir.identifiers.table import PAD, IdentifierTable, Symbols, smallest_int
from genir.process_memory import trim_malloc

MIN_TRIMMED_ROWS = 1_000_000
"""Rows from which unused heap memory is returned to the system after the build."""
NARROW_NODE_ROWS = 32
"""Maximum number of rows of a node without a child list."""
SYNC_FREE_SCAN_ROWS = 1 << 14
"""Rows up to which reading is faster than a child list look-up, which needs three times the ops."""


@dataclass(frozen=True)
class Edges:
    """Children of each beam's node, C slots per beam; an unused slot has low = high.

    symbols, low, high: int64 [B, K, C]. The only child of a complete identifier is itself, under
    PAD.
    """

    symbols: Tensor
    low: Tensor
    high: Tensor

    def expand(self, batch: int) -> "Edges":
        """Broadcast the edges of one query to a batch, without copies."""
        if batch == 1:
            return self
        return Edges(*(t.expand(batch, -1, -1) for t in (self.symbols, self.low, self.high)))


@dataclass(frozen=True)
class Level:
    """Access to the nodes of one depth.

    max_scan: maximum number of rows of a node without a child list. ends: whether identifiers end
    at this depth.
    """

    max_scan: int
    children: CSRChildren | None
    ends: bool


class Trie:
    """All valid identifiers, as row ranges over a sorted table.

    symbols: int16 or int32 [rows, depth], padded with PAD; on a CPU, it shares the table's memory.
    """

    def __init__(self, symbols: Tensor, levels: list[Level]) -> None:
        self.symbols = symbols
        self.levels = levels
        self._first = dict[bool, Edges]()

    @classmethod
    def build(cls, table: IdentifierTable, device: torch.device | str = "cpu") -> Self:
        """Build the trie of a table on a device."""
        return cls.from_symbols(table.symbols, device)

    @classmethod
    def from_symbols(cls, symbols: Symbols, device: torch.device | str = "cpu") -> Self:
        """Build from sorted symbols, int [rows, depth], padded with PAD."""
        narrow = np.ascontiguousarray(smallest_int(symbols))
        levels = list(_levels(narrow))
        if len(narrow) >= MIN_TRIMMED_ROWS:
            trim_malloc()
        return cls(torch.from_numpy(narrow), levels).to(device)

    def to(self, device: torch.device | str) -> Self:
        """Return a copy on a device."""
        levels = [
            replace(one, children=one.children and one.children.to(device)) for one in self.levels
        ]
        return type(self)(self.symbols.to(device), levels)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.symbols.shape[0]

    @property
    def depth(self) -> int:
        """Length of the longest identifier in symbols."""
        return self.symbols.shape[1]

    @property
    def bytes(self) -> int:
        """Size of the tensors in bytes."""
        lists = [
            tensor for level in self.levels if level.children for tensor in level.children.tensors()
        ]
        return sum(t.numel() * t.element_size() for t in [self.symbols, *lists])

    def first_edges(self, batch: int, allow_sync: bool = False) -> Edges:
        """Return the children of the root, int64 [batch, 1, C]; cached on a CPU.

        With atomic identifiers these are all rows. A GPU reads them each time, since a tensor made
        during the capture of a CUDA graph belongs to that graph.
        """
        low = torch.zeros(1, 1, dtype=torch.long, device=self.symbols.device)
        if self.symbols.device.type != "cpu":
            return self.children(low, low + self.rows, 0, allow_sync).expand(batch)
        if allow_sync not in self._first:
            self._first[allow_sync] = self.children(low, low + self.rows, 0, allow_sync)
        return self._first[allow_sync].expand(batch)

    def children(self, low: Tensor, high: Tensor, depth: int, allow_sync: bool = False) -> Edges:
        """Return the children of nodes at one depth.

        Args:
            low: First rows of the nodes, int64 [B, K].
            high: Ends of their row ranges, exclusive, int64 [B, K].
            depth: Depth of the nodes.
            allow_sync: Whether to read the node sizes back from the device, which saves work on a
                CPU.
        """
        level, column = self.levels[depth], self.symbols[:, depth]
        sizes, lists, reach = high - low, level.children, level.max_scan
        allow_sync = allow_sync and low.numel() > 0
        if allow_sync:
            widest = max(1, int(sizes.max()))
            if (
                lists is None
                or widest <= lists.slots
                or widest * low.numel() <= SYNC_FREE_SCAN_ROWS
            ):
                return _scan_rows(low, high, column, widest)
            if not ((sizes > 0) & (sizes <= NARROW_NODE_ROWS)).any():
                reach = 0
        if lists is None:
            return _scan_rows(low, high, column, reach)
        edges = Edges(
            *lists.child_ranges(low, high, column, least=reach if allow_sync else lists.slots)
        )
        if reach:
            _merge_narrow(edges, _scan_rows(low, high, column, reach), sizes <= NARROW_NODE_ROWS)
        return edges

    def is_terminal(self, low: Tensor, depth: int) -> Tensor | bool:
        """Return whether nodes at a depth are complete identifiers, given their first rows [...].

        A single bool if it holds for all or none. Undefined for unused slots.
        """
        if depth == self.depth:
            return True
        if not self.levels[depth].ends:
            return False
        return self.symbols[:, depth][low.clamp(max=self.rows - 1)] == PAD

    def run_length(self, low: Tensor, high: Tensor, depth: int) -> Tensor:
        """Return the length of the common prefix from `depth` on of rows [low, high), int64 [...].

        Rows are sorted, so comparing the first and the last one suffices. Deleted rows count. 0
        for an empty range.
        """
        first = self.symbols[:, depth:][low]
        last = self.symbols[:, depth:][(high - 1).clamp(min=0)]
        shared = (first == last) & (first != PAD) & (low < high).unsqueeze(-1)
        return shared.cumprod(dim=-1).sum(dim=-1)

    def unique_prefix_length(self, rows: Tensor) -> Tensor:
        """Return the length of the shortest prefix that is unique to each row, at least 1.

        rows: int64 [...]. Rows are sorted, so only the two neighbours are compared. Equal rows
        have no unique prefix: their full length is returned.
        """
        own = self.symbols[rows]
        shared = [
            (own == self.symbols[other]).cumprod(dim=-1).sum(dim=-1).masked_fill(other == rows, -1)
            for other in ((rows - 1).clamp(min=0), (rows + 1).clamp(max=self.rows - 1))
        ]
        return torch.minimum(torch.maximum(*shared) + 1, (own != PAD).sum(dim=-1)).clamp(min=1)

    def symbols_of(self, row: Tensor, start: Tensor, length: int) -> Tensor:
        """Return symbols of rows [N] from depths `start` [N] on, int64 [N, length], with PAD."""
        depths = start.unsqueeze(-1) + torch.arange(length, device=row.device)
        symbols = self.symbols[row.unsqueeze(-1), depths.clamp(max=self.depth - 1)].long()
        return symbols.masked_fill(depths >= self.depth, PAD)


def _scan_rows(low: Tensor, high: Tensor, column: Tensor, reach: int) -> Edges:
    """Read at most `reach` rows of nodes [low, high): a child begins where the symbol changes."""
    places = low.unsqueeze(-1) + torch.arange(reach, device=low.device)  # [B, K, C]
    inside = places < high.unsqueeze(-1)
    symbols = column[places.clamp(max=len(column) - 1)].long()
    change = torch.ones_like(inside)
    change[..., 1:] = symbols[..., 1:] != symbols[..., :-1]
    begins = inside & change
    # A child ends where the next one begins: the running minimum from the right.
    upper = torch.where(begins, places, high.unsqueeze(-1))
    following = upper.flip(-1).cummin(-1).values.flip(-1)
    ends = torch.cat([following[..., 1:], high.unsqueeze(-1)], dim=-1)
    return Edges(
        torch.where(begins, symbols, PAD),
        torch.where(begins, places, 0),
        torch.where(begins, ends, 0),
    )


def _merge_narrow(edges: Edges, read: Edges, narrow: Tensor) -> None:
    """Overwrite the first slots of narrow nodes, [B, K], with children read from the rows."""
    reach, chosen = read.symbols.shape[-1], narrow.unsqueeze(-1)
    for listed, own in (
        (edges.symbols, read.symbols),
        (edges.low, read.low),
        (edges.high, read.high),
    ):
        listed[..., :reach] = torch.where(chosen, own, listed[..., :reach])


def _levels(symbols: Symbols) -> Iterator[Level]:
    """Yield each level from the top. Nodes begin where the parents begin or the symbol changes."""
    rows, shorter = len(symbols), 0
    opens = np.arange(rows) == 0
    first = np.flatnonzero(opens)
    for column in symbols.T:
        sizes = np.diff(first, append=rows)
        wide = sizes > NARROW_NODE_ROWS
        opens[1:] |= column[1:] != column[:-1]
        children = np.flatnonzero(opens)
        reach = int(sizes[~wide].max(initial=0))
        lists = None
        if wide.any():
            listed = children[np.repeat(wide, sizes)[children]]
            lists = CSRChildren.build(first[wide], sizes[wide], listed, column, reach)
        over = int(np.count_nonzero(column == PAD))
        yield Level(reach, lists, ends=over > shorter)
        first, shorter = children, over
