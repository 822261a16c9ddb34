"""Document ranking from complete identifiers. An identifier that several documents share counts for
each of them; the scores of several identifiers of one document are combined; ties are ordered by
key.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from genir.cancellation import raise_if_cancelled
from genir.identifiers.table import IdentifierTable

Aggregate = Literal["max", "logsumexp", "sum"]
"""Document score from the scores of its identifiers; "sum" adds weights that are not log p."""


class Ranked(NamedTuple):
    """Document number, score, and the row of the document's best identifier."""

    document: int
    score: float
    row: int


def rank_documents(
    table: IdentifierTable,
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    score: NDArray[np.floating],
    live: NDArray[np.bool_],
    aggregate: Aggregate,
) -> list[Ranked]:
    """Return the documents of the identifiers found for one query, best first.

    Args:
        table: Identifier table.
        low: First row of each of the K row ranges, int64 [K].
        high: Ends of the row ranges, exclusive, [K].
        score: Log-probabilities or weights, [K]; -inf for an unused place.
        live: Rows that may be shown, bool [rows].
        aggregate: How the scores of several identifiers of a document are combined.
    """
    raise_if_cancelled()
    kept = score > -np.inf
    low, high, score = low[kept], high[kept], score[kept].astype(np.float64)
    sizes = high - low
    # all rows of all ranges, concatenated
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
    """Return the distinct documents, the index of the best row of each, and its score."""
    order = np.lexsort((-scores, documents))
    unique, first = np.unique(documents[order], return_index=True)
    best = order[first]
    totals = scores[best]
    if aggregate != "max" and len(unique) < len(documents):
        join = np.add if aggregate == "sum" else np.logaddexp
        totals = join.reduceat(scores[order], first)
    return unique.tolist(), best, totals.tolist()
