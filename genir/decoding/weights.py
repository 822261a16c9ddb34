"""What it says of a document that a model has written something it holds (SEAL, section 3.3).

The log odds of a text given the query, less those of meeting it in the corpus by chance, and not
below 0: what is likely anyway says nothing, nor does what the model would hardly write.
"""

from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUREST = 0.999
"""No probability counts as more: odds of what is certain are without end, and mostly rounding."""


def weigh(
    log_p: NDArray[Any], counts: NDArray[np.int64], total: int, smoothing: float = 0.0
) -> NDArray[np.float64]:
    """Return weights, float64 [N], of what has log p given the query, and stands `counts` times in
    `total` places; smoothing: added to both. -inf stays -inf, and no number none.
    """
    share = np.log((np.maximum(counts, 1) + smoothing) / (max(total, 1) + smoothing))
    gained = _log_odds(log_p.astype(np.float64)) - _log_odds(share)
    return np.where(log_p == -np.inf, -np.inf, np.maximum(gained, 0.0))


def _log_odds(log_p: NDArray[np.float64]) -> NDArray[np.float64]:
    held = np.minimum(log_p, log(SUREST))
    return held - np.log1p(-np.exp(held))
