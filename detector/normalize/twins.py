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
from detector.state.counts import AHEAD, Counts, find, soon
from detector.state.keys import integer_key, mix

SENSOR_SKEW_US: Final = 200_000
_CHUNK: Final = 1 << 13
_SENSOR: Final = (1 << 26) - 1
_REST: Final = np.uint64(64 - 26)  # bits of a key that are not kept

FLOW_IDENTITY: Final = ("proto",)
OPERATION_IDENTITY: Final = ("protocol", "operation", "object", "outcome", "user")


@kernel
def _identify(ends: Any, acts: Any, uids: Any, sensors: Any, keys: Any, who: Any) -> None:
    """keys <- a key of both hosts, both ports and what says what the act was; who <- 26 bits of the record's own id and
    of the sensor, as 52 bits are exact in a float."""
    origs, orig_ports, resp_ports, resps = ends
    for row in range(keys.size):
        ports = mix(mix(origs[row], integer_key(orig_ports[row])), integer_key(resp_ports[row]))
        key = mix(ports, resps[row])
        for act in acts:
            key = mix(key, act[row])
        keys[row] = key
        who[row] = np.int64((uids[row] >> _REST << np.uint64(26)) | (sensors[row] >> _REST))


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
    """twin[row] <- whether row repeats an earlier one; the cell keeps start (2**53 µs is the year 2255: times are exact
    in a float) and who (uid, sensor) of the last original."""
    slots, cells, last = table
    for row in range(start, stop):
        if used[0] >= limit:
            return row
        if row + AHEAD < stop:
            soon(slots, keys[row + AHEAD])
        slot = find(slots, keys[row])
        if slots[slot] == np.uint64(0):
            slots[slot] = keys[row]
            used[0] += 1
        else:
            apart, before = abs(np.float64(starts[row]) - cells[slot, 0]), np.int64(cells[slot, 1])
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
        keys, who = np.empty(rows.height, dtype=np.uint64), np.empty(rows.height, dtype=np.int64)
        ends = rows.keys("orig_h"), rows.array("orig_p"), rows.array("resp_p"), rows.keys("resp_h")
        acts = tuple(rows.keys(name) for name in self.identity)
        _identify(ends, acts, rows.keys("uid"), rows.keys("exporter"), keys, who)
        starts, now = rows.array("ts"), rows.array("obs_ts")
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
