"""Differentiable log-probabilities of identifiers, per symbol, equal to the search scores."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.decoding.edge_scorers import Softmax, score_edges
from genir.decoding.edges import Candidates, Edges
from genir.decoding.trie import Trie
from genir.identifiers.table import PAD
from genir.models.base import Batch, DocidModel

MAX_LOGITS_PER_BATCH = 1 << 22
"""Maximum number of edges, including padding, scored at once: about 200 MB."""


def log_p(
    model: DocidModel,
    trie: Trie,
    inputs: tuple[Tensor, Tensor],
    rows: Tensor,
    softmax: Softmax,
    length: int | None = None,
) -> Tensor:
    """Return log p of each symbol of C rows per source, float32 [B, C, T].

    The word scores of an encoder-head model, which are not trained, are excluded.

    Args:
        inputs: `input_ids` and `attention_mask` of the sources, int64 [B, S] each.
        rows: Rows of the table, int64 [B, C]; the result is arbitrary for rows below 0.
        softmax: Softmax over the vocabulary or over the legal symbols; none for logits.
        length: Number of leading symbols to score; None for all.

    Returns:
        Log-probabilities or logits, 0 after an identifier's end.
    """
    rows = rows.clamp(min=0)
    symbols = trie.symbols[rows, :length].long()
    symbols = symbols[..., : int((symbols != PAD).sum(dim=-1).max())]
    if softmax == "trie":
        choices = legal_choices(model, trie, inputs, rows)
        own = [torch.where(one.chosen, one.log_p, 0.0).sum(dim=-1) for one in choices]
        chosen = torch.cat(own, dim=-1)[..., : symbols.shape[-1]]
        return F.pad(chosen, (0, symbols.shape[-1] - chosen.shape[-1]))
    hidden = model.teacher_forced_states(inputs, symbols)
    score = _logits_of_symbols if softmax == "none" else _log_p_of_symbols
    steps = [score(model, states, depth, symbols[..., depth])
             for depth, states in enumerate(hidden)]  # fmt: skip
    return torch.stack(steps, dim=-1)


@dataclass(frozen=True)
class LegalChoices:
    """Legal next symbols of row prefixes at some depths, [B, C, depths, slots] each.

    log_p: softmax over a prefix's legal edges, float32, -inf for padding. legal: whether a slot is
    an edge. chosen: whether the row takes the edge. low, high: row range below the edge.
    """

    log_p: Tensor
    legal: Tensor
    chosen: Tensor
    low: Tensor
    high: Tensor


def legal_choices(
    model: DocidModel, trie: Trie, inputs: tuple[Tensor, Tensor], rows: Tensor
) -> Iterator[LegalChoices]:
    """Yield the choices along the prefixes of rows, int64 [B, C], by increasing depth.

    Stops at the depth where each prefix has a single continuation. Levels with a common vocabulary
    are scored in one product: its gradient is as large as the output matrix, whatever the number
    of rows used.
    """
    symbols = trie.symbols[rows, : int(trie.unique_prefix_length(rows).max())].long()
    hidden = model.teacher_forced_states(inputs, symbols)
    most = MAX_LOGITS_PER_BATCH if model.shares_vocabulary else 0
    depths: list[_Depth] = []
    slots = 0
    for (depth, states), (edges, chosen) in zip(
        enumerate(hidden), edges_along(trie, rows), strict=False
    ):
        slots = max(slots, chosen.shape[-1])
        if depths and (len(depths) + 1) * slots * rows.numel() > most:
            yield _score(model, depths)
            depths, slots = [], chosen.shape[-1]
        depths.append(_Depth(depth, states, edges, chosen))
    yield _score(model, depths)


def mean_of_symbols(losses: Sequence[Tensor], batch: Batch) -> Tensor:
    """Return the mean over the batch's target symbols, weighted by example.

    losses: float32 [B, 1, depths] each, from `legal_choices`; forced symbols have loss 0.
    """
    own = torch.cat(list(losses), dim=-1).squeeze(1)
    weights = batch.weights[:, None] * (batch.targets != PAD)
    return (own * weights[:, : own.shape[1]]).sum() / weights.sum()


class _Depth(NamedTuple):
    depth: int
    states: Tensor
    edges: Edges
    chosen: Tensor


def _score(model: DocidModel, depths: Sequence[_Depth]) -> LegalChoices:
    slots = max(one.chosen.shape[-1] for one in depths)

    def together(tensors: Iterable[Tensor]) -> Tensor:
        return torch.stack([F.pad(one, (0, slots - one.shape[-1])) for one in tensors], dim=2)

    low, high = (
        together(one.edges.low for one in depths),
        together(one.edges.high for one in depths),
    )
    symbols = together(one.edges.symbols for one in depths)
    states = torch.stack([one.states for one in depths], dim=2)
    legal = low < high
    candidates = Candidates.of(symbols.flatten(1, 2))
    log_p = score_edges(
        model, states.flatten(1, 2), depths[0].depth, candidates, legal.flatten(1, 2), "trie"
    )
    chosen = together(one.chosen for one in depths)
    return LegalChoices(log_p.view_as(legal), legal, chosen, low, high)


def edges_along(trie: Trie, rows: Tensor) -> Iterator[tuple[Edges, Tensor]]:
    """Yield per depth the edges out of the rows' prefixes, and which edge each row takes.

    rows: int64 [B, C]. The edges and the bool tensor are [B, C, slots].
    """
    low = torch.zeros_like(rows)
    high = low + trie.rows
    for depth in range(trie.depth):
        edges = trie.children(low, high, depth)
        place = rows.unsqueeze(-1)
        chosen = (edges.low <= place) & (place < edges.high)
        yield edges, chosen
        low, high = (torch.where(chosen, t, 0).sum(dim=-1) for t in (edges.low, edges.high))


def _logits_of_symbols(model: DocidModel, hidden: Tensor, depth: int, symbols: Tensor) -> Tensor:
    """Return the logits of symbols [B, C], float32 [B, C]."""
    known = symbols.clamp(min=0)
    if hidden.shape[1] < symbols.shape[1]:  # one state per source, shared by its rows
        found = model.level_logits(hidden.squeeze(1), depth).gather(1, known)
    else:
        found = model.logits(hidden, depth, known.unsqueeze(-1)).squeeze(-1)
    return found.masked_fill(symbols == PAD, 0.0)


def _log_p_of_symbols(model: DocidModel, hidden: Tensor, depth: int, symbols: Tensor) -> Tensor:
    """Return log p of symbols [B, C] by the softmax over the level, float32 [B, C]."""
    real = symbols != PAD
    if hidden.shape[1] < symbols.shape[1]:  # one state per source, shared by its rows
        every = model.level_logits(hidden.squeeze(1), depth).log_softmax(dim=-1)
        return every.gather(1, symbols.clamp(min=0)).masked_fill(~real, 0.0)
    # Only real positions are multiplied by the vocabulary matrix, which may be large.
    found = -F.cross_entropy(
        model.level_logits(hidden[real], depth), symbols[real], reduction="none"
    )
    return found.new_zeros(symbols.shape).masked_scatter(real, found)
