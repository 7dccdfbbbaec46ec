"""The incomplete beta function against SciPy, and the count tail against sums of its own terms."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from detector.score.beta import log_beta_tail, log_count_tail

PARAMETER = st.floats(-2, 4).map(lambda power: 10.0**power)


@given(PARAMETER, PARAMETER, st.floats(1e-6, 1 - 1e-6))
def test_it_is_the_regularized_incomplete_beta_function(a, b, x):
    expected = special.betainc(a, b, x)
    if expected > 1e-200:  # SciPy loses digits before it underflows
        assert math.exp(log_beta_tail(a, b, x)) == pytest.approx(expected, rel=1e-8)
    else:
        assert log_beta_tail(a, b, x) < math.log(1e-190)


@given(st.integers(1, 300), st.floats(0.05, 50), st.floats(0.01, 500))
def test_the_tail_is_the_sum_of_the_probabilities(count, shape, mean):
    below = stats.nbinom.pmf(np.arange(count), shape, shape / (shape + mean)).sum()
    assert math.exp(log_count_tail(float(count), shape, mean)) == pytest.approx(1 - below, rel=1e-6, abs=1e-10)


def test_a_tail_too_small_for_a_float_is_still_a_number():
    """Leading term of the sum: -ln P(N >= n) grows by about ln((m + r) / m) with each count."""
    step = log_count_tail(50_000.0, 1.0, 1.0) - log_count_tail(50_001.0, 1.0, 1.0)
    assert log_count_tail(50_000.0, 1.0, 1.0) == pytest.approx(-50_000 * math.log(2), rel=1e-9)
    assert step == pytest.approx(math.log(2), rel=1e-6)


def test_nothing_is_certain_and_more_is_never_likelier():
    assert log_count_tail(0.0, 2.0, 3.0) == 0.0
    tails = [log_count_tail(float(count), 0.7, 40.0) for count in range(2000)]
    assert all(later < sooner for sooner, later in itertools.pairwise(tails))
