"""The same conversation reported twice: by two sensors, on two interfaces, in two files.

A record is a twin of an earlier one of the same 5-tuple (and, for operations, the same act) when both started at the
same microsecond, or within `SENSOR_SKEW_US` under another uid. Two taps of one network were measured 14 ms apart.
"""

from typing import Any, Final

import numba
import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.state.counts import Counts, find
from detector.state.keys import Keys, integer_keys, mix_all, text_keys

SENSOR_SKEW_US: Final = 200_000
_CHUNK: Final = 1 << 13

FLOW_IDENTITY: Final = ("proto",)
OPERATION_IDENTITY: Final = ("protocol", "operation", "object", "outcome", "user")


@numba.njit(cache=True)
def _mark(
    keys: Any,
    uids: Any,
    starts: Any,
    now: Any,
    table: Any,
    used: Any,
    limit: Any,
    start: Any,
    stop: Any,
    twin: Any,
) -> Any:
    """twin[row] <- whether row repeats an earlier one; the cell keeps start time and uid of the last original."""
    slots, cells, last = table
    for row in range(start, stop):
        if used[0] >= limit:
            return row
        slot = find(slots, keys[row])
        uid = np.float64(uids[row] >> np.uint64(12))  # 52 bits are exact in a float
        if slots[slot] == np.uint64(0):
            slots[slot] = keys[row]
            used[0] += 1
        else:
            apart = abs(starts[row] - cells[slot, 0])
            twin[row] = apart == 0.0 or (apart <= SENSOR_SKEW_US and uid != cells[slot, 1])
        if not twin[row]:
            cells[slot, 0] = starts[row]
            cells[slot, 1] = uid
        last[slot] = max(last[slot], now[row])
    return stop


class Twins:
    """Remembers what was seen.

    Args:
        identity: columns that, with the 5-tuple, say what the same act is.
        max_entries: records remembered; the ones seen longest ago are forgotten first.
    """

    def __init__(self, identity: tuple[str, ...], max_entries: int) -> None:
        self.identity = identity
        self.seen = Counts(max_entries)

    def mark(self, frame: pl.DataFrame) -> NDArray[np.bool_]:
        """Which rows (in scoring order) repeat an earlier row. Rows without ports are never taken for twins."""
        twin = np.zeros(frame.height, dtype=np.bool_)
        keys = self._keys(frame)
        uids = text_keys(frame["uid"])
        # 2**53 µs is the year 2255: times are exact in a float
        starts, now = frame["ts"].to_numpy().astype(np.float64), frame["obs_ts"].to_numpy()
        row = 0
        while row < frame.height:
            stop = min(row + _CHUNK, frame.height)
            self.seen.reserve(stop - row)
            table = self.seen.keys, self.seen.cells, self.seen.last
            row = _mark(
                keys, uids, starts, now, table, self.seen.used, self.seen.max_entries, row, stop, twin
            )
            if row < stop:
                self.seen.evict()
        has_ports: NDArray[np.bool_] = frame["orig_p"].is_not_null().to_numpy()
        return np.logical_and(twin, has_ports)

    def _keys(self, frame: pl.DataFrame) -> Keys:
        keys: Keys = text_keys(frame["orig_h"])
        for name in ("orig_p", "resp_p"):
            keys = mix_all(keys, integer_keys(frame[name]))
        for name in ("resp_h", *self.identity):
            keys = mix_all(keys, text_keys(frame[name]))
        return keys
