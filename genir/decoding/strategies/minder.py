"""Documents ranked by views of several kinds (MINDER, arXiv:2305.16675).

A kind is the set of identifiers with the same first symbol; each has its own beam search. The score
of a document is the sum of the weights (`log_odds_weight`) of its identifiers found. The weights
rescale log-probabilities to make kinds of different length and frequency comparable.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from genir.decoding.aggregate import Ranked, rank_documents
from genir.decoding.beam import beam_search
from genir.decoding.row_mask import Mask, RowMask
from genir.decoding.stage import Stage
from genir.decoding.strategies.base import SearchStrategy
from genir.decoding.strategies.beam import masks_of, to_numpy
from genir.decoding.strategies.ngram_weights import log_odds_weight
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable

MAX_VIEWS = 16
"""Maximum number of kinds, since each needs its own search."""


class Minder(SearchStrategy):
    """Sums of the weights of views, for the scheme `views`."""

    name = "minder"

    def search(
        self, stage: Stage, queries: Sequence[str], row_mask: RowMask, beams: int, k: int
    ) -> list[list[Ranked]]:
        """Return the documents below the beams of any kind, best first.

        Raises:
            InputError: The identifiers have more than `MAX_VIEWS` kinds.
        """
        table, starts = stage.table, view_ranges(stage.table)
        kinds, masks = len(starts) - 1, masks_of(row_mask, queries)
        own = _split_by_view(row_mask, starts, row_mask.mask_index(len(queries)))
        options = self.search_options(stage, row_mask, beams)
        with stage.autocast():
            ids, attention = (
                part.repeat_interleave(kinds, dim=0) for part in stage.encode(queries)
            )
            own = own.to(stage.model.device)
            found = beam_search(stage.model, stage.trie, (ids, attention), own, options)
        low, high, score = (part.reshape(len(queries), kinds, -1) for part in to_numpy(found))
        corpora = masks if row_mask.restrict_scores else [table.live] * len(queries)
        weights = [
            _weights(table, starts, (low[q], high[q]), score[q], corpus)
            for q, corpus in enumerate(corpora)
        ]
        return [
            rank_documents(table, low[q].ravel(), high[q].ravel(), weights[q].ravel(), mask, "sum")
            for q, mask in enumerate(masks)
        ]


def view_ranges(table: IdentifierTable) -> NDArray[np.int64]:
    """Return the first row of each kind, and the number of rows: int64 [kinds + 1]."""
    first = table.symbols[:, 0]
    starts = np.flatnonzero(np.append(True, first[1:] != first[:-1]))
    if len(starts) > MAX_VIEWS:
        raise InputError(
            f"[decoding] strategy = 'minder': identifiers have {len(starts)} first symbols, "
            "too many to be kinds; use scheme 'views' or another strategy"
        )
    return np.append(starts, len(table))


def _split_by_view(live: RowMask, starts: NDArray[np.int64], each: list[int]) -> RowMask:
    """Return masks restricted to one kind, for a search of each query and kind."""
    masks = []
    for mask in live.masks:
        for start, end in pairwise(starts.tolist()):
            own = np.zeros_like(mask)
            own[start:end] = mask[start:end]
            masks.append(own)
    kinds = len(starts) - 1
    places = [place * kinds + kind for place in each for kind in range(kinds)]
    return RowMask.build(masks, places, live.restrict_scores)


def _weights(
    table: IdentifierTable,
    starts: NDArray[np.int64],
    nodes: tuple[NDArray[np.int64], NDArray[np.int64]],
    score: NDArray[np.float32],
    corpus: Mask,
) -> NDArray[np.float64]:
    """Return the weights of one query's identifiers, [kinds, K], relative to their kind.

    nodes, score: [kinds, K]. corpus: rows in which identifiers are counted, bool [rows].
    """
    counts = table.count_in_ranges(*nodes, corpus)
    totals = table.count_in_ranges(starts[:-1], starts[1:], corpus).tolist()
    return np.stack([log_odds_weight(score[n], counts[n], total) for n, total in enumerate(totals)])
