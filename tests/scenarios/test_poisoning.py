"""Attackers who know that they are learned: slow drips, and floods of new addresses that should blind or drown."""

import functools
import itertools

import numpy as np
import polars as pl
import pytest
from scipy.stats import poisson

from detector.alerts.model import iso
from detector.config import MODELS, Settings
from detector.engine import Engine
from detector.rows import Rows
from tests.score.frames import MONDAY, PLANT, desk, row, server, units
from tests.score.reference import HOUR_US

DAY_US = 24 * HOUR_US
BATCH = 5000
HOSTS, CLEAN, RAMP, RISE = 24, 30, 60, 1.01
LEVEL = 35  # connections a day of a host
NEW = 24 * 10 + 14.0  # hour in which the flood begins


def in_time(rows):
    return units(sorted(rows, key=lambda one: one["obs_ts"]))


def judged(frame, **wish):
    """An engine after rows that came as its units, and what it scored."""
    engine = Engine(Settings(**wish), PLANT)
    parts = [
        engine.judge.judge(engine.scorer.score(Rows.of(frame[low : low + BATCH]))).frame()
        for low in range(0, frame.height, BATCH)
    ]
    return engine, pl.concat(parts)


def busy(rng, host, day, level):
    """A day of a host: so many connections to its three servers."""
    return [
        row(
            24 * day + 7 + 10 * rng.random(), desk(host), server((host + int(rng.integers(0, 3))) % 8),
            ("https", "smb")[host % 2], orig_bytes=int(rng.gamma(2.0, 5000.0)),
        )
        for _ in range(int(rng.poisson(level * rng.gamma(100.0, 0.01))))
    ]  # fmt: skip


# --- slow drip (reliability.md 3.6) ---


@functools.cache
def drip(with_it):
    """Clean days, then a host adds one percent a day to all it does. What it scored, alerts by host, ramp's drip rows
    with the level they were reached at."""
    rng = np.random.default_rng(1)
    rise = [RISE ** max(0, day - CLEAN) for day in range(CLEAN + RAMP)]
    rows = [
        busy(rng, host, day, LEVEL * (rise[day] if host == 0 else 1.0))
        for day, host in itertools.product(range(CLEAN + RAMP), range(HOSTS))
    ]
    models = MODELS if with_it else tuple(name for name in MODELS if name != "drip")
    engine, scored = judged(in_time(itertools.chain(*rows)), models=models, alerts_per_day=2.0)
    ramp = [alert for alert, ts in engine.judge.alerts if ts >= MONDAY + CLEAN * DAY_US]
    return engine, scored, {host: [one for one in ramp if one.src == desk(host)] for host in range(HOSTS)}


def test_a_slow_drip_is_found_before_three_times_the_clean_level():
    _, scored, alerts = drip(with_it=True)
    at = {one.ts for one in alerts[0]}
    grown = scored.filter((pl.col("orig_h") == desk(0)) & (pl.col("p_drip") < 0.02) & (pl.col("drip_times") > 1))
    told = [ts for ts in grown["ts"] if iso(ts) in at]
    assert told, "no alert says that the host grew"
    assert 1.0 < RISE ** ((told[0] - MONDAY) / DAY_US - CLEAN) < 2.0, "of the level it had"


def test_without_the_slow_baseline_the_drip_is_not_found():
    """Mutation check: then the host is the source of no more alerts than chance gives to any."""
    _, _, alerts = drip(with_it=False)
    others = sum(len(alerts[host]) for host in range(1, HOSTS)) / (HOSTS - 1)
    assert len(alerts[0]) <= poisson.ppf(0.95, others)


def test_hosts_that_stay_as_they_are_drip_rarely():
    """24 hosts, ten weeks in which they are asked."""
    _, scored, _ = drip(with_it=True)
    asked = scored.filter((pl.col("orig_h") != desk(0)) & (pl.col("p_drip") < 1))
    assert asked.height > 120
    assert (asked["p_drip"] < 0.01).sum() <= poisson.ppf(0.999, 0.01 * asked.height)


# --- floods of new addresses ---


def week(hosts=30, days=12):
    rng = np.random.default_rng(2)
    return [one for day in range(days) for host in range(hosts) for one in busy(rng, host, day, 12)]


def intrusion(hour):
    """A desk runs a program on a server it never spoke to, and goes on to the next."""
    steps = [(desk(3), server(20)), (server(20), server(21))]
    return [
        row(hour + place / 4 + n / 100, *ends, **act)
        for place, ends in enumerate(steps)
        for n, act in enumerate(
            (
                {"service": "smb"},
                {"service": "dce_rpc", "operation": "svcctl::CreateServiceW"},
                {"service": "dce_rpc", "operation": "svcctl::StartServiceW"},
            )
        )
    ]


def flood(count, kind):
    """Rows of new addresses within an hour: spoofed sources of one target, privacy addresses, or churned leases."""
    rng = np.random.default_rng(3)

    def source(n):
        parts = rng.integers(0, 1 << 16, 4)
        return {
            "spoofed": f"10.{60 + n % 90}.{n // 90 % 250}.{1 + n // 22_500}",
            "privacy": f"fd12:3456:789a:{n % 16:x}:{':'.join(f'{part:x}' for part in parts)}",
            "leases": f"10.4.{100 + n // 250 % 150}.{1 + n % 250}",
        }[kind]

    return [row(NEW + rng.random(), source(n), server(n % 3), "https") for n in range(count)]


@pytest.mark.parametrize("kind", ["spoofed", "privacy", "leases"])
def test_a_flood_of_new_addresses_neither_blinds_nor_drowns(kind):
    budget, bound = 10.0, 200_000
    frame = in_time([*week(), *intrusion(NEW + 0.4), *flood(10_000, kind)])
    engine, _ = judged(frame, alerts_per_day=budget, max_entries=bound)
    alerts = [(one, (ts - MONDAY) / DAY_US) for one, ts in engine.judge.alerts]
    hour = [one for one, day in alerts if 0 <= day - NEW / 24 < 1.5 / 24]
    assert {(desk(3), server(20)), (server(20), server(21))} & {(one.src, one.dst) for one in hour}, "blind"
    days = [day for _, day in alerts if day >= 10]
    assert len(days) <= 2 * 1.2 * budget, "drowned"
    for name, array in engine.scorer.arrays().items():
        if name.endswith("counts.keys"):
            assert array.size < bound + 100, name
