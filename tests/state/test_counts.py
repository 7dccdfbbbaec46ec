"""The table of counts: keeps what it holds while it grows, forgets the oldest when full."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.state import counts as module
from detector.state.counts import Counts, decayed, find, find_beside, home, soon_beside, soon_whole


def put(table, key, weight, now):
    """As kernels do it."""
    table.reserve(1)
    slot = find(table.keys, np.uint64(key))
    if table.keys[slot] == 0:
        table.keys[slot] = key
        table.used[0] += 1
    table.cells[slot] = weight, 1.0
    table.last[slot] = now


def content(table):
    held = table.arrays()
    return {
        key: (weight, now)
        for key, (weight, _), now in zip(*(held[n].tolist() for n in ("keys", "cells", "last")), strict=True)
    }


ENTRIES = st.lists(st.tuples(st.integers(1, 2**64 - 1), st.integers(0, 99), st.integers(0, 9)), max_size=80)


@given(ENTRIES, st.sampled_from([2, 16, 1 << 12]))
def test_it_holds_what_a_dictionary_holds(entries, capacity):
    table, expected = Counts(1000, capacity), {}
    for key, weight, now in entries:
        put(table, key, weight, now)
        expected[key] = (weight, now)
    assert content(table) == expected
    assert table.used[0] == len(expected) <= 0.6 * table.keys.size
    assert all(table.keys[find(table.keys, np.uint64(key))] == key for key in expected)


@given(ENTRIES, st.integers(1, 500))
def test_making_room_changes_nothing(entries, extra):
    table = Counts(1000, 4)
    for entry in entries:
        put(table, *entry)
    before = table.arrays()
    table.reserve(extra)
    assert table.used[0] + extra <= 0.6 * table.keys.size
    assert all(np.array_equal(before[name], array) for name, array in table.arrays().items())


@given(ENTRIES, ENTRIES)
def test_a_snapshot_round_trip(entries, others):
    """Into a table of any capacity that held something else; what is written does not depend on insertion order."""
    table, restored, backwards = Counts(1000, 4), Counts(1000, 256), Counts(1000)
    for entry in entries:
        put(table, *entry)
    for entry in others:
        put(restored, *entry)
    for key, (weight, now) in reversed(content(table).items()):
        put(backwards, key, weight, now)
    table.evicted = backwards.evicted = 7
    restored.load(table.arrays())
    for other in (restored, backwards):
        assert all(np.array_equal(array, other.arrays()[name]) for name, array in table.arrays().items())
        assert (other.used[0], other.evicted) == (table.used[0], 7)


CROWDED = st.lists(st.integers(1, 40).map(lambda n: (n << 59 | n) & 2**64 - 1 or 1), max_size=40, unique=True)


@given(CROWDED | st.lists(st.integers(1, 2**64 - 1), max_size=80, unique=True))
def test_content_is_in_key_order_even_where_entries_went_round_the_end(keys):
    """By the kernel and by the kernel as the Python it was written in, whatever number of slots it takes at a time."""
    table = Counts(1000, 8)
    for number, key in enumerate(keys):
        put(table, key, number, -number)
    expected = sorted((key, number, -number) for number, key in enumerate(keys))
    for pack, block in ((module._pack, 3), (module._pack, 1 << 10), (module._pack.py_func, 5)):
        rows, hours = np.empty((len(keys), 4), np.uint64), np.empty(len(keys), np.int32)
        assert pack(table._entries, table.since, np.empty(block, np.int64), rows, hours) == len(keys)
        out = module._columns(rows)
        assert (
            list(zip(out["keys"].tolist(), out["cells"][:, 0].tolist(), out["last"].tolist(), strict=True)) == expected
        )
        assert (out["cells"][:, 1] == 1).all()
    held = table.arrays()
    assert held["keys"].tolist() == [key for key, _, _ in expected]
    assert not any(array.flags.writeable for array in held.values())


def test_a_table_that_counted_wrongly_writes_past_no_end():
    table = Counts(1000, 8)
    for key in (1, 2, 3):
        put(table, key, 1.0, 0)
    table.used[0] = 2
    with pytest.raises(RuntimeError, match="as many entries"):
        table.arrays()


def test_some_entries_go_round_the_end():
    """Or the test above would not test it."""
    table = Counts(1000, 8)
    for key in (1, 2**64 - 1, 2**64 - 2, 2**64 - 3):
        put(table, key, 1.0, 0)
    assert table.keys.tolist()[:3] == [1, 2**64 - 2, 2**64 - 3]
    assert table.arrays()["keys"].tolist() == [1, 2**64 - 3, 2**64 - 2, 2**64 - 1]


@pytest.mark.parametrize("size", [2, 4096, 1 << 31])
def test_searches_begin_in_key_order_and_within_the_table(size):
    keys, places = np.broadcast_to(np.uint64(0), size), []
    for key in np.linspace(0, 2**64 - 2**12, 1000).astype(np.uint64):
        places.append(int(home(keys, key)))
        assert places[-1] == home.py_func(keys, key) == int(key) * size >> 64
    assert places == sorted(places)
    assert places[-1] == size - 1


@pytest.mark.parametrize(
    ("last", "kept"),
    [
        ([4, 3, 2, 1, 8, 7, 6, 5], [3, 4, 5, 6, 7, 8]),  # the oldest quarter goes
        ([1, 1, 1, 1, 1, 2, 3, 4], [2, 3, 4]),  # what is as old as the cut goes when there is nothing older
        ([1, 2, 2, 2, 2, 2, 2, 2], [2] * 7),  # ties with the cut are kept
        ([5, 5, 5, 5], []),
        ([1], []),
    ],
)
def test_eviction_forgets_the_oldest(last, kept):
    table = Counts(8)
    for key, now in enumerate(last, 1):
        put(table, key, 1.0, now)
    table.evict()
    assert sorted(table.arrays()["last"].tolist()) == kept
    assert table.evicted == len(last) - len(kept)
    assert table.used[0] == len(kept)


@given(ENTRIES.filter(bool))
def test_eviction_always_makes_room_and_depends_on_content_alone(entries):
    small, large = Counts(1000, 4), Counts(1000, 1 << 10)
    for table in (small, large):
        for entry in entries:
            put(table, *entry)
        table.evict()
    assert small.used[0] < len({key for key, _, _ in entries})
    assert content(small) == content(large)


@pytest.mark.parametrize(("now", "value"), [(0, 8.0), (-5, 8.0), (10, 4.0), (30, 1.0)])
def test_decay(now, value):
    """Half after each half-life; time never runs backwards."""
    assert decayed(8.0, 0, now, 10.0) == decayed.py_func(8.0, 0, now, 10.0) == value


@given(ENTRIES, st.integers(0, 9))
def test_kernels_are_the_python_they_were_written_in(entries, cutoff):
    table = Counts(1000, 256)
    for entry in entries:
        put(table, *entry)
    results = []
    for rehash in (module._rehash, module._rehash.py_func):
        new = np.zeros(512, np.uint64), np.zeros((512, 2)), np.zeros(512, np.int64), np.zeros(512, np.int32)
        moved = rehash((table.keys, table.cells, table.last, table.since), table.last, new, cutoff)
        results.append((moved, [array.tolist() for array in new]))
    assert results[0] == results[1]
    assert all(find(table.keys, key) == find.py_func(table.keys, key) for key in table.keys[table.keys != 0])


def test_a_table_that_is_nearly_full_has_the_next_ones_memory():
    """And what it holds is the same when it comes to that."""
    table = Counts(1 << 20, 1 << 16)
    keys = np.random.default_rng(5).integers(1, 1 << 64, 40_000, dtype=np.uint64)
    for key in keys[:31_000]:
        put(table, key, 1.0, 0)
    assert table._next is None
    for key in keys[31_000:39_000]:
        put(table, key, 1.0, 0)
    prepared = table._next.result()
    assert prepared.shape == (1 << 17, 4)
    assert not prepared.any()
    for key in keys[39_000:]:
        put(table, key, 1.0, 0)
    assert table.keys.base is prepared.base
    assert table._next is None
    assert table not in module._PREPARED
    assert table.arrays()["keys"].tolist() == sorted(keys.tolist())


def test_few_tables_have_memory_waiting():
    module._PREPARED.clear()
    tables = [Counts(1 << 20, 1 << 16) for _ in range(2 * module._MOST_PREPARED)]
    for table in tables:
        table.used[0] = 39_000
        table.reserve(1)
    assert sum(table._next is not None for table in tables) == module._MOST_PREPARED
    tables[0].reserve(1000)
    assert tables[0]._next is None
    tables[-1].reserve(1)
    assert tables[-1]._next is not None, "what one no longer needs is another's"


@pytest.mark.parametrize("width", [1, 2, 3, 18])
def test_entries_begin_with_a_line_of_the_cache(width):
    table = Counts(1000, 64, width)
    assert table.keys.ctypes.data % 64 == 0
    assert table.last.ctypes.data - table.keys.ctypes.data == 8
    assert table.cells.ctypes.data - table.keys.ctypes.data == 16
    assert table.keys.strides == table.last.strides == (8 * (2 + width),)


def test_rows_are_walked_in_pieces_that_need_no_larger_table():
    """A table grows for the entries of few rows at a time, not for the most that many could bring."""
    table, pieces = Counts(1 << 20), []

    def kernel(start, stop):
        pieces.append(stop - start)
        return stop

    module.walk(20_000, [(table, 4)], kernel)
    assert sum(pieces) == 20_000
    assert max(pieces) < 2 * module._FEW
    assert 4 * module._FEW <= 0.6 * table.keys.size < 8 * module._FEW
    table.reserve(100_000)
    pieces.clear()
    module.walk(20_000, [(table, 4)], kernel)
    assert pieces == [module._CHUNK, module._CHUNK, 20_000 - 2 * module._CHUNK]


def test_what_is_known_for_a_day_goes_last():
    """A flood goes before it, however long ago the known was seen; among its like the oldest goes first."""
    hour, day = 3_600_000_000, 24 * 3_600_000_000
    table = Counts(8)
    for key in (1, 2, 3):
        put(table, key, 1.0, hour)
    table.note(hour)
    put(table, 1, 1.0, 2 * day)
    put(table, 2, 1.0, 3 * day)
    for key in (4, 5, 6, 7, 8):
        put(table, key, 1.0, 4 * day + key)
    table.note(4 * day)
    restored = Counts(8)
    restored.load(table.arrays())
    for one in (table, restored):
        one.evict()
        assert sorted(one.arrays()["keys"].tolist()) == [1, 2, 5, 6, 7, 8]
        one.evict()
        one.evict()
        one.evict()
        assert sorted(one.arrays()["keys"].tolist()) == [1, 2, 8]
        one.evict()
        one.evict()
        assert one.arrays()["keys"].tolist() == [2]


@given(st.lists(st.tuples(st.integers(1, 2**32 - 1), st.integers(1, 9)), max_size=30), st.sampled_from([16, 64]))
def test_what_stands_beside_is_found_as_anything_is(blocks, capacity):
    """Blocks of neighbours crowd; looking ahead changes nothing, at the end of the table neither."""
    table = Counts(1000, capacity)
    for upper, size in blocks:
        for key in range(upper << 32, (upper << 32) + size):
            put(table, key or 1, 1.0, 1)
    before = content(table)
    for upper, size in blocks:
        for key in (np.uint64((upper << 32) + place) for place in range(size + 1)):
            slot = find(table.keys, key)
            assert find_beside(table.keys, slot, key + np.uint64(1)) == find(table.keys, key + np.uint64(1))
            assert find_beside.py_func(table.keys, slot, key + np.uint64(1)) == find(table.keys, key + np.uint64(1))
            soon_beside(table.keys, key)
            soon_whole(table.table, key)
    assert content(table) == before
