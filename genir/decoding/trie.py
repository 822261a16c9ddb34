"""The trie of identifiers as row ranges of a sorted table, in tensors on the device.

A prefix owns one contiguous row range, so a node is (low, high, depth). Wide nodes have child
lists; the children of narrow nodes are read from the rows. `decoding.row_mask` holds the live rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genir.decoding.child_lists import (
    NARROW_NODE_ROWS,
    ChildLists,
    CSRChildren,
    Nodes,
    build_child_lists,
)
from genir.decoding.edges import Candidates, Edges
from genir.identifiers.table import PAD, IdentifierTable, Symbols, smallest_int
from genir.process_memory import trim_malloc

MIN_TRIMMED_ROWS = 1_000_000
"""Rows from which unused heap memory is returned to the system after the build."""
SYNC_FREE_SCAN_ROWS = 1 << 14
"""Rows up to which reading is faster than a child list look-up, which needs three times the ops."""


@dataclass(frozen=True)
class Level:
    """Access to the nodes of one depth.

    Attributes:
        max_scan: Maximum number of rows of a node without a child list.
        children: Child lists of the other nodes; None without any.
        ends: Whether identifiers end at this depth.
        has_pad: Whether identifiers have ended at this depth or before.
        max_child_rows: Maximum number of rows of a child.
    """

    max_scan: int
    children: ChildLists | None
    ends: bool
    has_pad: bool
    max_child_rows: int


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
        lists = sum(level.children.bytes for level in self.levels if level.children)
        return self.symbols.numel() * self.symbols.element_size() + lists

    def first_edges(self, batch: int, allow_sync: bool = False) -> Edges:
        """Return the children of the root, int64 [batch, 1, C]; cached on a CPU.

        With atomic identifiers these are all rows. A GPU reads them each time, since a tensor made
        during the capture of a CUDA graph belongs to that graph.
        """
        if allow_sync in self._first:
            return self._first[allow_sync].expand(batch)
        low = torch.zeros(1, 1, dtype=torch.long, device=self.symbols.device)
        edges = self.children(low, low + self.rows, 0, allow_sync)
        if self.symbols.device.type == "cpu":
            self._first[allow_sync] = edges
        return edges.expand(batch)

    def children(self, low: Tensor, high: Tensor, depth: int, allow_sync: bool = False) -> Edges:
        """Return the children of nodes at one depth.

        Args:
            low: First rows of the nodes, int64 [B, K].
            high: Ends of their row ranges, exclusive, int64 [B, K].
            depth: Depth of the nodes.
            allow_sync: Whether to read the node sizes back from the device, which saves work on a
                CPU.
        """
        level, lists = self.levels[depth], self.levels[depth].children
        at = Nodes(low, high - low, self.symbols[:, depth], level.has_pad)
        reach = level.max_scan
        allow_sync = allow_sync and low.numel() > 0
        if allow_sync and (reach > 1 or lists is not None):
            widest = max(1, int(at.sizes.max()))
            if lists is None or widest <= NARROW_NODE_ROWS or _is_cheap(lists, at, widest):
                return _scan_rows(at, widest)
            if reach and not ((at.sizes > 0) & (at.sizes <= NARROW_NODE_ROWS)).any():
                reach = 0
        if lists is None:
            return _scan_rows(at, reach)
        listed = lists.read(at, least=reach if allow_sync else lists.slots)
        return _merge_narrow(listed, _scan_rows(at, reach), at) if reach else listed

    def is_terminal(self, low: Tensor, depth: int) -> Tensor | bool:
        """Return whether nodes at a depth are complete identifiers, given their first rows [...].

        A single bool if it holds for all or none. Undefined for unused slots.
        """
        if depth == self.depth:
            return True
        if not self.levels[depth].ends:
            return False
        return self.symbols[:, depth][low.clamp(max=self.rows - 1)] == PAD

    def are_terminal(self, edges: Edges, depth: int) -> Tensor | bool:
        """Return whether children at a depth are complete; see `is_terminal`."""
        decided = depth == self.depth or not self.levels[depth].ends
        return depth == self.depth if decided else self.is_terminal(edges.low, depth)

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


def _is_cheap(lists: ChildLists, at: Nodes, widest: int) -> bool:
    """Return whether reading the rows of wide nodes is faster than their child lists."""
    return isinstance(lists, CSRChildren) and widest * at.low.numel() <= SYNC_FREE_SCAN_ROWS


def _scan_rows(at: Nodes, reach: int) -> Edges:
    """Read at most `reach` rows of each node: a child begins where the symbol changes."""
    sizes = at.sizes.unsqueeze(-1)
    if reach == 1:
        symbols = at.read(at.low).unsqueeze(-1)
        bounds = sizes * torch.arange(2, device=sizes.device)
        return Edges(at.low, bounds, sizes > 0, at.candidates(symbols))
    slots = torch.arange(reach, device=at.low.device)
    symbols = at.read_from(slots)  # [B, K, C]
    begins = slots < sizes
    begins[..., 1:] &= symbols[..., 1:] != symbols[..., :-1]
    # A child ends where the next one begins: the running minimum from the right.
    upper = torch.where(begins, slots, sizes)
    following = upper.flip(-1).cummin(-1).values.flip(-1)
    bounds = torch.cat([following, sizes], dim=-1)
    return Edges(at.low, bounds, begins, at.candidates(symbols))


def _merge_narrow(listed: Edges, read: Edges, at: Nodes) -> Edges:
    """Return the children of wide nodes from their lists, and of narrow nodes from the rows."""
    wide = (at.sizes > NARROW_NODE_ROWS).unsqueeze(-1)
    more = listed.used.shape[-1] - read.used.shape[-1]
    ends = at.sizes.unsqueeze(-1).expand(*at.sizes.shape, more)
    symbols = torch.where(wide, listed.symbols, F.pad(read.symbols, (0, more), value=PAD))
    used = torch.where(wide, listed.used, F.pad(read.used, (0, more)))
    bounds = torch.where(wide, listed.bounds, torch.cat([read.bounds, ends], dim=-1))
    return Edges(at.low, bounds, used, Candidates.of(symbols))


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
            lists = build_child_lists(first[wide], sizes[wide], listed, column, reach)
        over = int(np.count_nonzero(column == PAD))
        most = int(np.diff(children, append=rows).max(initial=0))
        yield Level(reach, lists, over > shorter, over > 0, most)
        first, shorter = children, over
