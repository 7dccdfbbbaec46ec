"""The same conversation reported twice: in two files, on two interfaces of an exporter, by two sensors.

A record is a twin of an earlier one of the same 5-tuple (and, for operations, the same act) when it is the same record
again (same uid, or none, and started at the same microsecond), or when another sensor saw it start within
`SENSOR_SKEW_US`; two taps of one network were measured 14 ms apart. Which sensor it was must stand in the record: a
file name would make the result depend on how logs are cut into files.
"""

from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.state.compiled import kernel
from detector.state.counts import Counts, find
from detector.state.keys import Keys, integer_keys, mix_all, text_keys

SENSOR_SKEW_US: Final = 200_000
_CHUNK: Final = 1 << 13
_SENSOR: Final = (1 << 26) - 1

FLOW_IDENTITY: Final = ("proto",)
OPERATION_IDENTITY: Final = ("protocol", "operation", "object", "outcome", "user")


@kernel
def _mark(
    keys: Any,
    who: Any,
    starts: Any,
    now: Any,
    table: Any,
    used: Any,
    limit: Any,
    start: Any,
    stop: Any,
    twin: Any,
) -> Any:
    """twin[row] <- whether row repeats an earlier one; the cell keeps start and who (uid, sensor) of the last
    original."""
    slots, cells, last = table
    for row in range(start, stop):
        if used[0] >= limit:
            return row
        slot = find(slots, keys[row])
        if slots[slot] == np.uint64(0):
            slots[slot] = keys[row]
            used[0] += 1
        else:
            apart, before = abs(starts[row] - cells[slot, 0]), np.int64(cells[slot, 1])
            same_uid, same_sensor = before >> 26 == who[row] >> 26, before & _SENSOR == who[row] & _SENSOR
            twin[row] = (same_uid and apart == 0.0) or (not same_sensor and apart <= SENSOR_SKEW_US)
        if not twin[row]:
            cells[slot, 0] = starts[row]
            cells[slot, 1] = who[row]
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
        uid, sensor = text_keys(frame["uid"]), text_keys(frame["exporter"])
        # 26 bits of each: 52 bits are exact in a float
        who = ((uid >> np.uint64(38) << np.uint64(26)) | (sensor >> np.uint64(38))).astype(np.int64)
        # 2**53 µs is the year 2255: times are exact in a float
        starts, now = frame["ts"].to_numpy().astype(np.float64), frame["obs_ts"].to_numpy()
        row = 0
        while row < frame.height:
            stop = min(row + _CHUNK, frame.height)
            self.seen.reserve(stop - row)
            table = self.seen.keys, self.seen.cells, self.seen.last
            row = _mark(keys, who, starts, now, table, self.seen.used, self.seen.max_entries, row, stop, twin)
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
