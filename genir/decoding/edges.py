"""Edges out of the nodes of a search: symbols to score, and row ranges of the chosen ones.

Row ranges are relative to the node, as the trie stores them. Only the edges that a search keeps
are converted to rows of the table (`Edges.take`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from genir.identifiers.table import PAD


class Candidates(NamedTuple):
    """Symbols to score, one per slot.

    Attributes:
        symbols: int64 [B, K, C], valid in every slot, used or not; None if each slot's symbol is
            its number.
        finished: Slots of complete identifiers, whose only child is itself under PAD, bool
            [B, K, C]; None without any.
    """

    symbols: Tensor | None
    finished: Tensor | None = None

    @classmethod
    def of(cls, symbols: Tensor) -> Self:
        """Return the candidates of symbols that may be PAD, int64 [B, K, C]."""
        return cls(symbols.clamp(min=0), symbols == PAD)

    def map(self, function: Callable[[Tensor], Tensor]) -> "Candidates":
        """Apply a function to each tensor."""
        return Candidates(*(None if part is None else function(part) for part in self))


class TakenEdges(NamedTuple):
    """Chosen edges, int64 [B, N] each: beam of the parent, symbol, and row range [low, high)."""

    parents: Tensor
    symbols: Tensor
    low: Tensor
    high: Tensor


@dataclass(frozen=True)
class Edges:
    """Children of each beam's node, in C slots per beam, in the order of their rows.

    Attributes:
        first: First row of each node, int64 [B, K].
        bounds: First row of each child relative to its node, int [B, K, C + 1]. A child ends where
            the next slot begins; an unused slot is an empty range.
        used: Whether a slot holds a child, bool [B, K, C].
        candidates: Symbols, [B, K, C].
    """

    first: Tensor
    bounds: Tensor
    used: Tensor
    candidates: Candidates

    @property
    def low(self) -> Tensor:
        """First row of each child, int64 [B, K, C]; equal to `high` in an unused slot."""
        return self.first.unsqueeze(-1) + self.bounds[..., :-1]

    @property
    def high(self) -> Tensor:
        """End of each child's row range, exclusive, int64 [B, K, C]."""
        return self.first.unsqueeze(-1) + self.bounds[..., 1:]

    @property
    def sizes(self) -> Tensor:
        """Number of rows of each child, int [B, K, C]."""
        return self.bounds[..., 1:] - self.bounds[..., :-1]

    @property
    def symbols(self) -> Tensor:
        """Symbol of each child, int64 [B, K, C]; PAD in unused slots and at complete ones."""
        symbols, finished = self.candidates
        absent = ~self.used if finished is None else ~self.used | finished
        return self.symbols_or_slots(symbols).masked_fill(absent, PAD)

    def symbols_or_slots(self, symbols: Tensor | None) -> Tensor:
        """Return the symbols, or the slots' numbers if None."""
        if symbols is not None:
            return symbols
        return torch.arange(self.used.shape[-1], device=self.used.device).expand(self.used.shape)

    def expand(self, batch: int) -> "Edges":
        """Broadcast the edges of one query to a batch, without copies."""
        if batch == 1:
            return self

        def wide(tensor: Tensor) -> Tensor:
            return tensor.expand(batch, *tensor.shape[1:])

        first, bounds, used = (wide(tensor) for tensor in (self.first, self.bounds, self.used))
        return Edges(first, bounds, used, self.candidates.map(wide))

    def select_first(self) -> "Edges":
        """Return the edges of the first query."""
        first, bounds, used = (t[:1] for t in (self.first, self.bounds, self.used))
        return Edges(first, bounds, used, self.candidates.map(lambda part: part[:1]))

    def take(self, chosen: Tensor) -> TakenEdges:
        """Return edges by their flat indices over beams and slots, int64 [B, N]."""
        slots = self.used.shape[-1]
        parents = chosen.div(slots, rounding_mode="trunc")
        at = chosen + parents  # each beam has one bound more than slots
        first, bounds = self.first.gather(1, parents), self.bounds.flatten(1)
        low, high = first + bounds.gather(1, at), first + bounds.gather(1, at + 1)
        symbols = self.candidates.symbols
        if symbols is None:
            return TakenEdges(parents, chosen - parents * slots, low, high)
        return TakenEdges(parents, symbols.flatten(1).gather(1, chosen), low, high)
