"""Volume: the kernel computes its formulas, ordinary rows say nothing, bursts do, and nobody buys them with volume."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.score.volume import COLUMNS, RECEIVED, ROWS, SENT, Volume, week_hours
from tests.score import reference_habits
from tests.score.frames import (
    HOUR_US,
    MONDAY,
    STRATA,
    Trained,
    controller,
    desk,
    enriched,
    life,
    row,
    same_state,
    scored,
    server,
    station,
)

FEW = settings(max_examples=10)
ROWS_OF_LIFE = 1200


def model(max_entries=1_000_000):
    return Volume(STRATA, max_entries, 30.0, "UTC")


def as_read(frame):
    """Rows as the reference takes them."""
    names = {"orig": "orig_id", "resp": "resp_id", "service": "service_id", "time": "obs_ts"}
    same = ("orig_role", "resp_role", "stratum", "teach")
    hours = frame["obs_ts"] // HOUR_US
    columns = {new: frame[old] for new, old in names.items()} | {name: frame[name] for name in same}
    columns |= {"flow": frame["kind"] == 0, "slot": hours % 24 + 24 * ((hours // 24 + 3) % 7)}
    columns |= {"sent": frame["orig_bytes"].fill_null(-1), "received": frame["resp_bytes"].fill_null(-1)}
    return pl.DataFrame(columns).to_dicts()


@pytest.fixture(scope="module")
def busy():
    """Life with bursts: some hours of some edges a hundredfold."""
    rng = np.random.default_rng(3)
    rows = [one for one in life(ROWS_OF_LIFE, seed=2) if one["kind"] == 0]
    for place in rng.choice(len(rows), 60, replace=False):
        burst = rows[place]
        for number in range(int(2 ** rng.uniform(1, 6))):
            more = {"ts": burst["ts"] + number, "obs_ts": burst["obs_ts"] + number, "orig_bytes": None}
            rows.append({**burst, **more, "resp_bytes": int(2 ** rng.uniform(4, 28))})
    return enriched(sorted(rows, key=lambda one: one["obs_ts"]))


def test_the_kernel_computes_the_formulas(busy):
    found = scored(model(), busy)
    reference = reference_habits.Volume(STRATA, 30.0)
    expected = pl.DataFrame([reference.row(one) for one in as_read(busy)], schema=dict.fromkeys(COLUMNS, pl.Float64))
    for name in COLUMNS:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-7, atol=1e-9, err_msg=name)
    assert set(found["volume_what"].to_list()) == {0, ROWS, SENT, RECEIVED}
    assert (found["p_volume"] < 0.05).sum() > 10


@given(st.lists(st.integers(0, 1000), max_size=5))
@FEW
def test_a_row_does_not_depend_on_its_batch(busy, cuts):
    one, many = model(), model()
    assert scored(one, busy).equals(scored(many, busy, [cut % busy.height for cut in cuts]))
    assert same_state(one, many)


@given(st.lists(st.integers(0, 1000), max_size=5))
@FEW
def test_a_full_table_evicts_at_the_same_row_whatever_the_batches(busy, cuts):
    one, many = model(500), model(500)
    assert scored(one, busy).equals(scored(many, busy, [cut % busy.height for cut in cuts]))
    assert one.memory.counts.evicted > 0
    assert one.memory.counts.used[0] < 500 + 200
    assert same_state(one, many)


@given(st.integers(1, 1000))
@FEW
def test_what_was_learned_survives_a_snapshot(busy, cut):
    before, restored = model(), model()
    scored(before, busy[:cut])
    restored.load({name: array.copy() for name, array in before.arrays().items()})
    assert scored(before, busy[cut:]).equals(scored(restored, busy[cut:]))
    assert same_state(before, restored)


# --- what it means ---

DAYS = 10
NEXT = 24 * DAYS + 10  # ten o'clock of the day after


def habits():
    """Desks read from their server a few times an hour at work; a station polls a controller ten times each hour; a
    backup sends a gigabyte each night where little goes by day; plenty of ordinary variation."""
    rng = np.random.default_rng(5)
    rows = []
    for hour in range(24 * DAYS):
        rows += [
            row(hour + k / 10, station(0), controller(0), "modbus", orig_bytes=300, resp_bytes=900) for k in range(10)
        ]
        rows.append(row(hour + 0.1, server(9), server(0), "ssh", orig_bytes=3000, resp_bytes=9000))
        if hour % 24 == 2:
            rows.append(row(hour + 0.3, server(9), server(0), "ssh", orig_bytes=10**9, resp_bytes=10**5))
        if 8 <= hour % 24 < 18:
            for host in range(15):
                for _ in range(rng.poisson(3)):
                    size = {"orig_bytes": int(rng.lognormal(7, 1)), "resp_bytes": int(rng.lognormal(10, 1.5))}
                    rows.append(row(hour + rng.uniform(0, 1), desk(host), server(host % 3), "smb", **size))
    return sorted(rows, key=lambda one: one["obs_ts"])


@pytest.fixture(scope="module")
def trained():
    return Trained(model, habits())


def burst(trained, count, orig, resp, service, hour=NEXT, **size):
    """The strangest row of a burst."""
    one = model()
    one.load(trained.learned)
    size = {"orig_bytes": 1000, "resp_bytes": 20_000} | size
    found = scored(one, [row(hour + k / 3600, orig, resp, service, **size) for k in range(count)])
    return found.sort("p_volume").row(0, named=True)


def test_an_ordinary_hour_says_nothing(trained):
    assert burst(trained, 3, desk(3), server(0), "smb")["p_volume"] == 1.0
    assert burst(trained, 10, station(0), controller(0), "modbus", resp_bytes=900)["p_volume"] == 1.0


def test_a_burst_of_connections_tells_how_many_and_how_many_are_usual(trained):
    found = burst(trained, 200, desk(3), server(0), "smb", orig_bytes=None, resp_bytes=None)
    assert found["p_volume"] < 0.001
    assert found["volume_what"] == ROWS
    assert found["volume_seen"] == 128
    assert 2 < found["volume_usual"] < 6
    assert found["volume_hours"] > 20


def test_what_is_steady_has_less_room_than_what_varies(trained):
    """Twice the polls of a controller against twice the usual of a desk, both judged by their own spread."""
    steady = burst(trained, 64, station(0), controller(0), "modbus", orig_bytes=None, resp_bytes=None)
    varied = burst(trained, 16, desk(3), server(0), "smb", orig_bytes=None, resp_bytes=None)
    assert steady["volume"] > varied["volume"] + 3


@pytest.mark.parametrize(("side", "what"), [("orig_bytes", SENT), ("resp_bytes", RECEIVED)])
def test_a_single_flow_of_a_gigabyte_is_told_by_its_direction(trained, side, what):
    found = burst(trained, 1, desk(3), server(0), "smb", **{side: 10**9})
    assert found["p_volume"] < 0.002
    assert found["volume_what"] == what
    assert found["volume_seen"] == 10**9 + 1
    assert found["volume_usual"] < 10**6


def test_a_new_edge_is_judged_by_what_others_do(trained):
    """Never on this server: the gigabyte is strange, the usual few connections are not."""
    assert burst(trained, 1, desk(3), server(7), "smb", orig_bytes=10**9)["p_volume"] < 0.01
    assert burst(trained, 3, desk(3), server(7), "smb")["p_volume"] == 1.0


def test_a_backup_each_night_is_no_news(trained):
    again = burst(trained, 1, server(9), server(0), "ssh", hour=24 * DAYS + 2.3, orig_bytes=10**9)
    assert again["p_volume"] > 0.05
    more = burst(trained, 1, server(9), server(0), "ssh", hour=24 * DAYS + 14.3, orig_bytes=10**12)
    assert more["p_volume"] < 0.01, "but a thousandfold is"


def test_sensors_that_tell_no_bytes_leave_the_count(trained):
    assert burst(trained, 3, desk(3), server(0), "smb", orig_bytes=None, resp_bytes=None)["p_volume"] == 1.0
    rows = [one | {"orig_bytes": None, "resp_bytes": None} for one in habits()]
    assert set(scored(model(), rows)["volume_what"].to_list()) <= {0, ROWS}


def test_only_connections_are_counted(trained):
    one = model()
    one.load(trained.learned)
    acts = [row(NEXT + k / 3600, desk(3), server(0), "smb", operation="read") for k in range(300)]
    assert set(scored(one, acts)["p_volume"].to_list()) == {1.0}
    assert all((array == trained.learned[name]).all() for name, array in one.arrays().items() if "counts" in name)


def test_an_attacker_buys_little_with_an_hour_of_volume(trained):
    """After a loud hour the next one is nearly as strange; a flood of rows buys no more than an hour of them."""

    def after(loud):
        one = model()
        one.load(trained.learned)
        scored(one, [row(NEXT + k / 3600, desk(3), server(0), "smb") for k in range(loud)])
        return scored(one, [row(NEXT + 2 + k / 3600, desk(3), server(0), "smb") for k in range(130)])["volume"].max()

    quiet, loud, louder = after(3), after(200), after(2000)
    assert loud > 0.7 * quiet
    assert louder > 0.95 * loud


def test_an_hour_is_asked_once_a_doubling(trained):
    one = model()
    one.load(trained.learned)
    rows = [row(NEXT + k / 3600, desk(3), server(0), "smb", orig_bytes=None, resp_bytes=None) for k in range(1000)]
    judged = scored(one, rows).with_row_index().filter(pl.col("p_volume") < 1.0)
    assert judged["index"].to_list() == [3, 7, 15, 31, 63, 127, 255, 511]


def test_many_connections_at_an_hour_in_which_this_role_is_busy_are_less_strange():
    """On Monday mornings all desks do eight times as much; then it is the hour, at noon it is this desk."""
    rows = []
    for day in range(28):
        for hour in (9, 12):
            count = 16 if (day % 7, hour) == (0, 9) else 2
            for host in range(12):
                rows += [row(24 * day + hour + k / 100, desk(host), server(0), "https") for k in range(count)]
    monday = Trained(model, sorted(rows, key=lambda one: one["obs_ts"]))
    size = {"orig_bytes": None, "resp_bytes": None}
    morning, noon = (burst(monday, 32, desk(3), server(0), "https", 24 * 28 + hour, **size) for hour in (9, 12))
    assert noon["volume"] > morning["volume"] + 1
    assert noon["volume_usual"] < morning["volume_usual"]


def test_ordinary_life_is_called_strange_as_often_as_it_says():
    rng = np.random.default_rng(11)
    rows = []
    for hour in range(24 * 20):
        for edge in range(40):
            rows += [
                row(hour + rng.uniform(0, 1), desk(edge), server(edge % 5), "https",
                    orig_bytes=int(rng.lognormal(9, 2)), resp_bytes=int(rng.lognormal(9, 2)))
                for _ in range(rng.negative_binomial(1, 0.3))
            ]  # fmt: skip
    found = scored(model(), sorted(rows, key=lambda one: one["obs_ts"]))
    p = found["p_volume"][found.height // 2 :]
    p = p.filter(p < 1.0)
    assert p.len() > 2000
    for level in (0.1, 0.01):
        assert level / 3 < (p <= level).mean() < 1.5 * level, "the least strange half is tied"


def test_hours_of_the_week_are_those_of_the_zone():
    times = np.array([MONDAY + hour * HOUR_US + 1 for hour in range(24 * 7)])
    assert week_hours(times, "UTC").tolist() == list(range(168))
    assert week_hours(times, "Europe/Berlin")[:2].tolist() == [1, 2]
    change = datetime(2026, 3, 29, 0, 30, tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1e6
    around = np.array([round(change) + hour * HOUR_US for hour in (-24, 24)])
    assert week_hours(around, "Europe/Berlin").tolist() == [5 * 24, 1]
