"""Proven top k documents from proven identifiers: the number of identifiers is doubled until no
document can change its rank.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import inf, log

import numpy as np

from genir.decoding.aggregate import Aggregate, Ranked, rank_documents
from genir.decoding.exact import ExactResult
from genir.decoding.row_mask import Mask
from genir.identifiers.table import IdentifierTable
from genir.types import HitList

Search = Callable[[Sequence[int], int], ExactResult]
"""(query indices, number of identifiers) -> result of `exact_search`."""


def exact_documents(
    search: Search, table: IdentifierTable, masks: Sequence[Mask], k: int, aggregate: Aggregate
) -> list[HitList[Ranked]]:
    """Return the proven top k documents of each query; empty and unproven if the budget ran out.

    If the identifiers of a document are summed, the rank is proven, but the score may lack
    identifiers that cannot change the rank.

    Args:
        masks: Live rows of each query, bool [rows].
    """
    answers = [HitList[Ranked](proven=False) for _ in masks]
    most = int(np.bincount(table.documents).max())
    adds = aggregate == "logsumexp" and most > 1
    short, wanted = list(range(len(masks))), k
    while short:
        found, again = search(short, wanted), list[int]()
        beams = (t.cpu().numpy() for t in (found.beams.low, found.beams.high, found.beams.score))
        rows = zip(*beams, strict=True)
        for query, (low, high, score), proven in zip(short, rows, found.proven, strict=True):
            if not proven:
                continue
            known = score[score > -inf]
            ranked = rank_documents(table, low, high, score, masks[query], aggregate)
            rest = float(known.min()) + log(most) if adds and len(known) else -inf
            if len(known) < wanted or is_final(ranked, k, rest):
                answers[query] = HitList(ranked[:k], proven=True)
            else:
                again.append(query)
        short, wanted = again, 2 * wanted
    return answers


def is_final(ranked: Sequence[Ranked], k: int, rest: float) -> bool:
    """Return whether the top k documents and their order are final.

    rest: log of the maximum probability that identifiers not yet found may add to a document.
    """
    scores = [item.score for item in ranked[: k + 1]] + [-inf]
    pairs = pairwise(scores[: k + 1])
    return len(ranked) >= k and all(above >= np.logaddexp(below, rest) for above, below in pairs)
