"""Drift: the means that ADWIN sees, when it speaks, what is forgotten then, and that a restored one goes on."""

import itertools
from unittest.mock import patch

import numba
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.drift import ADWIN

from detector.score import calibration, drift
from detector.score.calibration import Calibration
from detector.score.columns import Columns
from detector.score.drift import HALVINGS, LONGEST, LOOK_HOURS, MIN_ROWS, Drift, Window
from tests.score.reference import HOUR_US

START = 1_767_225_600_000_000  # 2026-01-01 00:00 UTC, µs
DAY = 24 * HOUR_US


def opinions(p, stratum=0, time=START):
    count = len(p)
    return pl.DataFrame(
        {"p_x": np.asarray(p, dtype=np.float64), "stratum": np.full(count, stratum), "obs_ts": np.full(count, time)}
    )


def watched(strata=3):
    return Drift({"x": Calibration(strata)}, strata)


def fed(one, frame):
    for piece in one.pieces(frame["obs_ts"].to_numpy(), print):
        one.note(Columns(frame[piece]))
    return one


def same(left, right):
    left, right = left.arrays(), right.arrays()
    return all(np.array_equal(array, right[name]) for name, array in left.items())


# --- what is cut and what is averaged ---


def test_pieces_end_where_a_look_is_due():
    hours = [0, 1, 5.99, 6, 2, 7, 25, 24, 30]
    times = np.array([START + round(hour * HOUR_US) for hour in hours])
    pieces = list(watched().pieces(times, print))
    assert [(piece.start, piece.stop) for piece in pieces] == [(0, 3), (3, 6), (6, 8), (8, 9)], "late rows cut nothing"


def test_no_rows_are_no_pieces():
    assert list(watched().pieces(np.array([], dtype=np.int64), print)) == []


def test_means_are_of_hours_and_small_hours_wait_for_more():
    parts = [
        (0, 0.25, MIN_ROWS),
        (1, 0.5, MIN_ROWS // 2),
        (2, 0.75, MIN_ROWS // 2),
        (3, 0.125, 5),
        (7, 0.375, MIN_ROWS - 5),
    ]
    frames = [opinions([p] * count, time=START + hour * HOUR_US) for hour, p, count in parts]
    silent = opinions([1.0] * 100, time=START)
    one = fed(watched(), pl.concat([silent, *frames, opinions([0.5], time=START + DAY)]))
    assert one.windows[0, 0].means == [0.25, 0.625, (5 * 0.125 + (MIN_ROWS - 5) * 0.375) / MIN_ROWS]


@given(st.lists(st.integers(0, 400), max_size=6), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_batches_change_nothing(cuts, seed):
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(START, START + 3 * DAY, 400)) - rng.integers(0, 2, 400) * rng.integers(0, HOUR_US, 400)
    frame = pl.DataFrame({"p_x": rng.random(400), "stratum": rng.integers(0, 3, 400), "obs_ts": times})
    with patch.object(drift, "MIN_ROWS", 3):
        one, many = fed(watched(), frame), watched()
        for low, high in itertools.pairwise([0, *sorted(cuts), 400]):
            fed(many, frame[low:high])
    assert same(one, many)
    assert sum(len(window.means) for window in one.windows.values()) > 50


# --- ADWIN ---


def test_a_window_says_what_river_says_and_goes_on_after_replay():
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.normal(mean, 0.05, 150) for mean in (0.5, 0.3, 0.3, 0.6)]).tolist()
    plain, own, found = ADWIN(delta=0.002, clock=1), Window(), []
    for place, value in enumerate(values):
        plain.update(value)
        own = Window(own.means)  # as if restored before every value
        if own.changed(value):
            found.append(place)
        assert (own.means == []) == plain.drift_detected
    assert len(found) == 2
    assert 150 < found[0] < 230
    assert 450 < found[1] < 530


def test_a_window_is_bounded_and_then_what_a_restored_one_is():
    rng = np.random.default_rng(5)
    own, longest = Window(), 0
    for value in rng.normal(0.5, 0.05, 2 * LONGEST).tolist():
        own.changed(value)
        longest = max(longest, len(own.means))
    assert longest == LONGEST - 1
    again = Window(own.means)
    values = rng.normal(0.3, 0.05, 100).tolist()
    assert [own.changed(value) for value in values] == [again.changed(value) for value in values]


def test_what_stays_the_same_is_almost_never_a_drift():
    """A year of hours in 40 strata: p-values uniform, hours of 40 rows, nights quieter than days."""
    rng, found = np.random.default_rng(6), 0
    for _ in range(40):
        window = Window()
        means = rng.normal(0.5, 0.289 / np.sqrt(40), 24 * 365) + 0.02 * np.sin(np.arange(24 * 365) * np.pi / 12)
        found += sum(window.changed(mean) for mean in means.tolist())
    assert found <= 1


# --- what it is for ---


@numba.njit
def judge(scores, times, calibrated, out):
    histograms, trees, totals, tails, since, clock = calibrated
    for row in range(scores.size):
        calibration.fade(histograms, trees, totals, tails, clock, times[row])
        out[row] = calibration.p_value(trees, totals, tails, 0, scores[row])
        calibration.learn(histograms, trees, totals, tails, since, 0, scores[row])


def life(halvings, *, shift, days=42, new=28, per_day=5000):
    """Rows with p below a thousandth by day since new software made 8 of 10 rows stranger by ``shift`` nats."""
    rng = np.random.default_rng(1)
    times = np.sort(rng.integers(START, START + days * DAY, per_day * days))
    day = (times - START) / DAY
    scores = rng.exponential(1.0, times.size) + np.where((day > new) & (rng.random(times.size) < 0.8), shift, 0.0)
    known, out = Calibration(1), np.empty(times.size)
    one = Drift({"x": known}, 1)
    with patch.object(drift, "HALVINGS", halvings):
        for piece in one.pieces(times, print):
            judge(scores[piece], times[piece], tuple(known.arrays().values()), out[piece])
            rows = {"p_x": out[piece], "stratum": np.zeros(piece.stop - piece.start, dtype=np.int64)}
            one.note(Columns(pl.DataFrame({**rows, "obs_ts": times[piece]})))
    strange = np.array([(out[(day > new + k) & (day <= new + k + 1)] < 0.001).sum() for k in range(days - new)])
    return strange, [(found["ts"] - START) / DAY - new for found in one.drifts()]


def test_new_software_is_ordinary_sooner():
    """Mutation check: without forgetting (0 halvings) the same software makes more than twice the excess for a week."""
    wanted = 7 * 5  # rows below a thousandth in a week of 5,000 rows a day
    with_it, when = life(HALVINGS, shift=3.0)
    without, _ = life(0, shift=3.0)
    assert with_it[0] > 25, "the first day is strange"
    assert 0 < when[0] < 2, "found within two days"
    assert with_it[1:8].sum() - wanted < (without[1:8].sum() - wanted) / 2
    assert without[7:].sum() > 0


def test_an_ordinary_life_is_no_drift():
    strange, when = life(HALVINGS, shift=0.0)
    assert when == []
    assert strange.sum() == pytest.approx(14 * 5, rel=0.4)


def test_only_the_stratum_that_changed_forgets():
    known = {"x": Calibration(3)}
    known["x"].totals[:] = 800.0
    known["x"].histograms[:, 3] = 800.0
    one = Drift(known, 3)
    for hour in range(400):
        p = 0.5 if hour < 200 else 0.2
        frame = pl.concat(
            [opinions([p] * 40, 1, START + hour * HOUR_US), opinions([0.5] * 40, 2, START + hour * HOUR_US)]
        )
        fed(one, frame)
    assert [(found["model"], found["stratum"]) for found in one.drifts()] == [("x", 1)]
    assert known["x"].totals.tolist() == [800.0, 100.0, 800.0, 800.0]
    assert known["x"].histograms[:, 3].tolist() == [800.0, 100.0, 800.0, 800.0]
    assert (one.drifts()[0]["ts"] - START) % (LOOK_HOURS * HOUR_US) == 0


def test_the_list_of_drifts_is_bounded(monkeypatch):
    """A stratum that changes its ways every ten days; the newest changes are kept."""
    frames = [opinions([0.5 if hour // 240 % 2 else 0.2] * 40, 1, START + hour * HOUR_US) for hour in range(240 * 6)]
    every = fed(watched(), pl.concat(frames)).found
    monkeypatch.setattr(drift, "MOST_FOUND", 3)
    assert len(every) >= 5
    assert fed(watched(), pl.concat(frames)).found == every[-3:]


def test_a_restored_one_goes_on():
    rng = np.random.default_rng(7)
    times = np.sort(rng.integers(START, START + 40 * DAY, 40 * 24 * 40))
    late = (times - START) / DAY > 20
    frame = pl.DataFrame(
        {"p_x": rng.random(times.size) ** np.where(late, 2.5, 1.0), "stratum": late * 0, "obs_ts": times}
    )
    frame = frame.with_columns(pl.col("stratum").cast(pl.Int64))
    half = frame.height * 3 // 5
    one, other = fed(watched(), frame[:half]), watched()
    assert one.found
    other.load({name: array.copy() for name, array in one.arrays().items()})
    assert same(fed(one, frame[half:]), fed(other, frame[half:]))
    empty = watched()
    empty.load(watched().arrays())
    assert same(empty, watched())
