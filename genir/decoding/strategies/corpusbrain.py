"""Beam search for sequences of several identifiers (CorpusBrain, CIKM 2022).

After an identifier the model either stops or writes the separator and the next identifier. The
probability of an end is the sum of both. score(identifier | query) is log p of the best sequence up
to this end. So it does not depend on the rest of the sequence, and an identifier never scores below
its successors.

Sequences within their first identifier and sequences within a later one have `beams` slots each.
Later identifiers therefore do not crowd out first ones.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from genir.cancellation import raise_if_cancelled
from genir.config import StrictModel
from genir.decoding.aggregate import Ranked
from genir.decoding.beam import beam_search
from genir.decoding.beam_state import Beams, top_scores
from genir.decoding.edge_scorers import score_edges
from genir.decoding.edges import Candidates, Edges
from genir.decoding.exhaustive import PrefixBatch, kth_best, rank_within_query, sort_by_score
from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.stage import Stage
from genir.decoding.strategies.base import SearchStrategy
from genir.decoding.strategies.beam import masks_of, rank_beams
from genir.decoding.trie import Trie
from genir.errors import InputError
from genir.models.base import DocidModel, Inputs

MAX_BATCHED_PREFIXES = 512
"""Sequences expanded in one batch; each needs memory for logits over a vocabulary or all edges."""


class Sequences(NamedTuple):
    """N incomplete sequences of several queries.

    Attributes:
        nodes: Prefix of the current identifier, with log p of the whole sequence.
        partners: Number of complete identifiers before it, int64 [N].
        beam: Beam of the query in the decoder state, int64 [N].
        symbol: Last symbol, which the beam has yet to decode, int64 [N].
    """

    nodes: PrefixBatch
    partners: Tensor
    beam: Tensor
    symbol: Tensor

    @classmethod
    def roots(cls, trie: Trie, queries: int) -> "Sequences":
        """Return an empty sequence for each query."""
        nodes = PrefixBatch.roots(trie, queries)
        return cls(nodes, nodes.depth, nodes.depth, nodes.depth)

    def take(self, chosen: Tensor) -> "Sequences":
        """Return a subset by int64 indices or by a bool mask [N]."""
        return Sequences(self.nodes.select(chosen), *(tensor[chosen] for tensor in self[1:]))

    @classmethod
    def join(cls, parts: list["Sequences"]) -> "Sequences":
        """Concatenate batches."""
        nodes, *others = zip(*parts, strict=True)
        return cls(nodes[0].concatenate(*nodes[1:]), *map(torch.cat, others))


class CorpusBrainOptions(StrictModel):
    """Options of CorpusBrain's decoding."""

    max_identifiers: int = Field(default=5, ge=1, description="maximum identifiers per answer")


class CorpusBrain(SearchStrategy):
    """Beam search for sequences of identifiers, for models trained on them."""

    name = "corpusbrain"
    Options = CorpusBrainOptions

    @classmethod
    def max_identifiers(cls, options: CorpusBrainOptions) -> int:
        """Return the maximum number of identifiers in one answer."""
        return options.max_identifiers

    def search(
        self, stage: Stage, queries: Sequence[str], row_mask: RowMask, beams: int, k: int
    ) -> list[list[Ranked]]:
        """Return the documents of the best identifiers in any position of a sequence."""
        options = self.search_options(stage, row_mask, beams)._replace(
            beams=beams,  # sequences can outnumber the rows
            max_identifiers=self.options.max_identifiers,
        )
        top_k = k if stage.has_unique_identifiers else None
        search = beam_search if options.max_identifiers == 1 else search_sequences
        with stage.autocast():
            inputs = stage.encode(queries)
            found = search(stage.model, stage.trie, inputs, row_mask, options, top_k)
        return rank_beams(stage.table, found, masks_of(row_mask, queries), "max")


@torch.inference_mode()
def search_sequences(
    model: DocidModel,
    trie: Trie,
    inputs: Inputs,
    live: RowMask,
    options: SearchOptions,
    wanted: int | None = None,
) -> Beams:
    """Return the highest-scoring identifiers in sequences of up to `options.max_identifiers`.

    Each identifier is returned once, with its best sequence. Every identifier must end with one
    symbol that occurs nowhere else. Arguments and result are the same as in `beam_search`. Each
    step synchronises with the device.

    Raises:
        InputError: The model has no separator.
    """
    if model.separator is None:
        raise InputError(
            f"[decoding] max_identifiers = {options.max_identifiers}: a {model.kind!r} model has "
            "no separator "
            "for these identifiers; set max_identifiers = 1"
        )
    space = _Space(model, trie, live, options, model.separator)
    queries = len(inputs[0])
    state, hidden = model.step(model.encode(*inputs), None, None)
    sequences = Sequences.roots(trie, queries)
    done = sequences.nodes.select(sequences.partners < 0)  # none
    while True:
        raise_if_cancelled()
        ended, sequences = space.expand(sequences, hidden)
        done = _best_per_document(done.concatenate(ended), trie.rows, options.beams)
        sequences = _prune(sequences, options.beams, done, wanted, queries)
        if not len(sequences.partners):
            return sort_by_score(done, queries)
        beam = rank_within_query(sequences.nodes.query, sequences.nodes.score)
        state, hidden = model.step(state, *_state_moves(sequences, beam, queries))
        sequences = sequences._replace(beam=beam)


def _best_per_document(done: PrefixBatch, rows: int, beams: int) -> PrefixBatch:
    """Keep the best sequence of each identifier, and the top `beams` identifiers of each query."""
    _, identifier = torch.unique(done.query * rows + done.low, return_inverse=True)
    done = done.select(rank_within_query(identifier, done.score) == 0)
    return done.select(rank_within_query(done.query, done.score) < beams)


def _prune(
    sequences: Sequences, beams: int, done: PrefixBatch, wanted: int | None, queries: int
) -> Sequences:
    """Keep the top `beams` sequences within the first identifier, and within later ones.

    Scores only decrease, so sequences below the `wanted`-th best identifier are dropped.
    """
    nodes = sequences.nodes
    kept = rank_within_query(2 * nodes.query + (sequences.partners > 0), nodes.score) < beams
    if wanted is not None:
        kept &= nodes.score >= kth_best(done.query, done.score, wanted, queries)[nodes.query]
    return sequences.take(kept)


def _state_moves(sequences: Sequences, beam: Tensor, queries: int) -> tuple[Tensor, Tensor]:
    """Return parents and symbols of the next beams, int64 [B, K] each; 0 for unused beams."""
    parents = beam.new_zeros(queries, int(beam.max()) + 1)
    symbols = torch.zeros_like(parents)
    parents[sequences.nodes.query, beam] = sequences.beam
    symbols[sequences.nodes.query, beam] = sequences.symbol
    return parents, symbols


class _Space:
    """Search space: continuations of sequences."""

    def __init__(
        self,
        model: DocidModel,
        trie: Trie,
        live: RowMask,
        options: SearchOptions,
        separator: int,
    ) -> None:
        self.model, self.trie, self.live = model, trie, live
        self.options, self.separator = options, separator

    def expand(self, sequences: Sequences, hidden: Tensor) -> tuple[PrefixBatch, Sequences]:
        """Return complete identifiers and continued sequences; hidden: [B, K, H].

        Within an identifier, at most `beams` edges of each sequence are kept.
        """
        hidden = hidden[sequences.nodes.query, sequences.beam]
        ended, going = zip(*self._by_depth(sequences, hidden), strict=True)
        return ended[0].concatenate(*ended[1:]), Sequences.join(
            [one for own in going for one in own]
        )

    def _by_depth(
        self, sequences: Sequences, hidden: Tensor
    ) -> Iterator[tuple[PrefixBatch, tuple[Sequences, Sequences]]]:
        """Expand the sequences by depth, at most `MAX_BATCHED_PREFIXES` in one batch."""
        for depth in torch.unique(sequences.nodes.depth).tolist():
            for some in (
                (sequences.nodes.depth == depth).nonzero()[:, 0].split(MAX_BATCHED_PREFIXES)
            ):
                yield self._expand(sequences.take(some), hidden[some], depth)

    def _expand(
        self, sequences: Sequences, hidden: Tensor, depth: int
    ) -> tuple[PrefixBatch, tuple[Sequences, Sequences]]:
        """Return complete identifiers, and sequences after a separator and within an identifier."""
        nodes = sequences.nodes
        edges = self.trie.children(nodes.low[:, None], nodes.high[:, None], depth)  # [N, 1, C]
        legal = self.live.any_live(edges.low, edges.high, nodes.query)
        ends = legal & self.trie.is_terminal(edges.low, depth + 1)
        closes = ends.any(dim=-1, keepdim=True)
        log_p = self._score(hidden, depth, edges.symbols, legal, closes)
        totals = nodes.score[:, None] + log_p
        within, after = totals[:, :-1], totals[:, -1]
        ends = ends[:, 0]
        onward = (self._another(sequences, after), self._within(sequences, edges, within, ends))
        return _ended(nodes, edges, ends, (within, after)), onward

    def _score(
        self, hidden: Tensor, depth: int, symbols: Tensor, legal: Tensor, closes: Tensor
    ) -> Tensor:
        """Return log p of each edge and, where an identifier may end, the separator: [N, C + 1]."""
        both = Candidates.of(F.pad(symbols, (0, 1), value=self.separator))
        legal = torch.cat([legal, closes], dim=-1)
        softmax = self.options.softmax
        log_p = score_edges(self.model, hidden[:, None], depth, both, legal, softmax)
        return log_p[:, 0].float()

    def _another(self, sequences: Sequences, score: Tensor) -> Sequences:
        """Return the sequences after a separator, back at the root."""
        root = torch.zeros_like(sequences.partners)
        onward = Sequences(
            PrefixBatch(sequences.nodes.query, root, root + self.trie.rows, root, score),
            sequences.partners + 1,
            sequences.beam,
            root + self.separator,
        )
        return onward.take((score > -torch.inf) & (onward.partners < self.options.max_identifiers))

    def _within(
        self, sequences: Sequences, edges: Edges, totals: Tensor, ends: Tensor
    ) -> Sequences:
        """Return the top edges of each sequence that do not complete an identifier."""
        going = totals.masked_fill(ends, -torch.inf)
        count = min(self.options.beams, going.shape[1])
        score, chosen = top_scores(going, count, self.live.restrict_scores)
        _, symbol, low, high = edges.take(chosen)
        node, place = (score > -torch.inf).nonzero(as_tuple=True)
        before = sequences.take(node)
        low, high, symbol, score = (t[node, place] for t in (low, high, symbol, score))
        nodes = PrefixBatch(before.nodes.query, low, high, before.nodes.depth + 1, score)
        return Sequences(nodes, before.partners, before.beam, symbol)


def _ended(
    nodes: PrefixBatch, edges: Edges, ends: Tensor, scores: tuple[Tensor, Tensor]
) -> PrefixBatch:
    """Return the identifiers that may end after nodes, at most one for each node.

    edges: [N, 1, C]. ends: [N, C]. scores: of the edges, float32 [N, C], and of the separator,
    float32 [N].
    """
    place = ends.byte().argmax(dim=-1, keepdim=True)
    *_, low, high = (t[:, 0] for t in edges.take(place))
    end = scores[0].gather(1, place)[:, 0]
    found = PrefixBatch(nodes.query, low, high, nodes.depth + 1, torch.logaddexp(end, scores[1]))
    return found.select(ends.any(dim=-1) & (found.score > -torch.inf))
