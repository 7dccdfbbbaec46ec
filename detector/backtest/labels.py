"""Known attacks beside what was found: which campaigns, how many hops, how soon, how many false alarms."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from detector.alerts.model import Alert, Incident
from detector.errors import ConfigError
from detector.formats.address import canonical

COLUMNS: Final = ("campaign", "start", "end", "src", "dst", "technique")
_SECONDS_END: Final = 253_402_300_800  # the year 10000; what is more was written in milliseconds
SLACK_US: Final = 60_000_000  # labels are kept by people and scripts, to the second or minute

Place = tuple[int, str, str]
"""Time (µs) and two hosts of what was found."""


@dataclass(frozen=True, slots=True)
class Label:
    """One labelled hop; None = any. Times in µs."""

    campaign: str
    start: int | None
    end: int | None
    src: str | None
    dst: str | None
    technique: str | None

    def covers(self, ts: int, src: str, dst: str) -> bool:
        """Whether something between two hosts at a time is this hop."""
        return (
            (self.src is None or self.src == src)
            and (self.dst is None or self.dst == dst)
            and (self.start is None or ts >= self.start - SLACK_US)
            and (self.end is None or ts <= self.end + SLACK_US)
        )


def load_labels(path: Path) -> list[Label]:
    """Read a labels file: CSV with the columns `COLUMNS`; times ISO 8601 (UTC when no offset) or epoch seconds.

    Raises:
        ConfigError: unreadable, a column is missing, or a value is none; names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise ConfigError(str(path), "header", f"needs the columns {','.join(COLUMNS)}; missing {missing[0]}")
            return [_label(path, reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise ConfigError(str(path), "", f"cannot be read as CSV: {problem}") from problem


def _label(path: Path, number: int, row: dict[str, Any]) -> Label:
    def time(name: str) -> int | None:
        text = (row[name] or "").strip()
        try:
            return parse_time(text) if text else None
        except ValueError as problem:
            raise ConfigError(str(path), f"line {number}", f"{name}: {problem}") from problem

    def host(name: str) -> str | None:
        text = (row[name] or "").strip()
        address = canonical(text) if text else None
        if text and address is None:
            raise ConfigError(str(path), f"line {number}", f"{name}: {text!r} is not an address")
        return address

    campaign = (row["campaign"] or "").strip() or "unnamed"
    technique = (row["technique"] or "").strip() or None
    start, end = time("start"), time("end")
    if start is not None and end is not None and end < start:
        raise ConfigError(str(path), f"line {number}", "end: is before the start")
    return Label(campaign, start, end, host("src"), host("dst"), technique)


def parse_time(text: str) -> int:
    """A time people typed: ISO 8601 (UTC when no offset) or epoch seconds, as µs.

    Raises:
        ValueError: neither.
    """
    try:
        seconds = float(text)
    except ValueError:
        return _iso_time(text)
    if not 0 <= seconds < _SECONDS_END:
        raise ValueError(f"{text!r} is not a time in epoch seconds; use e.g. 2026-03-02T07:00:00Z")
    return round(seconds * 1e6)


def _iso_time(text: str) -> int:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time; use e.g. 2026-03-02T07:00:00Z") from None
    parsed = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return round(parsed.timestamp() * 1e6)


def measure(labels: list[Label], alerts: list[Alert], incidents: list[Incident], days: float) -> dict[str, Any]:
    """What the labels say of the result; see `summary.json` in the docs for the keys."""
    seen, found = places(alerts, ()), places(alerts, incidents)
    campaigns = [
        _campaign(name, [label for label in labels if label.campaign == name], found)
        for name in dict.fromkeys(label.campaign for label in labels)
    ]
    true_alerts = sum(any(label.covers(*place) for label in labels) for place in seen)
    true_incidents = sum(
        any(label.covers(parse_time(step.ts), step.src, step.dst) for step in incident.path for label in labels)
        for incident in incidents
    )
    return {
        "campaigns": campaigns,
        "campaigns_found": sum(campaign["found"] for campaign in campaigns),
        "campaigns_total": len(campaigns),
        "hops_found": sum(campaign["hops_found"] for campaign in campaigns),
        "hops_total": len(labels),
        "true_alerts": true_alerts,
        "false_alerts": len(alerts) - true_alerts,
        "false_alerts_per_day": round((len(alerts) - true_alerts) / max(days, 1 / 24), 2),
        "true_incidents": true_incidents,
        "false_incidents": len(incidents) - true_incidents,
    }


def places(alerts: Iterable[Alert], incidents: Iterable[Incident]) -> list[Place]:
    """Where alerts and hops of incidents are."""
    found = [(parse_time(alert.ts), alert.src, alert.dst) for alert in alerts]
    return found + [(parse_time(step.ts), step.src, step.dst) for incident in incidents for step in incident.path]


def first_at(hop: Label, found: Iterable[Place]) -> int | None:
    """When a hop was found first, µs; None = never."""
    return min((place[0] for place in found if hop.covers(*place)), default=None)


def _campaign(name: str, hops: list[Label], found: list[Place]) -> dict[str, Any]:
    times = [first_at(hop, found) for hop in hops]
    first = min((time for time in times if time is not None), default=None)
    begin = min((hop.start for hop in hops if hop.start is not None), default=None)
    return {
        "campaign": name,
        "found": first is not None,
        "first_alert": None if first is None else datetime.fromtimestamp(first / 1e6, UTC).isoformat(),
        "hops": len(hops),
        "hops_found": sum(time is not None for time in times),
        "hops_before_first_alert": None
        if first is None
        else sum(hop.end is not None and hop.end + SLACK_US < first for hop in hops),
        "minutes_to_detect": None if first is None or begin is None else round(max(first - begin, 0) / 60e6, 1),
    }
