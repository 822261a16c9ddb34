"""log p of identifiers, symbol by symbol, as search would have it, but with gradients."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.decoding.readers import Normalise, score_edges
from genir.decoding.trie import Edges, Trie
from genir.identifiers.table import PAD
from genir.models.base import DocidModel


def log_p(
    model: DocidModel,
    trie: Trie,
    inputs: tuple[Tensor, Tensor],
    rows: Tensor,
    normalise: Normalise,
) -> Tensor:
    """Return log p of each symbol of C rows of the table a source: float32 [B, C, T].

    rows: int64 [B, C]; of what is below 0, some row's figures come back. 0 past an identifier's
    end. A bridge's word channel, which no training changes, stays out.
    """
    rows = rows.clamp(min=0)
    symbols = trie.symbols[rows].long()
    symbols = symbols[..., : int((symbols != PAD).sum(dim=-1).max())]
    hidden = model.along(inputs, symbols)
    if normalise == "vocabulary":
        steps = [_of_all(model, states, depth, symbols[..., depth])
                 for depth, states in enumerate(hidden)]  # fmt: skip
    else:
        steps = [
            torch.where(chosen, legal_log_p(model, states, depth, edges), 0.0).sum(dim=-1)
            for (depth, states), (edges, chosen) in zip(
                enumerate(hidden), follow(trie, rows), strict=False
            )
        ]
    return torch.stack(steps, dim=-1)


def legal_log_p(model: DocidModel, hidden: Tensor, depth: int, edges: Edges) -> Tensor:
    """Return log p of edges by the softmax over those of each beam: float32 [B, C, slots]."""
    return score_edges(model, hidden, depth, edges, edges.low < edges.high, "legal")


def follow(trie: Trie, rows: Tensor) -> Iterator[tuple[Edges, Tensor]]:
    """Yield, depth by depth, the edges out of rows' prefixes, and which of them each row takes.

    rows: int64 [B, C]. Edges, and a bool tensor, of [B, C, slots].
    """
    low = torch.zeros_like(rows)
    high = low + trie.rows
    for depth in range(trie.depth):
        edges = trie.children(low, high, depth)
        place = rows.unsqueeze(-1)
        chosen = (edges.low <= place) & (place < edges.high)
        yield edges, chosen
        low, high = (torch.where(chosen, t, 0).sum(dim=-1) for t in (edges.low, edges.high))


def _of_all(model: DocidModel, hidden: Tensor, depth: int, symbols: Tensor) -> Tensor:
    """Return log p of symbols [B, C] by the softmax over the level: float32 [B, C]."""
    real = symbols != PAD
    if hidden.shape[1] < symbols.shape[1]:  # alike for all of a source
        every = model.level_logits(hidden.squeeze(1), depth).log_softmax(dim=-1)
        return every.gather(1, symbols.clamp(min=0)).masked_fill(~real, 0.0)
    # Only what is real is multiplied by a vocabulary, which may be large.
    found = -F.cross_entropy(
        model.level_logits(hidden[real], depth), symbols[real], reduction="none"
    )
    return found.new_zeros(symbols.shape).masked_scatter(real, found)
