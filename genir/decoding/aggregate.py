"""Document ranking from complete identifiers. Shared identifiers are expanded, the identifiers of a
document are aggregated, and ties are broken by key.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from genir.cancellation import raise_if_cancelled
from genir.identifiers.table import IdentifierTable

Aggregate = Literal["max", "logsumexp", "ngrams", "views"]
"""Values of `[decoding] aggregate`. `views` sums weights; `ngrams` is in `strategies.seal`."""


class Ranked(NamedTuple):
    """Document number, score, and the row of the document's best identifier."""

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
    """Return the documents below the complete identifiers of one query, best first.

    Args:
        table: Identifier table.
        low: First rows, [K].
        high: Ends of the row ranges, exclusive, [K].
        score: Log-probabilities (for `views`: weights), [K]; -inf for a dead beam.
        live: Rows that may be shown, bool [rows].
        aggregate: Aggregation of the identifiers of a document.
    """
    raise_if_cancelled()
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
    """Return the distinct documents, the index of each one's best row, and their scores."""
    order = np.lexsort((-scores, documents))
    unique, first = np.unique(documents[order], return_index=True)
    best = order[first]
    totals = scores[best]
    if aggregate != "max" and len(unique) < len(documents):
        join = np.add if aggregate == "views" else np.logaddexp
        totals = join.reduceat(scores[order], first)
    return unique.tolist(), best, totals.tolist()
