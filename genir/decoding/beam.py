"""Beam search under the trie, to the decoding contract (docs/architecture.md). Knows no documents.

score(identifier | query) = sum of log p(symbol | prefix, query), with the softmax over the level's
whole vocabulary or over the legal symbols only. No length penalty.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from genir.decoding.trie import Edges, Trie
from genir.identifiers.table import PAD
from genir.models.base import DocidModel

Normalise = Literal["vocabulary", "legal"]


@dataclass(frozen=True)
class Beams:
    """Prefixes under way, or finished identifiers: row ranges [low, high) with scores.

    low, high: int64 [B, K]; score: float32 [B, K], -inf for a dead beam. Best first.
    """

    low: Tensor
    high: Tensor
    score: Tensor


@torch.inference_mode()
def beam_search(
    model: DocidModel,
    trie: Trie,
    inputs: tuple[Tensor, Tensor],
    alive: Tensor,
    beams: int,
    normalise: Normalise = "vocabulary",
) -> Beams:
    """Return the best identifiers of each query, at most `beams`, as row ranges of the trie.

    inputs: token ids and attention mask, int64 [B, S] each. alive: int32 [1 or B, rows + 1], the
    running sum of each query's live mask. With `beams` >= rows the search is exhaustive.
    """
    state = model.start(*inputs)
    current = _root(trie, inputs[0].shape[0])
    parents: Tensor | None = None
    symbols: Tensor | None = None
    for depth in range(trie.depth):
        state, hidden = model.step(state, parents, symbols)
        edges = trie.children(current.low, current.high, depth)
        steps = score_edges(model, hidden, depth, edges, legal_edges(edges, alive), normalise)
        current, parents, symbols = _advance(current, edges, steps, beams)
    return current


def _root(trie: Trie, batch: int) -> Beams:
    device = trie.symbols.device
    low = torch.zeros(batch, 1, dtype=torch.long, device=device)
    return Beams(low, low + trie.rows, torch.zeros(batch, 1, device=device))


def legal_edges(edges: Edges, alive: Tensor) -> Tensor:
    """Tell which edges, bool [B, K, C], have a live row below them."""
    if alive.shape[0] == 1:
        counts = alive[0]
        return counts[edges.high] > counts[edges.low]
    batch = edges.low.shape[0]
    low = alive.gather(1, edges.low.view(batch, -1))
    high = alive.gather(1, edges.high.view(batch, -1))
    return (high > low).view(edges.low.shape)


def score_edges(
    model: DocidModel,
    hidden: Tensor,
    depth: int,
    edges: Edges,
    legal: Tensor,
    normalise: Normalise,
) -> Tensor:
    """Return log p of each edge, float32 [B, K, C]: -inf where illegal, 0 where finished."""
    finished = edges.symbols == PAD
    logits = model.logits(hidden, depth, edges.symbols.clamp(min=0))
    if normalise == "vocabulary":
        total = model.log_normaliser(hidden, depth).unsqueeze(-1)
    else:
        total = logits.masked_fill(~legal, -torch.inf).logsumexp(dim=-1, keepdim=True)
    return (logits - total).masked_fill(finished, 0.0).masked_fill(~legal, -torch.inf)


def _advance(current: Beams, edges: Edges, steps: Tensor, beams: int) -> tuple[Beams, Any, Any]:
    """Keep the best `beams` edges of each query; return them, their parents and symbols."""
    batch, _, slots = steps.shape
    totals = (current.score.unsqueeze(-1) + steps).view(batch, -1)
    score, chosen = totals.topk(min(beams, totals.shape[1]), dim=-1)
    low = edges.low.view(batch, -1).gather(1, chosen)
    high = edges.high.view(batch, -1).gather(1, chosen)
    dead = score == -torch.inf
    kept = Beams(low.masked_fill(dead, 0), high.masked_fill(dead, 0), score)
    symbols = edges.symbols.view(batch, -1).gather(1, chosen).clamp(min=0)
    return kept, chosen // slots, symbols
