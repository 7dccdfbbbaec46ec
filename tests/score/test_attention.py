"""How attention is shared: weights of p-values, and how many findings a day that makes when nothing is wrong."""

import functools

import numba
import numpy as np
import pytest

from detector.score import calibration, structure
from detector.score.budget import P_CUT, Budget
from detector.score.calibration import Calibration

DAY = 86_400_000_000
START = 1_767_225_600_000_000
RATES = np.array([20_000.0, 2_000.0, 400.0, 0.0])  # rows a day; the last never speaks
INTEREST = np.array([1.0, 4.0, 2.0, 50.0])
SHARES = INTEREST[:3] / INTEREST[:3].sum()
DAYS = 28


@numba.njit
def judge(strata, scores, times, arrays, rates, interest, out):
    histograms, trees, totals, tails, since, clock = arrays
    for row in range(scores.size):
        stratum, now = strata[row], times[row]
        calibration.fade(histograms, trees, totals, tails, clock, now)
        p = calibration.p_value(trees, totals, tails, stratum, scores[row])
        per_day = structure._pass_time(rates, clock, now, DAY)
        out[row, 0], out[row, 2] = p, per_day
        out[row, 1] = structure._weight(rates, interest, stratum, per_day)
        rates[stratum] += 1.0
        calibration.learn(histograms, trees, totals, tails, since, stratum, scores[row])


@functools.cache
def null_rows():
    """Four weeks of independent scores, strata of very different rates: strata, days, p-values, weights, rows a day."""
    rng = np.random.default_rng(17)
    counts = rng.poisson(RATES * DAYS)
    strata = np.repeat(np.arange(RATES.size), counts)
    times = np.sort(rng.integers(0, DAYS * DAY, strata.size)) + START
    rng.shuffle(strata)
    scores = rng.exponential(np.array([1.5, 4.0, 2.5, 1.0])[strata])
    out = np.empty((scores.size, 3))
    judge(strata, scores, times, tuple(Calibration(RATES.size).arrays().values()), np.zeros(RATES.size), INTEREST, out)
    return strata, (times - START) / DAY, *out.T


def test_weights_average_one_over_rows():
    """So the weighted p-value is a p-value again (Genovese, Roeder, Wasserman 2006)."""
    strata, day, _, weight, _ = null_rows()
    settled = day > 4
    assert weight[settled].mean() == pytest.approx(1.0, abs=0.02)
    by_stratum = np.bincount(strata[settled], weight[settled])
    np.testing.assert_allclose(by_stratum / by_stratum.sum(), SHARES, rtol=0.03)


def test_strata_that_are_silent_take_no_attention():
    rates = np.array([100.0, 0.0, 0.5])
    interest = np.array([1.0, 7.0, 9.0])
    assert structure._weight(rates, interest, 0, 100.5) == pytest.approx(1.005)
    assert structure._weight(rates, interest, 1, 100.5) == pytest.approx(7 / 8 * 100.5)


def test_rows_a_day_follow_the_rows_of_the_last_day():
    _, day, _, _, per_day = null_rows()
    assert per_day[0] == 1.0
    assert per_day[day > 5].mean() == pytest.approx(RATES.sum(), rel=0.03)


@pytest.mark.parametrize("alerts_per_day", [2.0, 25.0])
def test_findings_a_day_are_those_asked_for_when_nothing_is_wrong(alerts_per_day):
    strata, day, p, weight, per_day = null_rows()
    budget = Budget(alerts_per_day)
    wanted = budget.findings_per_day(RATES.sum())
    found = (day > 4) & (np.minimum(p / weight, 1.0) * per_day <= wanted)
    rate = found.sum() / (DAYS - 4)
    noise = 4 * np.sqrt(wanted / (DAYS - 4))
    assert rate == pytest.approx(wanted, rel=0.1, abs=noise), f"{rate:.1f} findings a day, {wanted:.1f} asked for"
    by_stratum = np.bincount(strata[found], minlength=3)[:3] / (DAYS - 4)
    for share, measured in zip(SHARES, by_stratum, strict=True):
        assert measured == pytest.approx(share * wanted, rel=0.15, abs=4 * np.sqrt(share * wanted / (DAYS - 4)))


def test_findings_are_never_more_than_a_fixed_share_of_the_rows():
    assert Budget(25.0).findings_per_day(100.0) == P_CUT * 100
    assert Budget(25.0).findings_per_day(1e9) == Budget(25.0).findings_per_day(1e8) > 25.0
