"""One table for every count the models keep: key -> (weight, distinct, last seen), decayed lazily, bounded.

Open addressing over flat arrays, linear probing, load at most 0.6. 36 bytes an entry. Kernels use `find` and `decayed`
directly; growing moves entries but changes no result, so it may happen anywhere. Evicting changes results, so it
happens only where a kernel stops for it (`walk`), at the same row for every batch size.

An entry is *known* once it was seen a day after it was first there (`Counts.note`). Entries that are not go first, so
that a flood of made-up addresses pushes out itself and not what was learned in months.

A key's high bits say where the search for it begins, so the table is in key order but for the entries of a run that
pushed each other aside. Writing it in key order, reading that again and growing go through memory from front to back,
and none of them has to sort.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.state.compiled import kernel

_MAX_LOAD: Final = 0.6
_EVICT_SHARE: Final = 0.25
_CHUNK: Final = 1 << 13  # rows walked between two looks at the table's room
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
def _full(keys: Any, slots: Any) -> None:
    """Slots in use, about in key order; ``slots`` has one more place than there are. A slot is written down before it
    is known whether it counts: a branch would be guessed wrongly every other time.

    Entries that went round the end, into the first run, have the highest keys, so they come last.
    """
    run, held = 0, 0
    while keys[run] != np.uint64(0):
        run += 1
    for slot in range(run):
        slots[held] = slot
        held += home(keys, keys[slot]) <= np.uint64(slot)
    for slot in range(run, keys.size):
        slots[held] = slot
        held += keys[slot] != np.uint64(0)
    for slot in range(run):
        slots[held] = slot
        held += home(keys, keys[slot]) > np.uint64(slot)


@kernel
def _gather(table: Any, slots: Any, out: Any) -> None:
    """The entries of `_full` slots in key order: by insertion, since no entry is far from its place."""
    keys, cells, last, since = table
    out_keys, out_cells, out_last, out_since = out
    for entry in range(out_keys.size):
        slot, place = slots[entry], entry
        while place > 0 and out_keys[place - 1] > keys[slot]:
            out_keys[place], slots[place] = out_keys[place - 1], slots[place - 1]
            place -= 1
        out_keys[place], slots[place] = keys[slot], slot
    for entry in range(out_keys.size):
        out_last[entry], out_since[entry] = last[slots[entry]], since[slots[entry]]
        for cell in range(cells.shape[1]):
            out_cells[entry, cell] = cells[slots[entry], cell]


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
        self.evicted = self.forgotten = 0
        self.drops: list[tuple[int, int]] = [(0, 0)]
        self.used = np.zeros(1, dtype=np.int64)
        self._allocate(capacity)

    def _allocate(self, capacity: int) -> None:
        self.keys = np.zeros(capacity, dtype=np.uint64)
        self.cells = np.zeros((capacity, self._width), dtype=np.float64)
        self.last = np.zeros(capacity, dtype=np.int64)
        self.since = np.zeros(capacity, dtype=np.int32)

    def reserve(self, extra: int) -> None:
        """Make room for ``extra`` more entries without changing any content."""
        needed = int(self.used[0]) + extra
        capacity = self.keys.size
        while needed > capacity * _MAX_LOAD:
            capacity *= 2
        if capacity != self.keys.size:
            self._move(capacity, self.last, np.iinfo(np.int64).min)

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
        used = np.count_nonzero(self.keys)  # counted anew: a wrong ``used`` would have kernels write past the end
        slots = np.empty(used + 1, dtype=np.int64)
        arrays: dict[str, NDArray[Any]] = {
            "keys": np.empty(used, np.uint64),
            "cells": np.empty((used, self._width)),
            "last": np.empty(used, np.int64),
            "since": np.empty(used, np.int32),
        }
        _full(self.keys, slots)
        _gather(self._whole(), slots, tuple(arrays.values()))
        arrays["evicted"] = np.array([self.evicted, self.forgotten], dtype=np.int64)
        for array in arrays.values():
            array.flags.writeable = False
        return arrays

    def load(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Replace the content by what `arrays` returned."""
        self.used[0] = 0
        self.reserve(int(arrays["keys"].size))
        self._allocate(self.keys.size)
        old = arrays["keys"], arrays["cells"], arrays["last"], arrays["since"]
        self.used[0] = _rehash(old, arrays["last"], self._whole(), np.iinfo(np.int64).min)
        self.evicted, self.forgotten = (*arrays["evicted"].tolist(), 0)[:2]  # states of old have but the first


def walk(rows: int, tables: Sequence[tuple[Counts, int]], kernel: Callable[[int, int], int]) -> None:
    """Take ``kernel(start, stop)`` over all rows, each of which adds at most so many entries to each table. It returns
    the row at which one was full, or stop; then that one's oldest entries go, at the same row whatever the batch."""
    start = 0
    for table, _ in tables:
        table.drops = [(0, table.forgotten)]
    while start < rows:
        stop = min(start + _CHUNK, rows)
        for table, new_entries in tables:
            table.reserve(new_entries * (stop - start))
        start = kernel(start, stop)
        if start < stop:
            for table, _ in tables:
                if table.full:
                    table.evict()
                    table.drops.append((start, table.forgotten))
