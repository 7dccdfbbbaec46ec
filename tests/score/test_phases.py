"""Who is a newcomer: the phases of a host against their definition, and what must not change them."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.score.calibration import APART_US, MIN_ROWS
from detector.score.phases import ACTIVE_HOURS, LEARNING_US, PHASES, SHADOW_US, YOUNG_SHARE, Phases
from tests.score import reference_models
from tests.score.frames import desk, enriched, row, same_state, scored, server
from tests.score.reference import HOUR_US

LEARNING, SHADOW, PROTECTING = range(len(PHASES))
LEARNING_HOURS, SHADOW_HOURS = LEARNING_US / HOUR_US, SHADOW_US / HOUR_US
APART_HOURS = APART_US / HOUR_US
OLD = 30 * 24.0  # hours of history in which nobody is young
assert OLD > YOUNG_SHARE * SHADOW_HOURS


def phases(max_entries=100_000):
    return Phases(max_entries)


def uses(hours, host):
    return [row(hour, desk(host), server(0)) for hour in hours]


def with_history(rows):
    """Rows after a month in which an old host talked to the server each day."""
    old = uses(np.arange(0, OLD + 24 * 40, 12), 1)
    return sorted([*old, *rows], key=lambda one: one["obs_ts"])


def course(rows, host):
    """Phases of a host's rows in order."""
    found = scored(phases(), rows).with_columns(orig_h=enriched(rows)["orig_h"])
    return found.filter(pl.col("orig_h") == desk(host))["orig_phase"].to_list()


def test_a_newcomer_learns_then_shadows_then_is_protected():
    hours = OLD + np.arange(0, SHADOW_HOURS + 24)
    found = course(with_history(uses(hours, 5)), 5)
    expected = [
        LEARNING if known < LEARNING_HOURS else SHADOW if known < SHADOW_HOURS else PROTECTING for known in hours - OLD
    ]
    assert found == expected
    assert set(found) == {LEARNING, SHADOW, PROTECTING}


def test_what_is_there_from_the_beginning_is_no_newcomer():
    assert set(course(with_history([]), 1)) == {PROTECTING}
    first = scored(phases(), uses([0.0], 1))
    assert first.row(0) == (PROTECTING, PROTECTING)


def test_a_host_seen_twice_in_a_month_goes_on_learning():
    """Days alone do not make it known: it must have been active in as many hours."""
    few = int(ACTIVE_HOURS) - 1
    hours = OLD + np.linspace(0, SHADOW_HOURS + 48, few)
    assert set(course(with_history(uses(hours, 5)), 5)) == {LEARNING}
    one_more = [*hours, hours[-1] + 2]
    assert course(with_history(uses(one_more, 5)), 5)[-1] == PROTECTING


def test_many_rows_of_one_hour_are_one_hour():
    """A flood from a new address does not make it known."""
    burst = OLD + np.concatenate([np.linspace(0, 0.9, 500), SHADOW_HOURS + np.linspace(0, 0.9, 500)])
    assert set(course(with_history(uses(burst, 5)), 5)) == {LEARNING}


def test_in_a_young_history_times_shrink():
    """Known for a quarter of the history is enough: a capture of an hour has hosts that are no newcomers."""
    start = 0.5
    hours = np.arange(start, 2, 1 / 64)
    rows = sorted([*uses(np.arange(0, 2, 1 / 32), 1), *uses(hours, 5)], key=lambda one: one["obs_ts"])
    known = [PROTECTING if (hour - start) * YOUNG_SHARE >= hour else LEARNING for hour in hours]
    assert course(rows, 5) == known
    assert set(known) == {LEARNING, PROTECTING}


def test_both_ends_have_phases():
    rows = with_history([row(OLD + 1.5, desk(1), server(7)), row(OLD + 1.6, server(7), desk(1))])
    at = [place for place, one in enumerate(rows) if server(7) in (one["orig_h"], one["resp_h"])]
    assert scored(phases(), rows)[at].rows() == [(PROTECTING, LEARNING), (LEARNING, PROTECTING)]


@st.composite
def meetings(draw, max_size=80):
    """Hosts that come and go, with gaps from nothing to weeks; time never runs far backwards."""
    hosts = st.integers(0, 5)
    steps = st.sampled_from([0.0, 0.2, 1.0, 1.0, 5.0, 26.0, 80.0, 400.0, APART_HOURS + 1, -0.5])
    hour, rows = 1.0, []
    for _ in range(draw(st.integers(1, max_size))):
        hour = max(hour + draw(steps), 0.5)
        rows.append(row(hour, desk(draw(hosts)), desk(draw(hosts))))
    return rows


def columns(rows):
    frame = pl.DataFrame({name: [one[name] for one in rows] for name in ("orig_h", "resp_h", "obs_ts")})
    ids = {address: number + 1 for number, address in enumerate(sorted({*frame["orig_h"], *frame["resp_h"]}))}
    return frame.with_columns(
        orig_id=frame["orig_h"].replace_strict(ids, return_dtype=pl.UInt64),
        resp_id=frame["resp_h"].replace_strict(ids, return_dtype=pl.UInt64),
    )


@given(meetings())
@settings(max_examples=100)
def test_the_kernel_computes_the_definition(rows):
    reference = reference_models.Phases()
    expected = [reference.row(one["orig_h"], one["resp_h"], one["obs_ts"]) for one in rows]
    assert scored(phases(), columns(rows)).rows() == expected


@given(meetings())
@settings(max_examples=50)
def test_nobody_falls_back(rows):
    """Learning, shadow, protecting: a host goes one way only, as long as time does and none is forgotten."""
    rows = sorted(rows, key=lambda one: one["obs_ts"])
    found = scored(phases(), columns(rows))
    reached = {}
    for one, (orig, resp) in zip(rows, found.iter_rows(), strict=True):
        for host, phase in ((one["orig_h"], orig), (one["resp_h"], resp)):
            assert phase >= reached.get(host, LEARNING)
            reached[host] = phase


@given(meetings(), st.data())
@settings(max_examples=30)
def test_a_row_does_not_depend_on_its_batch(rows, data):
    cuts = data.draw(st.lists(st.integers(0, len(rows)), max_size=4))
    one, many = phases(), phases()
    assert scored(one, columns(rows)).equals(scored(many, columns(rows), cuts))
    assert same_state(one, many)


def crowd(count):
    """Ever new hosts, and one that is always there."""
    rows = [row(number / 10, desk(number + 10), server(0)) for number in range(count)]
    return enriched(sorted([*rows, *uses(np.arange(0, count / 10, 0.05), 1)], key=lambda one: one["obs_ts"]))


@given(st.lists(st.integers(0, 1200), max_size=5))
@settings(max_examples=10)
def test_a_full_table_evicts_at_the_same_row_whatever_the_batches(cuts):
    frame = crowd(400)
    cuts = [min(cut, frame.height) for cut in cuts]
    one, many = phases(100), phases(100)
    assert scored(one, frame).equals(scored(many, frame, cuts))
    assert one.hosts.evicted == many.hosts.evicted > 100
    assert int(one.hosts.used[0]) <= 100 + 2
    assert same_state(one, many)


def test_eviction_forgets_who_was_away_longest():
    frame = crowd(400)
    model = phases(100)
    scored(model, frame)
    kept = model.hosts.arrays()["keys"]
    assert enriched(uses([0], 1))["orig_id"][0] in kept, "a host that is always there is not forgotten"
    assert enriched(uses([0], 10))["orig_id"][0] not in kept
    said = scored(model, uses([41.0], 10))  # it comes back as a newcomer
    assert said["orig_phase"][0] == LEARNING


def test_what_was_learned_survives_a_snapshot():
    frame = crowd(300)
    model, restored = phases(100), phases(100)
    scored(model, frame[:200])
    restored.load({name: array.copy() for name, array in model.arrays().items()})
    assert scored(model, frame[200:]).equals(scored(restored, frame[200:]))
    assert same_state(model, restored)


def with_misdated(count):
    """A few rows dated 1970, then the first four hours of a network."""
    misdated = [{**row(0, desk(8), server(8)), "ts": 1 + number, "obs_ts": 1 + number} for number in range(count)]
    return [*misdated, *uses(np.arange(0, 4, 0.25), 1)]


@pytest.mark.parametrize(("count", "phase"), [(1, PROTECTING), (MIN_ROWS - 1, PROTECTING), (MIN_ROWS, LEARNING)])
def test_rows_dated_1970_do_not_make_a_young_history_old(count, phase):
    """As for the calibration (`test_structure`): what lies years before the rest is no history, unless it is much."""
    found = scored(phases(), with_misdated(count))
    assert set(found["orig_phase"][count:]) == {phase}


@given(st.integers(1, 20), st.lists(st.integers(0, 30), max_size=4))
@settings(max_examples=20)
def test_misdated_rows_are_forgotten_whatever_the_batches_and_across_a_snapshot(place, cuts):
    frame = enriched(with_misdated(3))
    place = min(place, frame.height)
    one, many, restored = phases(), phases(), phases()
    expected = scored(one, frame)
    before = scored(many, frame[:place], [min(cut, place) for cut in cuts])
    restored.load({name: array.copy() for name, array in many.arrays().items()})
    assert before.vstack(scored(restored, frame[place:])).equals(expected)
    assert same_state(one, restored)
