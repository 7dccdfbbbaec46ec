"""One table for every count the models keep: key -> (weight, distinct, last seen), decayed lazily, bounded.

Open addressing over flat arrays, linear probing, load at most 0.6. 32 bytes an entry. Kernels use `find` and `decayed`
directly; growing moves entries but changes no result, so it may happen anywhere. Evicting changes results, so it
happens only where a kernel stops for it (`Counts.walk`), at the same row for every batch size.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.state.compiled import kernel

_MAX_LOAD: Final = 0.6
_EVICT_SHARE: Final = 0.25
_CHUNK: Final = 1 << 13  # rows walked between two looks at the table's room

Table = tuple[NDArray[np.uint64], NDArray[np.float64], NDArray[np.int64]]
"""Keys, cells and last, as kernels take them."""


@kernel
def find(keys: Any, key: Any) -> Any:
    """Slot of ``key``, or the empty slot where it would go."""
    mask = np.uint64(keys.size - 1)
    slot = key & mask
    while keys[slot] != np.uint64(0) and keys[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return np.int64(slot)


@kernel
def decayed(value: Any, last: Any, now: Any, half_life: Any) -> Any:
    """``value`` after exponential forgetting from ``last`` to ``now`` (µs); time never runs backwards."""
    return value * 2.0 ** (-(now - last) / half_life) if now > last else value


@kernel
def _rehash(old_keys: Any, old_cells: Any, old_last: Any, keys: Any, cells: Any, last: Any, cutoff: Any) -> Any:
    moved = 0
    for index in range(old_keys.size):
        if old_keys[index] == np.uint64(0) or old_last[index] < cutoff:
            continue
        slot = find(keys, old_keys[index])
        keys[slot] = old_keys[index]
        cells[slot] = old_cells[index]
        last[slot] = old_last[index]
        moved += 1
    return moved


class Counts:
    """The table.

    Args:
        width: cells an entry; weight and distinct in most tables.
        max_entries: entries kept; beyond it the quarter seen longest ago is evicted and counted in ``evicted``.

    Attributes:
        keys: uint64, 0 = empty.  cells: float64 ``(capacity, width)``.  last: int64 µs.
        used: int64 ``(1,)``, entries in use (an array, so that kernels can write it).
    """

    def __init__(self, max_entries: int, capacity: int = 1 << 12, width: int = 2) -> None:
        self.max_entries = max_entries
        self._width = width
        self.evicted = 0
        self.used = np.zeros(1, dtype=np.int64)
        self._allocate(capacity)

    def _allocate(self, capacity: int) -> None:
        self.keys = np.zeros(capacity, dtype=np.uint64)
        self.cells = np.zeros((capacity, self._width), dtype=np.float64)
        self.last = np.zeros(capacity, dtype=np.int64)

    def reserve(self, extra: int) -> None:
        """Make room for ``extra`` more entries without changing any content."""
        needed = int(self.used[0]) + extra
        capacity = self.keys.size
        while needed > capacity * _MAX_LOAD:
            capacity *= 2
        if capacity != self.keys.size:
            self._move(capacity, np.iinfo(np.int64).min)

    def walk(self, rows: int, new_entries: int, kernel: Callable[[int, int, Table], int]) -> None:
        """Take ``kernel(start, stop, table)`` over all rows, each of which adds at most ``new_entries``. It returns
        the row at which the table was full, or stop; then the oldest entries go, at the same row whatever the batch."""
        start = 0
        while start < rows:
            stop = min(start + _CHUNK, rows)
            self.reserve(new_entries * (stop - start))
            start = kernel(start, stop, (self.keys, self.cells, self.last))
            if start < stop:
                self.evict()

    def evict(self) -> None:
        """Drop the quarter of the entries that was seen longest ago (ties with the cut are kept)."""
        seen: NDArray[np.int64] = self.last[self.keys != 0]
        cutoff = int(np.partition(seen, int(seen.size * _EVICT_SHARE))[int(seen.size * _EVICT_SHARE)])
        if cutoff <= int(seen.min()):
            cutoff = int(seen.min()) + 1
        before = int(self.used[0])
        self._move(self.keys.size, cutoff)
        self.evicted += before - int(self.used[0])

    def _move(self, capacity: int, cutoff: int) -> None:
        old = self.keys, self.cells, self.last
        self._allocate(capacity)
        self.used[0] = _rehash(*old, self.keys, self.cells, self.last, cutoff)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Content in key order: the same whatever the capacity or the history of insertions."""
        full = np.flatnonzero(self.keys)
        order = full[np.argsort(self.keys[full])]
        return {
            "keys": self.keys[order],
            "cells": self.cells[order],
            "last": self.last[order],
            "evicted": np.array([self.evicted], dtype=np.int64),
        }

    def load(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Replace the content by what `arrays` returned."""
        self.used[0] = 0
        self.reserve(int(arrays["keys"].size))
        self._allocate(self.keys.size)
        low = np.iinfo(np.int64).min
        self.used[0] = _rehash(arrays["keys"], arrays["cells"], arrays["last"], self.keys, self.cells, self.last, low)
        self.evicted = int(arrays["evicted"][0])
