"""From finished identifiers to documents: shared rows are spread, several rows of one document are
joined, ties are broken by key. Knows no model.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from genir.identifiers.table import IdentifierTable
from genir.stopping import checkpoint

Aggregate = Literal["max", "logsumexp", "ngrams", "views"]
"""Of `[decoding]`; `views` is a sum of weights, and `ngrams` another module's."""


class Ranked(NamedTuple):
    """A document's number, its score, and the row of the best identifier that led to it."""

    document: int
    score: float
    row: int


def rank_documents(
    table: IdentifierTable,
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    score: NDArray[np.float32],
    live: NDArray[np.bool_],
    aggregate: Aggregate,
) -> list[Ranked]:
    """Return the documents under one query's finished beams, best first.

    low, high, score: [K], row ranges and their log-probabilities (of `views` weights), -inf for a
    dead beam.
    live: bool [rows], the rows that may be shown.
    """
    checkpoint()
    kept = score > -np.inf
    low, high, score = low[kept], high[kept], score[kept].astype(np.float64)
    sizes = high - low
    rows = np.repeat(low - np.concatenate([[0], sizes.cumsum()[:-1]]), sizes) + np.arange(
        sizes.sum()
    )
    scores = np.repeat(score, sizes)[live[rows]]
    rows = rows[live[rows]]
    documents, best, totals = _join(table.documents[rows], scores, aggregate)
    ranked = [Ranked(*item) for item in zip(documents, totals, rows[best].tolist(), strict=True)]
    return sorted(ranked, key=lambda item: (-item.score, table.keys[item.document]))


def _join(
    documents: NDArray[np.int64], scores: NDArray[np.float64], aggregate: Aggregate
) -> tuple[list[int], NDArray[np.int64], list[float]]:
    """Return each document once, the place of its best row, and its score."""
    order = np.lexsort((-scores, documents))
    unique, first = np.unique(documents[order], return_index=True)
    best = order[first]
    totals = scores[best]
    if aggregate != "max" and len(unique) < len(documents):
        join = np.add if aggregate == "views" else np.logaddexp
        totals = join.reduceat(scores[order], first)
    return unique.tolist(), best, totals.tolist()
