"""Documents ranked by all n-grams that a beam search visits (SEAL, arXiv:2204.10628, section 3.3).

Every prefix in a beam is an n-gram, complete identifiers included. The score of a document is the
sum of w(n) ** ALPHA * cover(n) over its n-grams: w is `log_odds_weight`, and cover discounts tokens
repeated from better n-grams. At each position of a document, which is a row, only the best n-gram
counts.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from genir.cancellation import raise_if_cancelled
from genir.decoding.aggregate import Ranked
from genir.decoding.beam import beam_steps
from genir.decoding.row_mask import Mask, RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.stage import Stage
from genir.decoding.strategies.base import SearchStrategy
from genir.decoding.strategies.beam import masks_of
from genir.decoding.strategies.ngram_weights import log_odds_weight
from genir.decoding.trie import Trie
from genir.identifiers.table import PAD, IdentifierTable
from genir.models.base import DocidModel, Inputs

ALPHA, BETA = 2.0, 0.8
"""Exponent of the n-gram weight, and discount of a repeated token (0 to 1)."""
SMOOTHING = 5.0
"""Count added to n-gram and corpus frequencies, as in the authors' code."""
SCORE_DECIMALS = 4
"""Decimals of the weights that are compared. Ties are broken in favour of longer n-grams, since
forced tokens have log p 0 up to rounding."""


class ScoredPrefixes(NamedTuple):
    """N prefixes of `depth` symbols, rows [low, high), int64 [N]; score: log p, float32 [N]."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    depth: NDArray[np.int64]
    score: NDArray[np.float32]


class Seal(SearchStrategy):
    """Sums of the weights of n-grams, for the scheme `ngram`."""

    name = "seal"

    def search(
        self, stage: Stage, queries: Sequence[str], row_mask: RowMask, beams: int, k: int
    ) -> list[list[Ranked]]:
        """Return the documents below any prefix of each query's beams, best first."""
        options = self.search_options(stage, row_mask, beams)
        with stage.autocast():
            found = search_prefixes(
                stage.model, stage.trie, stage.encode(queries), row_mask, options
            )
        table, closed = stage.table, row_mask.restrict_scores
        return [
            rank_prefixes(table, prefixes, mask, mask if closed else table.live)
            for prefixes, mask in zip(found, masks_of(row_mask, queries), strict=True)
        ]


@torch.inference_mode()
def search_prefixes(
    model: DocidModel,
    trie: Trie,
    inputs: Inputs,
    live: RowMask,
    options: SearchOptions,
) -> list[ScoredPrefixes]:
    """Return the prefixes held in the beams of any level, and the complete identifiers."""
    held, depths = [], []
    for depth, step in enumerate(beam_steps(model, trie, inputs, live, options), start=1):
        held.append(step.beams)
        depths.append(torch.full_like(step.beams.low, depth))
        done = step.finished
    held.append(done)
    depths.append((trie.symbols[done.low] != PAD).sum(dim=-1))
    low, high, score = (
        torch.cat([getattr(one, name) for one in held], dim=1).cpu().numpy()
        for name in ("low", "high", "score")
    )
    every = zip(low, high, torch.cat(depths, dim=1).cpu().numpy(), score, strict=True)
    return [ScoredPrefixes(*(part[alive[3] > -np.inf] for part in alive)) for alive in every]


def rank_prefixes(
    table: IdentifierTable, found: ScoredPrefixes, live: Mask, corpus: Mask
) -> list[Ranked]:
    """Return the documents of live rows below any of the prefixes, best first.

    Args:
        table: Identifier table.
        found: Prefixes of one query.
        live: Rows that may be shown, bool [rows].
        corpus: Rows in which n-grams are counted, bool [rows].

    Returns:
        Documents, each with a row of its best n-gram.
    """
    raise_if_cancelled()
    counts = table.count_in_ranges(found.low, found.high, corpus)
    total = int(np.count_nonzero(corpus))
    weights = log_odds_weight(found.score, counts, total, SMOOTHING)
    order = np.lexsort((found.low, -found.depth, -weights.round(SCORE_DECIMALS)))
    tally = _DocumentScores(table, found, live)
    for place in order.tolist():
        tally.add_ngram(place, weights[place] ** ALPHA)
    return tally.ranked()


class _DocumentScores:
    """Accumulated document scores, with n-grams added best first.

    documents: documents below any prefix, int32 [D]. covered_tokens: tokens matched in each
    document, bool [D, T]. active: live positions without a counted n-gram, bool [rows].
    """

    def __init__(self, table: IdentifierTable, found: ScoredPrefixes, live: Mask) -> None:
        self.table, self.found = table, found
        self.active = live.copy()
        self.documents = np.unique(table.documents[_rows(found, live)])
        read = [table.symbols[low, :depth] for low, depth in zip(*self._nodes, strict=True)]
        self.tokens, columns = np.unique(np.concatenate([*read, _NOTHING]), return_inverse=True)
        self.columns = np.split(columns, np.cumsum(found.depth))
        self.covered_tokens = np.zeros((len(self.documents), len(self.tokens)), dtype=bool)
        self.scores = np.zeros(len(self.documents))
        self.best = np.full(len(self.documents), -1)

    @property
    def _nodes(self) -> tuple[Sequence[int], Sequence[int]]:
        return self.found.low.tolist(), self.found.depth.tolist()

    def add_ngram(self, place: int, worth: float) -> None:
        """Add an n-gram to the documents that contain it at an open position."""
        low, high = int(self.found.low[place]), int(self.found.high[place])
        rows = low + np.flatnonzero(self.active[low:high])
        self.active[low:high] = False
        held, first = np.unique(self.table.documents[rows], return_index=True)
        own = np.searchsorted(self.documents, held)
        columns = np.unique(self.columns[place])
        seen = self.covered_tokens[np.ix_(own, columns)].mean(axis=1)
        self.scores[own] += worth * (1 - BETA * seen)
        self.covered_tokens[np.ix_(own, columns)] = True
        self.best[own] = np.where(self.best[own] < 0, rows[first], self.best[own])

    def ranked(self) -> list[Ranked]:
        """Return the documents, best first, ties broken by key."""
        every = zip(self.documents.tolist(), self.scores.tolist(), self.best.tolist(), strict=True)
        keys = self.table.keys
        ranked = [Ranked(*one) for one in every]
        return sorted(ranked, key=lambda item: (-item.score, keys[item.document]))


_NOTHING = np.empty(0, dtype=np.int32)


def _rows(found: ScoredPrefixes, live: Mask) -> NDArray[np.int64]:
    """Return the live rows below any prefix."""
    under = np.zeros(len(live) + 1, dtype=np.int32)
    np.add.at(under, found.low, 1)
    np.add.at(under, found.high, -1)
    return np.flatnonzero((under[:-1].cumsum() > 0) & live)
