"""The same record again is dropped; the same thing happening again is not."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.normalize import twins as module
from detector.normalize.twins import FLOW_IDENTITY, OPERATION_IDENTITY, Twins
from detector.records import OPERATION
from detector.rows import Rows
from tests.normalize.flows import SECOND, conn, cut, frame, half

CLIENT, SERVER = "10.0.0.1:50000", "10.0.0.2:445"


def marks(*rows, size=1000):
    return Twins(FLOW_IDENTITY, size).mark(Rows.of(frame(rows))).tolist()


@pytest.mark.parametrize(
    ("what", "first", "second", "twin"),
    [
        ("in two files", {"uid": "Ca", "source": "a"}, {"uid": "Ca", "source": "b"}, True),
        ("open_conn, then conn", {"uid": "Ca", "log": "zeek.open_conn"}, {"uid": "Ca", "length": 60}, True),
        ("two sensors", {"uid": "Ca", "exporter": "a"}, {"uid": "Cb", "exporter": "b", "ts": 0.014}, True),
        ("two sensors, same start", {"uid": "Ca", "exporter": "a"}, {"uid": "Cb", "exporter": "b"}, True),
        ("two sensors, earlier start", {"exporter": "a", "ts": 0.014}, {"uid": "Cb", "exporter": "b"}, True),
        ("two sensors, too far apart", {"exporter": "a"}, {"exporter": "b", "ts": 0.201}, False),
        ("refused, tried again", {"uid": "Ca", "conn_state": "REJ"}, {"uid": "Cb", "ts": 0.5}, False),
        ("refused, tried again at once", {"uid": "Ca", "conn_state": "REJ"}, {"uid": "Cb", "ts": 0.01}, False),
        ("the port used again", {"uid": "Ca"}, {"uid": "Cb", "ts": 60}, False),
        ("another port", {"uid": "Ca"}, {"uid": "Cb", "orig_p": 50_001}, False),
        ("another protocol", {"uid": "Ca"}, {"uid": "Ca", "proto": "udp"}, False),
    ],
)
def test_connections(what, first, second, twin):
    assert marks(conn(CLIENT, SERVER, **first), conn(CLIENT, SERVER, **second)) == [False, twin], what


@pytest.mark.parametrize(
    ("what", "second", "twin"),
    [
        ("two interfaces of one exporter", {}, True),
        ("two exporters on the way", {"exporter": "10.255.0.2", "ts": 0.003}, True),
        ("the next of one exporter", {"ts": 0.003}, False),
        ("the way back", {"orig_h": "10.0.0.2", "orig_p": 445, "resp_h": "10.0.0.1", "resp_p": 50_000}, False),
    ],
)
def test_flows(what, second, twin):
    assert marks(half(CLIENT, SERVER), half(CLIENT, SERVER, **second)) == [False, twin], what


def test_two_sensors_see_a_connection_refused_three_times():
    tries = [
        conn(CLIENT, SERVER, uid=f"C{sensor}{n}", exporter=sensor, ts=n / 2 + late, length=0, conn_state="REJ")
        for n in range(3)
        for sensor, late in (("a", 0.0), ("b", 0.014))
    ]
    assert marks(*tries) == [False, True] * 3


def test_rows_without_ports_are_never_twins():
    row = {**half(CLIENT, SERVER), "orig_p": None, "resp_p": None}
    assert marks(row, row, half(CLIENT, SERVER), half(CLIENT, SERVER)) == [False, False, False, True]


ACT = {"uid": "Ca", "orig_h": "10.0.0.1", "orig_p": 50_000, "resp_h": "10.0.0.2", "resp_p": 502, "protocol": "modbus"}


@pytest.mark.parametrize(
    ("second", "twin"),
    [
        ({}, True),
        ({"source": "again"}, True),
        ({"ts": 100}, False),
        ({"operation": "WRITE"}, False),
        ({"object": "7"}, False),
        ({"outcome": "failed"}, False),
        ({"user": "u"}, False),
        ({"uid": "Cb", "exporter": "b", "ts": 14_000}, True),
        ({"uid": "Cb", "ts": 14_000}, False),
    ],
)
def test_operations(second, twin):
    first = {**dict.fromkeys(OPERATION), **ACT, "ts": 0, "obs_ts": 0, "operation": "READ"}
    rows = pl.DataFrame([first, {**first, **second}], schema=OPERATION)
    assert Twins(OPERATION_IDENTITY, 1000).mark(Rows.of(rows)).tolist() == [False, twin]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), max_size=60),
    st.lists(st.integers(0, 60), max_size=4),
    st.integers(4, 12),
)
def test_full_memory_forgets_the_same_rows_whatever_the_batches(seen, places, size):
    """Bounded, and what is forgotten depends on the rows alone."""
    rows = [
        conn(f"10.0.0.1:{1000 + port}", SERVER, ts=age, length=n - age, uid=f"C{port}")
        for n, (port, age) in enumerate(seen)
    ]
    whole, pieces = Twins(FLOW_IDENTITY, size), Twins(FLOW_IDENTITY, size)
    expected = whole.mark(Rows.of(frame(rows))).tolist()
    assert [bool(mark) for part in cut(rows, places) for mark in pieces.mark(Rows.of(frame(part)))] == expected
    assert whole.seen.used[0] == pieces.seen.used[0] <= size
    assert whole.seen.evicted == pieces.seen.evicted
    assert whole.seen.arrays()["keys"].tolist() == pieces.seen.arrays()["keys"].tolist()


def test_what_was_seen_longest_ago_is_forgotten_first():
    rows = [conn(f"10.0.0.1:{1000 + n}", SERVER, ts=n, length=0, uid=f"C{n}") for n in range(9)]
    twins = Twins(FLOW_IDENTITY, 8)
    assert not twins.mark(Rows.of(frame(rows))).any()
    assert (twins.seen.evicted, twins.seen.used[0]) == (2, 7)
    again = [conn(f"10.0.0.1:{1000 + n}", SERVER, ts=n, length=20 - n, uid=f"C{n}") for n in (8, 2)]
    assert twins.mark(Rows.of(frame(again))).tolist() == [True, True]
    assert not twins.mark(Rows.of(frame([conn("10.0.0.1:1000", SERVER, length=30, uid="C0")]))).any()


def test_the_kernel_is_the_python_it_was_written_in():
    rng = np.random.default_rng(3)
    size = 200
    keys = rng.integers(1, 30, size).astype(np.uint64)
    who = rng.integers(0, 4, size) << 26 | rng.integers(0, 2, size)
    starts = rng.integers(0, 4, size) * 0.1 * SECOND
    results = []
    for mark in (module._mark, module._mark.py_func):
        table = np.zeros(64, np.uint64), np.zeros((64, 2)), np.zeros(64, np.int64)
        used, twin = np.zeros(1, np.int64), np.zeros(size, np.bool_)
        stop = mark(keys, who, starts, np.arange(size), table, used, 25, 0, size, twin)
        results.append((stop, twin.tolist(), used.tolist(), *(array.tolist() for array in table)))
    assert results[0] == results[1]
    assert any(results[0][1])
    assert results[0][2] == [25]
