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
from detector.score.table import GUARD_P, HOUR_US, key_of, keys_of
from detector.score.tally import Read, columns_of, fade, first_in, judge, slot_of
from detector.state.compiled import inlined, kernel
from detector.state.counts import AHEAD, Counts, find, soon, soon_whole
from detector.state.counts import walk as walk_all
from detector.state.keys import Keys

FEATURES: Final = ("connections", "hosts", "services", "new_pairs", "attempts", "acts", "kilobytes", "accounts")
DOUBLINGS: Final = (4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 12.0, 4.0)
"""Where each scale ends: 16 times the usual is as far as trees need to tell apart; bytes spread wider."""
KNOWN_HOURS: Final = 6  # active hours before a host has a usual; as many as `phases` asks of a host that is known
_LN_2: Final = math.log(2.0)
_SURELY: Final = 1.0 - 1e-9  # of a doubling that no rounding of a logarithm can complete
_STEP: Final = 2.0  # doublings by which an hour can pull the usual
_MEMORY_HOURS: Final = 168.0  # a week of active hours
_BYTES: Final = 1000.0
_TREES, _HEIGHT, _WINDOW = 25, 6, 250  # River's and the paper's but for the height: 64 leaves tell 8 counts apart
_SEED: Final = 7
_STRETCH: Final = 12.0  # ln of the trees' mass spans ln 127; so it fills the histogram of `calibration`
_NEW_MARKS: Final = 3
_MET: Final = np.uint64(48)
_FEATURES: Final = len(FEATURES)
_HOUR, _CLOSED, _COUNTS = range(3)
"""Cells of a host: its hour, hours closed, and from the third on its counts, then what is usual of each."""
_HOST_SHARE: Final = 4  # hosts are at most a quarter of the marks: each of them leaves several


@kernel
def _turn(host: Any, hour: Any) -> Any:
    """Close the host's hour when a later one has begun; returns the hours closed."""
    if host[_HOUR] == 0.0:
        host[_HOUR] = hour
    if hour > host[_HOUR]:
        host[_HOUR] = hour
        host[_CLOSED] += 1.0
        for count in range(_COUNTS, _COUNTS + _FEATURES):
            step = np.log2(1.0 + host[count]) - host[count + _FEATURES]
            host[count + _FEATURES] += min(max(step, -_STEP), _STEP) / min(host[_CLOSED], _MEMORY_HOURS)
            host[count] = 0.0
    return host[_CLOSED]


@inlined
def _above(host: Any, feature: Any) -> Any:
    """Doublings above the usual."""
    count = _COUNTS + feature
    return np.log2(1.0 + host[count]) - host[count + _FEATURES]


@inlined
def _more(host: Any, feature: Any, amount: Any) -> Any:
    """Count on; whether the count passed a whole doubling above the usual."""
    if amount == 0.0:
        return False
    count, before = host[_COUNTS + feature], _above(host, feature)
    host[_COUNTS + feature] = count + amount
    before = max(before, 0.0)
    if before - np.floor(before) + amount / ((1.0 + count) * _LN_2) < _SURELY:  # log2 lies below its tangent
        return False
    return np.floor(max(_above(host, feature), 0.0)) > np.floor(before)


@kernel
def _tell(host: Any, above: Any, told: Any) -> None:
    """``above`` <- doublings above the usual of each count, ``told`` <- the leading count's place, itself, its
    usual."""
    lead = 0
    for feature in range(_FEATURES):
        above[feature] = _above(host, feature)
        if above[feature] / DOUBLINGS[feature] > above[lead] / DOUBLINGS[lead]:
            lead = feature
    told[0], told[1], told[2] = lead, host[_COUNTS + lead], 2.0 ** host[_COUNTS + _FEATURES + lead] - 1.0


@kernel
def walk(
    columns: Any, met: Any, hosts: Any, known: Any, most: Any, marks: Any, marked: Any, most_marks: Any, start: Any,
    stop: Any, asked: Any, above: Any, told: Any,
) -> Any:  # fmt: skip
    """Count rows ``start`` to ``stop``; ``asked`` <- those that pass a doubling, and of them ``above`` and ``told``
    (`_tell`). ``met``: keys of responder and service as the originator met them. Returns the row at which a table is
    full, or ``stop``."""
    responders, services = met
    orig, _, _, user, flow, attempt, act, new, _, sent, times = columns
    for row in range(start, stop):
        if known[0] >= most or marked[0] >= most_marks:
            return row
        near = min(row + AHEAD, stop - 1)
        soon_whole(hosts, orig[near])
        soon(marks[0], responders[near])
        soon(marks[0], services[near])
        who, now = orig[row], times[row]
        host = hosts[1][slot_of(hosts, known, who, now)]
        closed = _turn(host, now // HOUR_US + 1)
        hour = host[_HOUR]
        passed = _more(host, 0, 1.0 if flow[row] else 0.0)
        passed |= _more(host, 1, first_in(marks, marked, responders[row], hour, now))
        passed |= _more(host, 2, first_in(marks, marked, services[row], hour, now))
        passed |= _more(host, 3, 1.0 if new[row] else 0.0)
        passed |= _more(host, 4, 1.0 if attempt[row] else 0.0)
        passed |= _more(host, 5, 1.0 if act[row] else 0.0)
        passed |= _more(host, 6, sent[row] / _BYTES)
        if user[row] != np.uint64(0):
            key = key_of(_MET + np.uint64(2), who, user[row], who)
            passed |= _more(host, 7, first_in(marks, marked, key, hour, now))
        asked[row] = passed and closed >= KNOWN_HOURS
        if asked[row]:
            _tell(host, above[row], told[:, row])
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
        halfspace.place(trees, x[row])
        if halfspace.ready(trees):
            scores[row] = stretched(halfspace.score(trees))
            fade(calibrated, times[row])
            p[row] = judge(calibrated, strata[row], scores[row])
        if teach[row] or p[row] >= GUARD_P:
            halfspace.learn(trees)


def met_by(columns: Read) -> tuple[Keys, Keys]:
    """Keys of the responders and of the services as originators met them, of `tally.columns_of`."""
    orig, resp, service = columns[:3]
    return keys_of(_MET, orig, resp, orig), keys_of(_MET + np.uint64(1), orig, service, orig)


class Windows:
    """The model with its state.

    Args:
        strata: number of calibration strata.
        max_entries: bound of the marks of hosts, services and accounts met (36 bytes each) and, a quarter of it, of the
            hosts (164 bytes each). What was seen longest ago goes: marks of hours that are over, which nobody misses,
            and hosts long silent, which are new when they come back.
        half_life_days: as for other models; the usual has its own memory, a week of active hours.
    """

    name: Final = "windows"

    def __init__(self, strata: int, max_entries: int, half_life_days: float) -> None:
        self.memory = Memory(strata, max_entries, half_life_days, _NEW_MARKS)
        self.hosts = Counts(max(max_entries // _HOST_SHARE, 1), width=_COUNTS + 2 * _FEATURES)
        self.trees = HalfSpaces(FEATURES, n_trees=_TREES, height=_HEIGHT, window_size=_WINDOW, seed=_SEED)

    def score(self, units: Columns) -> Said:
        """``p_windows``; ``windows`` (-ln mass, scaled), and of the count furthest above its usual, when the hour was
        looked at: ``window_feature`` (index of `FEATURES`), ``window_count`` so far in the hour, ``window_usual`` of an
        hour."""
        columns, hosts, marks = units.once(columns_of), self.hosts, self.memory.counts
        asked, above = np.zeros(units.height, dtype=np.bool_), np.empty((units.height, _FEATURES))
        told, met = np.zeros((3, units.height)), met_by(columns)
        walk_all(
            units.height,
            [(hosts, 1), (marks, _NEW_MARKS)],
            lambda start, stop: walk(
                columns, met, hosts.table, hosts.used, hosts.max_entries, marks.table, marks.used, marks.max_entries,
                start, stop, asked, above, told,
            ),
        )  # fmt: skip
        scores, p = np.zeros(units.height), np.ones(units.height)
        rows = np.flatnonzero(asked)
        x = np.clip(above[rows] / DOUBLINGS, 0.0, 1.0)
        strata, teach = units["stratum"][rows], units["teach"][rows]
        opinions = scores[rows], p[rows]
        look(x, columns[-1][rows], strata, teach, self.trees.kept, self.memory.calibrated, *opinions)
        scores[rows], p[rows] = opinions
        named = {f"window_{name}": told[place] for place, name in enumerate(("feature", "count", "usual"))}
        return {"p_windows": p, "windows": scores, **named}

    def hour(self, units: Columns) -> dict[str, tuple[float, float]]:
        """Count in the running hour and what is usual, of each of `FEATURES`, for the host of the last of these units;
        right after it was scored."""
        keys, cells, _ = self.hosts.table
        host = cells[find(keys, units["orig_id"][-1])]
        counts, levels = host[_COUNTS : _COUNTS + _FEATURES], host[_COUNTS + _FEATURES : _COUNTS + 2 * _FEATURES]
        pairs = zip(FEATURES, counts.tolist(), (2.0**levels - 1.0).tolist(), strict=True)
        return {name: (count, typical) for name, count, typical in pairs}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        parts = {"hosts": self.hosts.arrays(), "trees": self.trees.arrays()}
        flat = {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}
        return self.memory.arrays() | flat

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        self.memory.load(arrays)
        for part, owner in (("hosts.", self.hosts), ("trees.", self.trees)):
            owner.load({name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)})
