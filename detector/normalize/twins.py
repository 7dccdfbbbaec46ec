"""The same conversation reported twice: in two files, on two interfaces of an exporter, by two sensors.

A record is a twin of an earlier one of the same 5-tuple (and, for operations, the same act) when it is the same record
again (same uid, or none, and started at the same microsecond), or when another sensor saw it start within
`SENSOR_SKEW_US`; two taps of one network were measured 14 ms apart. Which sensor it was must stand in the record: a
file name would make the result depend on how logs are cut into files.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.rows import ABSENT, Rows
from detector.state.compiled import kernel
from detector.state.counts import Counts, find
from detector.state.keys import Keys, integer_key, mix, mix_all

SENSOR_SKEW_US: Final = 200_000
_CHUNK: Final = 1 << 13
_SENSOR: Final = (1 << 26) - 1

FLOW_IDENTITY: Final = ("proto",)
OPERATION_IDENTITY: Final = ("protocol", "operation", "object", "outcome", "user")


@kernel
def _conversations(origs: Any, orig_ports: Any, resp_ports: Any, resps: Any, out: Any) -> None:
    """out <- a key of both hosts and ports."""
    for row in range(out.size):
        ports = mix(mix(origs[row], integer_key(orig_ports[row])), integer_key(resp_ports[row]))
        out[row] = mix(ports, resps[row])


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

    def mark(self, rows: Rows) -> NDArray[np.bool_]:
        """Which rows (in scoring order) repeat an earlier row. Rows without ports are never taken for twins."""
        twin = np.zeros(rows.height, dtype=np.bool_)
        keys = self._keys(rows)
        uid, sensor = rows.keys("uid"), rows.keys("exporter")
        # 26 bits of each: 52 bits are exact in a float
        who = ((uid >> np.uint64(38) << np.uint64(26)) | (sensor >> np.uint64(38))).astype(np.int64)
        # 2**53 µs is the year 2255: times are exact in a float
        starts, now = rows.array("ts").astype(np.float64), rows.array("obs_ts")
        row = 0
        while row < rows.height:
            stop = min(row + _CHUNK, rows.height)
            self.seen.reserve(stop - row)
            table = self.seen.keys, self.seen.cells, self.seen.last
            row = _mark(keys, who, starts, now, table, self.seen.used, self.seen.max_entries, row, stop, twin)
            if row < stop:
                self.seen.evict()
        has_ports: NDArray[np.bool_] = rows.array("orig_p") != ABSENT["orig_p"]
        return np.logical_and(twin, has_ports)

    def _keys(self, rows: Rows) -> Keys:
        keys: Keys = np.empty(rows.height, dtype=np.uint64)
        _conversations(rows.keys("orig_h"), rows.array("orig_p"), rows.array("resp_p"), rows.keys("resp_h"), keys)
        for name in self.identity:
            keys = mix_all(keys, rows.keys(name))
        return keys
