"""The compiled scorer against its formulas, and what must not change its results: batches, table size, volume."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.score.structure import COLUMNS
from detector.score.table import GUARD_FLOOR
from tests.score.reference import HOUR_US, Reference
from tests.score.streams import (
    HALF_LIFE_DAYS,
    OUTSIDE,
    START,
    STRATA,
    random_rows,
    row,
    scored,
    streams,
    structure,
    units,
)

BATCHED = settings(max_examples=15)


def assert_same_numbers(kernel, reference):
    """Also the roles: other names for the same ones. Of a repeat only that it is one."""
    for name in COLUMNS:
        wanted = pl.Series([row.get(name) for row in reference], dtype=pl.Float64)
        said = wanted.is_not_null()
        np.testing.assert_allclose(kernel[name].filter(said), wanted.filter(said), rtol=1e-12, atol=1e-12, err_msg=name)
    keys = [*kernel["orig_role"], *kernel["resp_role"]]
    names = [row[name] for name in ("orig_role", "resp_role") for row in reference]
    assert len(set(keys)) == len(set(names)) == len(set(zip(keys, names, strict=True)))


def by_formula(rows):
    return Reference(STRATA, OUTSIDE, HALF_LIFE_DAYS).score(rows)


def assert_same_state(left, right):
    left, right = left.arrays(), right.arrays()
    assert left.keys() == right.keys()
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name], err_msg=name)


@given(streams())
@settings(max_examples=40)
def test_the_kernel_computes_the_formulas(rows):
    assert_same_numbers(scored(structure(), rows), by_formula(rows))


@pytest.mark.parametrize("seed", range(2))
def test_the_kernel_computes_the_formulas_over_weeks_of_rows(seed):
    rows = random_rows(4000, seed)
    model, reference = structure(), Reference(STRATA, OUTSIDE, HALF_LIFE_DAYS)
    kernel = scored(model, rows)
    assert_same_numbers(kernel, reference.score(rows))
    assert (kernel["p_structure"] < 0.01).sum() > 20, "the stream must reach the tails"
    calibration, expected = model.memory.calibration, reference.calibrated
    for stratum, scores in enumerate([*expected.scores, expected.pooled]):
        histogram = calibration.histograms[stratum]
        assert {int(i): histogram[i] for i in np.flatnonzero(histogram)} == {i: c for i, c in scores.bins.items() if c}
        assert calibration.totals[stratum] == scores.total


@given(streams(), st.data())
@BATCHED
def test_a_row_does_not_depend_on_its_batch(rows, data):
    cuts = data.draw(st.lists(st.integers(0, len(rows)), max_size=4))
    one, many = structure(), structure()
    assert scored(one, rows).equals(scored(many, rows, cuts))
    assert_same_state(one, many)


def test_the_size_of_the_table_changes_nothing():
    rows = random_rows(1500, seed=5)
    tight, roomy = structure(), structure()
    roomy.memory.counts.reserve(1 << 19)
    cuts = range(10, 1500, 10)
    assert scored(tight, rows, cuts).equals(scored(roomy, rows))
    assert tight.memory.counts.keys.size < roomy.memory.counts.keys.size
    assert_same_state(tight, roomy)


@given(st.lists(st.integers(0, 800), max_size=6))
@BATCHED
def test_a_full_table_evicts_at_the_same_row_whatever_the_batches(cuts):
    rows = random_rows(800, seed=6)
    one, many = structure(max_entries=400), structure(max_entries=400)
    assert scored(one, rows).equals(scored(many, rows, cuts))
    assert one.memory.counts.evicted == many.memory.counts.evicted > 400
    assert one.memory.counts.used[0] == np.count_nonzero(one.memory.counts.keys) < 400 + 20
    assert_same_state(one, many)


def test_eviction_drops_what_was_seen_longest_ago():
    model = structure(max_entries=90)
    old, young = row("h1", "h2", "a", 0, 0, 0.0, START), row("h3", "h4", "a", 0, 0, 0.0, START + 5 * HOUR_US)
    scored(model, [old, *(dataclasses.replace(young, time=START + hour * HOUR_US) for hour in range(1, 6))])
    for n in range(10, 60, 2):
        if model.memory.counts.evicted:
            break
        scored(model, [row(f"h{n}", f"h{n + 1}", "b", 1, 0, 0.0, START + 6 * HOUR_US + n)])
    assert 0 < model.memory.counts.evicted <= 0.3 * 90
    again = [dataclasses.replace(pair, time=START + 7 * HOUR_US) for pair in (young, old)]
    kept, gone = scored(model, again)["seen"]
    assert gone == 0.0
    assert kept > 4.0


@pytest.mark.timeout(60)
def test_a_table_too_small_for_one_instant_does_not_stop_the_walk():
    rows = [row(f"h{n}", f"h{n + 1}", "a", 0, 0, 0.0, START) for n in range(1, 200)]
    model = structure(max_entries=25)
    result = scored(model, rows)
    assert result.height == len(rows)
    assert np.isfinite(result.to_numpy()).all()
    assert model.memory.counts.evicted > 25


@given(streams(max_size=30), st.integers(0, 29), st.integers(1, 50))
@BATCHED
def test_volume_within_the_hour_buys_nothing(rows, position, times):
    place = min(position, len(rows) - 1)
    repeats = [rows[place]] * times
    quiet, loud = structure(), structure()
    plain = scored(quiet, rows)
    result = scored(loud, [*rows[: place + 1], *repeats, *rows[place + 1 :]])
    assert set(result["p_structure"][place + 1 : place + 1 + times]) == {1.0}
    assert pl.concat([result[: place + 1], result[place + 1 + times :]]).equals(plain)
    assert_same_state(quiet, loud)


def test_strange_rows_are_learned_with_less_weight_unless_they_teach():
    rows = random_rows(1500, seed=7, hosts=6)
    odd = row("h1", "h5", "never seen", 0, 0, 14.0, rows[-1].time + HOUR_US)
    for teach, learned in ((False, GUARD_FLOOR), (True, 1.0)):
        again = dataclasses.replace(odd, time=odd.time + HOUR_US)
        result = scored(structure(), [*rows, dataclasses.replace(odd, teach=teach), again])
        assert result["p_structure"][-2] < 0.001
        assert result["seen"][-1] == pytest.approx(learned, rel=1e-3)


def test_the_bonus_is_for_what_was_not_done_before():
    rows = [row("h1", "h2", "a", 0, 0, bonus, START + hour * HOUR_US) for hour in range(2) for bonus in (3.0,)]
    result = scored(structure(), rows)
    surprise = result["structure_forward"] + result["structure_reverse"]
    assert (result["structure"] - surprise).to_list() == [3.0, 0.0]


def test_what_was_learned_survives_a_snapshot():
    rows = random_rows(900, seed=8)
    model, restored = structure(max_entries=600), structure(max_entries=600)
    scored(model, rows[:600])
    restored.load({name: array.copy() for name, array in model.arrays().items()})
    assert scored(model, rows[600:]).equals(scored(restored, rows[600:]))
    assert_same_state(model, restored)


def test_units_follow_the_order_the_kernel_unpacks():
    names = [field.name for field in dataclasses.fields(units([row("h1", "h2", "a", 0, 0, 0.0, START)]))]
    assert names == [
        "orig", "resp", "orig_zone", "resp_zone", "token", "kind", "stratum", "bonus", "time", "teach",
    ]  # fmt: skip


def test_a_row_dated_1970_does_not_make_a_young_history_old():
    """Minutes teach while the history is young; one misdated row in front must not end that."""
    rows = random_rows(400, seed=9)
    plain, led = structure(), structure()
    scored(plain, rows)
    scored(led, [row("h8", "h9", "z", 0, 0, 0.0, 1), *rows])
    assert plain.began == led.began == rows[0].time
