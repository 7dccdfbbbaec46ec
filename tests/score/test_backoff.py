"""The back-off kernel against its formulas, for any number of chains and levels."""

import dataclasses
import itertools
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.score import backoff
from detector.score.columns import Columns
from detector.score.memory import Memory
from detector.score.table import DISCOUNT, GUARD_FLOOR, GUARD_P, STRENGTH
from detector.state.keys import text_keys
from tests.score.reference import HOUR_US
from tests.score.reference_models import Backoff, Question
from tests.score.streams import HALF_LIFE_DAYS, START, STRATA

SHAPES = [(1, 1), (1, 3), (2, 2), (3, 4)]  # chains, levels


def memory(chains, levels, max_entries=1_000_000, half_life_days=HALF_LIFE_DAYS):
    return Memory(STRATA, max_entries, half_life_days, backoff.new_entries(chains, levels))


def keys(texts):
    flat = np.array(texts, dtype=object)
    return text_keys(pl.Series(flat.ravel().tolist(), dtype=pl.String)).reshape(flat.shape)


def asked(rows, relative):
    """Questions as the model puts them."""
    units = Columns(
        pl.DataFrame(
            {
                "stratum": [row.stratum for row in rows],
                "obs_ts": [row.time for row in rows],
                "teach": [row.teach for row in rows],
            },
            schema={"stratum": pl.Int32, "obs_ts": pl.Int64, "teach": pl.Boolean},
        )
    )
    some = [row for row in rows if row.asked]
    chains, levels = len(rows[0].symbols), len(rows[0].contexts[0])
    return backoff.Questions(
        units.at(np.flatnonzero([row.asked for row in rows])),
        contexts=keys([row.contexts for row in some]).reshape(-1, chains, levels),
        symbols=keys([row.symbols for row in some]).reshape(-1, chains),
        bonus=np.array([row.bonus for row in some], dtype=np.float64),
        relative=relative,
    )


def answered(model, rows, cuts=(), *, relative=False):
    """In batches that end at ``cuts``."""
    bounds = [0, *sorted(cuts), len(rows)]
    parts = [
        backoff.answer(model, asked(rows[low:high], relative)) for low, high in itertools.pairwise(bounds) if high > low
    ]
    return pl.DataFrame(np.concatenate(parts, axis=1).T, schema=list(backoff.COLUMNS), orient="row")


def by_formula(rows, relative):
    model = Backoff(STRATA, HALF_LIFE_DAYS, relative)
    return pl.DataFrame([model.row(row) for row in rows])


def assert_same_numbers(kernel, reference):
    for name in backoff.COLUMNS:
        np.testing.assert_allclose(kernel[name], reference[name], rtol=1e-12, atol=1e-12, err_msg=name)


def assert_same_state(left, right):
    left, right = left.arrays(), right.arrays()
    assert left.keys() == right.keys()
    for name, array in left.items():
        np.testing.assert_array_equal(array, right[name], err_msg=name)


@st.composite
def questions(draw, shape, max_size=60):
    """Few contexts and symbols, long gaps and late rows, so that repeats, decay and every level matter."""
    chains, levels = shape
    context, symbol = st.sampled_from("abc"), st.sampled_from("xyz")
    steps = st.sampled_from([0, 1, 60_000_000, HOUR_US, 30 * HOUR_US, 400 * HOUR_US, -2 * HOUR_US])
    time, rows = START, []
    for _ in range(draw(st.integers(1, max_size))):
        time += draw(steps)
        rows.append(
            Question(
                tuple(tuple(draw(context) for _ in range(levels)) for _ in range(chains)),
                tuple(draw(symbol) for _ in range(chains)),
                draw(st.sampled_from([True, True, True, False])),
                draw(st.integers(0, STRATA - 1)),
                draw(st.sampled_from([0.0, 3.0])),
                time,
                draw(st.booleans()),
            )
        )
    return rows


def habits(count, seed, shape=(2, 3)):
    """Weeks of rows of hosts with habits; enough for the tails of the calibration to matter."""
    chains, levels = shape
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, 20 * 24 * HOUR_US, count)) + START
    hosts, symbols = rng.zipf(1.7, count) % 30, rng.zipf(1.8, (count, chains)) % 12
    return [
        Question(
            tuple(tuple(f"{host >> level}" for level in range(levels)) for _ in range(chains)),
            tuple(f"s{(symbol + host) % 12}" for symbol in row),
            bool(rng.random() < 0.9),
            int(rng.integers(0, STRATA)),
            float(rng.choice([0.0, 1.5, 3.0])),
            int(time),
            bool(rng.random() < 0.1),
        )
        for host, row, time in zip(hosts.tolist(), symbols.tolist(), times.tolist(), strict=True)
    ]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@given(st.data(), st.booleans())
@settings(max_examples=40)
def test_the_kernel_computes_the_formulas(shape, data, relative):
    rows = data.draw(questions(shape))
    assert_same_numbers(answered(memory(*shape), rows, relative=relative), by_formula(rows, relative))


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_kernel_computes_the_formulas_over_weeks_of_rows(shape, relative):
    rows = habits(3000, seed=4, shape=shape)
    kernel = answered(memory(*shape), rows, relative=relative)
    assert_same_numbers(kernel, by_formula(rows, relative))
    if shape[1] > 1 or not relative:  # relative to itself everything is as likely
        assert (kernel["p"] < 0.02).sum() > 20, "the stream must reach the tails"


def row(symbol, hour, *contexts, teach=False, bonus=0.0, **more):
    """One chain: a host's symbol, an hour count from the start."""
    return Question((contexts,), (symbol,), True, 0, bonus, START + round(hour * HOUR_US), teach, **more)


STEADY = 1e9  # days: nothing fades


def test_what_is_first_of_all_costs_nothing():
    """One symbol, none seen: the uniform choice is among one."""
    assert answered(memory(1, 2), [row("x", 0, "h", "role")])["surprise"][0] == 0.0


def test_two_levels_by_hand():
    """h did x in two hours; then y, which nobody ever did, and again x."""
    model = memory(1, 2, half_life_days=STEADY)
    found = answered(
        model, [row("x", 0, "h", "r"), row("x", 1, "h", "r"), row("y", 2, "h", "r"), row("x", 3, "h", "r")]
    )
    new, known = 1 / 2, 1 / 3  # uniform over what was seen and one more
    of_role = (STRENGTH + DISCOUNT) * new / (1 + STRENGTH)  # the role has one pair of a host and a symbol
    first_y = (STRENGTH + DISCOUNT) * of_role / (2 + STRENGTH)
    assert found["surprise"][2] == pytest.approx(-math.log(first_y), rel=1e-9)
    x_of_role = (1 - DISCOUNT + (STRENGTH + 2 * DISCOUNT) * known) / (2 + STRENGTH)
    again_x = (2 - DISCOUNT + (STRENGTH + 2 * DISCOUNT) * x_of_role) / (3 + STRENGTH)
    assert found["surprise"][3] == pytest.approx(-math.log(again_x), rel=1e-9)
    assert found.select("seen", "total", "distinct").row(3) == pytest.approx((2.0, 3.0, 2.0), rel=1e-9)


def test_a_busy_host_does_not_speak_for_its_role():
    """A thousand hours of one host tell the role no more than one."""
    results = []
    for hours in (1, 1000):
        rows = [row("x", hour, "busy", "r") for hour in range(hours)]
        results.append(
            answered(memory(1, 2, half_life_days=STEADY), [*rows, row("x", 1001, "other", "r")])["surprise"][-1]
        )
    assert results[0] == results[1]


@given(st.integers(1, 50), st.integers(0, 29), st.data())
@settings(max_examples=20)
def test_volume_within_the_hour_buys_nothing(times, place, data):
    rows = data.draw(questions((2, 2), max_size=30))
    place = min(place, len(rows) - 1)
    quiet, loud = memory(2, 2), memory(2, 2)
    plain = answered(quiet, rows)
    result = answered(loud, [*rows[: place + 1], *[rows[place]] * times, *rows[place + 1 :]])
    assert set(result["p"][place + 1 : place + 1 + times]) == {1.0}
    assert pl.concat([result[: place + 1], result[place + 1 + times :]]).equals(plain)
    assert_same_state(quiet, loud)


def test_rows_that_are_not_asked_change_nothing():
    rows = habits(600, seed=1)
    every = [dataclasses.replace(one, asked=True) for one in rows]
    doubled = [part for one in every for part in (dataclasses.replace(one, asked=False), one)]
    quiet, loud = memory(2, 3), memory(2, 3)
    plain, result = answered(quiet, every), answered(loud, doubled)
    assert set(result["p"][::2]) == {1.0}
    assert result[1::2].equals(plain)
    assert_same_state(quiet, loud)


def test_strange_rows_are_learned_with_less_weight_unless_they_teach():
    rows = habits(2000, seed=2, shape=(1, 2))
    hour = (rows[-1].time - START) / HOUR_US + 1
    for teach, learned in ((False, GUARD_FLOOR), (True, 1.0)):
        odd = row("never", hour, "0", "0", bonus=20.0, teach=teach)
        result = answered(memory(1, 2), [*rows, odd, row("never", hour + 1, "0", "0")])
        assert result["p"][-2] < GUARD_P * GUARD_FLOOR
        assert result["seen"][-1] == pytest.approx(learned, rel=1e-2)


def test_the_bonus_is_for_what_the_first_chain_has_not_seen():
    rows = [row("x", 0, "h", bonus=3.0), row("x", 1, "h", bonus=3.0), row("x", 2, "other", bonus=3.0)]
    plain = [dataclasses.replace(one, bonus=0.0) for one in rows]
    with_bonus, without = (answered(memory(1, 1), part)["surprise"] for part in (rows, plain))
    assert (with_bonus - without).to_list() == pytest.approx([3.0, 0.0, 3.0])


def test_what_is_rare_everywhere_is_not_strange_here_when_scores_are_relative():
    """x is one symbol of a hundred; a host that did anything else before pays for that alone in absolute terms."""
    crowd = [row(f"s{n}", n / 10, f"h{n}", "all") for n in range(100)]
    rare = [*crowd, row("x", 11, "h200", "all"), row("x", 13, "new", "all")]
    absolute, relative = (answered(memory(1, 2), rare, relative=way)["surprise"][-1] for way in (False, True))
    assert absolute > 3.0
    assert relative == pytest.approx(0.0, abs=1e-9)


# --- what must not change its results ---


@given(st.data())
@settings(max_examples=25)
def test_a_row_does_not_depend_on_its_batch(data):
    rows = data.draw(questions((2, 3)))
    cuts = data.draw(st.lists(st.integers(0, len(rows)), max_size=4))
    one, many = memory(2, 3), memory(2, 3)
    assert answered(one, rows).equals(answered(many, rows, cuts))
    assert_same_state(one, many)


@given(st.lists(st.integers(0, 700), max_size=6))
@settings(max_examples=20)
def test_a_full_table_evicts_at_the_same_row_whatever_the_batches(cuts):
    rows = habits(700, seed=6)
    one, many = memory(2, 3, max_entries=200), memory(2, 3, max_entries=200)
    assert answered(one, rows).equals(answered(many, rows, cuts))
    assert one.counts.evicted == many.counts.evicted > 200
    assert one.counts.used[0] == np.count_nonzero(one.counts.keys) < 200 + backoff.new_entries(2, 3)
    assert_same_state(one, many)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_row_adds_no_more_entries_than_room_was_made_for(shape):
    chains, levels = shape
    model = memory(*shape)
    for turn in range(5):  # everything new each time
        names = tuple(tuple(f"{turn} {chain} {level}" for level in range(levels)) for chain in range(chains))
        before = int(model.counts.used[0])
        answered(model, [Question(names, tuple(f"{turn}" for _ in range(chains)), True, 0, 0.0, START + turn, False)])
        assert 0 < int(model.counts.used[0]) - before <= backoff.new_entries(chains, levels)


def test_what_was_learned_survives_a_snapshot():
    rows = habits(900, seed=8)
    model, restored = memory(2, 3, max_entries=300), memory(2, 3, max_entries=300)
    answered(model, rows[:600])
    restored.load({name: array.copy() for name, array in model.arrays().items()})
    assert answered(model, rows[600:]).equals(answered(restored, rows[600:]))
    assert_same_state(model, restored)
