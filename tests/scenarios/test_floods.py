"""Floods of new addresses: memory has its bounds, and what is dropped is counted (F17, F18)."""

import functools
import time
from collections.abc import Iterator

import polars as pl
import pytest

from detector.config import Settings
from detector.engine import Engine
from detector.records import FLOW, Decoded
from detector.service.memory import resident
from tests.scenarios.test_poisoning import DAY_US, NEW, flood, in_time, intrusion, judged, week
from tests.score.frames import MONDAY, desk, server

HOPS = {(desk(3), server(20)), (server(20), server(21))}
LATER = NEW + 30  # hour of a second intrusion, the day after


@functools.cache
def flooded(count: int, bound: int):
    """Two weeks with an intrusion amid an hour of so many new addresses, and one the next day."""
    rows = [*week(days=14), *intrusion(NEW + 0.4), *intrusion(LATER), *flood(count, "spoofed")]
    engine, scored = judged(in_time(rows), alerts_per_day=10.0, max_entries=bound)
    hops = [(round((ts - MONDAY) / DAY_US * 24 - NEW), (one.src, one.dst)) for one, ts in engine.judge.alerts]
    known = scored.filter(
        (pl.col("obs_ts") > MONDAY + (NEW + 2) * DAY_US / 24)
        & pl.col("orig_h").str.starts_with("10.4.0.")
        & (pl.col("resp_h") != server(20))
    )
    return engine, {hour for hour, hop in hops if hop in HOPS}, int((known["seen"] <= 0).sum())


def test_a_flood_that_fits_hides_no_intrusion_and_nobody_known_is_forgotten():
    engine, hours, forgotten = flooded(4000, 100_000)
    assert hours & {0, 1}
    assert hours & {30, 31}
    assert forgotten == 0
    assert not any(table.evicted for table in engine.scorer.tables().values())


def test_a_flood_beyond_the_bound_is_counted_and_hides_nothing_that_comes_later():
    engine, hours, _ = flooded(4000, 4000)
    assert hours & {30, 31}
    tables = engine.scorer.tables()
    assert all(int(table.used[0]) < 4000 + 100 for table in tables.values())
    assert tables["structure"].evicted > 30_000
    assert tables["crossing"].evicted > 10_000


def test_a_flood_beyond_the_bound_makes_nobody_forgotten():
    _, _, forgotten = flooded(4000, 4000)
    assert forgotten == 0


# --- memory ---


def spoofed(count: int, portion: int) -> Iterator[pl.DataFrame]:
    """Flows of as many new sources as rows, a thousand a second, in portions; every tenth is answered."""
    for first in range(0, count, portion):
        numbers = pl.Series("n", range(first, min(first + portion, count)), dtype=pl.Int64)
        n = pl.col("n")
        frame = numbers.to_frame().select(
            ts=MONDAY + 1000 * n,
            obs_ts=MONDAY + 1000 * n,
            uid=pl.format("C{}", n),
            orig_h=pl.format("10.{}.{}.{}", 64 + n // 65_536, n // 256 % 256, n % 256),
            orig_p=pl.lit(50_000),
            resp_h=pl.format("10.5.0.{}", n % 200 + 1),
            resp_p=pl.lit(443),
            proto=pl.lit("tcp"),
            conn_state=pl.when(n % 10 == 0).then(pl.lit("SF")).otherwise(pl.lit("S0")),
            oriented=pl.lit(value=True),
            sampling=pl.lit(1),
            log=pl.lit("zeek.conn"),
            source=pl.lit("conn:0"),
            position=n,
        )
        missing = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in FLOW.items() if name not in frame.columns]
        yield frame.with_columns(missing).select([pl.col(name).cast(dtype) for name, dtype in FLOW.items()])


def through_the_engine(count: int, portion: int, bound: int) -> tuple[Engine, list[int]]:
    """The engine, and the memory of the process after each portion."""
    engine = Engine(Settings(max_entries=bound, max_seen=bound))
    engine.judge.keep_all = False
    sizes = []
    for flows in spoofed(count, portion):
        engine.push(Decoded(flows))
        sizes.append(resident())
    return engine, sizes


def test_a_flood_of_new_addresses_grows_no_table_beyond_its_bound():
    engine, _ = through_the_engine(12_000, 6000, 8000)
    tables = engine.scorer.tables()
    assert all(int(table.used[0]) < 8000 + 100 for table in tables.values())
    assert tables["structure"].evicted > 20_000
    assert engine.accounting.rows == 12_000


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_ten_million_new_addresses_take_no_more_memory_than_the_first_million(capsys):
    began = time.monotonic()
    engine, sizes = through_the_engine(10_000_000, 50_000, 1_000_000)
    seconds = time.monotonic() - began
    with capsys.disabled():
        megabytes = ", ".join(str(size >> 20) for size in sizes[19::20])
        print(f"\n{engine.accounting.rows} rows in {seconds:.0f} s; MB after each million: {megabytes}")
    warm, end = max(sizes[20:40]), max(sizes[-20:])
    assert end < 1.25 * warm
    assert engine.accounting.rows == 10_000_000
