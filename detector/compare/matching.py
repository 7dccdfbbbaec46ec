"""Which alert of one run is which of the other: by its id, else by its case, what two hosts did within an hour."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from detector.alerts.model import Alert, Incident
from detector.backtest.labels import parse_time
from detector.correlate.chains import HOP_WINDOW_US

SAME, MOVED, GAINED, LOST, APART = "same", "moved", "gained", "lost", "apart"
FATES: Final = (GAINED, LOST, MOVED, SAME, APART)
"""``apart``: of a time that only one of the runs judged."""
_COMPARED: Final = ("ts", "score", "severity", "status", "techniques", "incident_id", "count")


class Pair(NamedTuple):
    """An alert, or an incident, of the first run and of the second, one of which may be missing."""

    fate: str
    before: Any
    after: Any
    ranks: tuple[int | None, int | None]
    changed: tuple[str, ...]


Places = tuple[Mapping[str, int], Mapping[str, int]]
Span = tuple[int, int] | None
"""What both runs judged, µs."""


def alerts(before: Sequence[Alert], after: Sequence[Alert], span: Span) -> list[Pair]:
    """Every alert of two runs that is open in one of them, the strongest first.

    One that somebody decided about is no alert to read: where it is open in one run only, it came or went.
    """
    twins = _by_id(before, after)
    taken = {one.alert_id for one in twins.values()}
    rest = [one for one in before if one.alert_id not in twins]
    twins |= _by_case(rest, [one for one in after if one.alert_id not in taken])
    taken = {one.alert_id for one in twins.values()}
    found: list[tuple[Alert | None, Alert | None]] = [(one, twins.get(one.alert_id)) for one in before]
    found += [(None, other) for other in after if other.alert_id not in taken]
    both = [
        (one, other) for one, other in found if one is not None and other is not None and _open(one) == _open(other)
    ]
    orders = _ranks(one for one, _ in both), _ranks(other for _, other in both)
    ranks = _ranks(before), _ranks(after)
    pairs = (_pair(one, other, ranks, orders, span) for one, other in found if _open(one) or _open(other))
    return sorted(pairs, key=_order)


def incidents(before: Sequence[Incident], after: Sequence[Incident], span: Span) -> list[Pair]:
    """Every incident of two runs: the same when they share hops, those that share most first."""
    at: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for right, other in enumerate(after):
        for hop in _hops(other):
            at[hop].append(right)
    shared = Counter((left, right) for left, one in enumerate(before) for hop in _hops(one) for right in at[hop])
    twins: dict[int, int] = {}
    taken: set[int] = set()
    for (left, right), _ in sorted(shared.items(), key=lambda found: (-found[1], found[0])):
        if left not in twins and right not in taken:
            twins[left] = right
            taken.add(right)
    found: list[tuple[Incident | None, Incident | None]] = [
        (one, after[twins[place]] if place in twins else None) for place, one in enumerate(before)
    ]
    found += [(None, other) for place, other in enumerate(after) if place not in taken]
    ranks = tuple({one.incident_id: place for place, one in enumerate(run, 1)} for run in (before, after))
    return [_incident_pair(one, other, (ranks[0], ranks[1]), span) for one, other in found]


def _incident_pair(
    one: Incident | None, other: Incident | None, ranks: tuple[dict[str, int], dict[str, int]], span: Span
) -> Pair:
    placed = (
        ranks[0].get(one.incident_id) if one else None,
        ranks[1].get(other.incident_id) if other else None,
    )
    if one is not None and other is not None:
        names = ("first_ts", "last_ts", "score", "severity", "hosts")
        changed = tuple(name for name in names if getattr(one, name) != getattr(other, name))
        return Pair(MOVED if changed else SAME, one, other, placed, changed)
    alone = one or other
    inside = alone is not None and _inside(parse_time(alone.first_ts), span)
    fate = (LOST if one else GAINED) if inside else APART
    return Pair(fate, one, other, placed, ())


def _hops(one: Incident) -> set[tuple[str, str, int]]:
    """Moves by their hour, and by the one before: two runs may date the begin of a hop differently."""
    hours = [(step.src, step.dst, parse_time(step.ts) // HOP_WINDOW_US) for step in one.path]
    return {(src, dst, hour - late) for src, dst, hour in hours for late in (0, 1)}


def _by_id(before: Iterable[Alert], after: Iterable[Alert]) -> dict[str, Alert]:
    known = {one.alert_id: one for one in after}
    return {one.alert_id: known[one.alert_id] for one in before if one.alert_id in known}


def _by_case(before: Sequence[Alert], after: Sequence[Alert]) -> dict[str, Alert]:
    """Alerts between the same hosts within an hour of each other, the nearest first."""
    by_hosts: dict[tuple[str, str, bool], list[tuple[int, Alert]]] = defaultdict(list)
    for other in after:
        by_hosts[_hosts(other)].append((parse_time(other.ts), other))
    near = []
    for one in before:
        at = parse_time(one.ts)
        for ts, other in by_hosts.get(_hosts(one), ()):
            if abs(ts - at) <= HOP_WINDOW_US:
                near.append((abs(ts - at), one.alert_id, other.alert_id, other))
    twins: dict[str, Alert] = {}
    taken: set[str] = set()
    for _, left, right, other in sorted(near, key=lambda found: found[:3]):
        if left not in twins and right not in taken:
            twins[left] = other
            taken.add(right)
    return twins


def _hosts(one: Alert) -> tuple[str, str, bool]:
    return one.src, one.dst, one.kind == "violation"


def _ranks(run: Iterable[Alert]) -> dict[str, int]:
    """Places among the open alerts, the strongest is first."""
    ordered = sorted(filter(_open, run), key=lambda one: (-one.score, one.ts, one.alert_id))
    return {one.alert_id: place for place, one in enumerate(ordered, 1)}


def _open(one: Alert | None) -> bool:
    return one is not None and one.status == "open"


def _pair(one: Alert | None, other: Alert | None, ranks: Places, orders: Places, span: Span) -> Pair:
    """``orders``: ranks among what both runs have; one alert more or less moves none of the others."""
    placed = _placed(one, other, ranks)
    changed: tuple[str, ...] = ()
    if one is not None and other is not None:
        changed = tuple(name for name in _COMPARED if getattr(one, name) != getattr(other, name))
        first, second = _placed(one, other, orders)
        changed = (*changed, "rank") if first != second else changed
    if _open(one) and _open(other):
        return Pair(MOVED if set(changed) - {"incident_id"} else SAME, one, other, placed, changed)
    alone = one if _open(one) else other
    inside = alone is not None and _inside(parse_time(alone.ts), span)
    return Pair((LOST if _open(one) else GAINED) if inside else APART, one, other, placed, changed)


def _placed(one: Alert | None, other: Alert | None, ranks: Places) -> tuple[int | None, int | None]:
    return ranks[0].get(one.alert_id) if one else None, ranks[1].get(other.alert_id) if other else None


def _inside(ts: int, span: Span) -> bool:
    """An act may have begun before the row of it was observed that is judged first."""
    return span is not None and span[0] - HOP_WINDOW_US <= ts <= span[1]


def _order(pair: Pair) -> tuple[float, str, str]:
    alone = pair.after or pair.before
    strongest = max(one.score for one in (pair.before, pair.after) if one is not None)
    return -strongest, alone.ts, alone.alert_id
