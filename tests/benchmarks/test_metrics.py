"""Average precision as scikit-learn has it, bootstrap intervals that do not change from run to run."""

import math

import numpy as np
import pytest
from contest import metrics
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=40)


@given(ROWS)
def test_average_precision_is_scikit_learns_ties_and_weights_too(rows):
    positive, score, weight = (np.asarray(column) for column in zip(*rows, strict=True))
    score, weight = score.astype(float), weight.astype(float)
    if not (positive * weight).any():
        assert math.isnan(metrics.Ranked(positive, score).average_precision(weight))
        return
    assert metrics.Ranked(positive, score).average_precision(weight) == pytest.approx(
        average_precision_score(positive, score, sample_weight=weight)
    )
    assert metrics.Ranked(positive, score).average_precision() == pytest.approx(
        average_precision_score(positive, score)
    )


def test_nothing_has_no_precision():
    assert math.isnan(metrics.Ranked(np.zeros(0, bool), np.zeros(0)).average_precision())


def test_days_are_drawn_with_replacement():
    # One perfect day, one on which the attack comes last of four: draws give 1, 1/4 or between.
    positive = np.array([True, False, False, False, True, False, False, False])
    score = np.array([9.0, 1, 2, 3, 0, 4, 5, 6])
    day = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    drawn = metrics.bootstrap_days(metrics.Ranked(positive, score), day)
    assert len(drawn) == metrics.DAY_RESAMPLES
    assert max(drawn) == 1
    assert min(drawn) == pytest.approx(1 / 4)
    assert drawn == metrics.bootstrap_days(metrics.Ranked(positive, score), day)


def test_the_interval_of_a_share():
    members = [1.0] * 15 + [0.0] * 15
    low, high = metrics.bootstrap(members, metrics.mean)
    assert (low, high) == metrics.bootstrap(members, metrics.mean)
    # Half of thirty: the normal interval is 0.5 ± 0.18.
    assert low == pytest.approx(0.32, abs=0.04)
    assert high == pytest.approx(0.68, abs=0.04)
    assert all(math.isnan(end) for end in metrics.bootstrap([], metrics.mean))


def test_the_middle_of_samples():
    assert metrics.interval([float(number) for number in range(101)] + [float("nan")]) == (2.5, 97.5)
    assert metrics.median([3.0, 1.0, 2.0]) == 2
    assert math.isnan(metrics.median([]))
