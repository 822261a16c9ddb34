"""N-gram weights (SEAL, section 3.3): log-odds of a text under the query minus its log-odds in the
corpus, floored at 0.
"""

from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_PROBABILITY = 0.999
"""Upper limit on probabilities; beyond it the odds are mostly rounding error."""


def log_odds_weight(
    log_p: NDArray[Any], counts: NDArray[np.int64], total: int, smoothing: float = 0.0
) -> NDArray[np.float64]:
    """Return the weights of N texts, float64 [N].

    Args:
        log_p: Log-probability under the query, [N]; -inf and NaN are kept.
        counts: Corpus frequency of each text, int64 [N].
        total: Size of the corpus in rows.
        smoothing: Count added to both frequencies.
    """
    share = np.log((np.maximum(counts, 1) + smoothing) / (max(total, 1) + smoothing))
    gained = _log_odds(log_p.astype(np.float64)) - _log_odds(share)
    return np.where(log_p == -np.inf, -np.inf, np.maximum(gained, 0.0))


def _log_odds(log_p: NDArray[np.float64]) -> NDArray[np.float64]:
    held = np.minimum(log_p, log(MAX_PROBABILITY))
    return held - np.log1p(-np.exp(held))
