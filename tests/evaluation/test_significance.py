from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from genir.evaluation.significance import holm, p_greater


def test_paired_t_by_hand():
    # differences 1, 0, 1, 0, 1: mean .6, variance .3, t = .6 / sqrt(.3 / 5), 4 degrees of freedom
    p = p_greater([1, 0, 1, 1, 1], [0, 0, 0, 1, 0])
    assert p == pytest.approx(t.sf(0.6 / sqrt(0.3 / 5), 4))
    assert p_greater([0, 0, 0, 1, 0], [1, 0, 1, 1, 1]) == pytest.approx(1 - p)


def test_where_t_is_undefined():
    assert p_greater([0.5], [0.1]) == 1
    assert p_greater([0.5, 0.2], [0.5, 0.2]) == 1
    assert p_greater([0.3, 0.6], [0.1, 0.4]) == 0.25
    assert p_greater([1.0] * 10, [0.5] * 10) == 0.5**10
    assert p_greater([0.1, 0.4], [0.3, 0.6]) == 1


def test_few_queries_show_little():
    # differences .5, .501 and .499: t = 866, where t alone gives p = 7e-7
    assert p_greater([0.5, 0.501, 0.499], [0, 0, 0]) == 0.125


def test_holm_by_hand():
    # in order: .005 x 4, .01 x 3 = .03, .03 x 2 = .06, .04 x 1 = .04 raised to .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_is_between_no_correction_and_bonferroni(p_values):
    corrected = np.array(holm(p_values))
    assert (corrected >= p_values).all()
    assert (corrected <= np.minimum(1, np.array(p_values) * len(p_values)) + 1e-12).all()
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()
