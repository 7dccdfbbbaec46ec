"""The forest judges combinations of opinions; it grows when its time has come, from a fair and bounded sample."""

import functools
import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.score import forest as module
from detector.score.calibration import MIN_ROWS
from detector.score.columns import Columns
from detector.score.forest import FIRST_ROWS, HALF_LIFE, ODD_P, SAMPLE, TURN, Forest, surprise
from detector.score.table import GUARD_FLOOR, GUARD_P
from detector.state import snapshot
from detector.state.snapshot import Capture

OTHERS = ("structure", "timing", "credentials", "provenance", "windows")
WIDTH = 4  # of them are joined
STRATA = 6
DAY = 86_400_000_000
START = 1_767_225_600_000_000  # 2026-01-01, µs
BATCHED = settings(max_examples=6, deadline=None)
HIGH = 0.04  # p-value that an odd opinion has here


@pytest.fixture(scope="module", autouse=True)
def _few_trees():
    """Enough for what is tested here, in less time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TREES", 30)
        yield


def model():
    return Forest(STRATA, OTHERS)


def frame(opinions, days, stratum=None, teach=None):
    """Rows from p-values, shape (n, WIDTH), and times in days since `START`."""
    opinions, days = np.asarray(opinions, dtype=float).reshape(-1, WIDTH), np.asarray(days, dtype=float)
    told = {f"p_{name}": opinions[:, place] for place, name in enumerate(OTHERS[:WIDTH])}
    told |= {"p_windows": np.full(len(days), 1e-9)}
    return pl.DataFrame(told).with_columns(
        stratum=pl.Series(np.zeros(len(days)) if stratum is None else stratum, dtype=pl.Int32),
        obs_ts=pl.Series(START + np.round(days * DAY), dtype=pl.Int64),
        teach=pl.Series(np.zeros(len(days)) if teach is None else teach).cast(pl.Boolean),
    )


def life(count, seed, days=4.0, strata=STRATA):
    """Opinions of ordinary rows: most have little to say, and those that are odd come in two kinds."""
    rng = np.random.default_rng(seed)
    p = np.where(rng.random((count, WIDTH)) < 0.7, 1.0, rng.uniform(ODD_P, 1.0, (count, WIDTH)))
    kind = rng.integers(0, 3, count)
    for number, pair in ((1, [0, 1]), (2, [2, 3])):
        rows = np.flatnonzero(kind == number)
        p[np.ix_(rows, pair)] = rng.uniform(0.0, ODD_P, (rows.size, 2))
    return frame(p, np.sort(rng.uniform(0, days, count)), rng.integers(0, strata, count), rng.random(count) < 0.05)


def scored(forest, rows, cuts=()):
    bounds = [0, *sorted(cuts), rows.height]
    return pl.concat([pl.DataFrame(forest.score(Columns(rows[low:high]))) for low, high in itertools.pairwise(bounds)])


def assert_same_state(left, right):
    left, right = left.arrays(), right.arrays()
    assert left.keys() == right.keys()
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name], err_msg=name)


def grown(forest):
    """Forests so far."""
    return int(forest.arrays()["clock"][1])


def held(forest, stratum=0):
    """Numbers of the rows in the sample of a stratum, from the opinion that `numbered` hides them in."""
    arrays = forest.arrays()
    kept = arrays["rows"][stratum][np.isfinite(arrays["draws"][stratum])]
    return np.floor(kept[:, 0] * 1e4).astype(int)


def numbered(count, days=None, **more):
    """Rows that are all odd in two ways, told apart by how odd."""
    opinions = np.tile([1.0, HIGH, 1.0, 1.0], (count, 1))
    opinions[:, 0] = ODD_P * np.exp(-(np.arange(count) + 0.5) / 1e4)
    return frame(opinions, np.zeros(count) if days is None else days, **more)


# --- what must not change its results ---


@given(st.lists(st.integers(0, 2500), max_size=6))
@BATCHED
def test_a_row_does_not_depend_on_its_batch(cuts):
    one, rows, told = _whole()
    many = model()
    assert scored(many, rows, cuts).equals(told)
    assert grown(one) == 3, "there must be forests between the cuts"
    assert_same_state(one, many)


@functools.cache
def _whole():
    """A forest that saw rows at once, the rows, and what it said."""
    forest, rows = model(), life(2500, seed=1)
    return forest, rows, scored(forest, rows)


@given(st.integers(0, 2500))
@BATCHED
def test_what_was_learned_survives_a_snapshot(place):
    whole, rows, told = _whole()
    one, restored = model(), model()
    scored(one, rows[:place])
    content = Capture.of(one.arrays(), {}, "same").write()
    restored.load(snapshot.read(content, "same")[0])
    assert scored(restored, rows[place:]).equals(told[place:])
    assert_same_state(whole, restored)


# --- who is asked ---


def test_only_rows_that_are_odd_in_two_ways_are_asked_and_teach():
    forest = model()
    scored(forest, life(3000, seed=3))
    before = {name: array.copy() for name, array in forest.arrays().items()}
    ordinary = frame([[ODD_P, ODD_P, ODD_P, ODD_P], [1e-9, ODD_P, 1.0, 1.0], [1.0] * 4], [4.0] * 3)
    told = scored(forest, ordinary)
    assert told["p_forest"].to_list() == [1.0] * 3
    assert told["forest"].to_list() == [0.0] * 3
    assert told["odd_opinions"].to_list() == [0.0, 1.0, 0.0]
    for name, array in forest.arrays().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    asked = scored(forest, frame([[HIGH, HIGH, 1.0, 1.0]], [4.0]))
    assert asked["odd_opinions"][0] == 2.0
    assert 0.0 < asked["p_forest"][0] < 1.0
    assert 0.0 < asked["forest"][0] < module.STRETCH


def test_what_is_ordinary_is_all_the_same_to_the_trees():
    """One-sided: nothing tells a p-value of 1 from one of `ODD_P`."""
    assert surprise(np.array([[1.0, 0.5, ODD_P]])).tolist() == [[0.0, 0.0, 0.0]]
    assert surprise(np.array([[ODD_P / np.e]]))[0, 0] == pytest.approx(1.0)


def test_models_that_are_not_in_the_run_are_not_missed():
    forest = Forest(STRATA, ("structure",))
    told = scored(forest, life(500, seed=4))
    assert set(told["p_forest"]) == {1.0}


# --- what it finds ---


def test_many_opinions_together_are_strange_though_each_is_common():
    """Life has rows odd in two ways, each as far as here; never in three or four."""
    forest = model()
    scored(forest, life(6000, seed=5, strata=1))
    for h in (0.01, 0.005, 0.002):
        pairs = _p(forest, [h, h, 1, 1]), _p(forest, [1, 1, h, h])
        assert _p(forest, [h] * 4) < _p(forest, [h, h, h, 1]) < min(pairs)
    h = 0.005
    assert _p(forest, [h, h, h, 1]) < 0.01 < min(_p(forest, [h, h, 1, 1]), _p(forest, [1, 1, h, h]))


def _p(forest, opinions):
    return scored(forest, frame([opinions], [4.0]))["p_forest"][0]


def test_more_surprise_is_hardly_ever_less_strange():
    """An isolation forest is two-sided; among rows that are asked, what is more surprising is not less strange."""
    rows = life(4000, seed=6)
    forest = model()
    scored(forest, rows)
    opinions = rows.select(f"p_{name}" for name in OTHERS[:WIDTH]).to_numpy()
    vectors = surprise(opinions[(opinions < ODD_P).sum(axis=1) >= 2])
    before = forest.paths.score(vectors)
    for nats in (0.5, 1.0, 3.0):
        after = forest.paths.score(vectors + np.float32(nats) * (vectors > 0))
        assert np.mean(after < before - 0.01) < 0.02
        assert np.mean(after - before) > 0


def test_ordinary_rows_have_no_small_p_values():
    told = scored(model(), life(30_000, seed=7, days=10.0))
    p = told["p_forest"].to_numpy()
    p = p[(told["forest"].to_numpy() > 0) & (np.arange(p.size) > 10_000)]
    for level in (0.2, 0.05, 0.01):
        noise = 4 * np.sqrt(level / p.size)
        assert np.mean(p <= level) <= 1.2 * level + noise, level


# --- when it grows ---


def asked_rows(days):
    return numbered(len(days), np.asarray(days))


def test_the_first_forest_grows_when_there_are_enough_rows():
    forest = model()
    told = scored(forest, asked_rows([0.5] * (FIRST_ROWS + MIN_ROWS + 1)))
    assert told["forest"].to_numpy().nonzero()[0][0] == FIRST_ROWS
    assert set(told["p_forest"][: FIRST_ROWS + MIN_ROWS]) == {1.0}
    assert told["p_forest"][-1] < 1.0
    assert grown(forest) == 1


def test_a_forest_grows_each_day_at_the_row_that_makes_the_day_sure():
    forest = model()
    scored(forest, asked_rows([0.5] * (FIRST_ROWS + 1)))
    scored(forest, asked_rows([1.1] * (TURN - 1)))
    assert grown(forest) == 1
    scored(forest, asked_rows([1.1]))
    assert grown(forest) == 2
    scored(forest, asked_rows([1.9] * 500))
    assert grown(forest) == 2
    scored(forest, asked_rows([40.0] * TURN))
    assert grown(forest) == 3


@pytest.mark.parametrize("wrong", [-20_000.0, 20_000.0])
def test_misdated_rows_grow_nothing_and_stop_nothing(wrong):
    forest = model()
    scored(forest, asked_rows([0.5] * (FIRST_ROWS + 1)))
    scored(forest, asked_rows([wrong, 0.6, 0.6] * 100))
    assert grown(forest) == 1
    scored(forest, asked_rows([wrong, 1.1] * TURN))
    assert grown(forest) == 2


# --- the sample ---


def test_a_rare_kind_is_not_crowded_out():
    forest = model()
    scored(forest, numbered(100, stratum=np.ones(100)))
    scored(forest, numbered(20_000))
    assert np.array_equal(np.sort(held(forest, 1)), np.arange(100))
    assert held(forest, 0).size == SAMPLE


def test_the_sample_is_those_with_the_smallest_keys():
    forest = model()
    scored(forest, numbered(20_000, teach=np.ones(20_000)))
    keys = [module._key(1 + number, 1.0, 0 if number < FIRST_ROWS else 1) for number in range(20_000)]
    assert np.array_equal(np.sort(held(forest)), np.sort(np.argsort(keys)[:SAMPLE]))


def test_what_looks_like_an_attack_seldom_enters():
    """Its weight is that of `table.guard`, unless it only teaches."""
    keys = {}
    for teach in (False, True):
        forest = model()
        scored(forest, life(4000, seed=8, strata=1))
        told = scored(forest, frame([[1e-6] * WIDTH], [4.0], stratum=[1], teach=[teach]))
        assert told["p_forest"][0] < GUARD_P * GUARD_FLOOR
        keys[teach] = forest.arrays()["draws"][1].min()
    assert keys[False] - keys[True] == pytest.approx(-np.log(GUARD_FLOOR))


def test_old_rows_fade():
    """A row counts half as much as one of `HALF_LIFE` forests later."""
    weights = [np.exp(-(module._key(7, 1.0, forests))) for forests in (0, HALF_LIFE, 2 * HALF_LIFE)]
    assert weights[1] / weights[0] == pytest.approx(2.0)
    assert weights[2] / weights[1] == pytest.approx(2.0)
    light = np.exp(-module._key(7, GUARD_FLOOR, 0))
    assert weights[0] / light == pytest.approx(1 / GUARD_FLOOR)


def test_keys_are_those_of_an_exponential_clock():
    """exp(key) is exponential with rate w: so the smallest keys are a sample with weights w."""
    waits = np.exp([module._key(number, 2.0, 0) for number in range(20_000)])
    assert np.mean(waits) == pytest.approx(0.5, rel=0.03)
    assert np.mean(waits > 1.0) == pytest.approx(np.exp(-2.0), rel=0.1)
