"""Paired t-tests between systems on the same queries, Holm-corrected."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import ttest_rel


def p_greater(system: ArrayLike, other: ArrayLike) -> float:
    """Return the one-sided p of a paired t-test that `system` has the greater mean.

    At least 0.5 ** n for n queries, as in a sign-flipping test (Fisher 1935): two queries with the
    same difference have an infinite t but are weak evidence. 1 for fewer than two queries, and if
    all differences are equal and not above 0.
    """
    difference = np.asarray(system, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    if len(difference) < 2:
        return 1.0
    least = 0.5 ** len(difference)
    if np.allclose(difference, difference[0], rtol=1e-9, atol=1e-12):
        return least if difference[0] > 1e-12 else 1.0
    test = ttest_rel(difference, np.zeros_like(difference), alternative="greater")
    return max(least, float(test.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for multiple tests (Holm 1979): step-down Bonferroni, in the given order."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in corrected]
