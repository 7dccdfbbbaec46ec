"""Made-up streams of rows, as rows for the reference and as columns for the kernel."""

import itertools

import numpy as np
import polars as pl
from hypothesis import strategies as st

from detector.score.structure import Structure, Units
from detector.state.keys import text_keys
from tests.score.reference import HOUR_US, Row

START = 1_767_225_600_000_000  # 2026-01-01, µs
OUTSIDE = "outside"
STRATA = 3
HALF_LIFE_DAYS = 30.0


def zone_of(host):
    """A host keeps its zone; hosts that begin with x are outside."""
    return OUTSIDE if host.startswith("x") else "plant" if int(host[1:]) % 2 else "office"


def row(orig, resp, token, kind, stratum, bonus, time, *, teach=False):
    return Row(orig, resp, zone_of(orig), zone_of(resp), f"{kind} {token}", kind, stratum, bonus, time, teach)


def units(rows):
    """The columns `Structure.score_columns` walks."""

    def keys(name):
        return text_keys(pl.Series([getattr(one, name) for one in rows], dtype=pl.String))

    def numbers(name, dtype):
        return np.array([getattr(one, name) for one in rows], dtype=dtype)

    return Units(
        *(keys(name) for name in ("orig", "resp", "orig_zone", "resp_zone", "token")),
        *(numbers(name, np.int64) for name in ("kind", "stratum")),
        numbers("bonus", np.float64),
        numbers("time", np.int64),
        numbers("teach", np.bool_),
    )


def structure(max_entries=1_000_000):
    outside = text_keys(pl.Series([OUTSIDE]))[0]
    return Structure(STRATA, outside, max_entries, HALF_LIFE_DAYS)


def scored(model, rows, cuts=()):
    """Score in batches that end at ``cuts``."""
    bounds = [0, *sorted(cuts), len(rows)]
    parts = [pl.DataFrame(model.score_columns(units(rows[low:high]))) for low, high in itertools.pairwise(bounds)]
    return pl.concat(parts)


def random_rows(count, seed, hosts=40, days=20.0):
    """Hosts with habits, some novelty, a few late rows; enough for the histograms and their tails to matter."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, round(days * 24 * HOUR_US), count)) + START
    late = rng.random(count) < 0.02
    times = np.where(late, times - rng.integers(0, 3 * HOUR_US, count), times)
    popular = rng.zipf(1.6, (3, count)) % hosts
    names = [f"x{n}" if n % 11 == 0 else f"h{n}" for n in range(hosts)]
    return [
        row(
            names[popular[0, i]],
            names[(popular[1, i] + 3) % hosts],
            f"service{popular[2, i] % 5}",
            int(rng.integers(0, 3)),
            int(rng.integers(0, STRATA)),
            float(rng.choice([0.0, 3.0, 1.5])),
            int(times[i]),
            teach=bool(rng.random() < 0.1),
        )
        for i in range(count)
    ]


@st.composite
def streams(draw, max_size=60):
    """Few hosts and long gaps, so that repeats, decay, roles and late rows all happen."""
    hosts = st.sampled_from(["h1", "h2", "h3", "h4", "x1"])
    steps = st.sampled_from([0, 1, 60_000_000, HOUR_US, 30 * HOUR_US, 400 * HOUR_US, -2 * HOUR_US])
    kinds, bonuses = st.sampled_from([0, 0, 1, 2]), st.sampled_from([0.0, 3.0])
    time, rows = START, []
    for _ in range(draw(st.integers(1, max_size))):
        time += draw(steps)
        parts = draw(hosts), draw(hosts), draw(st.sampled_from("abc")), draw(kinds), draw(st.integers(0, 2))
        rows.append(row(*parts, draw(bonuses), time, teach=draw(st.booleans())))
    return rows
