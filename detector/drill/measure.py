"""What a drill says: which hops were seen, how soon, and what else changed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from detector.alerts.attack import TECHNIQUES
from detector.alerts.model import Alert, Incident, iso
from detector.backtest.labels import SLACK_US, parse_time
from detector.backtest.run import Result
from detector.drill.cast import PACES, Campaign, Hop
from detector.drill.records import Written
from detector.drill.techniques import PLAYABLE
from detector.intervals import wilson

_MINUTE: Final = 60e6
_LISTED: Final = 50  # alerts that are different without the drill

Place = tuple[int, str, str]
"""Time (µs) and two hosts of an alert, or of a step of an incident."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one hop: when it was (µs), and when it was told; None = not."""

    hop: Hop
    start: int
    end: int
    told: int | None
    written: bool


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that so large a share is not above; None of nothing.

    >>> quantile([1, 2, 3, 4], 0.5), quantile([5], 0.9), quantile([], 0.5)
    (2, 5, None)
    """
    ranked = sorted(values)
    return ranked[max(-(-len(ranked) * round(share * 100) // 100), 1) - 1] if ranked else None


def places(alerts: Sequence[Alert], incidents: Sequence[Incident]) -> list[Place]:
    """Where alerts that nobody decided about and steps of incidents are."""
    found = [(parse_time(alert.ts), alert.src, alert.dst) for alert in alerts if alert.status == "open"]
    return found + [(parse_time(step.ts), step.src, step.dst) for one in incidents for step in one.path]


def judged(
    campaigns: Sequence[Campaign], written: Written, drill: Result, control: Result
) -> list[tuple[Campaign, list[Seen]]]:
    """Which hops were told. What the history without the drill tells as well is no credit to it."""
    before = Counter(places(control.alerts, control.incidents))
    found = [place for place in places(drill.alerts, drill.incidents) if not before[place]]
    by_host: dict[str, list[Place]] = {}
    for place in sorted(found):
        by_host.setdefault(place[1], []).append(place)
    position, told = 0, []
    for campaign in campaigns:
        hops = []
        for hop in campaign.hops:
            start, end = written.spans.get(position, (hop.at, hop.at))
            seen = _first(hop, start, end, by_host.get(hop.orig, ()))
            hops.append(Seen(hop, start, end, seen, position in written.spans))
            position += 1
        told.append((campaign, hops))
    return told


def _first(hop: Hop, start: int, end: int, found: Sequence[Place]) -> int | None:
    anywhere = hop.technique == "T1046"
    for ts, _, dst in found:
        if start - SLACK_US <= ts <= end + SLACK_US and (anywhere or dst == hop.resp):
            return ts
    return None


def report(
    told: Sequence[tuple[Campaign, list[Seen]]], missing: Mapping[str, str], drill: Result, control: Result
) -> dict[str, Any]:
    """The numbers of ``drill.json`` that follow from hops and results."""
    campaigns = [_campaign(campaign, hops) for campaign, hops in told]
    return {
        "coverage": coverage(told, missing),
        "campaigns": campaigns,
        "found": _found(campaigns),
        "by_pace": [_pace(pace, [one for one in campaigns if one["pace"] == pace]) for pace in PACES
                    if any(one["pace"] == pace for one in campaigns)],
        "control": changed(told, drill, control),
    }  # fmt: skip


def coverage(told: Sequence[tuple[Campaign, list[Seen]]], missing: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row a technique, in the order of `PLAYABLE`."""
    hops = [seen for _, all_of in told for seen in all_of]
    rows = []
    for name, technique in PLAYABLE.items():
        mine = [seen for seen in hops if seen.hop.technique == name]
        if not mine and name not in missing:
            continue
        hits = sum(seen.told is not None for seen in mine)
        waits = [max(seen.told - seen.start, 0) / _MINUTE for seen in mine if seen.told is not None]
        low, high = wilson(hits, len(mine))
        rows.append(
            {
                "technique": name,
                "name": technique.name,
                "matrix": TECHNIQUES[name].matrix if name in TECHNIQUES else "enterprise",
                "status": "played" if mine else missing[name].partition(":")[0],
                "reason": None if mine else missing[name],
                "injected": len(mine),
                "detected": hits,
                "coverage": round(hits / len(mine), 4) if mine else None,
                "low": low if mine else None,
                "high": high if mine else None,
                "minutes_median": _rounded(quantile(waits, 0.5)),
                "minutes_p90": _rounded(quantile(waits, 0.9)),
                "new_pairs": sum(not seen.hop.known for seen in mine),
            }
        )
    return rows


def _campaign(campaign: Campaign, hops: Sequence[Seen]) -> dict[str, Any]:
    first = min((seen.told for seen in hops if seen.told is not None), default=None)
    begin, end = hops[0].start, max(seen.end for seen in hops)
    return {
        "campaign": campaign.name,
        "aim": campaign.aim,
        "pace": campaign.pace,
        "hurried": campaign.hurried,
        "begin": iso(begin),
        "end": iso(end),
        "found": first is not None,
        "first_alert": None if first is None else iso(first),
        "minutes_to_detect": None if first is None else _rounded(max(first - begin, 0) / _MINUTE),
        "hops_before_detection": None if first is None else sum(seen.end + SLACK_US < first for seen in hops),
        "dwell_minutes": _rounded(((end if first is None else max(first, begin)) - begin) / _MINUTE),
        "hops": [_hop(seen, seen.told is not None and seen.told == first) for seen in hops],
    }


def _hop(seen: Seen, first: bool) -> dict[str, Any]:
    hop = seen.hop
    return {
        "ts": iso(seen.start),
        "src": hop.orig,
        "dst": hop.resp,
        "technique": hop.technique,
        "account": hop.account,
        "new_pair": not hop.known,
        "recorded": seen.written,
        "detected": seen.told is not None,
        "first_seen_here": first,
    }


def _found(campaigns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    hits = sum(one["found"] for one in campaigns)
    low, high = wilson(hits, len(campaigns))
    times = [one["minutes_to_detect"] for one in campaigns if one["found"]]
    hops = [one["hops_before_detection"] for one in campaigns if one["found"]]
    return {
        "campaigns": len(campaigns),
        "found": hits,
        "low": low,
        "high": high,
        "minutes_to_detect_median": quantile(times, 0.5),
        "minutes_to_detect_p90": quantile(times, 0.9),
        "hops_before_detection_median": quantile(hops, 0.5),
        "hops_before_detection_p90": quantile(hops, 0.9),
    }


def _pace(pace: str, campaigns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Dwell is the time from the first hop until it was told, or to the end of a campaign that never was."""
    dwell = [one["dwell_minutes"] for one in campaigns]
    return {
        "pace": pace,
        **_found(campaigns),
        "hurried": sum(one["hurried"] for one in campaigns),
        "dwell_minutes_median": quantile(dwell, 0.5),
        "dwell_minutes_p90": quantile(dwell, 0.9),
    }


def changed(told: Sequence[tuple[Campaign, list[Seen]]], drill: Result, control: Result) -> dict[str, Any]:
    """The same history without the drill beside it: alerts a day, which of them went, and which came that are of no
    hop."""
    mine = [seen for _, hops in told for seen in hops]
    before, after = _open(control.alerts), _open(drill.alerts)
    gone = [alert for key, alert in before.items() if key not in after]
    new = [alert for key, alert in after.items() if key not in before and not _of_a_hop(alert, mine)]
    days = max(control.summary["time"]["judged_days"], 1.0)  # as the backtest has it
    return {
        "judged_days": control.summary["time"]["judged_days"],
        "alerts": len(before),
        "alerts_per_day": round(len(before) / days, 2),
        "incidents": len(control.incidents),
        "alerts_with_drill": len(after),
        "incidents_with_drill": len(drill.incidents),
        "gone": len(gone),
        "new_elsewhere": len(new),
        "examples_gone": [_brief(alert) for alert in gone[:_LISTED]],
        "examples_new": [_brief(alert) for alert in new[:_LISTED]],
    }


def _open(alerts: Sequence[Alert]) -> dict[str, Alert]:
    return {alert.alert_id: alert for alert in alerts if alert.status == "open"}


def _of_a_hop(alert: Alert, hops: Sequence[Seen]) -> bool:
    ts = parse_time(alert.ts)
    return any(
        seen.start - SLACK_US <= ts <= seen.end + SLACK_US
        and alert.src == seen.hop.orig
        and (alert.dst == seen.hop.resp or seen.hop.technique == "T1046")
        for seen in hops
    )


def _brief(alert: Alert) -> dict[str, Any]:
    return {"ts": alert.ts, "src": alert.src, "dst": alert.dst, "service": alert.service, "operation": alert.operation}


def _rounded(minutes: float | None) -> float | None:
    return None if minutes is None else round(minutes, 1)
