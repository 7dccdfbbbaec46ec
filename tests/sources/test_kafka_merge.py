"""What comes out of the merge is a function of the partitions alone, unless somebody is late."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.sources.kafka_merge import TICK_MS, Damaged, Merge, Partition
from detector.sources.record_batches import NO_TIMESTAMP, Records

A, B, C = Partition("a", 0), Partition("a", 1), Partition("b", 0)
TICK = TICK_MS / 1000
WAIT, PATIENCE = 1.0, 30.0
LONG = 1e9


def records(first, times, step=1):
    """Records of one byte at offsets ``first``, ``first + step`` ... at these broker times (ms)."""
    count = len(times)
    offsets = first + step * np.arange(count)
    ones = np.ones(count, np.int64)
    return Records(b"x" * count, np.arange(count), ones, offsets, np.array(times, np.int64), first + step * count, 0)


def merge_of(*partitions, wait=WAIT, patience=PATIENCE):
    merge = Merge(wait, patience)
    for partition in partitions:
        merge.open(partition, 0, 0.0)
    return merge


def told(arrivals):
    """[(partition, offset, running maximum of its time, µs)] in the order of the arrivals."""
    return [
        (arrival.partition, offset, time)
        for arrival in arrivals
        for offset, time in zip(arrival.records.offsets.tolist(), arrival.times.tolist(), strict=True)
    ]


def expected(logs):
    """The order by definition, with an object for each record."""
    rows = []
    for partition, times in logs.items():
        high = NO_TIMESTAMP
        for offset, time in enumerate(times):
            high = max(high, time)
            rows.append(((high // TICK_MS, partition, offset), (partition, offset, high * 1000)))
    return [row for _, row in sorted(rows)]


logs = st.dictionaries(st.sampled_from([A, B, C]), st.lists(st.integers(0, 1500), max_size=30), min_size=1, max_size=3)


@given(logs, st.data())
def test_any_fetches_give_the_same_sequence(logs, data):
    """Partitions are asked in any order for any number of records; all answer, and tell when that was all."""
    merge = merge_of(*logs, wait=LONG, patience=LONG)
    now, at, found = 0.0, dict.fromkeys(logs, 0), []
    for _ in range(data.draw(st.integers(0, 25), "rounds")):
        partition = data.draw(st.sampled_from(sorted(logs)), "partition")
        size = data.draw(st.integers(0, 9), "size")
        times = logs[partition][at[partition] : at[partition] + size]
        now += TICK  # a whole tick: all of the log was there from the start, as it stands
        merge.add(partition, records(at[partition], times), now)
        at[partition] += len(times)
        merge.answered(partition, now, now, at[partition] < len(logs[partition]))
        found += merge.take(now)
        assert told(found) == expected(logs)[: len(told(found))]
        assert merge.positions() == positions_of(found, logs)
    for partition, times in logs.items():
        merge.add(partition, records(at[partition], times[at[partition] :]), now)
    for partition in logs:
        merge.answered(partition, now, now + 2 * TICK, more=False)
    found += merge.take(now)
    assert told(found) == expected(logs)
    assert not any(arrival.late for arrival in found)
    assert merge.positions() == {partition: len(times) for partition, times in logs.items()}
    assert all(merge.held(partition) == 0 for partition in logs)


def positions_of(arrivals, logs):
    at = dict.fromkeys(logs, 0)
    for partition, offset, _ in told(arrivals):
        at[partition] = offset + 1
    return at


@given(logs, st.integers(0, 89))
def test_it_goes_on_from_positions_and_clocks(logs, stop):
    """A second merge, opened with what the first says, hands over exactly the rest in the same order."""
    whole = expected(logs)
    first = merge_of(*logs, wait=LONG, patience=LONG)
    done = {partition: [row for row in whole[:stop] if row[0] == partition] for partition in logs}
    for partition, rows in done.items():
        first.add(partition, records(0, logs[partition][: len(rows)]), 0.0)
        first.answered(partition, 0.0, TICK, more=False)
    assert told(first.take(TICK)) == whole[:stop]
    second = Merge(LONG, LONG)
    for partition, offset in first.positions().items():
        second.open(partition, offset, 0.0, first.clocks()[partition])
        second.add(partition, records(offset, logs[partition][offset:]), 0.0)
        second.answered(partition, 0.0, TICK, more=False)
    assert told(second.take(TICK)) == whole[stop:]


def test_runs_are_not_cut_where_nothing_comes_between():
    merge = merge_of(A, B)
    merge.add(A, records(0, [0, 1, 150, 250, 420]), 0.0)
    merge.add(B, records(0, [310, 311, 500]), 0.0)
    for partition in (A, B):
        merge.answered(partition, 0.0, TICK, more=False)
    sizes = [(arrival.partition, len(arrival.records)) for arrival in merge.take(TICK)]
    assert sizes == [(A, 4), (B, 2), (A, 1), (B, 1)]


def test_one_partition_waits_for_nobody():
    merge = merge_of(A)
    merge.add(A, records(0, [5, 6]), 0.0)
    assert len(told(merge.take(0.0))) == 2


def test_a_partition_that_was_fetched_past_a_record_lets_it_go():
    merge = merge_of(A, B)
    merge.add(B, records(0, [250]), 0.0)
    merge.add(A, records(0, [100, 199, 200, 299, 300]), 0.0)
    assert [time // 1000 for _, _, time in told(merge.take(0.0))] == [100, 199, 200, 299, 250]
    merge.add(B, records(1, [300]), 0.0)
    assert told(merge.take(0.0)) == [(A, 4, 300_000)]


def test_the_end_of_a_partition_counts_if_it_was_asked_a_tick_later():
    merge = merge_of(A, B)
    merge.add(A, records(0, [100]), 5.0)
    merge.answered(B, 5.2, 5.0 + TICK - 0.001, more=False)
    assert merge.take(5.2) == []
    merge.answered(B, 5.2, 5.0 + TICK, more=True)
    assert merge.take(5.2) == []
    merge.answered(B, 5.2, 5.0 + TICK, more=False)
    assert told(merge.take(5.2)) == [(A, 0, 100_000)]


@pytest.mark.parametrize(("more", "bound"), [(False, WAIT), (True, PATIENCE)])
def test_a_partition_that_does_not_answer_holds_the_others_back_for_a_while(more, bound):
    merge = merge_of(A, B)
    merge.answered(B, 1.0, 1.0, more)
    merge.add(A, records(0, [100]), 1.5)
    assert merge.take(1.0 + bound) == []
    assert told(merge.take(1.001 + bound)) == [(A, 0, 100_000)]


def test_a_partition_that_answers_may_take_longer_than_that():
    """It has much to read, all of it older."""
    merge = merge_of(A, B)
    merge.add(A, records(0, [10_000]), 0.0)
    for second in range(100):
        merge.add(B, records(second, [second]), float(second))
        merge.answered(B, float(second), float(second), more=True)
        assert {partition for partition, _, _ in told(merge.take(float(second)))} <= {B}


def test_one_that_was_not_asked_is_not_given_up():
    merge = merge_of(A, B)
    merge.add(A, records(0, [100]), 0.0)
    merge.excuse(B, PATIENCE)
    assert merge.take(PATIENCE + 1) == []


def test_what_comes_too_late_goes_out_at_once_and_is_told():
    merge = merge_of(A, B, C)
    merge.add(B, records(0, [900]), 0.0)
    late = PATIENCE + 1
    assert told(merge.take(late)) == [(B, 0, 900_000)]
    merge.add(A, records(0, [100, 900, 1000]), late)
    merge.add(C, records(0, [950]), late)
    found = merge.take(late)
    assert [(arrival.partition, arrival.late, len(arrival.records)) for arrival in found] == [
        (A, True, 2),
        (C, False, 1),
    ]
    assert merge.positions() == {A: 2, B: 1, C: 1}


def test_a_time_that_runs_back_does_not_count():
    merge = merge_of(A)
    merge.open(A, 7, 0.0, clock=150)
    merge.add(A, records(7, [100, 200, 120, 260]), 0.0)
    [arrival] = merge.take(0.0)
    assert arrival.times.tolist() == [150_000, 200_000, 200_000, 260_000]
    assert merge.clocks() == {A: 260}


def test_a_position_moves_without_records_but_in_its_turn():
    """Over control records, what compaction took, and batches that were given up."""
    merge = merge_of(A, B)
    merge.add(A, records(0, [100], step=4), 0.0)
    merge.add(A, records(9, []), 0.0)
    assert merge.take(0.0) == []
    assert merge.positions()[A] == 0
    merge.add(B, records(3, []), 0.0)
    merge.answered(B, 0.0, TICK, more=False)
    [arrival] = merge.take(0.0)
    assert arrival.records.next_offset == 4
    assert merge.positions() == {A: 9, B: 3}


def test_what_waits_is_counted():
    merge = merge_of(A, B)
    merge.add(A, records(0, [1, 2, 3]), 0.0)
    assert merge.held(A) == records(0, [1, 2, 3]).size > 3
    assert merge.held(B) == 0


def test_parts_share_the_buffer_and_know_where_to_go_on():
    whole = records(10, [1, 2, 3], step=2)
    part = whole.part(1, 2)
    assert (part.offsets.tolist(), part.timestamps.tolist(), part.next_offset) == ([12], [2], 13)
    assert part.buffer is whole.buffer
    assert whole.part(1, 3).next_offset == whole.next_offset == 16


def test_interleaved_partitions_cost_no_more_than_their_ticks():
    """Two partitions with a record each millisecond give a run each tick, not each record."""
    merge = merge_of(A, B)
    for partition in (A, B):
        merge.add(partition, records(0, range(10_000)), 0.0)
    for partition in (A, B):
        merge.answered(partition, 0.0, TICK, more=False)
    found = merge.take(TICK)
    assert len(found) == 2 * 10_000 // TICK_MS
    assert [partition for partition, _ in groupby(found, key=lambda arrival: arrival.partition)][:4] == [A, B, A, B]


# --- what cannot be read ---

AROUND = [0, 50, 120, 350, 360]  # times of A's records; behind the second comes damage, behind the fifth too


def around_damage(merge, cuts):
    """All of A and B, fetched in turns that end at ``cuts``; what was handed over."""
    found, begin, now = [], 0, 0.0
    for cut in [*cuts, len(AROUND)]:
        now += TICK
        for offset in range(begin, cut):
            if offset == 2:
                merge.give_up(A, Damaged(2, 10, "checksum"))
            merge.add(A, records(offset + 8 * (offset >= 2), AROUND[offset : offset + 1]), now)
        begin = cut
        merge.answered(A, now, now, more=cut < len(AROUND))
        found += merge.take(now)
    merge.add(B, records(0, range(0, 400, 30)), now)
    merge.give_up(A, Damaged(13, 20, "checksum"))
    for partition in (A, B):
        merge.answered(partition, now, now + 2 * TICK, more=False)
    return found + merge.take(now + TICK)


@given(st.lists(st.integers(0, 5)).map(sorted))
def test_what_cannot_be_read_stands_before_the_record_behind_it(cuts):
    merge = merge_of(A, B, wait=LONG, patience=LONG)
    found = around_damage(merge, cuts)
    [at] = [number for number, arrival in enumerate(found) if arrival.damaged]
    assert found[at].damaged == Damaged(2, 10, "checksum")
    assert int(found[at].records.offsets[0]) == 10
    before = told(found[:at])
    assert [offset for partition, offset, _ in before if partition == A] == [0, 1]
    assert [offset for partition, offset, _ in before if partition == B] == [0, 1, 2, 3]  # the tick before
    assert merge.positions() == {A: 13, B: 14}


def test_the_position_stays_before_what_cannot_be_read_until_a_record_comes():
    """So that whoever goes on from there finds it again."""
    merge = merge_of(A)
    merge.add(A, records(0, [0, 1]), 0.0)
    merge.give_up(A, Damaged(2, 5, "first"))
    merge.give_up(A, Damaged(5, 9, "second"))
    merge.add(A, records(11, []), 0.0)  # a control batch, from 9 on
    assert [len(arrival.records) for arrival in merge.take(0.0)] == [2]
    assert merge.positions() == {A: 2}
    merge.add(A, records(11, [7]), 0.0)
    [arrival] = merge.take(0.0)
    assert arrival.damaged == Damaged(2, 9, "first", batches=2)
    assert merge.positions() == {A: 12}


def test_what_cannot_be_read_is_forgotten_when_the_log_is_cut_before_it():
    merge = merge_of(A)
    merge.add(A, records(0, [0, 1]), 0.0)
    merge.give_up(A, Damaged(2, 5, "first"))
    merge.add(A, records(1, []), 0.0)
    merge.add(A, records(1, [3]), 0.0)
    assert [arrival.damaged for arrival in merge.take(0.0)] == [None, None]
    assert merge.positions() == {A: 2}
