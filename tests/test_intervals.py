"""Intervals are those of the papers that they are named after."""

import numpy as np
import pytest

from detector.intervals import bootstrap, paired, wilson


@pytest.mark.parametrize(("hits", "trials", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (0, 0, 0, 1)])
def test_intervals_are_wilsons(hits, trials, low, high):
    assert wilson(hits, trials) == (low, high)  # as in Brown, Cai, DasGupta: Interval estimation (2001)


def fourfold(both, first, second, neither):
    pairs = [(True, True)] * both + [(True, False)] * first + [(False, True)] * second + [(False, False)] * neither
    return paired([one for one, _ in pairs], [two for _, two in pairs])


@pytest.mark.parametrize(
    ("table", "difference", "low", "high"),
    [
        ((36, 2, 12, 0), 0.2, 0.0569, 0.3404),  # Newcombe 1998, table II, method 10
        ((36, 12, 2, 0), -0.2, -0.3404, -0.0569),
        ((0, 0, 0, 0), 0.0, -1.0, 1.0),
    ],
)
def test_differences_of_pairs_are_newcombes(table, difference, low, high):
    assert fourfold(*table) == (difference, low, high)


def test_what_is_the_same_in_all_pairs_has_no_difference_and_few_pairs_say_little():
    difference, low, high = fourfold(2, 0, 0, 0)
    assert difference == 0
    assert low < -0.5
    assert high > 0.5
    assert fourfold(200, 0, 0, 200)[2] < 0.03


def test_days_that_are_alike_are_sure_and_others_are_not():
    mean = np.mean
    assert bootstrap([[4.0]] * 5, mean) == (4.0, 4.0)
    low, high = bootstrap([[0.0], [10.0], [2.0], [8.0]], mean)
    assert low < 3
    assert high > 7
    assert bootstrap([[0.0], [10.0], [2.0], [8.0]], mean) == (low, high)
