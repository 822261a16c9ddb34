"""Beam search under the trie, to the decoding contract (docs/architecture.md). Knows no documents.

score(identifier | query) = sum of log p(symbol | prefix, query), with the softmax over the level's
whole vocabulary or over the legal symbols only. No length penalty. With look-ahead, a document's
prior counts too: to choose beams, and in the score of what they end in.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genir.config import DecodingSection
from genir.decoding.lookahead import Lift, look_ahead
from genir.decoding.masks import LiveRows
from genir.decoding.readers import Taken, open_reader
from genir.decoding.trie import Edges, Trie
from genir.models.base import DocidModel


@dataclass(frozen=True)
class Beams:
    """Prefixes under way, or finished identifiers: row ranges [low, high) with scores.

    low, high: int64 [B, K]; score: float32 [B, K], -inf for a dead beam. Best first.
    """

    low: Tensor
    high: Tensor
    score: Tensor


@dataclass(frozen=True)
class Step:
    """One level of a beam search.

    edges: the candidates, out of the beams before. log_p, totals: float32 [B, K, C], of the step,
    and of the whole prefix with its look-ahead: what the best are chosen by. kept: the beams after,
    their scores log p. total: float32 [B, beams], their totals. parents: int64 [B, beams], the beam
    before. symbols: int64 [B, beams], taken by them. passes: of the model, up to here.
    """

    edges: Edges
    log_p: Tensor
    totals: Tensor
    kept: Beams
    total: Tensor
    parents: Tensor
    symbols: Tensor
    passes: int = 0


def beam_search(
    model: DocidModel,
    trie: Trie,
    inputs: tuple[Tensor, Tensor],
    live: LiveRows,
    decoding: DecodingSection,
    wanted: int | None = None,
) -> Beams:
    """Return the best identifiers of each query, as row ranges of the trie.

    inputs: token ids and attention mask, int64 [B, S] each. live: the rows that each may be led
    to. Of `decoding`, `beams`, `normalise` and `look_ahead` count: at most `beams` identifiers come
    back, and with `beams` >= rows the search is exhaustive. wanted: how many of them the caller
    has a use for, if not all: the best so many are the same, the others may be missing.
    """
    for step in beam_steps(model, trie, inputs, live, decoding, wanted):
        last = step
    return replace(last.kept, score=last.total)


@torch.inference_mode()
def beam_steps(
    model: DocidModel,
    trie: Trie,
    inputs: tuple[Tensor, Tensor],
    live: LiveRows,
    decoding: DecodingSection,
    wanted: int | None = None,
) -> Iterator[Step]:
    """Yield the levels of `beam_search`, for those who want to watch it."""
    state = model.start(*inputs)
    lift = look_ahead(model, state, live, decoding.look_ahead)
    # With look-ahead, beams are not ordered by log p alone.
    reader = open_reader(model, trie, state, decoding.normalise, None if lift else wanted)
    current, taken = root(trie, inputs[0].shape[0]), None
    for depth in range(trie.depth):
        edges = trie.children(current.low, current.high, depth)
        log_p = reader.read(depth, taken, edges, live.legal(edges.low, edges.high))
        step = advance(current, edges, log_p, decoding.beams, lift)
        current = step.kept
        taken = Taken(current.low, current.high, current.score, step.parents, step.symbols)
        yield replace(step, passes=reader.passes)


def root(trie: Trie, batch: int) -> Beams:
    """Return the beams before the first symbol: one a query, of all rows."""
    device = trie.symbols.device
    low = torch.zeros(batch, 1, dtype=torch.long, device=device)
    return Beams(low, low + trie.rows, torch.zeros(batch, 1, device=device))


def advance(current: Beams, edges: Edges, log_p: Tensor, beams: int, lift: Lift | None) -> Step:
    """Keep the best `beams` edges of each query."""
    batch, _, slots = log_p.shape
    scores = current.score.unsqueeze(-1) + log_p
    totals = scores if lift is None else scores + lift(edges.low, edges.high)
    total, chosen = totals.view(batch, -1).topk(min(beams, totals[0].numel()), dim=-1)
    low, high, symbols, score = (
        tensor.view(batch, -1).gather(1, chosen)
        for tensor in (edges.low, edges.high, edges.symbols, scores)
    )
    dead = total == -torch.inf
    kept = Beams(low.masked_fill(dead, 0), high.masked_fill(dead, 0), score)
    return Step(edges, log_p, totals, kept, total, chosen // slots, symbols.clamp(min=0))
