"""Volume: how unlikely are so many connections, or so many bytes, between these two in one hour?

Connections of an edge and service in a clock hour, beyond the first, are Gamma-Poisson (`habits`); their exposure τ is
a factor of the hour of the week, learned by role and smoothed over its neighbours (Heard, Rubin-Delanchy, Lawson 2014).
Whether the edge is used in this hour at all is for `timing` and `structure` to say, so hours without it teach nothing.

Bytes sent and bytes received in the hour vary by orders of magnitude, so x = ln(1 + bytes) is taken for normal with
unknown mean and variance; a new hour is then Student-t (the normal-inverse-gamma predictive)::

    P(X >= x) = I_{ν / (ν + t²)}(ν / 2, 1 / 2) / 2,   t = (x - mean) / (s sqrt(1 + 1 / W)),   ν = min(W, 10)

An hour is judged when one of the three numbers reaches a new power of two above what is usual, by the strangest of
those that do. All other rows have nothing to say. It is learned when the next one of the edge begins, once, with the
weight of its strangest moment (`table.guard`), and no more of it than is little more than usual: volume buys no habit.
What recurs on several days becomes one (`habits`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.assets.local import wall, weekday
from detector.score import calibration
from detector.score.beta import log_beta_tail
from detector.score.columns import Columns
from detector.score.habits import (
    GROUP_MIN,
    KNOWN,
    REMEMBERED,
    block,
    blocks,
    count_surprise,
    expect,
    learn,
    p_value,
    power,
    recall,
    recurring,
    remember,
    surge_soon,
    usual,
)
from detector.score.memory import Memory
from detector.score.model import Said
from detector.score.table import HOUR_US, add, guard, key_of, tell
from detector.state.compiled import kernel
from detector.state.counts import AHEAD, find, find_beside, soon, soon_beside

ROWS, SENT, RECEIVED = 1, 2, 3
"""What ``volume_what`` names: connections, bytes of the originator, bytes of the responder."""
MIN_ROWS: Final = 4.0
MIN_BYTES: Final = 65_536.0  # less is a page or a log-on, whatever is usual
LEAST_VARIANCE: Final = 0.25  # of ln bytes: a factor of 1.6 is never news
MOST_FREEDOM: Final = 10.0  # ν: tails of bytes stay heavy however much was seen
GUESS_MEAN, GUESS_VARIANCE = 9.7, 9.0  # of ln bytes before anything is known: 16 KiB, times or by 20
EXPOSURE_MIN: Final = 8.0  # connections a slot of the week counts as usual before it is known
MOST_EXPOSURE: Final = 4.0  # τ lies within this factor of 1
WEEK_HOURS: Final = 168
_DOUBLING: Final = math.log(2.0)
_LEARNED_SPREADS: Final = 2.0  # an hour teaches at most this many standard deviations and a doubling above the mean
_FLOW: Final = 0  # of ``kind``, see features.units
_EDGE, _GROUP, _WEEK = np.uint64(41), np.uint64(42), np.uint64(43)
_NEW_ENTRIES: Final = 8 + 3 * 6 + 1 + 1 + REMEMBERED
"""Of one row at most: the edge's block, three blocks of groups, a slot of the week, and a surge."""

COLUMNS: Final = ("p_volume", "volume", "volume_what", "volume_seen", "volume_usual", "volume_hours")


@dataclass(frozen=True, slots=True)
class Flows:
    """What a walk reads, one entry a row; ``edge`` = key of the block of both hosts and the service, bytes are -1 where
    the sensor told none."""

    edge: NDArray[np.uint64]
    service: NDArray[np.uint64]
    orig_role: NDArray[np.uint64]
    resp_role: NDArray[np.uint64]
    flow: NDArray[np.bool_]
    sent: NDArray[np.float64]
    received: NDArray[np.float64]
    slot: NDArray[np.int64]
    stratum: NDArray[np.int64]
    time: NDArray[np.int64]
    teach: NDArray[np.bool_]


@kernel
def _habit(edge: Any, what: Any) -> Any:
    """Where in its block an edge, or a group, keeps what is usual; the first two entries are the open hour."""
    return edge + np.uint64(2 * what)


@kernel
def _week(role: Any, slot: Any) -> Any:
    """Key of an hour of the week of a role."""
    return key_of(_WEEK, role, np.uint64(slot % WEEK_HOURS), role)


@kernel
def _exposure(table: Any, role: Any, slot: Any, now: Any, half_life: Any) -> Any:
    """τ of an hour of the week: connections seen over connections expected, with half of what its neighbours saw."""
    seen = expected = EXPOSURE_MIN
    keys, entries, last = table
    for step in range(-1, 2):
        place = find(keys, _week(role, slot + step))
        if keys[place] != np.uint64(0):
            fade = (1.0 if step == 0 else 0.5) * 2.0 ** (-max(now - last[place], 0) / half_life)
            seen += entries[place, 0] * fade
            expected += entries[place, 1] * fade
    return min(max(seen / expected, 1.0 / MOST_EXPOSURE), MOST_EXPOSURE)


@kernel
def _recall(table: Any, edge: Any, groups: Any, what: Any, now: Any, half_life: Any, own: Any, group: Any) -> None:
    """own, group <- what is usual for the edge and, while it is young, for the first group that knows."""
    recall(table, _habit(edge, what), now, half_life, own)
    group[:] = 0.0
    if own[0] >= KNOWN:
        return
    for level in range(groups.size):
        recall(table, _habit(groups[level], what), now, half_life, group)
        if group[0] >= GROUP_MIN:
            return
    group[:] = 0.0


@kernel
def _expect_bytes(own: Any, group: Any, out: Any) -> None:
    """out <- mean and variance of ln bytes, and the hours they come from; the group, or a guess, weighs one hour."""
    mean, variance, given = GUESS_MEAN, GUESS_VARIANCE, 1.0 if own[0] < KNOWN else 0.0
    if group[0] > 0.0:
        mean = group[1] / group[0]
        variance = max(group[2] / group[0] - mean * mean, 0.0)
    hours = own[0] + given
    out[0] = (own[1] + given * mean) / hours
    squares = (own[2] + given * (variance + mean * mean)) / hours
    out[1] = max(squares - out[0] * out[0], LEAST_VARIANCE)
    out[2] = own[0] + given * max(group[0], 1.0)


@kernel
def byte_surprise(x: Any, mean: Any, variance: Any, hours: Any) -> Any:
    """-ln P(X >= x) of the Student-t above its mean, nats."""
    freedom = min(hours, MOST_FREEDOM)
    t2 = (x - mean) ** 2 / (variance * (1.0 + 1.0 / hours))
    return 0.0 - log_beta_tail(freedom / 2.0, 0.5, freedom / (freedom + t2)) + _DOUBLING if t2 > 0.0 else _DOUBLING


@kernel
def _learn_habit(
    table: Any, used: Any, edge: Any, groups: Any, what: Any, value: Any, weight: Any, now: Any, half_life: Any,
    young: Any,
) -> None:  # fmt: skip
    learn(table, used, _habit(edge, what), value, weight, now, half_life)
    if young:
        for level in range(groups.size):
            learn(table, used, _habit(groups[level], what), value, weight, now, half_life)


@kernel
def _close(table: Any, used: Any, edge: Any, groups: Any, role: Any, now: Any, half_life: Any, cells: Any) -> None:
    """Learn the hour that is over."""
    keys, entries, _ = table
    first = find(keys, edge)
    second = find_beside(keys, first, edge + np.uint64(1))
    rows, sent, received = entries[first, 0], entries[first, 1], entries[second, 0]
    code = entries[second, 1]  # slot of the week plus the weight, which is at most 1
    slot = math.ceil(code) - 1
    weight = code - slot
    own, group, usual = cells[0], cells[1], cells[2]
    _recall(table, edge, groups, ROWS, now, half_life, own, group)
    young = own[0] < KNOWN
    expect(own, group, usual)
    exposure = _exposure(table, role, slot, now, half_life)
    value = rows - 1.0
    if not young or group[0] > 0.0:
        value = min(value, 2.0 * usual[0] * exposure + 1.0)
    informed = weight / (1.0 + usual[0])
    add(table, used, _week(role, slot), value * informed, usual[0] * informed, now, half_life)
    _learn_habit(table, used, edge, groups, ROWS, value / exposure, weight, now, half_life, young)
    for what in (SENT, RECEIVED):
        total = sent if what == SENT else received
        if total > 0.0:  # each flow with a known number counts a byte more
            _recall(table, edge, groups, what, now, half_life, own, group)
            young = own[0] < KNOWN
            _expect_bytes(own, group, usual)
            value = math.log(total)
            if not young or group[0] > 0.0:
                value = min(value, usual[0] + _LEARNED_SPREADS * math.sqrt(usual[1]) + _DOUBLING)
            _learn_habit(table, used, edge, groups, what, value, weight, now, half_life, young)


@kernel
def _open(table: Any, used: Any, edge: Any, hour: Any, slot: Any) -> None:
    """Begin an hour: nothing seen, learned with full weight unless something is strange."""
    keys, entries, last = table
    for offset in range(2):
        key = edge + np.uint64(offset)
        place = find(keys, key)
        if keys[place] == np.uint64(0):
            keys[place] = key
            used[0] += 1
        last[place] = hour
        entries[place, 0] = 0.0
        entries[place, 1] = 0.0 if offset == 0 else slot + 1.0


@kernel
def _judge(
    table: Any, edge: Any, groups: Any, role: Any, slot: Any, what: Any, seen: Any, now: Any, half_life: Any,
    cells: Any, out: Any,
) -> None:  # fmt: skip
    """out <- nats, what, seen, usual, hours when ``what`` is a surge and the strangest so far."""
    own, group, usual = cells[0], cells[1], cells[2]
    _recall(table, edge, groups, what, now, half_life, own, group)
    if own[0] < KNOWN and group[0] == 0.0:  # nobody knows what is usual
        return
    if what == ROWS:
        expect(own, group, usual)
        mean = usual[0] * _exposure(table, role, slot, now, half_life)
        if seen - 1.0 <= mean:
            return
        surprise, typical = count_surprise(seen - 1.0, mean, usual[1]), mean + 1.0
    else:
        _expect_bytes(own, group, usual)
        x, typical = math.log(seen), math.exp(usual[0])
        if x <= usual[0]:
            return
        surprise = byte_surprise(x, usual[0], usual[1], usual[2])
    surprise = min(surprise, recurring(table, edge ^ np.uint64(what), power(seen), now, half_life))
    if surprise > out[1]:
        out[1], out[2], out[3], out[4], out[5] = surprise, what, seen, typical, own[0]


@kernel
def _soon(keys: Any, edge: Any, groups: Any, role: Any, slot: Any, reached: Any) -> None:
    """What `_judge` looks at far from the edge will be wanted at once: so all of it comes at the same time."""
    for what in range(ROWS, RECEIVED + 1):
        if reached[what] > 0.0:
            surge_soon(keys, edge ^ np.uint64(what), power(reached[what]))
            soon(keys, _habit(groups[0], what))
    if reached[ROWS] > 0.0:
        for step in range(-1, 2):
            soon(keys, _week(role, slot + step))


@kernel
def _judge_all(
    table: Any, edge: Any, groups: Any, role: Any, slot: Any, reached: Any, now: Any, half_life: Any, cells: Any,
    told: Any,
) -> None:  # fmt: skip
    """told <- nats, what, seen, usual, hours of the strangest of the numbers that reached a new power of two; zeros
    when none is a surge."""
    told[:] = 0.0
    _soon(table[0], edge, groups, role, slot, reached)
    for what in range(ROWS, RECEIVED + 1):
        if reached[what] > 0.0:
            _judge(table, edge, groups, role, slot, what, reached[what], now, half_life, cells, told)


@kernel
def _groups(orig_role: Any, resp_role: Any, service: Any, out: Any) -> None:
    """out <- who tells what is usual on a new edge: this service between these roles, this service, all."""
    out[0] = block(_GROUP, orig_role, resp_role, service)
    out[1] = block(_GROUP, service, service, service)
    out[2] = block(_GROUP, _GROUP, _GROUP, _GROUP)


@kernel
def _count(entries: Any, first: Any, second: Any, sent: Any, received: Any, totals: Any) -> Any:
    """Add a row to the open hour; totals <- the numbers that reached a new power of two, 0 for the others. Whether any
    did."""
    asked = False
    for what in range(ROWS, RECEIVED + 1):
        place, cell = (second, 0) if what == RECEIVED else (first, what - 1)
        before = entries[place, cell]
        after = before + (1.0 if what == ROWS else (sent if what == SENT else received) + 1.0)
        entries[place, cell] = after
        news = after >= (MIN_ROWS if what == ROWS else MIN_BYTES) and power(after) > power(before)
        totals[what] = after if news else 0.0
        asked = asked or news
    return asked


@kernel
def walk(
    flows: Any,
    table: Any,
    used: Any,
    max_entries: Any,
    calibrated: Any,
    half_life: Any,
    room: Any,
    start: Any,
    stop: Any,
    out: Any,
) -> Any:
    """Score and learn rows ``start`` to ``stop``; returns the row at which the table is full, or ``stop``. ``room`` is
    to work in (`_room`)."""
    edges, services, orig_roles, resp_roles, is_flow, sents, receiveds, slots, strata, times, teaches = flows
    histograms, trees, totals, tails, since, clock = calibrated
    keys, entries, last = table
    cells, groups, reached, told = room
    for row in range(start, stop):
        if used[0] >= max_entries:
            return row
        near = min(row + AHEAD, stop - 1)
        soon_beside(keys, edges[near])
        now, role, service = times[row], orig_roles[row], services[row]
        calibration.fade(histograms, trees, totals, tails, clock, now)
        if not is_flow[row]:
            continue
        edge, hour = edges[row], now - now % HOUR_US
        first = find(keys, edge)
        if keys[first] == np.uint64(0) or last[first] < hour:
            if keys[first] != np.uint64(0):
                _groups(role, resp_roles[row], service, groups)
                _close(table, used, edge, groups, role, now, half_life, cells)
            _open(table, used, edge, hour, slots[row])
            first = find(keys, edge)
        second = find_beside(keys, first, edge + np.uint64(1))
        if not _count(entries, first, second, sents[row], receiveds[row], reached):
            continue
        _groups(role, resp_roles[row], service, groups)
        _judge_all(table, edge, groups, role, slots[row], reached, now, half_life, cells, told)
        if told[2] == 0.0:
            continue
        score = told[1]
        told[0] = p_value(trees, totals, tails, strata[row], score)
        tell(told, out, row)
        calibration.learn(histograms, trees, totals, tails, since, strata[row], score)
        slot = math.ceil(entries[second, 1]) - 1
        entries[second, 1] = min(entries[second, 1], slot + guard(told[0], teaches[row]))
        who = edge ^ np.uint64(told[2])
        remember(table, used, who, told[4], power(told[3]), now, half_life)
    return stop


def _room() -> tuple[NDArray[Any], ...]:
    return np.zeros((3, 3)), np.zeros(3, dtype=np.uint64), np.zeros(4), np.zeros(len(COLUMNS))


class Volume:
    """The model with its state.

    Args:
        zone: IANA time zone in which people work. For the rest see `memory.Memory`.
    """

    name: Final = "volume"

    def __init__(self, strata: int, max_entries: int, half_life_days: float, zone: str) -> None:
        self.memory = Memory(strata, max_entries, half_life_days, _NEW_ENTRIES)
        self._zone = zone

    def score(self, units: Columns) -> Said:
        """``p_volume``; ``volume`` (nats), ``volume_what`` (`ROWS`, `SENT`, `RECEIVED`; 0 = not judged),
        ``volume_seen`` and ``volume_usual`` of it in the hour, ``volume_hours`` (hours of the edge that were
        learned)."""
        flows = self._flows(units)
        columns = tuple(getattr(flows, name) for name in Flows.__dataclass_fields__)
        out, memory = np.zeros((len(COLUMNS), units.height)), self.memory
        out[0] = 1.0
        memory.walk(
            units.height,
            lambda start, stop, table: walk(
                columns, table, memory.counts.used, memory.counts.max_entries, memory.calibrated, memory.half_life,
                _room(), start, stop, out,
            ),
        )  # fmt: skip
        return dict(zip(COLUMNS, out, strict=True))

    def _flows(self, units: Columns) -> Flows:
        return Flows(
            edge=blocks(_EDGE, units["orig_id"], units["resp_id"], units["service_id"]),
            service=units["service_id"],
            orig_role=units["orig_role"],
            resp_role=units["resp_role"],
            flow=units["kind"] == _FLOW,
            sent=units["orig_bytes"].astype(np.float64),
            received=units["resp_bytes"].astype(np.float64),
            slot=week_hours(units["obs_ts"], self._zone),
            stratum=units["stratum"],
            time=units["obs_ts"],
            teach=units["teach"],
        )

    def usual(self, units: Columns, what: int) -> dict[str, float]:
        """What the last of these units was judged by, right after it was scored: `habits.usual` and the ``exposure`` of
        the hour for `ROWS`; for bytes ``mean`` and ``variance`` of ln bytes and the hours they come from."""
        flows, now, expected = self._flows(units), units["obs_ts"][-1], np.zeros(3)
        table, (own, group), half_life = self.memory.counts.table, np.zeros((2, 3)), self.memory.half_life
        role, groups = flows.orig_role[-1], np.zeros(3, dtype=np.uint64)
        _groups(role, flows.resp_role[-1], flows.service[-1], groups)
        _recall(table, flows.edge[-1], groups, what, now, half_life, own, group)
        found = usual(own, group)
        if what == ROWS:
            return {**found, "exposure": float(_exposure(table, role, flows.slot[-1], now, half_life))}
        _expect_bytes(own, group, expected)
        del found["shape"]
        return {**found, **dict(zip(("mean", "variance", "hours"), expected.tolist(), strict=True))}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        return self.memory.arrays()

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        self.memory.load(arrays)


def week_hours(times: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Hour of the week by local time, 0 to 167, of the UTC hour each time (µs) lies in."""
    hours = times // HOUR_US
    begins = np.flatnonzero(
        np.diff(hours, prepend=hours[:1] - 1)
    )  # time zones are looked up once for rows of the same hour
    local = wall(hours[begins] * HOUR_US, zone)
    slots: NDArray[np.int64] = weekday(local) * 24 + local // HOUR_US % 24
    return np.repeat(slots, np.diff(begins, append=times.size))
