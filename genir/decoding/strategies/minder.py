"""Documents ranked by views of several kinds (MINDER, arXiv:2305.16675).

A kind is the set of identifiers with the same first symbol; each has its own beam search. The score
of a document is the sum of the weights (`log_odds_weight`) of its identifiers found. The weights
rescale log-probabilities to make kinds of different length and frequency comparable.
"""

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from genir.config import DecodingSection
from genir.decoding.aggregate import Ranked, rank_documents
from genir.decoding.beam import beam_search
from genir.decoding.row_mask import Mask, RowMask
from genir.decoding.strategies.ngram_weights import log_odds_weight
from genir.decoding.trie import Trie
from genir.errors import InputError
from genir.identifiers.table import IdentifierTable
from genir.models.base import DocidModel

MAX_VIEWS = 16
"""Maximum number of kinds, since each needs its own search."""


def rank_by_views(
    model: DocidModel,
    table: IdentifierTable,
    trie: Trie,
    inputs: tuple[torch.Tensor, torch.Tensor],
    live: RowMask,
    decoding: DecodingSection,
) -> list[list[Ranked]]:
    """Return the documents below the beams of any kind, best first for each query.

    `inputs`, `live` and `decoding` are the same as in `beam_search`.

    Raises:
        InputError: The identifiers have more than `MAX_VIEWS` kinds.
    """
    queries, starts = len(inputs[0]), view_ranges(table)
    masks, each = live.masks, live.mask_index(queries)
    own = _split_by_view(live, starts, each).to(trie.symbols.device)
    repeated = tuple(part.repeat_interleave(len(starts) - 1, dim=0) for part in inputs)
    found = beam_search(model, trie, (repeated[0], repeated[1]), own, decoding)
    low, high, score = (
        part.view(queries, len(starts) - 1, -1).cpu().numpy()
        for part in (found.low, found.high, found.score)
    )
    corpora = [masks[place] if live.restrict_scores else table.live for place in each]
    weights = np.stack(
        [_weights(table, starts, (low[q], high[q]), score[q], own) for q, own in enumerate(corpora)]
    )
    flat = (part.reshape(queries, -1) for part in (low, high, weights))
    return [
        rank_documents(table, lows, highs, worth, masks[place], "views")
        for lows, highs, worth, place in zip(*flat, each, strict=True)
    ]


def view_ranges(table: IdentifierTable) -> NDArray[np.int64]:
    """Return the first row of each kind, and the number of rows: int64 [kinds + 1]."""
    first = table.symbols[:, 0]
    starts = np.flatnonzero(np.append(True, first[1:] != first[:-1]))
    if len(starts) > MAX_VIEWS:
        raise InputError(
            f"[decoding] aggregate = 'views': identifiers have {len(starts)} first symbols, "
            "too many to be kinds; use scheme 'views' or another aggregate"
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
    return RowMask.build(masks, [place * kinds + kind for place in each for kind in range(kinds)])


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
    counts = table.key_range(*nodes, corpus)
    totals = table.key_range(starts[:-1], starts[1:], corpus).tolist()
    return np.stack([log_odds_weight(score[n], counts[n], total) for n, total in enumerate(totals)])
