"""What a full table dropped is never taken for new without a word; nothing else is marked."""

import numpy as np
import polars as pl
import pytest

from detector.config import Settings
from detector.engine import Engine
from detector.rows import Rows
from tests.scenarios.test_poisoning import NEW, busy, flood, in_time, week
from tests.score.frames import MONDAY, PLANT, desk, row, server

HOUR_US, BOUND = 3_600_000_000, 4000
ONCE = desk(3), server(30)
"""Who meets once on the day of the flood, and again after it."""


def stream():
    """Days, a pair that meets for the first time, a flood, the same pair again; and one that never met, soon and a
    month later."""
    met = [row(hour, *ONCE, "ldap") for hour in (NEW - 2, NEW + 3)]
    act = {"service": "dce_rpc", "operation": "svcctl::CreateServiceW"}
    news = [row(hour, desk(4), server(31 + hour % 7), **act) for hour in (int(NEW) + 4, int(NEW) + 45 * 24 + 1)]
    rng = np.random.default_rng(4)
    again = [one for day in (54, 55) for host in range(30) for one in busy(rng, host, day, 12)]
    return in_time([*week(days=12), *flood(1500, "spoofed"), *met, *again, *news])


def scored(frame, batch, bound=BOUND):
    engine = Engine(Settings(max_entries=bound), PLANT)
    parts = [engine.scorer.score(Rows.of(frame[low : low + batch])).frame() for low in range(0, frame.height, batch)]
    return engine, pl.concat(parts)


@pytest.fixture(scope="module")
def flooded():
    return scored(stream(), 5000)


def test_a_pair_that_was_dropped_is_marked_when_it_comes_again(flooded):
    _, rows = flooded
    pair = rows.filter((pl.col("orig_h") == ONCE[0]) & (pl.col("resp_h") == ONCE[1]))
    before, after = pair.iter_rows(named=True)
    assert (before["seen"], before["history_truncated"]) == (0, 0)
    assert after["seen"] == 0, "it was not dropped: the test tries nothing"
    assert before["obs_ts"] <= after["history_truncated"] < after["obs_ts"]


def test_after_a_half_life_nothing_is_said_any_more(flooded):
    _, rows = flooded
    soon, late = rows.filter((pl.col("orig_h") == desk(4)) & (pl.col("service") == "dce_rpc")).iter_rows(named=True)
    assert (soon["seen"], late["seen"]) == (0, 0)
    assert soon["history_truncated"] > 0
    assert late["history_truncated"] == 0


def test_what_is_known_and_what_repeats_is_not_marked(flooded):
    engine, rows = flooded
    marked = rows.filter(pl.col("history_truncated") > 0)
    assert (marked["seen"] <= 0).all()
    assert (marked["p_structure"] < 1).all()
    assert (marked["obs_ts"] >= MONDAY + int(NEW * HOUR_US)).all()
    assert engine.scorer.history.truncated[0] == marked.height > 1000


def test_nothing_is_marked_while_nothing_was_dropped():
    engine, rows = scored(stream(), 5000, bound=200_000)
    assert rows["history_truncated"].max() == 0
    assert engine.scorer.history.truncated[0] == 0


def test_batches_do_not_matter_and_neither_does_a_restart(flooded):
    whole, rows = flooded
    frame = stream()
    cut = 3 * frame.height // 4
    first, begin = scored(frame[:cut], 701)
    second = Engine(Settings(max_entries=BOUND), PLANT)
    second.scorer.load(first.scorer.arrays())
    rest = pl.concat(
        [second.scorer.score(Rows.of(frame[low : low + 97])).frame() for low in range(cut, frame.height, 97)]
    )
    assert pl.concat([begin, rest])["history_truncated"].equals(rows["history_truncated"])
    assert np.array_equal(second.scorer.history.truncated, whole.scorer.history.truncated)
    assert rest["history_truncated"].max() > 0
