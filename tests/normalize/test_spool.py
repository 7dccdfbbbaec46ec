"""Rows of many files come out in order of time, the same whether they fitted into memory or not."""

from itertools import pairwise

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from detector.normalize.hours import HOUR_US
from detector.normalize.spool import Spool
from detector.records import FLOW, OPERATION, Decoded


def block(kinds_and_times, position):
    """Flows and operations of one block, in the order they were read."""
    rows = [(kind, {"ts": at, "obs_ts": at, "position": position + n}) for n, (kind, at) in enumerate(kinds_and_times)]
    flows, operations = ([row for kind, row in rows if kind == wanted] for wanted in (True, False))
    return Decoded(
        pl.DataFrame([{**dict.fromkeys(FLOW), **row} for row in flows], schema=FLOW),
        pl.DataFrame([{**dict.fromkeys(OPERATION), **row} for row in operations], schema=OPERATION),
    )


def filled(folder, blocks, **options):
    spool = Spool(folder, **options)
    for number, rows in enumerate(blocks):
        spool.add(block(rows, 1000 * number))
    return spool


def whole(batches):
    batches = [Decoded(), *batches]
    return pl.concat([b.flows for b in batches]), pl.concat([b.operations for b in batches])


TIMES = st.integers(-3, 12).map(lambda quarter: quarter * HOUR_US // 4)
BLOCKS = st.lists(st.lists(st.tuples(st.booleans(), TIMES), max_size=12), max_size=8)


@given(BLOCKS, st.integers(0, 20), st.integers(1, 9))
def test_spilling_changes_nothing(tmp_path_factory, blocks, spill_rows, batch_rows):
    folder = tmp_path_factory.mktemp("spool")
    kept, spilled = filled(folder / "a", blocks), filled(folder / "b", blocks, spill_rows=spill_rows)
    assert kept.rows == spilled.rows == sum(map(len, blocks))
    batches = list(spilled.batches(batch_rows))
    assert all(0 < batch.rows <= batch_rows for batch in batches)
    for ours, theirs in zip(whole(kept.batches(batch_rows)), whole(batches), strict=True):
        assert_frame_equal(ours, theirs)
        assert ours["obs_ts"].is_sorted()
    assert sum(batch.rows for batch in batches) == sum(map(len, blocks))
    assert list(folder.glob("*/*")) == []


@given(BLOCKS, st.integers(1, 9))
def test_flows_and_operations_share_their_batches_by_time(tmp_path_factory, blocks, batch_rows):
    """No batch begins before the one before it ended: the engine sees one stream."""
    spool = filled(tmp_path_factory.mktemp("spool"), blocks, spill_rows=5)
    spans = []
    for batch in spool.batches(batch_rows):
        times = [*batch.flows["obs_ts"], *batch.operations["obs_ts"]]
        spans.append((min(times), max(times)))
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_rows_of_one_time_keep_the_order_they_were_read_in(tmp_path):
    spool = filled(tmp_path, [[(True, 5)] * 3, [(True, 5)] * 3], spill_rows=1)
    assert whole(spool.batches(2))[0]["position"].to_list() == [0, 1, 2, 1000, 1001, 1002]


def test_each_file_is_removed_once_it_is_handed_out(tmp_path):
    spool = filled(tmp_path, [[(True, 0), (False, HOUR_US)], [(True, 2 * HOUR_US)]], spill_rows=0)
    left = [len(list(tmp_path.glob("*"))) for _ in spool.batches(10)]
    assert left == [3, 2, 1]
    assert list(tmp_path.glob("*")) == []


def test_nothing_in_nothing_out(tmp_path):
    spool = Spool(tmp_path / "new")
    spool.add(Decoded())
    assert (spool.rows, list(spool.batches(10)), (tmp_path / "new").is_dir()) == (0, [], True)


def test_it_is_empty_after_it_was_read(tmp_path):
    for spill_rows in (0, 10):
        spool = filled(tmp_path / str(spill_rows), [[(True, 0)]], spill_rows=spill_rows)
        assert [sum(batch.rows for batch in spool.batches(9)) for _ in range(2)] == [1, 0]


def test_the_span_is_that_of_the_bulk_and_not_of_misdated_rows(tmp_path):
    """One record dated 2099 or 1970 must not say when a history was."""
    minute, begin = 60_000_000, 1_700_000_000_000_000
    times = [begin + n * minute for n in range(500)]
    good = [(True, time) for time in times]
    spool = filled(tmp_path, [[*good[:250], (True, 1)], [*good[250:], (True, 4_070_908_800_000_000)]])
    assert spool.span() == (times[0], times[-1])
    assert filled(tmp_path / "none", []).span() == (0, 0)
    later = [(True, time + 400 * 86_400_000_000) for time in times]
    both = filled(tmp_path / "both", [good, later])
    assert both.span() == (times[0], later[-1][1]), "two real histories, a year apart"
