"""Rows leave in order of observation time, and batches change nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from detector.normalize import order as module
from detector.normalize.direction import Direction
from detector.normalize.order import Order
from detector.normalize.twins import FLOW_IDENTITY, Twins
from detector.records import FLOW, OPERATION, Arrived, Decoded
from detector.rows import Rows
from tests.normalize.flows import SECOND, WINDOW, at_once, conn, cut, frame, half, released

HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")


@st.composite
def arrivals(draw):
    """Rows in the order they come: halves, their repeats and whole connections, none a window behind the latest."""
    rows = []
    for position in range(draw(st.integers(0, 25))):
        a, b = draw(st.permutations(HOSTS))[:2]
        ports = draw(st.sampled_from([(50_000, 445), (445, 50_000), (123, 123), (50_001, 50_002)]))
        end, length = draw(st.integers(0, 100)) / 10, draw(st.sampled_from([0.0, 0.1, 2.5]))
        make = draw(st.sampled_from([half, half, conn]))
        row = make(f"{a}:{ports[0]}", f"{b}:{ports[1]}", ts=end - length, length=length, position=position)
        rows.append(({**row, "proto": draw(st.sampled_from(["tcp", "udp"]))}, draw(st.integers(0, WINDOW - 1))))
    return [row for row, _ in sorted(rows, key=lambda pair: pair[0]["obs_ts"] + pair[1])]


@settings(max_examples=30)  # each runs the path several times
@given(arrivals(), st.lists(st.integers(0, 30), max_size=6))
def test_batches_change_nothing(rows, places):
    """Order, pairs, direction, twins: the same frames whatever batches the same rows came in."""
    whole, pieces = at_once(rows), pl.concat(released(cut(rows, places)))
    assert_frame_equal(pieces, whole)
    assert whole["obs_ts"].is_sorted()
    assert not whole["late"].any()
    assert (1 + whole["paired"].cast(pl.Int64)).sum() == len(rows)
    direction, twins = Direction(), Twins(FLOW_IDENTITY, 1000)
    parts = [direction.orient(Rows.of(part)) for part in released(cut(rows, places))]
    marks = [pl.Series(twins.mark(part)) for part in parts]
    once = Direction().orient(Rows.of(whole))
    assert_frame_equal(Rows.concat(parts).frame(), once.frame())
    assert pl.concat(marks).to_list() == Twins(FLOW_IDENTITY, 1000).mark(once).tolist()


@given(st.permutations(range(12)))
def test_any_order_of_arrival_within_the_window(order):
    """Ties are broken by content, never by arrival."""
    rows = [conn("10.0.0.1:50000", f"10.0.0.{2 + n % 3}:445", ts=n // 4 / 10, uid=f"C{n}") for n in range(12)]
    assert_frame_equal(at_once([rows[n] for n in order]), at_once(rows))


def test_a_row_waits_for_what_may_belong_before_it():
    early = [conn("10.0.0.1:50000", "10.0.0.2:445", ts=second, length=0) for second in (0, 4, 4.1)]
    first, second, third, rest = released([[row] for row in early])
    assert [part.height for part in (first, second, third, rest)] == [0, 1, 0, 2]
    assert second["ts"].to_list() == [0]


def test_what_comes_after_its_time_is_late_and_leaves_with_the_next_tick():
    rows = [conn("10.0.0.1:50000", "10.0.0.2:445", ts=second, length=0) for second in (0, 10, 5, 7, 10.01, 10.6)]
    *before, late, rest = released([[row] for row in rows])
    assert [part.height for part in before] == [0, 1, 0, 0, 0]
    assert late.select("ts", "late").rows() == [(5 * SECOND, True)]
    assert rest.select("ts", "late").rows()[:2] == [(7 * SECOND, False), (10 * SECOND, False)]


def test_a_late_half_is_no_part_of_a_pair_that_has_left():
    there, back = half("10.0.0.1:50000", "10.0.0.2:445"), half("10.0.0.2:445", "10.0.0.1:50000")
    parts = released([[there], [half("10.0.0.9:50000", "10.0.0.2:445", ts=60)], [back]])
    assert [part["late"].to_list() for part in parts] == [[], [False], [], [True, False]]
    assert not pl.concat(parts)["paired"].any()


@st.composite
def disorder(draw):
    """Rows in the order they come, which tells nothing of their times; times lie close, so that all cases happen."""
    rows = []
    for position in range(draw(st.integers(1, 9))):
        a, b = draw(st.permutations(HOSTS[:2]))
        end = draw(st.integers(0, 14)) * WINDOW // 4
        make = draw(st.sampled_from([half, half, conn]))
        rows.append(make(f"{a}:50000", f"{b}:50000", ts=end / SECOND, length=0, position=position))
    return rows


def came(rows: Sequence[dict[str, Any]]) -> Decoded:
    """Rows that came in order of their positions; those that say so are acts."""
    positions = np.array([row["position"] for row in rows], dtype=np.int64)
    return Decoded(frame(rows), arrived=Arrived(positions, positions, positions))


def told(*rows: tuple[str, str, float]) -> list[dict[str, Any]]:
    """Rows of a half each; times in seconds."""
    return [half(f"{a}:50000", f"{b}:50000", ts=at, length=0, position=n) for n, (a, b, at) in enumerate(rows)]


A, B, C = HOSTS


@settings(max_examples=60)
@example(told((A, B, 0), (A, C, 4), (B, A, 2), (A, C, 5)), [0])  # exactly a window behind, and its half has left
@example(told((A, C, 4), (A, B, 0), (A, C, 4.5), (A, C, 9), (B, A, 1), (A, C, 9.5)), [2])
@given(disorder(), st.lists(st.integers(0, 9), max_size=3))
def test_batches_change_nothing_whatever_comes_late(rows, places):
    """Row by row is what anything else must equal: what is late, what pairs, and in which order it leaves."""
    left = []
    for parts in (cut(rows, range(len(rows))), cut(rows, places)):
        order = Order(WINDOW)
        released = [part for rows in parts for part in order.push([came(rows)])]
        left.append(Rows.concat([part.flows for part in (*released, order.flush())]).frame())
    assert_frame_equal(left[1], left[0])
    assert (1 + left[0]["paired"].cast(pl.Int64)).sum() == len(rows)


@given(disorder(), st.lists(st.integers(0, 30), max_size=6), st.integers(1, 4))
def test_parts_pushed_together_are_as_pushed_apart(rows, places, together):
    parts = [came(part) for part in cut(rows, places)]
    apart, at_a_time = Order(WINDOW), Order(WINDOW)
    one = [left for part in parts for left in apart.push([part])]
    many = [left for at in range(0, len(parts), together) for left in at_a_time.push(parts[at : at + together])]
    assert_frame_equal(
        *(
            Rows.concat([left.flows for left in (*all_left, order.flush())]).frame()
            for all_left, order in ((one, apart), (many, at_a_time))
        )
    )
    assert apart.state() == at_a_time.state()


def test_the_other_half_is_waited_for():
    """Its row is observed when the later half ended, so it leaves behind what ended between them."""
    there = half("10.0.0.1:50000", "10.0.0.2:445", length=1)
    back = half("10.0.0.2:445", "10.0.0.1:50000", length=2.9)
    between = conn("10.0.0.3:50000", "10.0.0.2:445", length=2)
    out = pl.concat(released([[there], [between], [conn("10.0.0.3:50000", "10.0.0.2:445", ts=3.9)], [back]]))
    assert out.select("obs_ts", "paired").rows()[:2] == [(2 * SECOND, False), (29 * SECOND // 10, True)]


def test_operations_are_ordered_too():
    rows = [
        {**dict.fromkeys(OPERATION), "ts": at, "obs_ts": at, "operation": name}
        for at, name in zip((3, 1), "cb", strict=True)
    ]
    rows.append({**rows[1], "operation": "a"})
    order = Order(WINDOW)
    assert not sum(
        left.operations.height for left in order.push([Decoded(operations=pl.DataFrame(rows, schema=OPERATION))])
    )
    assert order.flush().operations["operation"].to_list() == ["a", "b", "c"]


@pytest.mark.parametrize("window", [0, WINDOW])
def test_flush_empties_and_goes_on(window):
    order = Order(window)
    assert list(order.flush().flows.columns)[: len(FLOW)] == list(FLOW)
    for at, late in ((5, False), (6, False), (5, True)):
        row = conn("10.0.0.1:50000", "10.0.0.2:445", ts=at, length=0)
        left = [*order.push([Decoded(frame([row]))]), order.flush()]
        assert Rows.concat([part.flows for part in left])["late"].to_list() == [late]
    assert not order.flush().flows.height


def test_a_snapshot_keeps_what_waits():
    rows = [half("10.0.0.1:50000", "10.0.0.2:445"), half("10.0.0.2:445", "10.0.0.1:50000")]
    order, restored = Order(WINDOW), Order(WINDOW)
    order.push([Decoded(frame(rows[:1]))])
    restored.load(order.arrays())
    restored.load_state(order.state())
    for each in (order, restored):
        each.push([Decoded(frame(rows[1:]))])
    assert_frame_equal(restored.flush().flows.frame(), order.flush().flows.frame())


@given(st.lists(st.integers(0, 600), min_size=1, max_size=80), st.integers(0, 300), st.randoms())
def test_turns_are_taken_as_columns_say(times, released, random):
    """The kernel against the same said of whole columns."""
    came = np.array(random.sample(range(len(times)), len(times)))
    watermark, window, tick = released + 100, 64, 8
    late = np.empty(came.size, dtype=np.bool_)
    ends, cuts, stops, piece = np.empty((4, came.size), dtype=np.int64)
    found = module._turns(np.array(times), came, watermark, released, (window, tick), late, ends, cuts, stops)
    module._pieces(came, ends[stops[: found[1]]], piece)

    arrived = np.array(times)[came]
    latest = np.maximum.accumulate(np.insert(arrived, 0, watermark))
    begin = np.flatnonzero(np.diff(latest // tick))
    left = np.maximum(latest[1:][begin] - 2 * window, released)
    gone = np.insert(left, 0, released)[np.searchsorted(begin, np.arange(came.size), "left")]
    behind = np.searchsorted(begin, np.flatnonzero(arrived <= latest[:-1] - window), "left")
    must = np.unique(np.append(behind - 1, begin.size - 1))
    must = must[must >= 0]
    assert found == (latest[-1], must.size)
    assert stops[: must.size].tolist() == must.tolist()
    assert ends[: begin.size].tolist() == begin.tolist()
    assert cuts[: begin.size].tolist() == left.tolist()
    assert late[came].tolist() == (arrived <= gone).tolist()
    assert piece[came].tolist() == np.searchsorted(begin[must], np.arange(came.size), "left").tolist()
