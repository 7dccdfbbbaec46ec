"""What was found, as a structure that all renderings share, and its page for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import detector
from detector.assets.agreements import Agreement
from detector.assets.plant import consequence
from detector.renderings import pages
from detector.vendors.judge import KINDS, Violation
from detector.vendors.visits import Deed, Stay, Visit

_DRAWN: Final = 500  # visits of one supplier in the picture
_SHOWN: Final = 1_000  # visits in the page; the tables have all
_DEEDS: Final = 200  # of one visit
_WIDTH: Final = 1_000.0  # of the picture, in its own units


@dataclass(frozen=True, slots=True)
class Found:
    """All that one run found.

    ``span``: of the logs, or what was asked for, µs UTC.
    """

    agreed: list[Agreement]
    visits: list[Visit]
    violations: list[Violation]
    span: tuple[int, int]
    zone: str


def utc(time: int) -> str:
    """ISO 8601 with a Z, to the second."""
    return datetime.fromtimestamp(time // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def local(time: int, zone: str) -> str:
    """What the clock on the wall of the plant showed, with its offset."""
    return datetime.fromtimestamp(time // 1_000_000, UTC).astimezone(ZoneInfo(zone)).isoformat(sep=" ")


def sessions(found: Found) -> list[dict[str, Any]]:
    """One entry a visit."""
    kinds: dict[int, list[str]] = {}
    for each in found.violations:
        if each.visit is not None and each.kind not in kinds.setdefault(each.visit, []):
            kinds[each.visit].append(each.kind)
    return [_session(visit, kinds.get(visit.number, []), found) for visit in found.visits]


def _session(visit: Visit, kinds: list[str], found: Found) -> dict[str, Any]:
    entry = visit.entry
    legs = [_leg(stay, sure) for stay, sure in visit.legs]
    return {
        "session": visit.number,
        "vendor": _label(visit.place, found.agreed),
        "start": utc(entry.start),
        "end": utc(visit.end),
        "end_known": entry.end is not None,
        "local_start": local(entry.start, found.zone),
        "local_end": local(visit.end, found.zone),
        "minutes": round((visit.end - entry.start) / 60_000_000, 1),
        "account": ", ".join(entry.accounts),
        "src": entry.orig,
        "dst": entry.resp,
        "service": entry.service,
        "reached": list(dict.fromkeys([leg["dst"] for leg in legs] + [deed.resp for deed in visit.deeds])),
        "onward": legs,
        "operations": [_deed(deed) for deed in visit.deeds[:_DEEDS]],
        "more_operations": max(len(visit.deeds) - _DEEDS, 0),
        "violations": kinds,
        "evidence": entry.uids[:32],
    }


def _leg(stay: Stay, sure: bool) -> dict[str, Any]:
    return {"start": utc(stay.start), "src": stay.orig, "dst": stay.resp, "service": stay.service,
            "account": ", ".join(stay.accounts), "certain": sure}  # fmt: skip


def _deed(deed: Deed) -> dict[str, Any]:
    kind = None if deed.operation is None else consequence(deed.service, deed.operation)
    return {"first": utc(deed.first), "last": utc(deed.last), "src": deed.orig, "dst": deed.resp,
            "service": deed.service, "operation": deed.operation, "class": kind, "count": deed.count,
            "certain": not deed.routine and not deed.habit}  # fmt: skip


def violations(found: Found) -> list[dict[str, Any]]:
    """One entry a violation."""
    return [
        {
            "kind": each.kind,
            "severity": each.severity,
            "words": KINDS[each.kind][0],
            "vendor": _label(each.place, found.agreed),
            "session": each.visit,
            "start": utc(each.start),
            "end": utc(each.end),
            "local_start": local(each.start, found.zone),
            "minutes_outside": each.minutes,
            "src": each.src,
            "dst": each.dst,
            "account": each.account,
            "what": each.what,
        }
        for each in found.violations
    ]


def register(found: Found) -> list[dict[str, Any]]:
    """One entry a supplier: what is declared of it, and how it was used."""
    told = []
    for place, each in enumerate(found.agreed):
        visits = [visit for visit in found.visits if visit.place == place]
        used = {account.lower() for visit in visits for account in visit.entry.accounts}
        told.append(
            {
                "vendor": each.vendor.label,
                **each.vendor.model_dump(mode="json", by_alias=True, exclude={"name"}),
                "sessions": len(visits),
                "violations": sum(violation.place == place for violation in found.violations),
                "last_seen": utc(max(visit.end for visit in visits)) if visits else None,
                "accounts_not_seen": [login for login in each.vendor.logins if not any(login in one for one in used)],
            }
        )
    return told


def _label(place: int | None, agreed: Sequence[Agreement]) -> str:
    return "not in the register" if place is None else agreed[place].vendor.label


def page(found: Found, inputs: Sequence[dict[str, Any]], rows: dict[str, int]) -> str:
    """The report as one HTML page: no scripts, nothing fetched, all values escaped."""
    environment = pages.environment("detector.vendors")
    told = sessions(found)
    return environment.get_template("report.html.j2").render(
        version=detector.__version__,
        zone=found.zone,
        first=local(found.span[0], found.zone),
        last=local(found.span[1], found.zone),
        register=register(found),
        sessions=told[:_SHOWN],
        sessions_total=len(told),
        violations=violations(found)[:_SHOWN],
        violations_total=len(found.violations),
        lanes=_lanes(found),
        ticks=_ticks(found),
        inputs=inputs,
        rows=rows,
    )


def _lanes(found: Found) -> list[dict[str, Any]]:
    """Of each supplier, as positions from 0 to `_WIDTH`: windows, and visits with whether anything was wrong."""
    wrong = {each.visit for each in found.violations}
    places: list[int | None] = [*range(len(found.agreed))]
    if any(visit.place is None for visit in found.visits):
        places.append(None)
    lanes = []
    for place in places:
        agreed = None if place is None else found.agreed[place]
        begin, end = found.span if agreed is None else (
            max(found.span[0], agreed.valid[0]), min(found.span[1], agreed.valid[1])
        )  # fmt: skip
        spans: list[list[int]] = []
        if agreed is not None and begin < end:
            spans = [[begin, end]] if agreed.windows is None else agreed.windows.spans(begin, end).tolist()
        bars = [
            {**_bar(visit.entry.start, visit.end, found), "wrong": visit.number in wrong, "number": visit.number}
            for visit in found.visits
            if visit.place == place
        ]
        lanes.append(
            {
                "name": _label(place, found.agreed),
                "windows": [_bar(start, stop, found) for start, stop in spans[:_DRAWN]],
                "visits": bars[:_DRAWN],
            }
        )
    return lanes


def _bar(start: int, end: int, found: Found) -> dict[str, Any]:
    begin, length = found.span[0], max(found.span[1] - found.span[0], 1)
    left = min(max((start - begin) / length, 0.0), 1.0) * _WIDTH
    right = min(max((end - begin) / length, 0.0), 1.0) * _WIDTH
    return {"x": f"{left:.2f}", "width": f"{max(right - left, 0.0):.2f}", "drawn": f"{max(right - left, 2.0):.2f}"}


def _ticks(found: Found) -> list[dict[str, str]]:
    """Eight times at even distances."""
    begin, end = found.span
    times = [begin + (end - begin) * part // 8 for part in range(8)]
    return [{"x": _bar(time, time, found)["x"], "text": local(time, found.zone)[5:16]} for time in times]
