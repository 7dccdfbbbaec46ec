"""P-values mean what they say: at most a share t of ordinary rows has one of t or less, whatever their scores."""

from itertools import pairwise

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.score import calibration
from detector.score.calibration import BELOW_ONE, BIN_WIDTH, MIN_ROWS, WINDOW_US, Calibration

HOUR = 3_600_000_000
DAY = 24 * HOUR
START = 1_767_225_600_000_000


@numba.njit
def judge(strata, scores, times, arrays, out):
    histograms, trees, totals, tails, since, clock = arrays
    for row in range(scores.size):
        calibration.fade(histograms, trees, totals, tails, clock, times[row])
        out[row] = calibration.p_value(trees, totals, tails, strata[row], scores[row])
        calibration.learn(histograms, trees, totals, tails, since, strata[row], scores[row])


def judged(model, scores, strata=None, times=None):
    """p-values of scores, each judged and then learned."""
    scores, out = np.asarray(scores, dtype=float), np.empty(len(scores))
    strata = np.zeros(scores.size, dtype=np.int64) if strata is None else np.asarray(strata, dtype=np.int64)
    times = np.full(scores.size, START, dtype=np.int64) if times is None else np.asarray(times, dtype=np.int64)
    judge(strata, scores, times, tuple(model.arrays().values()), out)
    return out


def p_value(model, score, stratum=0):
    return calibration.p_value(model.trees, model.totals, model.tails, stratum, score)


@pytest.mark.parametrize(
    ("shape", "exact"),
    [
        (lambda rng, n: rng.exponential(3.0, n), True),
        (lambda rng, n: np.abs(rng.normal(5.0, 2.0, n)), False),
        (lambda rng, n: rng.choice([0.5, 2.0, 7.0], n, p=[0.7, 0.28, 0.02]), False),
        (lambda rng, n: rng.exponential(0.2, n), False),
    ],
    ids=["exponential", "normal", "three values", "narrow"],
)
def test_ordinary_rows_have_no_small_p_values(shape, exact):
    """Thirty days of independent scores: after a day at most 1.1 t of the p-values are below t, within 4 sigma."""
    rng = np.random.default_rng(11)
    times = START + np.sort(rng.integers(0, 30 * DAY, 600_000))
    p = judged(Calibration(1), shape(rng, times.size), times=times)[times > START + DAY]
    for level in (0.5, 0.1, 0.02, 1e-3, 1e-4, 1e-5):
        noise = 4 * np.sqrt(level * (1 - level) / p.size)
        assert np.mean(p <= level) <= 1.1 * level + noise, level
        if exact:  # and not wastefully large either
            assert np.mean(p <= level) >= 0.85 * level - noise, level


@pytest.mark.parametrize("share", [0.05, 0.008, 0.001])
def test_the_few_that_are_strange_at_all_make_the_tail(share):
    """Where fewer than one in a hundred says anything, the silent ones must not pass for excesses of the tail: a
    large network would call everything rare, and send half the alerts that were asked for."""
    rng = np.random.default_rng(12)
    times = START + np.sort(rng.integers(0, 30 * DAY, 1_000_000))
    scores = np.where(rng.random(times.size) < share, rng.exponential(3.0, times.size), 0.0)
    p = judged(Calibration(1), scores, times=times)[times > START + 2 * DAY]
    for level in (share / 2, share / 10, share / 50):
        noise = 4 * np.sqrt(level * (1 - level) / p.size)
        assert 0.85 * level - noise <= np.mean(p <= level) <= 1.1 * level + noise, level


def test_nothing_is_strange_while_there_is_too_little_history():
    p = judged(Calibration(2), [1.0] * (MIN_ROWS - 1) + [60.0, 60.0])
    assert set(p[:MIN_ROWS]) == {1.0}
    assert p[-1] < 1.0


def test_a_stratum_with_too_little_history_is_judged_by_all_rows():
    model = Calibration(2)
    rng = np.random.default_rng(3)
    scores = rng.exponential(2.0, 400)
    judged(model, scores)
    judged(model, [5.0] * (MIN_ROWS - 2), strata=[1] * (MIN_ROWS - 2))
    bins = np.concatenate([scores, [5.0] * (MIN_ROWS - 2)]) // BIN_WIDTH
    expected = (1 + np.sum(bins >= 3.0 // BIN_WIDTH)) / (bins.size + 1)
    assert p_value(model, 3.0, stratum=1) == pytest.approx(expected, rel=1e-12)
    judged(model, [5.0] * 2, strata=[1, 1])
    assert p_value(model, 3.0, stratum=1) == BELOW_ONE, "all that the stratum saw was stranger"


def test_between_the_tail_and_the_start_the_p_value_counts():
    """(1 + scores at least as high) / (n + 1), a score's own bin included: Vovk's smoothed rank, rounded up to bins."""
    model = Calibration(1)
    judged(model, np.random.default_rng(1).permutation(100))
    assert p_value(model, 50.0) == pytest.approx((50 + 1) / 101, rel=1e-12)
    assert p_value(model, 0.0) == pytest.approx(1.0, rel=1e-12)


histories = st.lists(
    st.tuples(st.floats(0, 70), st.sampled_from([0, 0, 0, 60_000_000, HOUR, 3 * HOUR, 9 * DAY])),
    min_size=80,
    max_size=300,
)


@given(histories)
@settings(max_examples=60)
def test_a_stranger_row_never_has_a_larger_p_value(history):
    model = Calibration(1)
    times = START + np.cumsum([gap for _, gap in history])
    judged(model, [score for score, _ in history], times=times)
    p = [p_value(model, score) for score in np.arange(0.0, 90.0, BIN_WIDTH / 2)]
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in pairwise(p))
    assert 0 < min(p) <= max(p) <= 1


@given(histories)
@settings(max_examples=60)
def test_the_tail_begins_where_counting_ends(history):
    """Right after a fit both agree at the start of the tail, and halving keeps them in step."""
    model = Calibration(1)
    judged(model, [score for score, _ in history])
    calibration._fit_tail(model.histograms[0], model.totals[0], model.tails[0])
    start, above, scale = model.tails[0]
    if not np.isfinite(start):
        assert model.histograms[0, 1:].sum() < calibration.TAIL_MIN
        return
    for halvings in range(3):
        counted = model.histograms[0, round(start / BIN_WIDTH) :].sum()
        assert p_value(model, start) == pytest.approx((counted + 1) / (model.totals[0] + 1), rel=1e-12)
        assert above * 0.5**halvings == counted
        calibration.fade(
            model.histograms, model.trees, model.totals, model.tails, model.clock, START + 2**halvings * HOUR
        )
        if model.totals[0] < MIN_ROWS:
            break
    assert scale >= calibration.MIN_TAIL_SCALE
    assert start % BIN_WIDTH == 0


def test_beyond_all_that_was_seen_the_p_value_still_falls():
    model = Calibration(1)
    judged(model, np.random.default_rng(5).exponential(2.0, 5000))
    start, _, scale = model.tails[0]
    assert p_value(model, 50.0) / p_value(model, 40.0) == pytest.approx(np.exp(-10.0 / scale), rel=1e-9)
    assert start < 40.0
    assert p_value(model, 60.0) < 1e-9


def test_counts_are_halved_when_the_history_has_doubled_and_later_every_week():
    model = Calibration(1)
    judged(model, [1.0])
    due, halvings = START + HOUR, 0
    while due < START + 60 * DAY:
        for now, expected in ((due - 1, halvings), (due, halvings + 1)):
            calibration.fade(model.histograms, model.trees, model.totals, model.tails, model.clock, now)
            assert model.totals[0] == model.histograms[0].sum() == 0.5**expected
        halvings += 1
        due += min(due - START, WINDOW_US)
    assert halvings == 9 + 7  # 1, 2, 4 .. 256 hours, then weeks


def test_time_that_runs_backwards_halves_nothing_twice():
    model = Calibration(1)
    judged(model, [1.0] * 8, times=START + np.array([0, 0, 2, 1, 0, 2, 1, 0]) * HOUR)
    assert model.totals[0] == 2 / 4 + 6


def test_an_old_habit_stops_being_the_yardstick():
    """The first day is all news; weeks later a score of that day must be strange."""
    model = Calibration(1)
    rng = np.random.default_rng(9)
    first = np.sort(rng.integers(0, DAY, 5000))
    later = np.sort(rng.integers(DAY, 50 * DAY, 100_000))
    scores = np.concatenate([rng.normal(20.0, 1.0, first.size), rng.exponential(1.0, later.size)])
    judged(model, scores, times=START + np.concatenate([first, later]))
    assert p_value(model, 20.0) < 1e-4


@given(st.floats(-1e9, 1e9))
def test_any_score_has_a_bin(score):
    assert 0 <= calibration._bin(score) < calibration.BINS


def test_the_tree_counts_what_the_histogram_holds():
    model = Calibration(1)
    judged(model, np.random.default_rng(2).uniform(0, 64, 700))
    for index in range(0, calibration.BINS, 7):
        counted = calibration._count_at_least(model.trees[0], model.totals[0], index)
        assert counted == model.histograms[0, index:].sum()
