"""Best-first search with a proven top k (docs/concepts/trie-and-beam.md).

Log-probabilities are at most 0, so a prefix bounds all that it may become: once k identifiers score
above the best open prefix, no other can be better.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genir.config import DecodingSection
from genir.decoding.beams import Beams
from genir.decoding.exhaustive import Nodes, kth_best, places, ranked, score_leaves
from genir.decoding.lookahead import Lift, look_ahead
from genir.decoding.masks import LiveRows
from genir.decoding.readers import score_edges
from genir.decoding.trie import Trie
from genir.identifiers.table import PAD
from genir.models.base import DocidModel
from genir.stopping import checkpoint

FEW = 1024
"""Rows of a node that are completed at once where no prefix matters: a row is a look-up a level."""
ROUND = 32
"""Nodes of a query expanded together: more waste expansions, fewer make more rounds."""
ROUNDING = 1e-4
"""By how much sums of the same log-probabilities may differ: what is as close counts as a tie."""


@dataclass(frozen=True)
class Found:
    """What a best-first search found.

    beams: finished identifiers, best first. proven: bool [B], whether no other identifier of the
    query could be among its best k. expanded: int64 [B], the nodes it took.
    """

    beams: Beams
    proven: Tensor
    expanded: Tensor


@torch.inference_mode()
def exact_search(
    model: DocidModel,
    trie: Trie,
    inputs: tuple[Tensor, Tensor],
    live: LiveRows,
    k: int,
    decoding: DecodingSection,
) -> Found:
    """Return the best k identifiers of each query and all that tie with the last, with a proof.

    Arguments and scores are those of `beam_search`; `decoding.budget` is how many nodes a query
    may expand, and where it runs out, what was found so far comes back unproven. Proven is the
    ranking of identifiers, up to rounding: of documents too, where the best identifier counts, but
    not where several are added up, since those below the k-th are not known.
    """
    space = _Space(model, trie, model.start(*inputs), live, decoding)
    queries = len(inputs[0])
    opened = Nodes.roots(trie, queries)
    done = opened.take(opened.query < 0)  # none
    expanded = torch.zeros_like(opened.query)
    while True:
        checkpoint()
        total = space.total(done)
        floor = kth_best(done.query, total, k, queries)
        done = done.take(total >= floor[done.query])
        hope = space.hope(opened)
        open_still = hope >= floor[opened.query] - ROUNDING
        opened, hope = opened.take(open_still), hope[open_still]
        share = (decoding.budget - expanded).clamp(max=ROUND)
        chosen = places(opened.query, hope) < share[opened.query]
        if not chosen.any():
            break
        nodes, opened = opened.take(chosen), opened.take(~chosen)
        expanded += nodes.query.bincount(minlength=queries)
        finished, grown = space.expand(nodes)
        done, opened = done.join(finished), opened.join(grown)
    beams = ranked(done._replace(score=space.total(done)), queries)
    return Found(beams, opened.query.bincount(minlength=queries) == 0, expanded)


class _Space:
    """The nodes of a batch of queries, what they may still become, and their children."""

    def __init__(
        self,
        model: DocidModel,
        trie: Trie,
        state: Any,
        live: LiveRows,
        decoding: DecodingSection,
    ) -> None:
        self.model, self.trie, self.state, self.live = model, trie, state, live
        self.normalise = decoding.normalise
        self.lift: Lift | None = look_ahead(model, state, live, decoding.look_ahead)
        levels = model.log_levels(state)
        # Elsewhere a row costs a pass of the decoder, so only what is certain is completed.
        self.few = 1 if levels is None else FEW
        self.bound: Tensor | None = None
        if levels is not None and self.normalise == "vocabulary":
            self.bound = _bound(trie, levels)

    def total(self, nodes: Nodes) -> Tensor:
        """Return what nodes are worth, float32 [N]: log p and look-ahead."""
        if self.lift is None:
            return nodes.score
        return nodes.score + self.lift.of(nodes.query, nodes.low, nodes.high)

    def hope(self, nodes: Nodes) -> Tensor:
        """Return a bound of what they may become."""
        total = self.total(nodes)
        return total if self.bound is None else total + self.bound[nodes.query, nodes.depth]

    def expand(self, nodes: Nodes) -> tuple[Nodes, Nodes]:
        """Return finished identifiers and open children of nodes."""
        finished = grown = nodes.take(nodes.query < 0)  # none
        for depth in torch.unique(nodes.depth).tolist():
            own = nodes.take(nodes.depth == depth)
            small = own.high - own.low <= self.few
            leaves = score_leaves(
                self.model, self.trie, self.state, self.live, own.take(small), self.normalise
            )
            finished = finished.join(leaves)
            if not small.all():
                children = self._children(own.take(~small), depth)
                ended = self._ended(children)
                finished = finished.join(children.take(ended))
                grown = grown.join(children.take(~ended))
        return finished, grown

    def _children(self, nodes: Nodes, depth: int) -> Nodes:
        """Return the children with a live row, of nodes at one depth."""
        prefixes = self.trie.symbols[nodes.low, :depth].long()
        (hidden,) = self.model.hidden_after(self.state, nodes.query, prefixes, depth)
        edges = self.trie.children(nodes.low[:, None], nodes.high[:, None], depth)
        query, node_depth, score = (
            tensor[:, None, None].expand(edges.low.shape)
            for tensor in (nodes.query, nodes.depth, nodes.score)
        )
        spread = Nodes(query, edges.low, edges.high, node_depth + 1, score)
        legal = self.live.legal(edges.low, edges.high, query)
        steps = score_edges(self.model, hidden[:, None], depth, edges, legal, self.normalise)
        return spread._replace(score=spread.score + steps).take(legal)

    def _ended(self, nodes: Nodes) -> Tensor:
        """Tell which are whole identifiers; none is a prefix of another, so the first row tells."""
        last = self.trie.depth
        following = self.trie.symbols[nodes.low, nodes.depth.clamp(max=last - 1)]
        return (nodes.depth == last) | (following == PAD)


def _bound(trie: Trie, levels: list[Tensor]) -> Tensor:
    """Return the most that symbols from each depth on can add, float32 [B, depth + 1].

    A level where some identifier has ended may add nothing; any other adds at most its best symbol.
    """
    best = torch.stack([level.amax(dim=-1) for level in levels[: trie.depth]], dim=1)
    best = best.masked_fill((trie.symbols == PAD).any(dim=0), 0.0)
    later = best.flip(1).cumsum(dim=1).flip(1)
    return F.pad(later, (0, 1))
