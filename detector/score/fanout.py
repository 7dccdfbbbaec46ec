"""Fan-out: how unlikely are so many targets of one source within ten minutes?

Targets are hosts reached by one service or one operation, and pairs of host and port of failed attempts, whatever the
service. Their distinct number in a window of ten minutes, beyond the first, is Gamma-Poisson by source and service or
operation; a new source is given what sources of its role do (`habits`). Windows without any teach nothing, and
connections that ended now but began before the window are no part of it: a sensor that restarts closes them all.

Windows lie in two rows, shifted by half a window: what takes five minutes lies whole in one of them, and of any ten
minutes three quarters do, so no border halves a sweep. A source is judged when the larger of the two numbers reaches a
new power of two, from four on, above what is usual, and did not an hour ago; all other rows have nothing to say. A
window is learned when the source's next one begins, with the weight of its strangest moment (`table.guard`) and at most
a doubling of what was expected. A scan that comes each week is news three times (`habits`).

Counting is exact: each target has an entry with the time it was last seen, and such an entry says nothing any more once
it is older than the window; entries seen longest ago leave when the table is full.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.score import calibration
from detector.score.columns import Columns
from detector.score.habits import (
    GROUP_MIN,
    KNOWN,
    REMEMBERED,
    block,
    count_surprise,
    expect,
    goes_on,
    learn,
    p_value,
    power,
    recall,
    recurring,
    remember,
    usual,
)
from detector.score.memory import Memory
from detector.score.model import Said
from detector.score.table import guard, key_of
from detector.state.compiled import inlined, kernel
from detector.state.counts import AHEAD, find, soon, soon_beside
from detector.state.keys import integer_key, mix

WINDOW_US: Final = 600_000_000
MIN_TARGETS: Final = 4.0
LEAST_USUAL: Final = 0.5  # targets beyond the first that nobody is blamed for: a printer that is off, a wrong address
_ATTEMPT: Final = 1  # of ``kind``, see features.units
_SOURCE, _GROUP, _TARGET = np.uint64(61), np.uint64(62), np.uint64(63)
_HABIT: Final = np.uint64(2)  # place in a block; before it the open windows of both rows
_NEW_ENTRIES: Final = 1 + 4 + 3 * 2 + 1 + REMEMBERED
"""Of one row at most: a target, the block of its source, three groups, and a surge."""

COLUMNS: Final = ("p_fanout", "fanout", "fanout_targets", "fanout_usual", "fanout_windows", "fanout_sweep")


@dataclass(frozen=True, slots=True)
class Contacts:
    """What a walk reads, one entry a row: ``source`` = key of the block of who does what (``token``: a service, an
    operation, or any attempt), ``target`` = key of what it is done to."""

    source: NDArray[np.uint64]
    role: NDArray[np.uint64]
    token: NDArray[np.uint64]
    target: NDArray[np.uint64]
    asked: NDArray[np.bool_]
    stratum: NDArray[np.int64]
    time: NDArray[np.int64]
    teach: NDArray[np.bool_]


@kernel
def _recall(table: Any, source: Any, role: Any, token: Any, now: Any, half_life: Any, own: Any, group: Any) -> None:
    """own, group <- what is usual for the source and, while it is young, for the first group that knows."""
    recall(table, source + _HABIT, now, half_life, own)
    group[:] = 0.0
    if own[0] >= KNOWN:
        return
    for level in range(3):
        recall(table, _group(role, token, level) + _HABIT, now, half_life, group)
        if group[0] >= GROUP_MIN:
            return
    group[:] = 0.0


@kernel
def _group(role: Any, token: Any, level: Any) -> Any:
    """Sources of this role doing this, all sources doing this, all."""
    if level == 2:
        return block(_GROUP, _GROUP, _GROUP, _GROUP)
    return block(_GROUP, token, role if level == 0 else token, token)


@kernel
def _close(
    table: Any, used: Any, source: Any, role: Any, token: Any, teaches: Any, now: Any, half_life: Any, cells: Any
) -> None:
    """Learn the window of the first row that is over."""
    keys, entries, _ = table
    place = find(keys, source)
    own, group, usual = cells[0], cells[1], cells[2]
    _recall(table, source, role, token, now, half_life, own, group)
    expect(own, group, usual)
    value, weight = entries[place, 0] - 1.0, guard(math.exp(-entries[place, 1]), teaches)
    young = own[0] < KNOWN
    if not young or group[0] > 0.0:
        value = min(value, 2.0 * usual[0] + 1.0)
    learn(table, used, source + _HABIT, value, weight, now, half_life)
    if young:
        for level in range(3):
            learn(table, used, _group(role, token, level) + _HABIT, value, weight, now, half_life)


@inlined
def _seen_last(table: Any, used: Any, key: Any, now: Any) -> Any:
    """When the target was seen last, before ``now``; never = the beginning of time."""
    keys, _, last = table
    place = find(keys, key)
    if keys[place] == np.uint64(0):
        keys[place] = key
        used[0] += 1
        last[place] = now
        return np.int64(-1)
    before = last[place]
    last[place] = max(before, now)
    return before


@inlined
def _enter(table: Any, used: Any, key: Any, begins: Any) -> Any:
    """Slot of an open window, emptied when another one began."""
    keys, entries, last = table
    place = find(keys, key)
    if keys[place] == np.uint64(0):
        keys[place] = key
        used[0] += 1
        last[place] = begins - 1
    if last[place] < begins:
        entries[place, 0], entries[place, 1], last[place] = 0.0, 0.0, begins
    return place


@kernel
def aim(ends: Any, kinds: Any, out: Any) -> None:
    """out <- source, token and target of each row (`Contacts`)."""
    origs, resps, ports, tokens = ends
    for row in range(kinds.size):
        attempt = kinds[row] == _ATTEMPT
        token, target = _TARGET if attempt else tokens[row], resps[row]
        if attempt:
            target = mix(target, integer_key(np.int64(ports[row])))
        source = block(_SOURCE, origs[row], token, token)
        out[0, row], out[1, row], out[2, row] = source, token, key_of(_TARGET, source, target, token)


@kernel
def walk(
    contacts: Any,
    table: Any,
    used: Any,
    max_entries: Any,
    calibrated: Any,
    half_life: Any,
    cells: Any,
    start: Any,
    stop: Any,
    out: Any,
) -> Any:
    """Score and learn rows ``start`` to ``stop``; returns the row at which the table is full, or ``stop``. ``cells``,
    shape (3, 3), is room to work in."""
    sources, roles, tokens, targets, asked, strata, times, teaches = contacts
    histograms, trees, totals, tails, since, clock = calibrated
    keys, entries, last = table
    own, group, usual = cells[0], cells[1], cells[2]
    for row in range(start, stop):
        if used[0] >= max_entries:
            return row
        near = min(row + AHEAD, stop - 1)
        soon_beside(keys, sources[near])
        soon(keys, targets[near])
        now, role, token, stratum = times[row], roles[row], tokens[row], strata[row]
        calibration.fade(histograms, trees, totals, tails, clock, now)
        if not asked[row]:
            continue
        source = sources[row]
        begins, shifted = now - now % WINDOW_US, now - (now + WINDOW_US // 2) % WINDOW_US
        place = find(keys, source)
        if keys[place] != np.uint64(0) and last[place] < begins:
            _close(table, used, source, role, token, teaches[row], now, half_life, cells)
        first = _enter(table, used, source, begins)
        second = _enter(table, used, source + np.uint64(1), shifted)
        before = max(entries[first, 0], entries[second, 0])
        seen = _seen_last(table, used, targets[row], now)
        entries[first, 0] += 1.0 if seen < last[first] else 0.0
        entries[second, 0] += 1.0 if seen < last[second] else 0.0
        count = max(entries[first, 0], entries[second, 0])
        out[2, row], out[5, row] = count, max(entries[first, 1], entries[second, 1])
        if count < MIN_TARGETS or power(count) == power(before):
            continue
        _recall(table, source, role, token, now, half_life, own, group)
        expect(own, group, usual)
        mean = max(usual[0], LEAST_USUAL)
        out[3, row], out[4, row] = mean + 1.0, own[0]
        if count <= out[3, row] or (own[0] < KNOWN and group[0] == 0.0):
            continue
        score = count_surprise(count - 1.0, mean, usual[1])
        score = min(score, recurring(table, source, power(count), now, half_life))
        entries[first, 1], entries[second, 1] = max(entries[first, 1], score), max(entries[second, 1], score)
        out[5, row] = max(entries[first, 1], entries[second, 1])
        if not goes_on(table, source, power(count), now):
            out[0, row] = p_value(trees, totals, tails, stratum, score)
            out[1, row] = score
            calibration.learn(histograms, trees, totals, tails, since, stratum, score)
        remember(table, used, source, out[3, row], power(count), now, half_life)
    return stop


class Fanout:
    """The model with its state. See `memory.Memory` for the arguments."""

    name: Final = "fanout"

    def __init__(self, strata: int, max_entries: int, half_life_days: float) -> None:
        self.memory = Memory(strata, max_entries, half_life_days, _NEW_ENTRIES)

    def score(self, units: Columns) -> Said:
        """``p_fanout``; ``fanout`` (nats), ``fanout_targets`` (distinct ones in the window so far, this one with
        them), ``fanout_usual`` (of such a window; 0 = not judged), ``fanout_windows`` (of this source that were
        learned), ``fanout_sweep`` (nats of the strangest moment of the window so far: the sweep this row is part
        of; 0 = none)."""
        contacts = _contacts(units)
        columns = tuple(getattr(contacts, name) for name in Contacts.__dataclass_fields__)
        out, memory = np.zeros((len(COLUMNS), units.height)), self.memory
        out[0] = 1.0
        memory.walk(
            units.height,
            lambda start, stop, table: walk(
                columns, table, memory.counts.used, memory.counts.max_entries, memory.calibrated, memory.half_life,
                np.zeros((3, 3)), start, stop, out,
            ),
        )  # fmt: skip
        return dict(zip(COLUMNS, out, strict=True))

    def usual(self, units: Columns) -> dict[str, float]:
        """What the last of these units was judged by, right after it was scored: `habits.usual`, of targets beyond the
        first."""
        contacts, now = _contacts(units), units["obs_ts"][-1]
        table, (own, group) = self.memory.counts.table, np.zeros((2, 3))
        role, token = contacts.role[-1], contacts.token[-1]
        _recall(table, contacts.source[-1], role, token, now, self.memory.half_life, own, group)
        return usual(own, group)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        return self.memory.arrays()

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        self.memory.load(arrays)


def _contacts(units: Columns) -> Contacts:
    keys = np.empty((3, units.height), dtype=np.uint64)
    ends = units["orig_id"], units["resp_id"], units["resp_p"], units["token_id"]
    aim(ends, units["kind"], keys)
    return Contacts(
        source=keys[0],
        role=units["orig_role"],
        token=keys[1],
        target=keys[2],
        asked=~units["resp_group"] & (units["ts"] > units["obs_ts"] - WINDOW_US),
        stratum=units["stratum"],
        time=units["obs_ts"],
        teach=units["teach"],
    )
