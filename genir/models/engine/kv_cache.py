"""Key-value cache of the decoder.

Keys and values are written once and never moved. A row is a list of slots, so rows share common
prefixes, and reordering beams only selects slot lists.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from genir.models.engine.weights import Decoder


class KVPool:
    """Keys and values of all positions of a search: [slots, 2, heads, size] for each layer."""

    def __init__(self, layers: list[Tensor], used: int = 0) -> None:
        self.layers = layers
        self.used = used

    def allocate(self, count: int) -> int:
        """Reserve `count` unused slots and return the first one."""
        first, self.used = self.used, self.used + count
        if self.used > len(self.layers[0]):
            self.layers = [_grown(layer, first, max(self.used, 2 * first)) for layer in self.layers]
        return first

    def compact(self, slots: Tensor) -> tuple["KVPool", Tensor]:
        """Return a pool of the slots in use, int64 [N, L], and their new indices.

        Synchronises with the device.
        """
        kept, places = torch.unique(slots, return_inverse=True)
        return KVPool([layer.index_select(0, kept) for layer in self.layers], len(kept)), places


def _grown(layer: Tensor, used: int, room: int) -> Tensor:
    grown = layer.new_empty(room, *layer.shape[1:])
    grown[:used] = layer[:used]
    return grown


@dataclass(frozen=True)
class CrossAttentionCache:
    """Cross-attention keys and values, [B, S, 2, heads, size] for each layer; mask: [B, 1, 1, S].

    decoder: the weights that they were computed with.
    """

    decoder: Decoder
    layers: list[Tensor]
    mask: Tensor


@dataclass(frozen=True)
class DecoderState:
    """Decoder state of N rows, each a prefix for one query.

    Attributes:
        pool: Self-attention cache.
        slots: Pool slots of each row, int64 [N, L]; undefined beyond its length.
        lengths: Positions decoded, int64 [N].
        queries: Query of each row, int64 [N].
        beams: Rows of each query, if equal and in order; else None.
        length: Common length of all rows, if the host knows it; else None.
    """

    cross_attention: CrossAttentionCache
    pool: KVPool
    slots: Tensor
    lengths: Tensor
    queries: Tensor
    beams: int | None
    length: int | None


@dataclass(frozen=True)
class QueryGroups:
    """Rows grouped by query, so that the rows of a query share its keys and values.

    Attributes:
        width: Rows of a group, W.
        queries: Queries that have rows, int64 [Q]; None for all.
        places: Row at each position of a group, int64 [Q, W], arbitrary if unused; None if rows
            are grouped already.
        inverse: Position of each row, int64 [N]; None likewise.
    """

    width: int
    queries: Tensor | None = None
    places: Tensor | None = None
    inverse: Tensor | None = None

    @classmethod
    def build(cls, queries: Tensor, batch: int) -> "QueryGroups":
        """Group rows by query, int64 [N] below `batch`. Synchronises with the device."""
        present, group, counts = torch.unique(queries, return_inverse=True, return_counts=True)
        width = int(counts.max())
        order = group.argsort(stable=True)
        rows = torch.arange(len(queries), device=queries.device)
        if len(present) * width == len(rows) and torch.equal(order, rows):
            return cls(width, None if len(present) == batch else present)
        begins = counts.cumsum(0) - counts
        back = group * width
        back[order] += rows - begins[group[order]]
        places = rows.new_zeros(len(present) * width)
        places[back] = rows
        chosen = None if len(present) == batch else present
        return cls(width, chosen, places.view(-1, width), back)

    @property
    def even(self) -> int | None:
        """Number of rows of each query, if rows are in order and every query has some."""
        return self.width if self.places is None and self.queries is None else None

    def gather(self, rows: Tensor) -> Tensor:
        """Arrange rows, [N, T, ...], by query: [Q, W * T, ...]."""
        if self.places is not None:
            rows = rows[self.places]
            return rows.flatten(1, 2)
        return rows.reshape(-1, self.width * rows.shape[1], *rows.shape[2:])

    def scatter(self, groups: Tensor, length: int) -> Tensor:
        """Restore the order of rows: [Q, W * T, ...] to [N, T, ...]."""
        rows = groups.reshape(-1, length, *groups.shape[2:])
        return rows if self.inverse is None else rows[self.inverse]

    def select(self, sources: Tensor) -> Tensor:
        """Select the queries that have rows: [B, ...] to [Q, ...]."""
        return sources if self.queries is None else sources.index_select(0, self.queries)
