"""Slow growth: days against plain Python, the score by hand, and what must not change results."""

import math
import statistics
from collections import defaultdict

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.score.drip import FEATURES, FLOOR, KEPT_DAYS, KNOWN_DAYS, WEEK, Days, Drip
from tests.score.frames import desk, enriched, life, row, same_state, scored, server
from tests.score.reference import HOUR_US

FEW = settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow], deadline=None)
DAY_US = 24 * HOUR_US


def told(rows):
    return enriched(rows).with_columns(seen=pl.lit(1.0))


def lively(count=2500):
    frame = told(life(count, seed=3, days=60.0, hosts=8))
    return frame.with_columns(p_structure=pl.when(pl.int_range(pl.len()) % 3 == 0).then(1.0).otherwise(0.5))


def model(max_entries=1_000_000):
    return Drip(max_entries, 30.0)


def by_formula(days, today):
    """Score, leading count and times of a host from its days {day: counts}, with the statistics module."""
    week = [counts for day, counts in days.items() if today - WEEK <= day]
    past = [counts for day, counts in days.items() if today - KEPT_DAYS <= day < today - WEEK]
    if min(len(week), len(past)) < 3:
        return None
    found = []
    for place in range(len(FEATURES)):
        before = [math.log2(1 + counts[place]) for counts in past]
        centre = statistics.median(before)
        mad = statistics.median(abs(level - centre) for level in before)
        spread = max(1.4826 * mad, 1 / (math.log(2) * math.sqrt(2**centre))) / math.sqrt(len(week)) + FLOOR
        growth = statistics.median(math.log2(1 + counts[place]) for counts in week) - centre
        found.append((growth / spread, -place, 2**growth))
    score, place, times = max(found)
    return score, -place, times


def by_hand(frame):
    """What each row's originator is told, None where nothing."""
    days, due, today, waits, out = defaultdict(dict), {}, {}, set(), []
    for one in frame.iter_rows(named=True):
        host, day = one["orig_id"], one["obs_ts"] // DAY_US
        if day > today.get(host, day):
            counts, hosts = days[host][today[host]]
            days[host][today[host]] = [counts[0], len(hosts), *counts[1:]]
            due.setdefault(host, today[host] + KNOWN_DAYS + host % WEEK)
            waits.add(host)
        today[host] = max(today.get(host, day), day)
        answer = None
        if host in waits and one["p_structure"] < 1:
            waits.remove(host)
            if day >= due[host]:
                due[host] = day + WEEK
                answer = by_formula({when: kept for when, kept in days[host].items() if len(kept) == 4}, day)
        out.append(answer)
        counts, hosts = days[host].setdefault(today[host], ([0, 0, 0.0], set()))
        hosts.add(one["resp_id"])
        counts[0] += one["kind"] == 0
        counts[1] += one["kind"] == 2 and one["bonus"] > 0
        counts[2] += (one["orig_bytes"] or 0) / 1000
    return out


def test_weeks_are_judged_as_the_formula_says():
    frame = lively()
    result, wanted = scored(model(), frame), by_hand(frame)
    assert sum(answer is not None for answer in wanted) > 30
    for got, answer in zip(result.select("drip", "drip_feature", "drip_times").iter_rows(), wanted, strict=True):
        assert got == pytest.approx(answer or (0.0, 0.0, 0.0), rel=1e-5, abs=1e-5)


def test_a_score_by_hand():
    """100 connections a day for three weeks, 150 in the last: log2(151 / 101) over the spread of a count of 100."""
    days = Days()
    for day in range(1, 29):
        days.add(7, day, np.array([150.0 if day > 21 else 100.0, 5.0, 0.0, 0.0]))
    assert days.ask(7, 14) is None, "known since day 1, so on day 15"
    score, lead, times = days.ask(7, 29)
    spread = 1 / math.log(2) / math.sqrt(101) / math.sqrt(7) + 0.05
    assert (score, FEATURES[lead], times) == (
        pytest.approx(math.log2(151 / 101) / spread, rel=1e-5), "connections", pytest.approx(151 / 101, rel=1e-5),
    )  # fmt: skip
    assert days.ask(7, 35) is None, "once a week"
    assert days.ask(7, 36) is None, "no day of the week before is known"


def test_one_loud_day_is_no_growth():
    days = Days()
    for day in range(1, 29):
        days.add(7, day, np.array([10_000.0 if day == 25 else 100.0, 5.0, 0.0, 0.0]))
    assert days.ask(7, 29)[0] == 0.0


def test_days_are_kept_for_a_quarter():
    """What is older than the ring is overwritten or, after a gap, too old to count."""
    days = Days()
    for day in [*range(1, 40), *range(200, 208)]:
        days.add(7, day, np.ones(4))
    assert days.ask(7, 208) is None, "a week, and no past within 90 days"
    assert days.arrays()["days"].shape == (1, KEPT_DAYS)


def test_hosts_are_bounded_and_the_longest_silent_go():
    days = Days(max_hosts=40)
    for host in range(1, 101):
        days.add(host, 10 + host, np.full(4, float(host)))
    kept = days.arrays()
    assert len(kept["hosts"]) <= 40
    assert days.forgotten == 100 - len(kept["hosts"])
    assert kept["hosts"].min() > 50
    for place, host in enumerate(kept["hosts"].tolist()):
        assert kept["days"][place].max() == 10 + host
        assert kept["levels"][place].max() == np.float32(math.log2(1 + host))


@given(st.lists(st.integers(0, 2500), max_size=6))
@FEW
def test_a_row_does_not_depend_on_its_batch(cuts):
    frame, one, many = lively(), model(), model()
    assert scored(one, frame).equals(scored(many, frame, cuts))
    assert same_state(one, many)


@given(st.integers(1, 2499), st.sampled_from([60, 1_000_000]))
@FEW
def test_a_restored_model_goes_on(cut, max_entries):
    frame, one, other = lively(), model(max_entries), model(max_entries)
    scored(one, frame[:cut])
    other.load({name: array.copy() for name, array in one.arrays().items()})
    assert scored(one, frame[cut:]).equals(scored(other, frame[cut:]))
    assert same_state(one, other)


def test_growth_that_all_share_is_less_strange():
    """The same threefold growth: of one host among thirty, and of all."""

    def weeks(growing):
        rng = np.random.default_rng(4)
        rows = [
            row(24 * day + 9 + n / 100, desk(host), server(n % 5))
            for day in range(63)
            for host in range(30)
            for n in range(int(rng.poisson(6 * (1 + 2 * (host < growing) * max(0, day - 42) / 21))))
        ]
        frame = told(sorted(rows, key=lambda one: one["obs_ts"]))
        late = (pl.col("orig_h") == desk(0)) & (pl.col("obs_ts") > frame["obs_ts"].max() - 12 * DAY_US)
        return frame.hstack(scored(model(), frame)).filter(late)["p_drip"].min()

    alone, shared = weeks(growing=1), weeks(growing=30)
    assert alone < 0.01
    assert shared > 4 * alone
