"""Fan-out: the kernel computes its formulas, distinct targets are counted exactly, a sweep is told while it runs."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.features.acts import ATTEMPT_KIND
from detector.score.calibration import BELOW_ONE
from detector.score.fanout import COLUMNS, WINDOW_US, Fanout
from tests.score import reference_habits
from tests.score.frames import (
    HOUR_US,
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
MINUTE = 1 / 60
SCANNER = server(40)


def model(max_entries=1_000_000):
    return Fanout(STRATA, max_entries, 30.0)


def attempt(hour, orig, resp, port):
    return row(hour, orig, resp, f"tcp/{port}", kind=ATTEMPT_KIND, resp_p=port)


def as_read(frame):
    """Rows as the reference takes them."""
    tried = pl.col("kind") == ATTEMPT_KIND
    return frame.select(
        "stratum",
        "teach",
        orig="orig_id",
        role="orig_role",
        token=pl.when(tried).then(0).otherwise("token_id"),
        target=pl.when(tried)
        .then(pl.format("{} {}", "resp_id", "resp_p"))
        .otherwise(pl.col("resp_id").cast(pl.String)),
        asked=~pl.col("resp_group") & (pl.col("ts") > pl.col("obs_ts") - WINDOW_US),
        time="obs_ts",
    ).to_dicts()


@pytest.fixture(scope="module")
def busy():
    """Life with sweeps of all sizes, some of old connections and some of groups."""
    rng = np.random.default_rng(4)
    rows = life(900, seed=6)
    for _ in range(120):
        source, first = desk(int(rng.integers(0, 12))), float(rng.uniform(0, 280))
        many, pause = int(2 ** rng.uniform(1, 6)), float(rng.choice([2, 30, 200]))
        for number in range(many):
            hour, target = first + number * pause / 3600, int(rng.integers(0, many))
            rows.append(
                attempt(hour, source, server(target), 22 + target % 3)
                if number % 2
                else row(hour, source, server(target), "smb")
            )
    for number in range(0, len(rows), 17):
        rows[number]["ts"] -= HOUR_US
    for number in range(0, len(rows), 19):
        rows[number]["resp_h"] = "224.0.0.251"
    return enriched(sorted(rows, key=lambda one: one["obs_ts"]))


def test_the_kernel_computes_the_formulas(busy):
    found = scored(model(), busy)
    reference = reference_habits.Fanout(STRATA, 30.0)
    expected = pl.DataFrame([reference.row(one) for one in as_read(busy)], schema=dict.fromkeys(COLUMNS, pl.Float64))
    for name in COLUMNS:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-7, atol=1e-9, err_msg=name)
    assert (found["p_fanout"] < 1.0).sum() > 50, "enough for the calibration to speak"
    assert (found["fanout_sweep"] > 0.0).sum() > 200


@given(st.lists(st.integers(0, 1000), max_size=5))
@FEW
def test_a_row_does_not_depend_on_its_batch(busy, cuts):
    one, many = model(), model()
    assert scored(one, busy).equals(scored(many, busy, [cut % busy.height for cut in cuts]))
    assert same_state(one, many)


@given(st.lists(st.integers(0, 1000), max_size=5))
@FEW
def test_a_full_table_evicts_at_the_same_row_whatever_the_batches(busy, cuts):
    one, many = model(400), model(400)
    assert scored(one, busy).equals(scored(many, busy, [cut % busy.height for cut in cuts]))
    assert one.memory.counts.evicted > 0
    assert one.memory.counts.used[0] < 400 + 50
    assert same_state(one, many)


@given(st.integers(1, 1000))
@FEW
def test_what_was_learned_survives_a_snapshot(busy, cut):
    before, restored = model(), model()
    scored(before, busy[:cut])
    restored.load({name: array.copy() for name, array in before.arrays().items()})
    assert scored(before, busy[cut:]).equals(scored(restored, busy[cut:]))
    assert same_state(before, restored)


# --- what is counted ---


def counted(rows):
    return scored(model(), rows)["fanout_targets"].to_list()


def test_targets_are_distinct_hosts_of_a_service_and_of_an_operation():
    hosts = [0, 1, 1, 0, 2]
    assert counted([row(k * MINUTE, desk(0), server(host)) for k, host in enumerate(hosts)]) == [1, 2, 2, 2, 3]
    acts = [row(k * MINUTE, desk(0), server(h), "dce_rpc", operation="a::b") for k, h in enumerate(hosts)]
    assert counted(acts) == [1, 2, 2, 2, 3]
    mixed = [row(k * MINUTE, desk(0), server(k), service) for k, service in enumerate(["smb", "ssh", "smb"])]
    assert counted(mixed) == [1, 1, 2]


def test_targets_of_attempts_are_hosts_and_ports_whatever_the_service():
    tried = [(0, 22), (0, 445), (0, 22), (1, 22), (1, 3389)]
    rows = [attempt(k * MINUTE, desk(0), server(host), port) for k, (host, port) in enumerate(tried)]
    assert counted(rows) == [1, 2, 2, 3, 4]


@given(st.floats(0, 1), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 9)), min_size=1, max_size=40))
@FEW
def test_what_takes_five_minutes_is_counted_whole_wherever_it_begins(begin, contacts):
    rows = [row(begin + s / 3600, desk(0), server(host)) for s, host in sorted(contacts) if s < 300]
    if rows:
        assert counted(rows)[-1] == len({one["resp_h"] for one in rows})


def test_old_targets_leave_the_count():
    rows = [row(k * MINUTE, desk(0), server(k)) for k in range(5)] + [row(0.5, desk(0), server(0))]
    assert counted(rows) == [1, 2, 3, 4, 5, 1]


def test_connections_that_end_together_but_began_long_ago_are_no_sweep():
    ended = [row(1 + k / 3600, desk(0), server(k)) | {"ts": 1_767_571_200_000_000} for k in range(30)]
    assert set(counted(ended)) == {0}


# --- what it means ---

DAYS = 12
NEXT = 24 * DAYS + 10


def habits():
    """Desks use one to three servers; a monitor asks 30 servers each ten minutes; stations read four controllers; now
    and then somebody looks further."""
    rng = np.random.default_rng(8)
    rows = []
    for hour in range(24 * DAYS):
        rows += [row(hour + k / 100, server(30), server(k), "snmp") for k in range(30)]
        rows += [row(hour + k / 100, station(0), controller(k), "modbus") for k in range(4)]
        if 8 <= hour % 24 < 18:
            for host in range(20):
                reach = 1 + int(rng.geometric(0.5)) + (int(rng.integers(3, 8)) if rng.random() < 0.02 else 0)
                rows += [row(hour + rng.uniform(0, 0.15), desk(host), server(k), "smb") for k in range(reach)]
            typo = desk(int(rng.integers(0, 20)))
            rows += [attempt(hour + k / 1000, typo, server(k), 22) for k in range(int(rng.geometric(0.4)))]
    return sorted(rows, key=lambda one: one["obs_ts"])


@pytest.fixture(scope="module")
def trained():
    return Trained(model, habits())


def sweep(trained, rows):
    one = model()
    one.load(trained.learned)
    return scored(one, rows)


def test_a_sweep_of_attempts_is_told_while_it_runs(trained):
    found = sweep(trained, [attempt(NEXT + k / 3600, desk(3), server(k), 445) for k in range(60)])
    judged = found.filter(pl.col("p_fanout") < 1.0)
    assert judged["fanout_targets"].to_list() == [4, 8, 16, 32]
    assert judged["p_fanout"].to_list() == sorted(judged["p_fanout"], reverse=True)
    assert judged["p_fanout"][2] < 0.01
    assert judged["p_fanout"][3] < 1e-5
    assert judged["fanout_usual"][2] < 4
    assert (found["fanout_sweep"][31:] == judged["fanout"].max()).all(), "later rows know what they are part of"


def test_connections_that_succeed_are_a_sweep_too(trained):
    """All of them established, by a service the host uses each day."""
    found = sweep(trained, [row(NEXT + k / 3600, desk(3), server(k), "smb") for k in range(40)])
    assert found["p_fanout"].min() < 1e-3


def test_an_operation_on_many_hosts_is_a_sweep(trained):
    shares = [row(NEXT + k / 600, desk(3), server(k), "dce_rpc", operation="srvsvc::NetrShareEnum") for k in range(30)]
    found = sweep(trained, shares)
    assert found["p_fanout"].min() < 0.05
    assert found["fanout_targets"].max() == 30


def test_what_a_monitor_does_each_hour_is_its_habit(trained):
    habit = sweep(trained, [row(NEXT + k / 100, server(30), server(k), "snmp") for k in range(30)])
    assert habit["p_fanout"].min() >= BELOW_ONE
    desks = sweep(trained, [row(NEXT + k / 3600, desk(3), server(k), "snmp") for k in range(30)])
    assert desks["p_fanout"].min() < 0.5, "and nobody else's"


def test_a_weekly_scan_is_news_three_times():
    """250 targets each week, in a plant that lives on."""
    life_on = [one for day in range(0, 9 * 7, DAYS) for one in _shifted(habits(), 24 * day)]
    scans = [
        attempt(24 * 7 * week + 20 + k / 1000, SCANNER, server(k % 100), 20 + k // 100)
        for week in range(1, 9)
        for k in range(250)
    ]
    rows = sorted((one for one in life_on + scans if one["kind"] == ATTEMPT_KIND), key=lambda one: one["obs_ts"])
    frame = enriched(rows)
    found = frame.hstack(scored(model(), frame)).filter(pl.col("orig_h") == SCANNER)
    week = (found["obs_ts"] - rows[0]["obs_ts"]) // (7 * 24 * HOUR_US)
    nats = [found.filter(week == k)["fanout"].max() for k in range(1, 9)]
    assert min(nats[:2]) > 10
    assert max(nats[5:]) < 3


def _shifted(rows, hours):
    return [one | {"ts": one["ts"] + hours * HOUR_US, "obs_ts": one["obs_ts"] + hours * HOUR_US} for one in rows]


def test_a_sweep_of_hours_is_one_surge(trained):
    """It goes on, so the same number is not news again after each window; after an hour of peace it is."""
    rows = [attempt(NEXT + k / 360, desk(3), server(k % 200), 22 + k // 200) for k in range(1000)]
    rows += [attempt(NEXT + 5 + k / 360, desk(3), server(k), 445) for k in range(40)]
    judged = sweep(trained, rows).with_row_index().filter(pl.col("p_fanout") < 1.0)
    assert judged.filter(pl.col("index") < 1000)["fanout_targets"].to_list() == [4, 8, 16, 32]
    assert judged.filter(pl.col("index") >= 1000)["fanout_targets"].to_list() == [4, 8, 16, 32]


def test_an_attacker_does_not_make_sweeps_usual(trained):
    """A day of them; the next day they are as strange, nearly."""

    def next_day(loud):
        one = model()
        one.load(trained.learned)
        if loud:
            day = [attempt(NEXT + k / 360, desk(3), server(k % 60), 22 + k // 60) for k in range(360 * 8)]
            scored(one, day)
        return scored(one, [attempt(NEXT + 24 + k / 3600, desk(3), server(k), 445) for k in range(64)])["fanout"].max()

    assert next_day(loud=True) > 0.4 * next_day(loud=False)


def test_ordinary_surges_are_called_strange_as_often_as_they_come():
    rng = np.random.default_rng(12)
    rows = []
    for hour in range(24 * 25):
        for host in range(25):
            reach = 1 + int(rng.negative_binomial(1, 0.25))
            rows += [row(hour + k / 1000, desk(host), server(k), "https") for k in range(reach)]
    p = scored(model(), sorted(rows, key=lambda one: one["obs_ts"]))["p_fanout"]
    p = p[p.len() // 2 :]
    p = p.filter(p < 1.0)
    assert p.len() > 1000
    for level in (0.1, 0.01):
        assert (p <= level).mean() <= 1.6 * level
