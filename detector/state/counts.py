"""One table for every count the models keep: key -> (weight, distinct, last seen), decayed lazily, bounded.

Open addressing over flat arrays, linear probing, load at most 0.6. 36 bytes an entry. Kernels use `find` and `decayed`
directly; growing moves entries but changes no result, so it may happen anywhere. Evicting changes results, so it
happens only where a kernel stops for it (`walk`), at the same row for every batch size.

A row of a log touches entries all over a table that fits no cache, so what counts is how often it waits for memory.
Key, time and cells of an entry lie side by side (keys, cells and last are views of one array): an entry is one line of
the cache. Kernels say some rows ahead which entries they will want (`soon`). And the memory of the next larger table is
fetched from the system by a thread beside the path before the table is full: that takes ten times as long as moving the
entries.

An entry is *known* once it was seen a day after it was first there (`Counts.note`). Entries that are not go first, so
that a flood of made-up addresses pushes out itself and not what was learned in months.

A key's high bits say where the search for it begins, so the table is in key order but for the entries of a run that
pushed each other aside. Writing it in key order, reading that again and growing go through memory from front to back,
and none of them has to sort.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from detector.state.compiled import fetch, kernel

AHEAD: Final = 8
"""Rows between `soon` and the row that wants the entry: memory answers in 100 ns, a row takes 20 and more."""
_MAX_LOAD: Final = 0.6
_EVICT_SHARE: Final = 0.25
_CHUNK: Final = 1 << 13  # rows walked between two looks at the table's room
_FEW: Final = 1 << 10  # rows for which there is always room made: a table grows for no more than it may need
_NEARLY_FULL: Final = 0.8  # of the entries it may hold: from then on the next larger table is prepared
_WORTH_PREPARING: Final = 1 << 16  # slots; less memory is had at once
_MOST_PREPARED: Final = 4  # tables whose next memory waits: it must not add up, see `service.memory`
_BLOCK: Final = 1 << 11  # slots copied at a time; they and their entries fit the nearer caches
_LINE: Final = 8  # 64-bit words of a cache line
_PAGE: Final = 512  # 64-bit words of the smallest page of memory
_NEAR: Final = 12  # slots: a block of eight, and the mean way to it in a table that is half full of them
_BESIDE: Final = ThreadPoolExecutor(1, "tables")
_HALF: Final = np.uint64(32)  # bits of a key
_HOUR_US: Final = 3_600_000_000
_KNOWN_US: Final = 24 * _HOUR_US  # a flood lasts hours; who comes back the next day is somebody
_KNOWN_RANK: Final = 1 << 60  # above any time in µs

Table = tuple[NDArray[np.uint64], NDArray[np.float64], NDArray[np.int64]]
"""Keys, cells and last, as kernels take them."""


@kernel
def home(keys: Any, key: Any) -> Any:
    """Slot where the search for ``key`` begins: its upper half as a share of the table (D. Lemire, Fast Random Integer
    Generation in an Interval, ACM TOMACS 29, 2019)."""
    return ((key >> _HALF) * np.uint64(keys.size)) >> _HALF


@kernel
def find(keys: Any, key: Any) -> Any:
    """Slot of ``key``, or the empty slot where it would go."""
    mask = np.uint64(keys.size - 1)
    slot = home(keys, key)
    while keys[slot] != np.uint64(0) and keys[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return np.int64(slot)


@kernel
def soon(keys: Any, key: Any) -> None:
    """The entry of ``key`` will be wanted some rows later (`AHEAD`)."""
    fetch(keys, np.int64(home(keys, key)))  # type: ignore[call-arg]  # the first is Numba's


@kernel
def soon_beside(keys: Any, key: Any) -> None:
    """`soon` of keys with the same upper half, which stand beside each other, often some slots behind where the search
    for them begins: others did the same."""
    begin, mask = np.int64(home(keys, key)), keys.size - 1
    for step in range(0, _NEAR, 2):
        fetch(keys, (begin + step) & mask)  # type: ignore[call-arg]  # the first is Numba's


@kernel
def soon_whole(table: Any, key: Any) -> None:
    """`soon` of an entry of many cells, each line of it."""
    keys, cells, _ = table
    slot = np.int64(home(keys, key))
    soon(keys, key)
    for cell in range(_LINE - 2, cells.shape[1], _LINE):
        fetch(cells[slot], cell)  # type: ignore[call-arg]  # the first is Numba's


@kernel
def find_beside(keys: Any, slot: Any, key: Any) -> Any:
    """`find` of the key that stands behind the one in ``slot`` most often."""
    beside = (slot + 1) & (keys.size - 1)
    return beside if keys[beside] == key else find(keys, key)


@kernel
def decayed(value: Any, last: Any, now: Any, half_life: Any) -> Any:
    """``value`` after exponential forgetting from ``last`` to ``now`` (µs); time never runs backwards."""
    return value * 2.0 ** (-(now - last) / half_life) if now > last else value


@kernel
def _rehash(old: Any, ranks: Any, new: Any, cutoff: Any) -> Any:
    """Enter all entries but those of a rank below the cutoff; how many there are. Tables are keys, cells, last and
    since."""
    old_keys, old_cells, old_last, old_since = old
    keys, cells, last, since = new
    moved = 0
    for index in range(old_keys.size):
        if old_keys[index] == np.uint64(0) or ranks[index] < cutoff:
            continue
        slot = find(keys, old_keys[index])
        keys[slot] = old_keys[index]
        for cell in range(cells.shape[1]):  # several times as fast as a row at once
            cells[slot, cell] = old_cells[index, cell]
        last[slot] = old_last[index]
        since[slot] = old_since[index]
        moved += 1
    return moved


@kernel
def _touch(words: Any) -> None:
    """Have the system provide the memory of an array of zeros."""
    for page in range(0, words.size, _PAGE):
        words[page] = np.uint64(0)


@kernel
def _full(keys: Any, begin: Any, end: Any, round_the_end: Any, slots: Any) -> Any:
    """Slots in use from ``begin`` to ``end``, and how many: those of entries that went round the end of the table, or
    all others. A slot is written down before it is known whether it counts: a branch would be guessed wrongly every
    other time."""
    held = 0
    for slot in range(begin, end):
        slots[held] = slot
        went_round = home(keys, keys[slot]) > np.uint64(slot)
        held += (keys[slot] != np.uint64(0)) & (went_round == round_the_end)
    return held


@kernel
def _insert(rows: Any, hours: Any, place: Any, key: Any) -> Any:
    """Place of ``key`` among rows in key order, made free: no entry is far from its place."""
    while place > 0 and rows[place - 1, 0] > key:
        hours[place] = hours[place - 1]
        for word in range(rows.shape[1]):
            rows[place, word] = rows[place - 1, word]
        place -= 1
    return place


@kernel
def _pack(entries: Any, since: Any, slots: Any, rows: Any, hours: Any) -> Any:
    """rows, hours <- entries and since when they are there, in key order; how many there are, which may be more than
    there is room for. In blocks of as many slots as ``slots`` has, so that a table passes through the cache once.

    Entries that went round the end, into the first run, have the highest keys, so they come last.
    """
    keys = entries[:, 0]
    run, held = 0, 0
    while keys[run] != np.uint64(0):
        run += 1
    for round_the_end in (False, True):
        last = run if round_the_end else keys.size
        for begin in range(0, last, slots.size):
            full = _full(keys, begin, min(begin + slots.size, last), round_the_end, slots)
            for index in range(full):
                slot = slots[index]
                if held < hours.size:
                    place = _insert(rows, hours, held, keys[slot])
                    hours[place] = since[slot]
                    for word in range(rows.shape[1]):
                        rows[place, word] = entries[slot, word]
                held += 1
    return held


class Counts:
    """The table.

    Args:
        width: cells an entry; weight and distinct in most tables.
        max_entries: entries kept; beyond it a quarter is evicted and counted in ``evicted``: what is not known, seen
            longest ago first, then what is.

    Attributes:
        keys: uint64, 0 = empty.  cells: float64 ``(capacity, width)``.  last: int64 µs.  since: int32, the hour since
            1970 in which `note` met the entry first; 0 = not yet.
        forgotten: when what was evicted was seen last, µs, the latest; 0 = nothing was.
        drops: of the last `walk`: ``forgotten`` from so many rows on, beginning with row 0.
        used: int64 ``(1,)``, entries in use (an array, so that kernels can write it).
    """

    def __init__(self, max_entries: int, capacity: int = 1 << 12, width: int = 2) -> None:
        self.max_entries = max_entries
        self._width = width
        self._next: Future[NDArray[np.uint64]] | None = None  # entries of the next larger table
        self.evicted = self.forgotten = 0
        self.drops: list[tuple[int, int]] = [(0, 0)]
        self.used = np.zeros(1, dtype=np.int64)
        self._allocate(capacity)

    def _allocate(self, capacity: int) -> None:
        entries = self._next.result() if self._next is not None else None
        if entries is None or len(entries) != capacity:
            entries = _empty(capacity, self._width)
        self._next, self._entries = None, entries
        _PREPARED.discard(self)
        self.keys, self.cells, self.last = _columns(entries).values()
        self.since = np.zeros(capacity, dtype=np.int32)

    @property
    def room(self) -> int:
        """Entries that can come before it grows."""
        return int(self.keys.size * _MAX_LOAD) - int(self.used[0])

    def reserve(self, extra: int) -> None:
        """Make room for ``extra`` more entries without changing any content."""
        capacity = self._capacity(int(self.used[0]) + extra)
        if capacity != self.keys.size:
            self._move(capacity, self.last, np.iinfo(np.int64).min)
        self._prepare()

    def _capacity(self, entries: int) -> int:
        capacity = self.keys.size
        while entries > capacity * _MAX_LOAD:
            capacity *= 2
        return capacity

    def _prepare(self) -> None:
        """Have the memory of the next larger table ready when it is needed."""
        capacity, most = self.keys.size, self.keys.size * _MAX_LOAD
        nearly = _NEARLY_FULL * most < self.used[0] and most < self.max_entries
        if self._next is None and nearly and capacity >= _WORTH_PREPARING and len(_PREPARED) < _MOST_PREPARED:
            _PREPARED.add(self)
            self._next = _BESIDE.submit(_touched, 2 * capacity, self._width)

    def walk(self, rows: int, new_entries: int, kernel: Callable[[int, int, Table], int]) -> None:
        """`walk` over this table alone."""
        walk(rows, [(self, new_entries)], lambda start, stop: kernel(start, stop, self.table))

    @property
    def table(self) -> Table:
        """As kernels take it; another one after `reserve` and `evict`."""
        return self.keys, self.cells, self.last

    @property
    def full(self) -> bool:
        """Whether something must go before a kernel walks on."""
        return int(self.used[0]) >= self.max_entries

    def note(self, now: int) -> None:
        """Write down since when entries are there that were not yet. To be called every few hours, at the same row
        whatever the batch.

        Args:
            now: µs since the epoch.
        """
        self.since[(self.keys != 0) & (self.since == 0)] = max(now // _HOUR_US, 1)

    def evict(self) -> None:
        """Drop the quarter of the entries that is worth least (ties with the cut are kept)."""
        known = (self.since > 0) & (self.last - self.since.astype(np.int64) * _HOUR_US >= _KNOWN_US)
        ranks = self.last + known * _KNOWN_RANK
        held: NDArray[np.int64] = ranks[self.keys != 0]
        cutoff = int(np.partition(held, int(held.size * _EVICT_SHARE))[int(held.size * _EVICT_SHARE)])
        if cutoff <= int(held.min()):
            cutoff = int(held.min()) + 1
        before = int(self.used[0])
        self.forgotten = max(self.forgotten, int(self.last[(self.keys != 0) & (ranks < cutoff)].max()))
        self._move(self.keys.size, ranks, cutoff)
        self.evicted += before - int(self.used[0])

    def _whole(self) -> tuple[NDArray[Any], ...]:
        return self.keys, self.cells, self.last, self.since

    def _move(self, capacity: int, ranks: NDArray[np.int64], cutoff: int) -> None:
        old = self._whole()
        self._allocate(capacity)
        self.used[0] = _rehash(old, ranks, self._whole(), cutoff)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Content in key order: the same whatever the capacity or the history of insertions. Read-only: it is a copy
        that nobody changes."""
        used = int(self.used[0])
        rows, hours = np.empty((used, 2 + self._width), dtype=np.uint64), np.empty(used, dtype=np.int32)
        if _pack(self._entries, self.since, np.empty(_BLOCK, np.int64), rows, hours) != used:
            raise RuntimeError("a table does not hold as many entries as it counted")  # the kernel kept to its room
        arrays: dict[str, NDArray[Any]] = {
            **_columns(rows),
            "since": hours,
            "evicted": np.array([self.evicted, self.forgotten], dtype=np.int64),
        }
        for array in arrays.values():
            array.flags.writeable = False
        return arrays

    def load(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Replace the content by what `arrays` returned."""
        self._allocate(self._capacity(int(arrays["keys"].size)))
        old = arrays["keys"], arrays["cells"], arrays["last"], arrays["since"]
        self.used[0] = _rehash(old, arrays["last"], self._whole(), np.iinfo(np.int64).min)
        self.evicted, self.forgotten = (*arrays["evicted"].tolist(), 0)[:2]  # states of old have but the first


def _empty(capacity: int, width: int) -> NDArray[np.uint64]:
    """Entries of an empty table; the first begins a line of the cache, so that none of four words lies in two."""
    words = capacity * (2 + width)
    room = np.zeros(words + _LINE, dtype=np.uint64)
    begin = -(room.ctypes.data // room.itemsize) % _LINE
    return room[begin : begin + words].reshape(capacity, 2 + width)


def _columns(entries: NDArray[np.uint64]) -> dict[str, NDArray[Any]]:
    """Views of what entries consist of."""
    return {
        "keys": entries[:, 0],
        "cells": entries[:, 2:].view(np.float64),
        "last": entries[:, 1].view(np.int64),
    }


def _touched(capacity: int, width: int) -> NDArray[np.uint64]:
    entries = _empty(capacity, width)
    _touch(entries.ravel())
    return entries


_PREPARED: Final[WeakSet[Counts]] = WeakSet()
"""Tables whose next memory waits for them."""


def walk(rows: int, tables: Sequence[tuple[Counts, int]], kernel: Callable[[int, int], int]) -> None:
    """Take ``kernel(start, stop)`` over all rows, each of which adds at most so many entries to each table. It returns
    the row at which one was full, or stop; then that one's oldest entries go, at the same row whatever the batch."""
    start = 0
    for table, _ in tables:
        table.drops = [(0, table.forgotten)]
    while start < rows:
        fitting = min(table.room // new_entries for table, new_entries in tables)
        stop = min(start + min(max(fitting, _FEW), _CHUNK), rows)
        for table, new_entries in tables:
            table.reserve(new_entries * (stop - start))
        start = kernel(start, stop)
        if start < stop:
            for table, _ in tables:
                if table.full:
                    table.evict()
                    table.drops.append((start, table.forgotten))
