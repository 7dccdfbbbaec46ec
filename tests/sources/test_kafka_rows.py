"""Raw partitions out of topics of rows: the same sequence as from the raw topics, each record once, gaps told."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.sources.kafka_events import Gap, Unreadable
from detector.sources.kafka_merge import Damaged, Merge, Partition
from detector.sources.kafka_rows import _Lanes
from detector.sources.record_batches import Records
from detector.sources.runs import Run, encode

PREFIX = "rows."
A, B = Partition("a", 0), Partition("b", 0)
TIME = 1_700_000_000_000  # ms


def rows_of(raw: Partition) -> Partition:
    return raw._replace(topic=PREFIX + raw.topic)


def run(raw, first, after, times=(), **how) -> Run:
    """Records at the last offsets before ``after``."""
    offsets = np.arange(after - len(times), after, dtype=np.int64)
    return Run(raw, first, after, offsets, TIME + np.array(times, np.int64), **how)


def packed(runs, at: int, came: int) -> Records:
    """The records of a topic of rows, from an offset on."""
    values = [each if isinstance(each, bytes) else encode(each) for each in runs]
    lengths = np.array([len(value) for value in values], np.int64)
    starts = np.cumsum(lengths) - lengths
    offsets = np.arange(at, at + len(values), dtype=np.int64)
    return Records(b"".join(values), starts, lengths, offsets, np.full(len(values), TIME + came), at + len(values), 0)


class Feed:
    """Lanes, and what was told of them."""

    def __init__(self, expected=None, positions=None, clocks=None) -> None:
        self.told = []
        self.lanes = _Lanes(PREFIX, 30.0, self.told.append)
        self.lanes.expected = dict(expected or {})
        self.out = []
        for raw in (A, B):
            rows = rows_of(raw)
            self.lanes.open(rows, (positions or {}).get(rows, 0), 0.0, (clocks or {}).get(rows, -1))

    def give(self, raw, *runs, came=0) -> None:
        rows = rows_of(raw)
        self.lanes.add(rows, packed(runs, self.lanes._next[rows], came), 1.0)

    def take(self, now=1.0):
        got = [(each.partition, offset) for each in self.lanes.take(now) for offset in each.records.offsets.tolist()]
        self.out += got
        return got


def offsets(raw, *numbers):
    return [(raw, number) for number in numbers]


def test_a_record_waits_until_others_are_known_to_have_nothing_earlier():
    feed = Feed()
    feed.give(A, run(A, 0, 2, (0, 5)), came=50)
    assert feed.take() == []
    feed.give(B, run(B, 0, 0, frontier=TIME + 140), came=150)  # less than a tick behind what came at 50
    assert feed.take() == []
    feed.give(B, run(B, 0, 0, frontier=TIME + 151), came=160)
    assert feed.take() == offsets(A, 0, 1)


def test_who_says_nothing_for_long_holds_up_no_other():
    feed = Feed()
    feed.give(A, run(A, 0, 1, (0,)))
    assert feed.take(29.0) == []
    assert feed.take(31.0) == offsets(A, 0)


def test_rows_that_are_still_to_be_fetched_are_waited_for():
    feed = Feed()
    feed.give(A, run(A, 0, 1, (0,)))
    feed.lanes.answered(rows_of(B), 25.0, 25.0, more=True)
    assert feed.take(31.0) == []
    feed.lanes.answered(rows_of(B), 50.0, 50.0, more=False)  # no rows: nobody said anything of B
    assert feed.take(56.0) == offsets(A, 0)


def test_what_comes_twice_is_taken_once():
    feed = Feed(expected={A: 3, B: 0})
    feed.give(A, run(A, 0, 3, (0, 1, 2)), run(A, 0, 5, (0, 1, 2, 3, 4)), run(A, 5, 6, (5,)), run(A, 3, 6, (3, 4, 5)))
    feed.give(B, run(B, 0, 0, frontier=TIME + 9999))
    assert feed.take() == offsets(A, 3, 4, 5)
    assert feed.told == []
    assert feed.lanes.raw_positions() == {A: 6, B: 0}


def test_what_never_came_is_told():
    feed = Feed(expected={A: 3, B: 0})
    feed.give(A, run(A, 5, 6, (5,)))
    assert feed.told == [Gap(A, 3, 5, 2)]


def test_a_record_that_is_no_run_is_told_and_missed():
    feed = Feed(expected={A: 0, B: 0})
    feed.give(A, b"rubbish", run(A, 1, 2, (5,)))
    [unreadable, gap] = feed.told
    assert isinstance(unreadable, Unreadable)
    assert (unreadable.partition, unreadable.first) == (rows_of(A), 0)
    assert gap == Gap(A, 0, 1, 1)


def test_a_log_that_was_cut_is_read_again_from_there():
    feed = Feed(expected={A: 0, B: 0})
    feed.give(A, run(A, 0, 4, (0, 1, 2, 3)), run(A, 2, 2, cut=True), run(A, 2, 4, (7, 8)))
    feed.give(B, run(B, 0, 0, frontier=TIME + 9999))
    assert feed.take() == offsets(A, 0, 1, 2, 3, 2, 3)
    assert feed.told == []
    assert feed.lanes.raw_positions()[A] == 4


def test_what_could_not_be_read_stands_before_the_record_behind_it():
    feed, damaged = Feed(expected={A: 0, B: 0}), Damaged(1, 3, "checksum")
    feed.give(A, run(A, 0, 1, (0,)), run(A, 1, 4, (5,), damaged=damaged))
    feed.give(B, run(B, 0, 0, frontier=TIME + 9999))
    arrivals = feed.lanes.take(1.0)
    assert [(each.records.offsets.tolist(), each.damaged) for each in arrivals] == [([0], None), ([3], damaged)]


def test_positions_are_before_what_is_not_handed_over():
    feed = Feed()
    feed.give(A, run(A, 10, 12, (0, 300)), run(A, 12, 13, (400,)), came=400)
    feed.give(B, run(B, 7, 8, (250,)), came=400)
    assert feed.take() == [(A, 10), (B, 7)]
    assert feed.lanes.positions() == {rows_of(A): 0, rows_of(B): 1}
    assert feed.lanes.raw_positions() == {A: 11, B: 8}
    again = Feed(feed.lanes.raw_positions(), feed.lanes.positions(), feed.lanes.clocks())
    again.give(A, run(A, 10, 12, (0, 300)), run(A, 12, 13, (400,)), came=400)
    again.give(B, run(B, 8, 8, frontier=TIME + 9999))
    assert again.take() == [(A, 11), (A, 12)]
    assert again.lanes.positions() == {rows_of(A): 2, rows_of(B): 2}
    assert again.told == []


def test_silence_is_that_of_who_normalizes_not_of_the_brokers():
    """It counts from the last word to the last answer that there are no more rows."""
    feed = Feed()
    rows = [rows_of(raw) for raw in (A, B)]
    assert feed.lanes.silent() == {A: 0.0, B: 0.0}
    for each in rows:
        feed.lanes.answered(each, 40.0, 40.0, more=False)
    assert feed.lanes.silent() == {A: 40.0, B: 40.0}
    feed.give(A, run(A, 0, 0, frontier=TIME))  # at 1.0
    assert feed.lanes.silent() == {A: 39.0, B: 40.0}
    feed.lanes.answered(rows[0], 50.0, 50.0, more=True)  # what they said is still to be fetched
    feed.lanes.answered(rows[1], 50.0, 50.0, more=False)
    assert feed.lanes.silent() == {A: 0.0, B: 50.0}
    feed.lanes.away(7.0)  # nobody asked
    assert feed.lanes.silent() == {A: 0.0, B: 43.0}


@given(st.data())
def test_the_sequence_is_that_of_the_raw_topics(data):
    """Whatever runs the records come in, in whatever order partitions give them, and whenever somebody looks."""
    chance = data.draw(st.randoms(use_true_random=False))
    times = {raw: sorted(chance.randrange(3000) for _ in range(12)) for raw in (A, B)}
    plain = Merge(1.0, 30.0)
    for raw in (A, B):
        plain.open(raw, 0, 0.0)
        plain.add(raw, run(raw, 0, 12, times[raw]), 0.0)
        plain.answered(raw, 9.0, 9.0, more=False)
    expected = [(each.partition, at) for each in plain.take(9.0) for at in each.records.offsets.tolist()]

    feed, at = Feed(), defaultdict(int)
    while sum(at.values()) < 24:
        raw = chance.choice([raw for raw in (A, B) if at[raw] < 12])
        after = at[raw] + chance.randrange(1, 13 - at[raw])
        feed.give(raw, run(raw, at[raw], after, times[raw][at[raw] : after]), came=3000)
        at[raw] = after
        if chance.random() < 0.5:
            feed.take()
    for raw in (A, B):
        feed.give(raw, run(raw, 12, 12, frontier=TIME + 9999), came=9999)
    feed.take()
    assert feed.out == expected


@pytest.mark.parametrize("known", [{}, {A: 4}])
def test_nothing_is_known_of_a_partition_before_its_first_run(known):
    feed = Feed(expected=known)
    assert feed.lanes.raw_positions() == known
    assert feed.lanes.positions() == {rows_of(A): 0, rows_of(B): 0}
