"""Batches of prefixes, and the scores of all identifiers below them, for exact search.

Identifiers are read from the rows and teacher-forced, without a beam.
"""

from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.decoding.beam_state import Beams
from genir.decoding.edge_scorers import Softmax
from genir.decoding.row_mask import RowMask
from genir.decoding.trie import Trie
from genir.identifiers.table import PAD
from genir.models.base import ConstrainedDecoder

IDENTIFIERS_PER_BATCH = 256
"""Identifiers teacher-forced in one batch."""


class PrefixBatch(NamedTuple):
    """N prefixes or complete identifiers, each with its query, row range and depth.

    query, low, high, depth: int64 [N]; score: log-probability, float32 [N].
    """

    query: Tensor
    low: Tensor
    high: Tensor
    depth: Tensor
    score: Tensor

    @classmethod
    def roots(cls, trie: Trie, queries: int) -> Self:
        """Return the root node of each query."""
        query = torch.arange(queries, device=trie.symbols.device)
        zeros = torch.zeros_like(query)
        return cls(query, zeros, zeros + trie.rows, zeros, zeros.float())

    def select(self, chosen: Tensor) -> "PrefixBatch":
        """Return some of the prefixes. chosen: int64 indices, or a bool mask [N]."""
        return PrefixBatch(*(tensor[chosen] for tensor in self))

    def concatenate(self, *others: "PrefixBatch") -> "PrefixBatch":
        """Concatenate with other batches."""
        return PrefixBatch(*map(torch.cat, zip(self, *others, strict=True)))


def sort_by_score(found: PrefixBatch, queries: int) -> Beams:
    """Convert complete identifiers to beams, best first, padded to the longest list."""
    place = rank_within_query(found.query, found.score)
    width = int(place.max()) + 1 if len(place) else 1
    low = torch.zeros(queries, width, dtype=torch.long, device=place.device)
    high, score = low.clone(), torch.full_like(low, -torch.inf, dtype=torch.float32)
    for target, source in ((low, found.low), (high, found.high), (score, found.score)):
        target[found.query, place] = source
    return Beams(low, high, score)


def rank_within_query(query: Tensor, score: Tensor) -> Tensor:
    """Return the rank of each item within its query by descending score, from 0, int64 [N]."""
    order = score.argsort(descending=True, stable=True)
    order = order[query[order].argsort(stable=True)]
    sizes = query.bincount()
    first = sizes.cumsum(0) - sizes
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device) - first[query[order]]
    return place


def kth_best(query: Tensor, score: Tensor, k: int, queries: int) -> Tensor:
    """Return the k-th best score of each query, float32 [B]; -inf if there are fewer than k."""
    last = rank_within_query(query, score) == k - 1
    floor = torch.full((queries,), -torch.inf, device=score.device)
    floor[query[last]] = score[last]
    return floor


def score_leaves(
    model: ConstrainedDecoder,
    trie: Trie,
    state: Any,
    live: RowMask,
    nodes: PrefixBatch,
    softmax: Softmax,
) -> PrefixBatch:
    """Return the live identifiers below nodes of one depth, with complete log-probabilities."""
    owner, leaves = _leaves(trie, nodes)
    kept = live.any_live(leaves.low, leaves.high, leaves.query).nonzero()[:, 0]
    owner, leaves = owner[kept], leaves.select(kept)
    if not len(kept):
        return leaves
    depth = int(nodes.depth[0])
    symbols = trie.symbols[leaves.low].long()
    log_p = _log_p(model, state, leaves.query, symbols, depth, softmax)
    if softmax == "trie":
        log_p = log_p - _sibling_normalisers(owner, symbols, log_p, depth)
    return leaves._replace(score=leaves.score + log_p.sum(dim=1))


def _leaves(trie: Trie, nodes: PrefixBatch) -> tuple[Tensor, PrefixBatch]:
    """Return the identifiers below nodes, and the node index of each, int64 [N]."""
    sizes = nodes.high - nodes.low
    owner = torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes)
    before = sizes.cumsum(0) - sizes
    rows = torch.arange(len(owner), device=sizes.device) - (before - nodes.low)[owner]
    symbols = trie.symbols[rows]
    first = torch.ones_like(owner, dtype=torch.bool)
    first[1:] = (owner[1:] != owner[:-1]) | (symbols[1:] != symbols[:-1]).any(dim=1)
    start = first.nonzero()[:, 0]
    end = torch.cat([start, start.new_tensor([len(rows)])])[1:]
    owner, low = owner[start], rows[start]
    depth = torch.full_like(low, trie.depth)
    return owner, PrefixBatch(nodes.query[owner], low, low + end - start, depth, nodes.score[owner])


def _log_p(
    model: ConstrainedDecoder,
    state: Any,
    query: Tensor,
    symbols: Tensor,
    depth: int,
    softmax: Softmax,
) -> Tensor:
    """Return the log-probability of each symbol from `depth` on, float32 [N, T - depth]; 0 for PAD.

    symbols: int [N, T].

    With softmax "trie": up to a constant that the children of a prefix share.
    """
    wanted = symbols[:, depth:].clamp(min=0)
    levels = model.prefix_free_log_probs(state)
    if levels is not None:
        columns = [level[query, own] for level, own in zip(levels[depth:], wanted.T, strict=True)]
        log_p = torch.stack(columns, dim=1)
    else:
        parts = zip(
            torch.split(query, IDENTIFIERS_PER_BATCH),
            torch.split(symbols, IDENTIFIERS_PER_BATCH),
            strict=True,
        )
        log_p = torch.cat([_forced(model, state, *part, depth, softmax) for part in parts])
    return log_p.masked_fill(symbols[:, depth:] == PAD, 0.0)


def _forced(
    model: ConstrainedDecoder,
    state: Any,
    query: Tensor,
    symbols: Tensor,
    depth: int,
    softmax: Softmax,
) -> Tensor:
    taken = symbols.clamp(min=0)
    columns = []
    for level, hidden in enumerate(
        model.states_for_prefixes(state, query, taken[:, :-1], depth), depth
    ):
        logits = model.logits(hidden[:, None], level, taken[:, level, None, None])[:, 0, 0]
        if softmax == "vocabulary":
            logits = logits - model.log_normaliser(hidden[:, None], level)[:, 0]
        columns.append(logits)
    return torch.stack(columns, dim=1)


def _sibling_normalisers(owner: Tensor, symbols: Tensor, logits: Tensor, depth: int) -> Tensor:
    """Return the log-sum-exp over the siblings of each symbol, float32 [N, T - depth].

    Identifiers with a common prefix are adjacent, since rows are sorted.
    """
    changes = F.pad(symbols[1:] != symbols[:-1], (0, 0, 1, 0))
    owners = F.pad(owner[1:] != owner[:-1], (1, 0), value=True)
    # begins[i, n]: identifier i is the first with its prefix of n symbols.
    begins = torch.cat([owners[:, None], changes], dim=1).cumsum(dim=1) > 0
    columns = []
    for column, above, below in zip(
        logits.T, begins.T[depth:], begins.T[depth + 1 :], strict=False
    ):
        prefix = above.cumsum(0) - 1
        columns.append(_grouped_logsumexp(column[below], prefix[below])[prefix])
    return torch.stack(columns, dim=1)


def _grouped_logsumexp(values: Tensor, group: Tensor) -> Tensor:
    """Return the log-sum-exp of each group; group: int64 [N], ascending from 0."""
    groups = int(group[-1]) + 1
    top = values.new_full((groups,), -torch.inf).scatter_reduce(0, group, values, "amax")
    sums = values.new_zeros(groups).index_add(0, group, (values - top[group]).exp())
    return top + sums.log()
