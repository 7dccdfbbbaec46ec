"""One p-value from many, and how attention is shared: what stays true whatever the models say."""

import functools
import itertools
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.score import fusion
from detector.score.budget import P_CUT, Budget
from detector.score.columns import Columns
from detector.score.fusion import COLUMNS, COMMON, RARE, Fusion
from tests.score import reference_models
from tests.score.frames import same_state
from tests.score.reference import DAY_US, HOUR_US
from tests.score.streams import START

STRATA = 3
INTEREST = {
    "one": np.array([2.0, 1.0, 8.0]),
    "two": np.array([6.0, 3.0, 24.0]),
    "three": np.array([1.0, 0.5, 4.0]),
}


def model(interest=INTEREST, newcomers=STRATA, max_entries=2_000_000):
    return Fusion(interest, newcomers, max_entries)


def table(opinions, strata=None, times=None, pairs=None, expected=None):
    """Rows of opinions by model, as the models leave them; by default each row is of a pair of its own."""
    count = len(next(iter(opinions.values())))
    return pl.DataFrame(
        {f"p_{name}": pl.Series(values, dtype=pl.Float64) for name, values in opinions.items()}
        | {
            "stratum": pl.Series([0] * count if strata is None else strata, dtype=pl.Int32),
            "obs_ts": pl.Series([START] * count if times is None else times, dtype=pl.Int64),
            "orig_id": pl.Series(range(count) if pairs is None else pairs, dtype=pl.UInt64),
            "resp_id": pl.Series([7] * count, dtype=pl.UInt64),
            "expected": pl.Series([False] * count if expected is None else expected, dtype=pl.Boolean),
        }
    )


def judged(one, frame, cuts=()):
    bounds = [0, *sorted(cuts), frame.height]
    return pl.concat([pl.DataFrame(one.judge(Columns(frame[low:high]))) for low, high in itertools.pairwise(bounds)])


def weeks(count=3000, seed=1):
    """Three weeks of opinions, half of them silence; some strange, some agreeing; some rows late."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, 21 * DAY_US, count)) + START
    times = np.where(rng.random(count) < 0.02, times - 3 * HOUR_US, times)
    strange = rng.random(count) < 0.03
    opinions = {
        name: np.where(rng.random(count) < 0.5, 1.0, np.where(strange, 1e-4, 1.0) * rng.uniform(1e-9, 1, count))
        for name in INTEREST
    }
    return table(opinions, rng.integers(0, STRATA, count), times, rng.zipf(1.3, count) % 40, rng.random(count) < 0.1)


def by_formula(frame, newcomers):
    reference = reference_models.Fusion(INTEREST, newcomers)
    return pl.DataFrame(
        [
            reference.row(
                {name: row[f"p_{name}"] for name in INTEREST},
                row["stratum"],
                row["orig_id"],
                row["obs_ts"],
                row["expected"],
            )
            for row in frame.iter_rows(named=True)
        ]
    )


def assert_same_numbers(kernel, reference):
    for name in COLUMNS:
        np.testing.assert_allclose(kernel[name], reference[name], rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("newcomers", [STRATA, 1])
def test_the_kernel_computes_the_formulas(newcomers):
    frame = weeks()
    kernel = judged(model(newcomers=newcomers), frame)
    assert_same_numbers(kernel, by_formula(frame, newcomers))
    assert (kernel["p_value"] < 0.01).sum() > 10, "the stream must reach the tails"


p_values = st.sampled_from([1.0, 1.0, 1.0, 0.5, 0.02, 1e-6, 1e-12])
steps = st.sampled_from([0, 1, 60_000_000, HOUR_US, 30 * HOUR_US, 400 * HOUR_US, -2 * HOUR_US])
rows = st.lists(
    st.tuples(p_values, p_values, p_values, st.integers(0, STRATA - 1), steps, st.integers(1, 3), st.booleans()),
    min_size=1,
    max_size=120,
)


def frame_of(drawn):
    one, two, three, strata, gaps, pairs, expected = zip(*drawn, strict=True)
    return table({"one": one, "two": two, "three": three}, strata, (START + np.cumsum(gaps)).tolist(), pairs, expected)


@given(rows)
@settings(max_examples=60)
def test_the_kernel_computes_the_formulas_of_any_stream(drawn):
    frame = frame_of(drawn)
    assert_same_numbers(judged(model(newcomers=2), frame), by_formula(frame, 2))


# --- merging ---


def fused(opinions, interest=INTEREST):
    """Of the first row of all, of stratum 0."""
    return judged(model(interest), table({name: [p] for name, p in opinions.items()}))["fused"][0]


def test_by_hand():
    """One row a day in each of two groups, a third of which never speaks: shares of 2 and 6 in 8."""
    rates = 0.05 * 1 / (2 / 8), 0.2 * 1 / (6 / 8)
    merged = sum(math.log(COMMON / rate) for rate in rates)
    assert fused({"one": 0.05, "two": 0.2, "three": 1.0}) == pytest.approx(merged, rel=1e-12)


def test_a_single_opinion_is_its_rate():
    assert fused({"one": 0.1, "two": 1.0, "three": 1.0}) == pytest.approx(math.log(COMMON / 0.1), rel=1e-12)


def test_no_model_vouches_for_more_than_it_has_seen():
    assert fused({"one": 1e-12, "two": 1.0, "three": 1.0}) == pytest.approx(math.log(COMMON / RARE), rel=1e-12)


def test_what_is_common_is_no_news():
    """Row 1,500 of a day of ordinary rows of one model."""
    silent = {"two": [1.0] * 1500, "three": [1.0] * 1500}
    assert judged(model(), table({"one": [0.9] * 1500} | silent))["fused"][-1] == 0.0


@given(st.fixed_dictionaries({name: st.floats(1e-12, 0.999) for name in INTEREST}), st.sampled_from(list(INTEREST)))
def test_a_stranger_opinion_never_makes_a_row_less_strange(opinions, name):
    now, before = fused(opinions | {name: opinions[name] / 10}), fused(opinions)
    assert now >= before
    parts = sum(INTEREST.values())[0]
    seen = opinions[name] / 10 * parts / INTEREST[name][0] > RARE
    assert not seen or now > before + math.log(9)


def test_the_scale_of_interest_means_nothing():
    frame = weeks()
    scaled = {name: 7 * parts for name, parts in INTEREST.items()}
    np.testing.assert_allclose(judged(model(scaled), frame), judged(model(), frame), rtol=1e-9)


def test_the_order_of_models_means_nothing():
    frame = weeks()
    plain = judged(model(), frame)
    for names in itertools.permutations(INTEREST):
        again = judged(model({name: INTEREST[name] for name in names}), frame)
        np.testing.assert_allclose(again, plain, rtol=1e-9)


def test_a_model_that_is_always_silent_changes_nothing():
    """Not even the others' share of the attention."""
    frame = weeks().with_columns(p_three=pl.lit(1.0))
    without = {name: parts for name, parts in INTEREST.items() if name != "three"}
    assert judged(model(), frame).equals(judged(model(without), frame))


def test_when_all_are_silent_the_row_is_left_alone():
    """p-value 1, no part in the rates, nothing learned."""
    frame = weeks(900)
    silence = pl.concat([frame, frame.with_columns(pl.lit(1.0).alias(f"p_{name}") for name in INTEREST)])
    order = np.argsort(np.tile(np.arange(frame.height), 2), kind="stable")
    quiet, loud = model(), model()
    plain, mixed = judged(quiet, frame), judged(loud, silence[order])
    assert set(mixed[1::2].select("fused", "p_value", "rows_per_day").rows()) == {(0.0, 1.0, 1.0)}
    assert mixed[::2].equals(plain)
    assert same_state(quiet, loud)


def test_merged_p_values_are_calibrated_though_models_agree():
    """Three models that always say the same: at most a share t of rows has a p-value of t or less."""
    rng = np.random.default_rng(3)
    p = rng.uniform(0, 1, 100_000)
    times = START + np.sort(rng.integers(0, 21 * DAY_US, p.size))
    found = judged(model(), table(dict.fromkeys(INTEREST, p), times=times))["p_value"].to_numpy()
    settled = found[times > START + DAY_US]
    for level in (0.5, 0.1, 0.01, 1e-3):
        noise = 4 * np.sqrt(level * (1 - level) / settled.size)
        assert np.mean(settled <= level) <= 1.1 * level + noise, level


def test_until_there_are_cases_to_compare_with_the_smallest_rate_speaks():
    """Over all rows: in a capture of minutes one in a billion is worth a look, and one in two is not."""
    p_values = [0.5] * 9 + [1e-9]
    found = judged(model(), table(dict.fromkeys(INTEREST, p_values)))
    assert found["p_value"][:9].min() > 0.5
    rarest = 1e-9 * 10 / (6 / 9)  # the tenth row of the model that gets six of nine parts of the attention
    assert found["p_value"][9] == pytest.approx(rarest / 10, rel=1e-9)
    assert found["rows_per_day"][9] == 10.0


# --- cases ---


def acts(*acts):
    """Rows of pair 5, by (minute, opinions)."""
    opinions = {name: [told.get(name, 1.0) for _, told in acts] for name in INTEREST}
    return table(opinions, times=[START + minute * 60_000_000 for minute, _ in acts], pairs=[5] * len(acts))


def test_what_two_hosts_do_within_an_hour_is_one_move():
    """The connection has no account, the log-on no service: together they are stranger than each."""
    apart = judged(model(), acts((0, {"one": 0.01}), (61, {"two": 0.01})))["fused"]
    together = judged(model(), acts((0, {"one": 0.01}), (59, {"two": 0.01})))["fused"]
    assert together[0] == apart[0]
    assert together[1] > apart[1] + math.log(2)


def test_what_adds_nothing_to_its_case_is_judged_by_itself_and_not_learned():
    """A tail of ordinary rows behind one strange row is no tail of strange rows. The first day is not learned."""
    first, strange = (0, {"one": 0.5}), (1500, {"one": 1e-6})
    tail = [(minute, {"one": 0.9}) for minute in range(1501, 1550)]
    loud, quiet = model(), model()
    found = judged(loud, acts(first, strange, *tail))
    judged(quiet, acts(first, strange))
    assert found["fused"][2:].max() < found["fused"][1] - 3
    assert loud.calibration.totals[0] == quiet.calibration.totals[0] == 1.0


def test_what_the_plant_file_expects_has_to_be_so_much_rarer():
    silent = {"two": [1.0], "three": [1.0]}
    plain = judged(model(), table({"one": [0.1]} | silent))["fused"][0]
    declared = judged(model(), table({"one": [0.1]} | silent, expected=[True]))["fused"][0]
    assert plain - declared == pytest.approx(math.log(fusion.EXPECTED_ODDS), rel=1e-9)


def test_newcomers_are_believed_as_far_as_their_own_rows_bear_out():
    """One in a million of three rows is one in four."""
    strange, ordinary = {"one": [1e-6] * 3}, {"one": [1 / 2, 1 / 3, 1 / 4]}
    silent = {"two": [1.0] * 3, "three": [1.0] * 3}
    found = [judged(model(newcomers=0), table(told | silent))["fused"] for told in (strange, ordinary)]
    np.testing.assert_allclose(*found, rtol=1e-12)


# --- what must not change its results ---


@given(rows, st.data())
@settings(max_examples=30)
def test_a_row_does_not_depend_on_its_batch(drawn, data):
    frame = frame_of(drawn)
    cuts = data.draw(st.lists(st.integers(0, frame.height), max_size=4))
    one, many = model(), model()
    assert judged(one, frame).equals(judged(many, frame, cuts))
    assert same_state(one, many)


@given(st.lists(st.integers(0, 900), max_size=5))
@settings(max_examples=20)
def test_too_many_cases_are_forgotten_at_the_same_row_whatever_the_batches(cuts):
    frame = weeks(900)
    one, many = model(max_entries=30), model(max_entries=30)
    assert judged(one, frame).equals(judged(many, frame, cuts))
    assert one.cases.evicted == many.cases.evicted > 30
    assert same_state(one, many)


def test_what_was_learned_survives_a_snapshot():
    frame = weeks(900)
    one, restored = model(max_entries=30), model(max_entries=30)
    judged(one, frame[:600])
    restored.load({name: array.copy() for name, array in one.arrays().items()})
    assert judged(one, frame[600:]).equals(judged(restored, frame[600:]))
    assert same_state(one, restored)
    assert one.cases.evicted > 0


# --- attention ---

RATES = np.array([[20_000.0, 400.0, 0.0], [2_000.0, 0.0, 100.0]])  # rows a day by model and stratum
ATTENTION = {"one": np.array([1.0, 4.0, 50.0]), "two": np.array([4.0, 30.0, 2.0])}
SHARES = np.array([1.0, 4.0, 4.0, 2.0]) / 11  # of the groups that speak
DAYS = 28


@functools.cache
def null_rows():
    """Four weeks in which nothing is wrong; each row belongs to one model and one stratum, of very different rates:
    groups, days, p-values, rows a day."""
    rng = np.random.default_rng(17)
    groups = np.repeat(np.arange(RATES.size), rng.poisson(RATES.ravel() * DAYS))
    rng.shuffle(groups)
    times = np.sort(rng.integers(0, DAYS * DAY_US, groups.size)) + START
    p = rng.uniform(0, 1, groups.size)
    opinions = {name: np.where(groups // STRATA == model, p, 1.0) for model, name in enumerate(ATTENTION)}
    out = judged(model(ATTENTION), table(opinions, groups % STRATA, times))
    return groups, (times - START) / DAY_US, out["p_value"].to_numpy(), out["rows_per_day"].to_numpy()


def test_rows_a_day_follow_the_rows_of_the_last_day():
    _, day, _, per_day = null_rows()
    assert per_day[0] == 1.0
    assert per_day[day > 5].mean() == pytest.approx(RATES.sum(), rel=0.03)


@pytest.mark.parametrize("alerts_per_day", [2.0, 25.0])
def test_findings_a_day_are_those_asked_for_and_shared_by_interest(alerts_per_day):
    """When nothing is wrong. A group's part follows the interest in it, not how much it talks; none is for silence."""
    groups, day, p, per_day = null_rows()
    wanted = Budget(alerts_per_day).findings_per_day(RATES.sum())
    found = (day > 4) & (p * per_day <= wanted)
    rate = found.sum() / (DAYS - 4)
    noise = 4 * np.sqrt(wanted / (DAYS - 4))
    assert rate == pytest.approx(wanted, rel=0.1, abs=noise), f"{rate:.1f} findings a day, {wanted:.1f} asked for"
    by_group = np.bincount(groups[found], minlength=RATES.size)[RATES.ravel() > 0] / (DAYS - 4)
    for share, measured in zip(SHARES, by_group, strict=True):
        assert measured == pytest.approx(share * wanted, rel=0.2, abs=4 * np.sqrt(share * wanted / (DAYS - 4)))


def test_findings_are_never_more_than_a_fixed_share_of_the_rows():
    assert Budget(25.0).findings_per_day(100.0) == P_CUT * 100
    assert Budget(25.0).findings_per_day(1e9) == Budget(25.0).findings_per_day(1e8) > 25.0
