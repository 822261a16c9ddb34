"""From proven identifiers to proven documents: more identifiers are asked for until no document can
change its place. Knows no model.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import inf, log

import numpy as np

from genir.decoding.aggregate import Aggregate, Ranked, rank_documents
from genir.decoding.exact import Found
from genir.decoding.masks import Mask
from genir.identifiers.table import IdentifierTable
from genir.records import Answer

Search = Callable[[Sequence[int], int], Found]
"""(which queries, how many identifiers) -> what `exact_search` found."""


def prove_documents(
    search: Search, table: IdentifierTable, masks: Sequence[Mask], k: int, aggregate: Aggregate
) -> list[Answer[Ranked]]:
    """Return each query's best k documents with a proof; unproven and empty if the budget ran out.

    masks: each query's live rows, bool [rows]. Where several identifiers of a document are added
    up, its place is proven and its score may be short of identifiers that could not change it.
    """
    answers = [Answer[Ranked](proven=False) for _ in masks]
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
            if len(known) < wanted or settled(ranked, k, rest):
                answers[query] = Answer(ranked[:k], proven=True)
            else:
                again.append(query)
        short, wanted = again, 2 * wanted
    return answers


def settled(ranked: Sequence[Ranked], k: int, rest: float) -> bool:
    """Tell whether no document can take a place among the first k, or change places there.

    rest: the log of the most that identifiers not found yet may add to any document.
    """
    scores = [item.score for item in ranked[: k + 1]] + [-inf]
    pairs = pairwise(scores[: k + 1])
    return len(ranked) >= k and all(above >= np.logaddexp(below, rest) for above, below in pairs)
