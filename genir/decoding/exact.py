"""Best-first search with a proven top k (docs/concepts/, "Decoding").

Log-probabilities are at most 0, so the score of a prefix bounds its completions. Once k identifiers
score above the best open prefix, the top k is final.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.cancellation import raise_if_cancelled
from genir.decoding.beam_state import Beams
from genir.decoding.edge_scorers import score_edges
from genir.decoding.exhaustive import (
    PrefixBatch,
    kth_best,
    rank_within_query,
    score_leaves,
    sort_by_score,
)
from genir.decoding.prefix_prior import PrefixMaxPrior, make_prefix_prior
from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.trie import Trie
from genir.identifiers.table import PAD
from genir.models.base import ConstrainedDecoder, Inputs

MAX_LEAF_ROWS = 1024
"""Maximum number of rows of a node scored at once, if a row costs one look-up a level."""
EXPANSIONS_PER_ROUND = 32
"""Nodes of a query expanded in one batch: more waste expansions, fewer need more batches."""
SCORE_TOLERANCE = 1e-4
"""Tolerance of sums of the same log-probabilities; scores within it are ties."""


@dataclass(frozen=True)
class ExactResult:
    """Result of a best-first search.

    Attributes:
        beams: Complete identifiers, best first.
        proven: Whether no other identifier can be in the top k of the query, bool [B].
        expanded_nodes: Number of expanded nodes, int64 [B].
    """

    beams: Beams
    proven: Tensor
    expanded_nodes: Tensor


@torch.inference_mode()
def exact_search(
    model: ConstrainedDecoder,
    trie: Trie,
    inputs: Inputs,
    live: RowMask,
    k: int,
    options: SearchOptions,
) -> ExactResult:
    """Return the top k identifiers of each query and all ties with the last, with a proof.

    Arguments and scores are the same as in `beam_search`. `options.max_nodes` limits the expanded
    nodes of a query; if it is exhausted, the results so far are returned unproven. The ranking of
    identifiers is proven up to rounding. So is the ranking of documents if the best identifier
    counts, but not if several are summed, since identifiers beyond the top k are unknown.
    """
    space = _SearchSpace(model, trie, model.encode(*inputs), live, options)
    queries = len(inputs[0])
    opened = PrefixBatch.roots(trie, queries)
    done = opened.select(opened.query < 0)  # none
    expanded = torch.zeros_like(opened.query)
    while True:
        raise_if_cancelled()
        total = space.total(done)
        floor = kth_best(done.query, total, k, queries)
        done = done.select(total >= floor[done.query])
        hope = space.upper_bound(opened)
        open_still = hope >= floor[opened.query] - SCORE_TOLERANCE
        opened, hope = opened.select(open_still), hope[open_still]
        share = (options.max_nodes - expanded).clamp(max=EXPANSIONS_PER_ROUND)
        chosen = rank_within_query(opened.query, hope) < share[opened.query]
        if not chosen.any():
            break
        nodes, opened = opened.select(chosen), opened.select(~chosen)
        expanded += nodes.query.bincount(minlength=queries)
        finished, grown = space.expand(nodes)
        done, opened = done.concatenate(finished), opened.concatenate(grown)
    beams = sort_by_score(done._replace(score=space.total(done)), queries)
    return ExactResult(beams, opened.query.bincount(minlength=queries) == 0, expanded)


class _SearchSpace:
    """Search space of a batch of queries: children of nodes and bounds of their scores."""

    def __init__(
        self,
        model: ConstrainedDecoder,
        trie: Trie,
        state: Any,
        live: RowMask,
        options: SearchOptions,
    ) -> None:
        self.model, self.trie, self.state, self.live = model, trie, state, live
        self.softmax = options.softmax
        self.prior: PrefixMaxPrior | None = make_prefix_prior(model, trie, state, live, options)
        levels = model.prefix_free_log_probs(state)
        # Without `levels` a row costs a decoder pass, so only single rows are completed.
        self.leaf_rows = 1 if levels is None else MAX_LEAF_ROWS
        self.bound: Tensor | None = None
        if levels is not None and self.softmax == "vocabulary":
            self.bound = _bound(trie, levels)

    def total(self, nodes: PrefixBatch) -> Tensor:
        """Return the score of nodes, float32 [N]: log p plus look-ahead."""
        if self.prior is None:
            return nodes.score
        return self.prior.total(nodes.score, nodes.query, nodes.low, nodes.high)

    def upper_bound(self, nodes: PrefixBatch) -> Tensor:
        """Return an upper bound on the scores of completions of nodes, float32 [N]."""
        total = self.total(nodes)
        if self.bound is None or (self.prior is not None and self.prior.is_total):
            return total
        return total + self.bound[nodes.query, nodes.depth]

    def expand(self, nodes: PrefixBatch) -> tuple[PrefixBatch, PrefixBatch]:
        """Return the complete identifiers and the open children of nodes."""
        finished = grown = nodes.select(nodes.query < 0)  # none
        for depth in torch.unique(nodes.depth).tolist():
            own = nodes.select(nodes.depth == depth)
            small = own.high - own.low <= self.leaf_rows
            leaves = score_leaves(
                self.model, self.trie, self.state, self.live, own.select(small), self.softmax
            )
            finished = finished.concatenate(leaves)
            if not small.all():
                children = self._children(own.select(~small), depth)
                ended = self._ended(children)
                finished = finished.concatenate(children.select(ended))
                grown = grown.concatenate(children.select(~ended))
        return finished, grown

    def _children(self, nodes: PrefixBatch, depth: int) -> PrefixBatch:
        prefixes = self.trie.symbols[nodes.low, :depth].long()
        (hidden,) = self.model.states_for_prefixes(self.state, nodes.query, prefixes, depth)
        edges = self.trie.children(nodes.low[:, None], nodes.high[:, None], depth)
        query, node_depth, score = (
            tensor[:, None, None].expand(edges.low.shape)
            for tensor in (nodes.query, nodes.depth, nodes.score)
        )
        spread = PrefixBatch(query, edges.low, edges.high, node_depth + 1, score)
        legal = self.live.any_live(edges.low, edges.high, query)
        steps = score_edges(
            self.model, hidden[:, None], depth, edges.candidates, legal, self.softmax
        )
        return spread._replace(score=spread.score + steps).select(legal)

    def _ended(self, nodes: PrefixBatch) -> Tensor:
        """Return whether each node is complete; identifiers are prefix-free: one row suffices."""
        last = self.trie.depth
        following = self.trie.symbols[nodes.low, nodes.depth.clamp(max=last - 1)]
        return (nodes.depth == last) | (following == PAD)


def _bound(trie: Trie, levels: list[Tensor]) -> Tensor:
    """Return the maximum log p of all symbols from each depth on, float32 [B, depth + 1].

    0 for levels at which some identifier has already ended, else log p of the best symbol.
    """
    best = torch.stack([level.amax(dim=-1) for level in levels[: trie.depth]], dim=1)
    best = best.masked_fill((trie.symbols == PAD).any(dim=0), 0.0)
    later = best.flip(1).cumsum(dim=1).flip(1)
    return F.pad(later, (0, 1))
