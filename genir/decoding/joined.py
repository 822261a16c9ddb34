"""Beam search for answers of several identifiers (CorpusBrain, CIKM 2022): where one ends, the
model may stop, or write the separator and go on with another. Knows no documents.

What ends an identifier is its end symbol or the separator, whichever: the probability of an end is
the sum of both. score(identifier | query) is log p of all that is written up to such an end, of the
best sequence with it: so it counts the same whether something follows, and what stands before
others in a sequence never scores below them.

Sequences that are still within their first identifier have `beams` places of their own, as many as
all others together: what leads on to further identifiers pushes no identifier out.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from genir.config import DecodingSection
from genir.decoding.beams import Beams, top
from genir.decoding.exhaustive import Nodes, kth_best, places, ranked
from genir.decoding.masks import LiveRows
from genir.decoding.readers import score_edges
from genir.decoding.trie import Edges, Trie
from genir.errors import InputError
from genir.models.base import DocidModel
from genir.stopping import checkpoint

TOGETHER = 512
"""Sequences expanded together: each takes the memory of a vocabulary of logits, or of all edges."""


class Sequences(NamedTuple):
    """N sequences under way, each within an identifier.

    nodes: the prefixes of these identifiers, by query, with log p of the whole sequence. others:
    int64 [N], how many identifiers stand before. beam: int64 [N], which of its query's beams in the
    model's state it is, or continues with `symbol`, int64 [N].
    """

    nodes: Nodes
    others: Tensor
    beam: Tensor
    symbol: Tensor

    @classmethod
    def roots(cls, trie: Trie, queries: int) -> "Sequences":
        """Return an empty sequence of each query."""
        nodes = Nodes.roots(trie, queries)
        return cls(nodes, nodes.depth, nodes.depth, nodes.depth)

    def take(self, chosen: Tensor) -> "Sequences":
        """Return those at places int64, or where bool [N] is true."""
        return Sequences(self.nodes.take(chosen), *(tensor[chosen] for tensor in self[1:]))

    @classmethod
    def join(cls, parts: list["Sequences"]) -> "Sequences":
        """Return those of all parts."""
        nodes, *others = zip(*parts, strict=True)
        return cls(nodes[0].join(*nodes[1:]), *map(torch.cat, others))


@torch.inference_mode()
def joined_search(
    model: DocidModel,
    trie: Trie,
    inputs: tuple[Tensor, Tensor],
    live: LiveRows,
    decoding: DecodingSection,
    wanted: int | None = None,
) -> Beams:
    """Return the best identifiers of each query in sequences of up to `several`, each once.

    Arguments and what comes back are those of `beam_search`, of `decoding` also `several`; all
    identifiers end in one symbol that stands nowhere else in them. Looks at the device at each
    step. Raises InputError for a model without a separator.
    """
    if model.separator is None:
        raise InputError(
            f"[decoding] several = {decoding.several}: a {model.kind!r} model of these identifiers "
            "has nothing to put between them; set it to 1"
        )
    space = _Space(model, trie, live, decoding, model.separator)
    queries = len(inputs[0])
    state, hidden = model.step(model.start(*inputs), None, None)
    sequences = Sequences.roots(trie, queries)
    done = sequences.nodes.take(sequences.others < 0)  # none
    while True:
        checkpoint()
        ended, sequences = space.expand(sequences, hidden)
        done = _best_of_each(done.join(ended), trie.rows, decoding.beams)
        sequences = _prune(sequences, decoding.beams, done, wanted, queries)
        if not len(sequences.others):
            return ranked(done, queries)
        beam = places(sequences.nodes.query, sequences.nodes.score)
        state, hidden = model.step(state, *_moves(sequences, beam, queries))
        sequences = sequences._replace(beam=beam)


def _best_of_each(done: Nodes, rows: int, beams: int) -> Nodes:
    """Keep each query's identifiers once, by their best sequences, and the best of them."""
    _, identifier = torch.unique(done.query * rows + done.low, return_inverse=True)
    done = done.take(places(identifier, done.score) == 0)
    return done.take(places(done.query, done.score) < beams)


def _prune(
    sequences: Sequences, beams: int, done: Nodes, wanted: int | None, queries: int
) -> Sequences:
    """Keep the best sequences within their first identifier, and of the others.

    Scores only fall: what is below the last of the wanted is of no use.
    """
    nodes = sequences.nodes
    kept = places(2 * nodes.query + (sequences.others > 0), nodes.score) < beams
    if wanted is not None:
        kept &= nodes.score >= kth_best(done.query, done.score, wanted, queries)[nodes.query]
    return sequences.take(kept)


def _moves(sequences: Sequences, beam: Tensor, queries: int) -> tuple[Tensor, Tensor]:
    """Return the parents and symbols of the next beams, int64 [B, K] each; 0 of unused ones."""
    parents = beam.new_zeros(queries, int(beam.max()) + 1)
    symbols = torch.zeros_like(parents)
    parents[sequences.nodes.query, beam] = sequences.beam
    symbols[sequences.nodes.query, beam] = sequences.symbol
    return parents, symbols


class _Space:
    """What may follow sequences."""

    def __init__(
        self,
        model: DocidModel,
        trie: Trie,
        live: LiveRows,
        decoding: DecodingSection,
        separator: int,
    ) -> None:
        self.model, self.trie, self.live = model, trie, live
        self.decoding, self.separator = decoding, separator

    def expand(self, sequences: Sequences, hidden: Tensor) -> tuple[Nodes, Sequences]:
        """Return the identifiers that end here, and all that goes on; hidden: [B, K, H].

        Of the symbols that may follow within an identifier, no more than `beams` can be of use.
        """
        hidden = hidden[sequences.nodes.query, sequences.beam]
        ended, going = zip(*self._by_depth(sequences, hidden), strict=True)
        return ended[0].join(*ended[1:]), Sequences.join([one for own in going for one in own])

    def _by_depth(
        self, sequences: Sequences, hidden: Tensor
    ) -> Iterator[tuple[Nodes, tuple[Sequences, Sequences]]]:
        """Expand the sequences by their depths in the trie, not too many together."""
        for depth in torch.unique(sequences.nodes.depth).tolist():
            for some in (sequences.nodes.depth == depth).nonzero()[:, 0].split(TOGETHER):
                yield self._expand(sequences.take(some), hidden[some], depth)

    def _expand(
        self, sequences: Sequences, hidden: Tensor, depth: int
    ) -> tuple[Nodes, tuple[Sequences, Sequences]]:
        """Split beams into finished ones and ones that continue in this or another identifier."""
        nodes = sequences.nodes
        edges = self.trie.children(nodes.low[:, None], nodes.high[:, None], depth)  # [N, 1, C]
        legal = self.live.legal(edges.low, edges.high, nodes.query)
        ends = legal & self.trie.ended(edges.low, depth + 1)
        log_p = self._score(hidden, depth, edges, legal, ends.any(dim=-1, keepdim=True))
        totals = nodes.score[:, None] + log_p
        within, after = totals[:, :-1], totals[:, -1]
        edges, ends = Edges(*(t[:, 0] for t in vars(edges).values())), ends[:, 0]
        onward = (self._another(sequences, after), self._within(sequences, edges, within, ends))
        return _ended(nodes, edges, ends, (within, after)), onward

    def _score(
        self, hidden: Tensor, depth: int, edges: Edges, legal: Tensor, closes: Tensor
    ) -> Tensor:
        """Return log p of each edge and, where an identifier may end, the separator: [N, C + 1]."""
        added = torch.zeros_like(closes, dtype=torch.long)
        both = Edges(
            torch.cat([edges.symbols, added + self.separator], dim=-1),
            torch.cat([edges.low, added], dim=-1),
            torch.cat([edges.high, added + self.trie.rows], dim=-1),
        )
        legal = torch.cat([legal, closes], dim=-1)
        normalise = self.decoding.normalise
        log_p = score_edges(self.model, hidden[:, None], depth, both, legal, normalise)
        return log_p[:, 0].float()

    def _another(self, sequences: Sequences, score: Tensor) -> Sequences:
        """Return the sequences after a separator, at the root again."""
        root = torch.zeros_like(sequences.others)
        onward = Sequences(
            Nodes(sequences.nodes.query, root, root + self.trie.rows, root, score),
            sequences.others + 1,
            sequences.beam,
            root + self.separator,
        )
        return onward.take((score > -torch.inf) & (onward.others < self.decoding.several))

    def _within(
        self, sequences: Sequences, edges: Edges, totals: Tensor, ends: Tensor
    ) -> Sequences:
        """Return the best edges that do not end an identifier, of each sequence."""
        going = totals.masked_fill(ends, -torch.inf)
        count = min(self.decoding.beams, going.shape[1])
        score, chosen = top(going, count, self.live.closed)
        low, high, symbol = (t.gather(1, chosen) for t in (edges.low, edges.high, edges.symbols))
        node, place = (score > -torch.inf).nonzero(as_tuple=True)
        before = sequences.take(node)
        low, high, symbol, score = (t[node, place] for t in (low, high, symbol, score))
        nodes = Nodes(before.nodes.query, low, high, before.nodes.depth + 1, score)
        return Sequences(nodes, before.others, before.beam, symbol)


def _ended(nodes: Nodes, edges: Edges, ends: Tensor, scores: tuple[Tensor, Tensor]) -> Nodes:
    """Return the identifiers that may end after nodes, of which each has one at most.

    edges, ends: [N, C]. scores: of the edges, float32 [N, C], and after the separator, [N].
    """
    place = ends.byte().argmax(dim=-1, keepdim=True)
    low, high, end = (t.gather(1, place)[:, 0] for t in (edges.low, edges.high, scores[0]))
    found = Nodes(nodes.query, low, high, nodes.depth + 1, torch.logaddexp(end, scores[1]))
    return found.take(ends.any(dim=-1) & (found.score > -torch.inf))
