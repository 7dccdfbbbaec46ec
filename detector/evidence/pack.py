"""Reports of an incident as NIS2 (Directive (EU) 2022/2555, Art. 23(4)) asks for them, prefilled from a result.

What was measured is filled in; what only people know is marked and asked for. Three documents: the early warning (24
hours after the operator became aware), the notification (72 hours after) and the final report (one month after the
notification). The reading is ours and no legal advice.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from dateutil.relativedelta import relativedelta

_LISTED: Final = 200  # rows of a table; incidents.ndjson has all
_EARLY: Final = timedelta(hours=24)
_NOTIFICATION: Final = timedelta(hours=72)
ASK: Final = "TO BE FILLED IN"


@dataclass(frozen=True, slots=True)
class Field:
    """A line of a document: what was measured, or, with ``value`` None, a question to people."""

    name: str
    value: str | None
    ask: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a document: lines, or a table with columns."""

    title: str
    fields: tuple[Field, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """One report; ``due`` in ISO 8601."""

    name: str
    title: str
    basis: str
    due: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class Times:
    """When the operator became aware, and when the notification was sent (None: not yet)."""

    aware: datetime
    notified: datetime | None = None

    def due(self) -> dict[str, str]:
        """Deadlines by document, at the latest; that of the final report is a month after the notification."""
        notification = self.aware + _NOTIFICATION
        final = (self.notified or notification) + relativedelta(months=1)
        due = {"early-warning": self.aware + _EARLY, "notification": notification, "final-report": final}
        return {name: time.isoformat() for name, time in due.items()}


def documents(
    incident: dict[str, Any], alerts: Sequence[dict[str, Any]], entities: Sequence[dict[str, Any]], times: Times
) -> list[Document]:
    """The three reports.

    Args:
        incident, alerts, entities: objects of a result's files, as docs/backtest.md describes them.
    """
    due, head = times.due(), _head(incident, times)
    hosts, ways = _hosts(incident, alerts, entities), _timeline(incident)
    malicious = Field("Suspected unlawful or malicious act", None, f"yes or no; measured: {_measured(incident)}")
    border = Field("Cross-border impact", None, "could other Member States be affected, and which")
    severity = Section(
        "Severity and impact",
        (
            Field("Severity as measured", incident["severity"]),
            Field("How rare by chance", f"once in {1 / max(incident['p_value'], 1e-300):,.0f} days"),
            Field("Hosts and zones", f"{len(incident['hosts'])} hosts, {', '.join(_zones(incident))}"),
            Field("Disruption of services", None, "which services, how long, how many users"),
            Field("Financial loss, damage to others", None, "amount, persons affected, harm"),
        ),
    )
    iocs = Section("Indicators of compromise", columns=("Kind", "Value"), rows=tuple(_indicators(incident, alerts)))
    cause = Section(
        "Threat and root cause",
        (
            Field("Techniques (MITRE ATT&CK)", ", ".join(incident["techniques"]) or "none known"),
            Field("First seen at", incident["hosts"][0] if incident["hosts"] else "unknown"),
            Field("Root cause", None, "what let it happen, how they came in"),
        ),
    )
    measures = Section(
        "Measures",
        (
            *(Field("Proposed by the engine", step) for step in incident["next_steps"]),
            Field("Measures applied and ongoing", None, "what was done, when, by whom, with what effect"),
        ),
    )
    return [
        Document(
            "early-warning",
            "Early warning",
            "Art. 23(4)(a): within 24 hours of becoming aware",
            due["early-warning"],
            (head, Section("Assessment", (malicious, border)), hosts),
        ),
        Document(
            "notification",
            "Incident notification",
            "Art. 23(4)(b): within 72 hours of becoming aware",
            due["notification"],
            (head, Section("Assessment", (malicious, border)), severity, iocs, hosts, ways),
        ),
        Document(
            "final-report",
            "Final report",
            "Art. 23(4)(d): within one month of the notification",
            due["final-report"],
            (head, severity, cause, measures, Section("Borders", (border,)), iocs, hosts, ways),
        ),
    ]


def _head(incident: dict[str, Any], times: Times) -> Section:
    return Section(
        "Incident",
        (
            Field("Incident", incident["incident_id"]),
            Field("What happened", incident["summary"]),
            Field("First seen", incident["first_ts"]),
            Field("Last seen", incident["last_ts"]),
            Field("Aware since", times.aware.isoformat()),
            Field("Notified", None if times.notified is None else times.notified.isoformat(), "when, to whom"),
            Field("Entity", None, "name, sector, registration number"),
            Field("Contact", None, "name, telephone, e-mail, at any hour"),
        ),
    )


def _measured(incident: dict[str, Any]) -> str:
    techniques = ", ".join(incident["techniques"])
    return f"a chain of {len(incident['path'])} unlikely moves" + (f" with {techniques}" if techniques else "")


def _zones(incident: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(hop[end] for hop in incident["path"] for end in ("src_zone", "dst_zone")))


def _hosts(incident: dict[str, Any], alerts: Iterable[dict[str, Any]], entities: Iterable[dict[str, Any]]) -> Section:
    zones = {hop[end]: hop[f"{end}_zone"] for hop in incident["path"] for end in ("src", "dst")}
    assets = {alert[end]: alert[f"{end}_asset"] for alert in alerts for end in ("src", "dst")}
    known = {entity["host"]: entity for entity in entities}
    rows = []
    for host in incident["hosts"][:_LISTED]:
        asset = assets.get(host) or {}
        named = [str(asset[key]) for key in ("name", "role", "owner") if asset.get(key)]
        why = known.get(host, {}).get("why") or ""
        rows.append((host, zones.get(host, ""), "; ".join(named), asset.get("importance") or "", str(why)))
    return Section("Affected assets", columns=("Host", "Zone", "Asset", "Importance", "Why"), rows=tuple(rows))


def _timeline(incident: dict[str, Any]) -> Section:
    rows = tuple(
        (
            hop["ts"],
            f"{hop['src']} to {hop['dst']}",
            ", ".join(hop["services"]),
            ", ".join(hop["operations"]),
            ", ".join(hop["users"]),
            "; ".join(hop["reasons"][:2]),
        )
        for hop in incident["path"][:_LISTED]
    )
    return Section("Timeline", columns=("Time", "Way", "Services", "Operations", "Accounts", "Why strange"), rows=rows)


def _indicators(incident: dict[str, Any], alerts: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """Addresses, accounts, operations and techniques, each once; then what the logs call the connections."""
    path, told = incident["path"], [*alerts]
    found = [("address", host) for host in incident["hosts"]]
    found += [("account", user) for hop in path for user in hop["users"]]
    found += [("operation", operation) for hop in path for operation in hop["operations"]]
    found += [("technique", technique) for technique in incident["techniques"]]
    found += [("community id", alert["community_id"]) for alert in told if alert.get("community_id")]
    found += [("log record", pointer) for hop in path for pointer in hop["evidence"]]
    return list(dict.fromkeys(found))[:_LISTED]
