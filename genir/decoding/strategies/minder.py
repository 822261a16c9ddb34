"""Documents ranked by views of several kinds (MINDER, arXiv:2305.16675).

A kind is the set of identifiers with the same first symbol; each has its own beam search. The score
of a document is the sum of the weights (`log_odds_weight`) of its identifiers found. The weights
rescale log-probabilities to make kinds of different length and frequency comparable.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from genir.decoding.aggregate import Ranked, rank_documents
from genir.decoding.beam import beam_search
from genir.decoding.row_mask import RowMask
from genir.decoding.search_options import SearchOptions
from genir.decoding.stage import Stage
from genir.decoding.strategies.base import SearchStrategy
from genir.decoding.strategies.beam import masks_of, to_numpy
from genir.decoding.strategies.ngram_weights import log_odds_weight
from genir.decoding.trie import Trie
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.models.base import DocidModel, Inputs

MAX_VIEWS = 16
"""Maximum number of kinds, since each needs its own search."""


class FoundViews(NamedTuple):
    """Identifiers that the searches of one query found, for N = kinds * beams.

    Attributes:
        low: First row of each identifier, int64 [N].
        high: End of its rows, exclusive, int64 [N].
        score: Log-probability, float32 [N]; -inf for none.
        share: Fraction of the rows of its kind that it has, float64 [N].
        weight: Its weight in the score of a document, float64 [N]; -inf for none.
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    score: NDArray[np.float32]
    share: NDArray[np.float64]
    weight: NDArray[np.float64]


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
        options = self.search_options(stage, row_mask, beams)
        with stage.autocast():
            inputs = stage.encode(queries)
            found = find_views(stage.model, stage.trie, stage.table, inputs, row_mask, options)
        return [
            rank_documents(stage.table, one.low, one.high, one.weight, mask, "sum")
            for one, mask in zip(found, masks_of(row_mask, queries), strict=True)
        ]


def find_views(
    model: DocidModel,
    trie: Trie,
    table: IdentifierTable,
    inputs: Inputs,
    row_mask: RowMask,
    options: SearchOptions,
) -> list[FoundViews]:
    """Return the identifiers of every kind that beam search finds for each query.

    Raises:
        InputError: The identifiers have more than `MAX_VIEWS` kinds.
    """
    starts, count = view_ranges(table), len(inputs[0])
    kinds, places = len(starts) - 1, row_mask.mask_index(count)
    own = _split_by_view(row_mask, starts, places).to(model.device)
    repeated = tuple(part.repeat_interleave(kinds, dim=0) for part in inputs)
    low, high, score = (
        part.reshape(count, kinds, -1)
        for part in to_numpy(beam_search(model, trie, repeated, own, options))
    )
    found = []
    for query, place in enumerate(places):
        corpus = row_mask.masks[place] if row_mask.restrict_scores else table.live
        counts = table.count_in_ranges(low[query], high[query], corpus)
        totals = table.count_in_ranges(starts[:-1], starts[1:], corpus)
        share = np.maximum(counts, 1) / np.maximum(totals, 1)[:, None]
        weight = np.stack(
            [log_odds_weight(score[query, n], counts[n], int(t)) for n, t in enumerate(totals)]
        )
        nodes = low[query].ravel(), high[query].ravel(), score[query].ravel()
        found.append(FoundViews(*nodes, share.ravel(), weight.ravel()))
    return found


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
