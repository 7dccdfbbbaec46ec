"""Learning phases: how long a host has been known, and whether it is a newcomer.

A host is *learning* until it was active in `ACTIVE_HOURS` different hours and known for `LEARNING_US`, in *shadow*
until `SHADOW_US`, then *protecting*. In a young history the times shrink: a host known for a quarter of the history is
no newcomer, or a capture of an hour would hold nothing else.

Rows of newcomers are compared with rows of newcomers: new desks, moved addresses and floods of made-up ones are
all first times, and would drown what an intruder does on hosts that are known.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.score.calibration import APART_US, MIN_ROWS
from detector.score.columns import Columns
from detector.score.model import Said
from detector.state.compiled import kernel
from detector.state.counts import AHEAD, Counts, find, soon

PHASES: Final = ("learning", "shadow", "protecting")
PROTECTING: Final = 2
LEARNING_US: Final = 86_400_000_000  # a day: a log-on, a morning, an evening
SHADOW_US: Final = 3 * LEARNING_US
ACTIVE_HOURS: Final = 6.0
YOUNG_SHARE: Final = 4  # a host is no newcomer once it is known for a quarter of the history
_HOUR_US: Final = 3_600_000_000
_NEW_ENTRIES: Final = 2


@kernel
def phase_of(known: Any, hours: Any, history: Any) -> Any:
    """0 learning, 1 shadow, 2 protecting, from µs known, hours active and µs of history."""
    if (known >= SHADOW_US and hours >= ACTIVE_HOURS) or known * YOUNG_SHARE >= history:
        return 2
    return 1 if known >= LEARNING_US and hours >= ACTIVE_HOURS else 0


@kernel
def progress_of(known: Any, hours: Any, history: Any) -> Any:
    """How far a host is on the way to protecting, 0 to 1; 1 = it is there."""
    if phase_of(known, hours, history) == PROTECTING:
        return 1.0
    lived = min(known / SHADOW_US, hours / ACTIVE_HOURS)
    return max(lived, known * YOUNG_SHARE / history, 0.0)


@kernel
def _look_up(table: Any, hosts: Any, now: Any, history: Any, out: Any) -> None:
    """Phase, progress and µs of silence of each host; phase -1 when it is not known."""
    keys, cells, last = table
    for row in range(hosts.size):
        slot = find(keys, hosts[row])
        known, hours = now - cells[slot, 0], cells[slot, 1]
        out[row, 0] = phase_of(known, hours, history) if keys[slot] != np.uint64(0) else -1
        out[row, 1] = progress_of(known, hours, history)
        out[row, 2] = now - last[slot]


@kernel
def _meet(table: Any, used: Any, host: Any, now: Any) -> Any:
    """Slot of a host; its cells are first seen (µs) and hours active, its last the hour counted last."""
    keys, cells, last = table
    slot = find(keys, host)
    if keys[slot] == np.uint64(0):
        keys[slot] = host
        used[0] += 1
        cells[slot, 0], cells[slot, 1], last[slot] = now, 1.0, now
    elif now - last[slot] >= _HOUR_US:
        cells[slot, 1] += 1.0
        last[slot] = now
    return slot


@kernel
def tick(clock: Any, now: Any) -> None:
    """One more row. ``clock`` = when the history began, its last row (µs), rows so far. As in `calibration.fade` a few
    rows far before the rest (a sensor that dates records 1970) are no history: it begins again behind them."""
    if clock[2] == 0 or (clock[2] < MIN_ROWS and now - clock[1] > APART_US):
        clock[0], clock[1] = now, now
    clock[1] = max(clock[1], now)
    clock[2] += 1


@kernel
def walk(
    columns: Any,
    table: Any,
    used: Any,
    max_entries: Any,
    clock: Any,
    start: Any,
    stop: Any,
    out: Any,
) -> Any:
    """Phases of both ends of each row, as they were when it came; returns the row at which the table is full, or
    ``stop``."""
    orig, resp, times = columns
    keys, cells, _ = table
    for row in range(start, stop):
        if used[0] >= max_entries:
            return row
        near = min(row + AHEAD, stop - 1)
        soon(keys, orig[near])
        soon(keys, resp[near])
        now = times[row]
        tick(clock, now)
        for end in range(2):
            slot = _meet(table, used, orig[row] if end == 0 else resp[row], now)
            out[row, end] = phase_of(now - cells[slot, 0], cells[slot, 1], now - clock[0])
    return stop


class Phases:
    """What is known of how long each host is known.

    Args:
        max_entries: bound of the table (36 bytes a host); the hosts seen longest ago go first.
    """

    def __init__(self, max_entries: int) -> None:
        self.hosts = Counts(max_entries)
        self._clock = np.zeros(3, dtype=np.int64)

    def score(self, units: Columns) -> Said:
        """``orig_phase`` and ``resp_phase``, indexes of `PHASES`."""
        out = np.empty((units.height, 2), dtype=np.int64)
        columns = units["orig_id"], units["resp_id"], units["obs_ts"]
        hosts = self.hosts
        hosts.walk(
            units.height,
            _NEW_ENTRIES,
            lambda start, stop, table: walk(
                columns, table, hosts.used, hosts.max_entries, self._clock, start, stop, out
            ),
        )
        return {"orig_phase": out[:, 0], "resp_phase": out[:, 1]}

    def stand(self, hosts: NDArray[np.uint64], now: int) -> pl.DataFrame:
        """Of hosts, by key, at ``now`` (µs): ``phase`` (index of `PHASES`; -1 = not known), ``progress`` towards
        protecting (0 to 1) and ``silent`` (µs since the hour it was last counted in)."""
        out = np.empty((hosts.size, 3))
        table = self.hosts.keys, self.hosts.cells, self.hosts.last
        _look_up(table, hosts, now, now - self._clock[0], out)
        return pl.DataFrame({"phase": out[:, 0].astype(np.int64), "progress": out[:, 1], "silent": out[:, 2]})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        return {**self.hosts.arrays(), "clock": self._clock}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        self.hosts.load({name: array for name, array in arrays.items() if name != "clock"})
        self._clock[:] = arrays["clock"]
