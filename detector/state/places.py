"""Keys met so far, numbered as they appeared: what is known of each stands in arrays at its number."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.state.compiled import kernel
from detector.state.counts import AHEAD, Counts, find, soon
from detector.state.keys import Keys


@kernel
def _look_up(keys: Any, table: Any, places: Any) -> Any:
    """places <- number of each key, -1 for one that is not known; how many are not."""
    slots, cells, _ = table
    unknown = 0
    for row in range(keys.size):
        if row + AHEAD < keys.size:
            soon(slots, keys[row + AHEAD])
        slot = find(slots, keys[row])
        places[row] = cells[slot, 0] if slots[slot] != np.uint64(0) else -1
        unknown += places[row] < 0
    return unknown


@kernel
def _meet(keys: Any, table: Any, used: Any, places: Any, new: Any) -> Any:
    """Keys that have no number get the next ones, in order of appearance; new <- where in ``keys`` each of them was met
    first. How many there are."""
    slots, cells, _ = table
    count = 0
    for row in range(keys.size):
        if places[row] < 0:
            slot = find(slots, keys[row])
            if slots[slot] == np.uint64(0):
                slots[slot] = keys[row]
                cells[slot, 0] = used[0]
                used[0] += 1
                new[count] = row
                count += 1
            places[row] = cells[slot, 0]
    return count


class Places:
    """Numbers keys from 0.

    Args:
        most: keys kept. When more come, all are forgotten and numbering begins anew, so no result may depend on it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._table = Counts(most, width=1)

    def of(self, keys: Keys) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
        """The number of each key; where in ``keys`` those stand that were met for the first time, in the order of their
        numbers; and whether all that were known before were forgotten."""
        places = np.empty(keys.size, dtype=np.int64)
        unknown = _look_up(keys, self._table.table, places)
        if not unknown:
            return places, np.empty(0, dtype=np.int64), False
        anew = int(self._table.used[0]) + unknown > self._most
        if anew:
            self._table = Counts(self._most, width=1)
            places[:], unknown = -1, keys.size
        new = np.empty(unknown, dtype=np.int64)
        self._table.reserve(unknown)
        return places, new[: _meet(keys, self._table.table, self._table.used, places, new)], anew
