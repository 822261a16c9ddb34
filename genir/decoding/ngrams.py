"""Documents by all n-grams that a beam search comes upon (SEAL, arXiv:2204.10628, section 3.3).

Every prefix that a beam holds is an n-gram, whole identifiers too. A document's score is the sum of
w(n) ** ALPHA * cover(n) over the n-grams it holds: w is `weigh`, and cover takes away from what
repeats tokens of better ones. Of n-grams at the same place of a document only the best counts; a
place is a row, so this goes for n-grams that begin alike, and cover for those that overlap.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from genir.config import DecodingSection
from genir.decoding.aggregate import Ranked
from genir.decoding.beam import beam_steps
from genir.decoding.masks import LiveRows, Mask
from genir.decoding.trie import Trie
from genir.decoding.weights import weigh
from genir.identifiers.table import PAD, IdentifierTable
from genir.models.base import DocidModel
from genir.stopping import checkpoint

ALPHA, BETA = 2.0, 0.8
"""How much better n-grams count for more, and how much of a repeated token is taken away."""
SMOOTHING = 5.0
"""Places added to those where an n-gram stands, as the authors' code does."""
DIGITS = 4
"""Weights that differ beyond are a tie, of which the longer n-gram comes first: forced tokens cost
nothing but rounding."""


class Prefixes(NamedTuple):
    """N prefixes of rows [low, high), int64 [N], of `depth` symbols; score: float32 [N], log p."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    depth: NDArray[np.int64]
    score: NDArray[np.float32]


def rank_by_ngrams(
    model: DocidModel,
    table: IdentifierTable,
    trie: Trie,
    inputs: tuple[torch.Tensor, torch.Tensor],
    live: LiveRows,
    decoding: DecodingSection,
) -> list[list[Ranked]]:
    """Return each query's documents under any prefix of its beams, best first.

    inputs, live, decoding: as `beam_search` has them.
    """
    found = search_prefixes(model, trie, inputs, live, decoding)
    masks = [live.masks[place] for place in live.places(len(found))]
    return [
        rank_prefixes(table, prefixes, mask, mask if live.closed else table.live)
        for prefixes, mask in zip(found, masks, strict=True)
    ]


@torch.inference_mode()
def search_prefixes(
    model: DocidModel,
    trie: Trie,
    inputs: tuple[torch.Tensor, torch.Tensor],
    live: LiveRows,
    decoding: DecodingSection,
) -> list[Prefixes]:
    """Return what a beam search has held at any level, and the identifiers it ended in."""
    held, depths = [], []
    for depth, step in enumerate(beam_steps(model, trie, inputs, live, decoding), start=1):
        held.append(step.kept)
        depths.append(torch.full_like(step.kept.low, depth))
        done = step.done
    held.append(done)
    depths.append((trie.symbols[done.low] != PAD).sum(dim=-1))
    low, high, score = (
        torch.cat([getattr(one, name) for one in held], dim=1).cpu().numpy()
        for name in ("low", "high", "score")
    )
    every = zip(low, high, torch.cat(depths, dim=1).cpu().numpy(), score, strict=True)
    return [Prefixes(*(part[alive[3] > -np.inf] for part in alive)) for alive in every]


def rank_prefixes(
    table: IdentifierTable, found: Prefixes, live: Mask, corpus: Mask
) -> list[Ranked]:
    """Return the documents that live rows under any of the prefixes belong to, best first.

    The row of each is one of its best n-gram's. corpus: the rows, bool [rows], in which an n-gram
    is counted.
    """
    checkpoint()
    counts = table.between(found.low, found.high, corpus)
    total = int(np.count_nonzero(corpus))
    weights = weigh(found.score, counts, total, SMOOTHING)
    order = np.lexsort((found.low, -found.depth, -weights.round(DIGITS)))
    tally = _Tally(table, found, live)
    for place in order.tolist():
        tally.count(place, weights[place] ** ALPHA)
    return tally.ranked()


class _Tally:
    """The scores of documents while n-grams are counted, the best first.

    documents: int32 [D], those met. covered: bool [D, T], which of the tokens each has by now.
    open: bool [rows], the live places where no n-gram has been counted.
    """

    def __init__(self, table: IdentifierTable, found: Prefixes, live: Mask) -> None:
        self.table, self.found = table, found
        self.open = live.copy()
        self.documents = np.unique(table.documents[_rows(found, live)])
        read = [table.symbols[low, :depth] for low, depth in zip(*self._nodes, strict=True)]
        self.tokens, columns = np.unique(np.concatenate([*read, _NOTHING]), return_inverse=True)
        self.columns = np.split(columns, np.cumsum(found.depth))
        self.covered = np.zeros((len(self.documents), len(self.tokens)), dtype=bool)
        self.scores = np.zeros(len(self.documents))
        self.best = np.full(len(self.documents), -1)

    @property
    def _nodes(self) -> tuple[Sequence[int], Sequence[int]]:
        return self.found.low.tolist(), self.found.depth.tolist()

    def count(self, place: int, worth: float) -> None:
        """Add an n-gram to the documents that hold it where no better one has been counted."""
        low, high = int(self.found.low[place]), int(self.found.high[place])
        rows = low + np.flatnonzero(self.open[low:high])
        self.open[low:high] = False
        held, first = np.unique(self.table.documents[rows], return_index=True)
        own = np.searchsorted(self.documents, held)
        columns = np.unique(self.columns[place])
        seen = self.covered[np.ix_(own, columns)].mean(axis=1)
        self.scores[own] += worth * (1 - BETA * seen)
        self.covered[np.ix_(own, columns)] = True
        self.best[own] = np.where(self.best[own] < 0, rows[first], self.best[own])

    def ranked(self) -> list[Ranked]:
        """Return the documents, best first, ties by key."""
        every = zip(self.documents.tolist(), self.scores.tolist(), self.best.tolist(), strict=True)
        keys = self.table.keys
        ranked = [Ranked(*one) for one in every]
        return sorted(ranked, key=lambda item: (-item.score, keys[item.document]))


_NOTHING = np.empty(0, dtype=np.int32)


def _rows(found: Prefixes, live: Mask) -> NDArray[np.int64]:
    """Return the live rows under any prefix."""
    under = np.zeros(len(live) + 1, dtype=np.int32)
    np.add.at(under, found.low, 1)
    np.add.at(under, found.high, -1)
    return np.flatnonzero((under[:-1].cumsum() > 0) & live)
