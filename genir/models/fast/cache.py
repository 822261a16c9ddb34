"""What a decoder remembers of the places that it has read.

Keys and values are written once and never moved: a row is a list of slots, so that rows with a
common beginning share it, and to continue other rows is to choose among such lists.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from genir.models.fast.weights import Decoder


class Pool:
    """Keys and values of all places read in one search, by layer: [slots, 2, heads, size] each."""

    def __init__(self, layers: list[Tensor], used: int = 0) -> None:
        self.layers = layers
        self.used = used

    def claim(self, count: int) -> int:
        """Return the first of so many slots that nobody has written to."""
        first, self.used = self.used, self.used + count
        if self.used > len(self.layers[0]):
            self.layers = [_grown(layer, first, max(self.used, 2 * first)) for layer in self.layers]
        return first

    def compact(self, slots: Tensor) -> tuple["Pool", Tensor]:
        """Return a pool of what the slots, int64 [N, L], still refer to, and where that is there.

        Waits for the device.
        """
        kept, places = torch.unique(slots, return_inverse=True)
        return Pool([layer.index_select(0, kept) for layer in self.layers], len(kept)), places


def _grown(layer: Tensor, used: int, room: int) -> Tensor:
    grown = layer.new_empty(room, *layer.shape[1:])
    grown[:used] = layer[:used]
    return grown


@dataclass(frozen=True)
class Memory:
    """Keys and values of the sources, by layer: [B, S, 2, heads, size]; mask: [B, 1, 1, S].

    decoder: what they were made with, and are read with.
    """

    decoder: Decoder
    layers: list[Tensor]
    mask: Tensor


@dataclass(frozen=True)
class State:
    """Rows under way, each a prefix of a query's answer.

    slots: int64 [N, L], where in the pool a row's places lie; beyond its length they mean nothing.
    lengths: int64 [N], places read. queries: int64 [N]. beams: rows a query, if each has the same
    number and they lie in order. length: of all rows, if it is the same and the host knows it.
    """

    memory: Memory
    pool: Pool
    slots: Tensor
    lengths: Tensor
    queries: Tensor
    beams: int | None
    length: int | None


@dataclass(frozen=True)
class Grouping:
    """Rows brought together by query, so that those of one share its keys and values.

    queries: int64 [Q], those that have rows; None for all. places: int64 [Q, W], the row at each
    place (any, where there is none), and back: int64 [N], the place of each row; None where the
    rows lie so already, Q by W.
    """

    width: int
    queries: Tensor | None = None
    places: Tensor | None = None
    back: Tensor | None = None

    @classmethod
    def of(cls, queries: Tensor, batch: int) -> "Grouping":
        """Group rows by their queries, int64 [N] below `batch`. Waits for the device."""
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
        """Return the number of rows a query, if they lie in order and no query is left out."""
        return self.width if self.places is None and self.queries is None else None

    def gather(self, rows: Tensor) -> Tensor:
        """Bring rows, [N, T, ...], to their queries: [Q, W * T, ...]."""
        if self.places is not None:
            rows = rows[self.places]
            return rows.flatten(1, 2)
        return rows.reshape(-1, self.width * rows.shape[1], *rows.shape[2:])

    def scatter(self, groups: Tensor, length: int) -> Tensor:
        """Put [Q, W * T, ...] back into the order of the rows: [N, T, ...]."""
        rows = groups.reshape(-1, length, *groups.shape[2:])
        return rows if self.back is None else rows[self.back]

    def select(self, sources: Tensor) -> Tensor:
        """Keep what belongs to the queries that have rows: [B, ...] to [Q, ...]."""
        return sources if self.queries is None else sources.index_select(0, self.queries)
