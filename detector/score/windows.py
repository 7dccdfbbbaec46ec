"""Windows: is this host's hour, as a whole, unlike its hours and those of others?

A sweep, a sprayed password or a tool run through ten servers is made of rows that are each a little strange. So what a
host began in the running hour is one vector of eight counts, each as doublings above what is usual for this host::

    x_f = log2(1 + count_f) - usual_f(host),   usual <- usual + clip(log2(1 + count) - usual, -2, 2) / min(n, 168)

the usual being a mean over the hours in which the host was active, with steps capped as in Huber's estimate of
location (1964), so that one loud hour moves it little. Half-space trees (Tan, Ting, Liu, IJCAI 2011; River's
`HalfSpaceTrees`) say how sparse the surroundings of the vector are among vectors of all hosts.

An hour is looked at whenever one of its counts passes a whole doubling above the usual, and the row that did it
carries the opinion. So nobody waits for the hour to end, the row shown is one of those that made the hour strange, and
quiet hours, which are most, cost nothing. Vectors stranger than one in a hundred do not teach the trees.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.score import halfspace
from detector.score.columns import Columns
from detector.score.halfspace import HalfSpaces
from detector.score.memory import Memory
from detector.score.model import Said
from detector.score.table import GUARD_P, HOUR_US, key_of
from detector.score.tally import columns_of, fade, first_in, judge, slot_of
from detector.state.compiled import kernel

FEATURES: Final = ("connections", "hosts", "services", "new_pairs", "attempts", "acts", "kilobytes", "accounts")
DOUBLINGS: Final = (4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 12.0, 4.0)
"""Where each scale ends: 16 times the usual is as far as trees need to tell apart; bytes spread wider."""
KNOWN_HOURS: Final = 6  # active hours before a host has a usual; as many as `phases` asks of a host that is known
_STEP: Final = 2.0  # doublings by which an hour can pull the usual
_MEMORY_HOURS: Final = 168.0  # a week of active hours
_BYTES: Final = 1000.0
_TREES, _HEIGHT, _WINDOW = 25, 6, 250  # River's and the paper's but for the height: 64 leaves tell 8 counts apart
_SEED: Final = 7
_STRETCH: Final = 12.0  # ln of the trees' mass spans ln 127; so it fills the histogram of `calibration`
_NEW_ENTRIES: Final = 1 + len(FEATURES) + 3
_HOUR, _COUNT, _MET = np.uint64(31), np.uint64(32), np.uint64(48)


@kernel
def _turn(table: Any, used: Any, host: Any, hour: Any, now: Any, slots: Any) -> Any:
    """Close the host's hour when a later one has begun; returns the hours closed. ``slots`` <- of its counts."""
    cells = table[1]
    own = slot_of(table, used, key_of(_HOUR, host, host, host), now)
    for feature in range(slots.size):
        slots[feature] = slot_of(table, used, key_of(_COUNT + np.uint64(feature), host, host, host), now)
    if cells[own, 0] == 0.0:
        cells[own, 0] = hour
    if hour > cells[own, 0]:
        cells[own, 0] = hour
        cells[own, 1] += 1.0
        for slot in slots:
            step = np.log2(1.0 + cells[slot, 0]) - cells[slot, 1]
            cells[slot, 1] += min(max(step, -_STEP), _STEP) / min(cells[own, 1], _MEMORY_HOURS)
            cells[slot, 0] = 0.0
    return cells[own, 1], cells[own, 0]


@kernel
def walk(columns: Any, table: Any, used: Any, max_entries: Any, start: Any, stop: Any, asked: Any, out: Any) -> Any:
    """Count rows ``start`` to ``stop``; ``asked`` <- those that pass a doubling, ``out`` <- doublings above the usual
    of each count and, behind them, the leading count and its usual. Returns the row at which the table is full, or
    ``stop``."""
    orig, resp, service, user, flow, attempt, act, new, _, sent, times = columns
    cells = table[1]
    slots = np.zeros(len(FEATURES), dtype=np.int64)
    more = np.zeros(len(FEATURES))
    for row in range(start, stop):
        if used[0] >= max_entries:
            return row
        host, now = orig[row], times[row]
        closed, hour = _turn(table, used, host, now // HOUR_US + 1, now, slots)
        more[0] = 1.0 if flow[row] else 0.0
        more[1] = first_in(table, used, key_of(_MET, host, resp[row], host), hour, now)
        more[2] = first_in(table, used, key_of(_MET + np.uint64(1), host, service[row], host), hour, now)
        more[3] = 1.0 if new[row] else 0.0
        more[4] = 1.0 if attempt[row] else 0.0
        more[5] = 1.0 if act[row] else 0.0
        more[6] = sent[row] / _BYTES
        more[7] = 0.0
        if user[row] != np.uint64(0):
            more[7] = first_in(table, used, key_of(_MET + np.uint64(2), host, user[row], host), hour, now)
        passed, lead = False, 0
        for feature in range(len(FEATURES)):
            slot = slots[feature]
            before = np.log2(1.0 + cells[slot, 0]) - cells[slot, 1]
            cells[slot, 0] += more[feature]
            out[row, feature] = np.log2(1.0 + cells[slot, 0]) - cells[slot, 1]
            passed = passed or np.floor(max(out[row, feature], 0.0)) > np.floor(max(before, 0.0))
            if out[row, feature] / DOUBLINGS[feature] > out[row, lead] / DOUBLINGS[lead]:
                lead = feature
        asked[row] = passed and closed >= KNOWN_HOURS
        out[row, -3], out[row, -2], out[row, -1] = lead, cells[slots[lead], 0], 2.0 ** cells[slots[lead], 1] - 1.0
    return stop


@kernel
def stretched(found: Any) -> Any:
    """-ln of the mass that trees find around a vector, scaled; 0 = as dense as can be."""
    # C's logarithm, as Python's is; NumPy's of many numbers at once is another one in the last bit.
    return -_STRETCH * math.log(1.0 - found)


@kernel
def look(x: Any, times: Any, strata: Any, teach: Any, trees: Any, calibrated: Any, scores: Any, p: Any) -> None:
    """Judge asked vectors one after another and learn those that may teach: ``scores`` <- how sparse the surroundings
    of each are, ``p`` <- how rare that is. Both stay as they were in the first window of the trees."""
    for row in range(x.shape[0]):
        if halfspace.ready(trees):
            scores[row] = stretched(halfspace.score(trees, x[row]))
            fade(calibrated, times[row])
            p[row] = judge(calibrated, strata[row], scores[row])
        if teach[row] or p[row] >= GUARD_P:
            halfspace.learn(trees, x[row])


class Windows:
    """The model with its state.

    Args:
        strata: number of calibration strata.
        max_entries: bound of the table (32 bytes an entry; 10 a host and one for each host, service and account met).
            When it is full the quarter seen longest ago goes, counted in ``memory.counts.evicted``: marks of hours that
            are over, which nobody misses, then hosts long silent, which are new when they come back.
        half_life_days: as for other models; the usual has its own memory, a week of active hours.
    """

    name: Final = "windows"

    def __init__(self, strata: int, max_entries: int, half_life_days: float) -> None:
        self.memory = Memory(strata, max_entries, half_life_days, _NEW_ENTRIES)
        self.trees = HalfSpaces(FEATURES, n_trees=_TREES, height=_HEIGHT, window_size=_WINDOW, seed=_SEED)

    def score(self, units: Columns) -> Said:
        """``p_windows``; ``windows`` (-ln mass, scaled), and of the count furthest above its usual: ``window_feature``
        (index of `FEATURES`), ``window_count`` so far in the hour, ``window_usual`` of an hour."""
        columns = columns_of(units)
        asked, above = np.zeros(units.height, dtype=np.bool_), np.empty((units.height, len(FEATURES) + 3))
        counts = self.memory.counts
        self.memory.walk(
            units.height,
            lambda start, stop, table: walk(columns, table, counts.used, counts.max_entries, start, stop, asked, above),
        )
        scores, p = np.zeros(units.height), np.ones(units.height)
        rows = np.flatnonzero(asked)
        x = np.clip(above[rows, : len(FEATURES)] / DOUBLINGS, 0.0, 1.0)
        strata, teach = units["stratum"][rows], units["teach"][rows]
        opinions = scores[rows], p[rows]
        look(x, columns[-1][rows], strata, teach, self.trees.kept, self.memory.calibrated, *opinions)
        scores[rows], p[rows] = opinions
        told = {name: above[:, place] for name, place in (("feature", -3), ("count", -2), ("usual", -1))}
        return {"p_windows": p, "windows": scores, **{f"window_{name}": column for name, column in told.items()}}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        return self.memory.arrays() | {f"trees.{name}": array for name, array in self.trees.arrays().items()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        self.memory.load(arrays)
        self.trees.load(
            {name.removeprefix("trees."): array for name, array in arrays.items() if name.startswith("trees.")}
        )
