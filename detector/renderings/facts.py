"""What every rendering needs of an alert or an incident, in one shape."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import detector
from detector.alerts.attack import TACTICS, TECHNIQUES, Technique
from detector.alerts.model import Alert, Asset, Decision, Incident, Told, Verdict
from detector.renderings.levels import Level, level_of

PRODUCT: Final = "eastwest"  # vendor and product
VERSION: Final = detector.__version__
_RULES: Final = {
    "connection": "Unusual connection",
    "attempt": "Unusual attempt to connect",
    "violation": "Violation of zones and conduits",
    "operation": "Unusual operation",
    "incident": "Chain of unusual moves",
}


@dataclass(frozen=True, slots=True)
class End:
    """A host at one end."""

    address: str
    port: int | None
    zone: str
    asset: Asset

    @property
    def ip(self) -> str | None:
        """The address, if it is one of IP."""
        return self.address if _version(self.address) else None

    @property
    def version(self) -> int | None:
        """4 or 6; None of what is no IP address."""
        return _version(self.address)


@dataclass(frozen=True, slots=True)
class Facts:
    """An alert, an incident, or an incident that is no more: then only what stands before ``src`` means something."""

    id: str
    revision: int
    noun: str  # alert, incident
    kind: str  # connection, attempt, operation, incident
    state: str  # open; suppressed, learned; merged, withdrawn
    incident_id: str | None  # itself; that of an alert; what it was merged into
    start: str  # ISO 8601 UTC
    end: str
    title: str
    summary: str
    severity: str = "low"
    src: End | None = None  # of an incident: where it began
    dst: End | None = None  # of an incident: where it ended
    score: float | None = None
    p_value: float | None = None
    count: int | None = None
    service: str | None = None
    operation: str | None = None
    transport: str | None = None
    community_id: str | None = None
    counterfactual: str = ""
    hosts: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    techniques: tuple[Technique, ...] = ()
    tactics: tuple[str, ...] = ()  # ids
    reasons: tuple[str, ...] = ()
    bits: dict[str, float] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()
    related: tuple[str, ...] = ()  # ids of alerts
    next_steps: tuple[str, ...] = ()
    decision: Decision | None = None
    trust: Verdict | None = None  # of an alert whose ends could be asked about
    model: str | None = None  # that the engine began with

    @property
    def level(self) -> Level:
        """How loud it is told."""
        return level_of(self.severity, self.state)

    @property
    def rule(self) -> str:
        """A name that all of its kind share."""
        return _RULES[self.kind]

    @property
    def open(self) -> bool:
        """Whether it asks somebody to act."""
        return self.state == "open"

    @property
    def addresses(self) -> tuple[str, ...]:
        """Those hosts that are IP addresses."""
        return tuple(host for host in self.hosts if _version(host))

    @property
    def names(self) -> tuple[str, ...]:
        """Those hosts that are none, and declared names."""
        declared = [end.asset.name for end in (self.src, self.dst) if end is not None and end.asset.name]
        return _unique([*declared, *(host for host in self.hosts if not _version(host))])


def facts_of(told: Told) -> Facts:
    """The facts of what is told."""
    if told.record is None:
        return _gone(told)
    return _of_alert(told.record, told) if isinstance(told.record, Alert) else _of_incident(told.record, told)


def millis(time: str) -> int:
    """Milliseconds since the epoch, from ISO 8601; what is below one is left out."""
    return int(datetime.fromisoformat(time).timestamp() * 1_000_000 + 0.5) // 1000


def tactic_name(tactic: str) -> str:
    """Its name; the bare id when it is not in the table."""
    return TACTICS.get(tactic, tactic)


def technique_name(technique: str) -> str:
    """The same of a technique."""
    known = TECHNIQUES.get(technique)
    return technique if known is None else known.name


def _gone(told: Told) -> Facts:
    state = "withdrawn" if told.merged_into is None else "merged"
    became = "is no more" if told.merged_into is None else f"became part of {told.merged_into}"
    time = told.ts or ""
    title = f"Incident {told.id} {became}"
    return Facts(
        id=told.id,
        revision=told.revision,
        noun="incident",
        kind="incident",
        state=state,
        incident_id=told.merged_into,
        start=time,
        end=time,
        title=title,
        summary=f"{title}.",
    )


def _of_alert(alert: Alert, told: Told) -> Facts:
    src = End(alert.src, alert.src_port, alert.src_zone, alert.src_asset)
    dst = End(alert.dst, alert.dst_port, alert.dst_zone, alert.dst_asset)
    return Facts(
        id=told.id,
        revision=told.revision,
        noun="alert",
        kind=alert.kind,
        state=alert.status,
        incident_id=alert.incident_id,
        start=alert.ts,
        end=alert.last_ts or alert.ts,
        title=alert.title or f"{_RULES[alert.kind]}: {alert.src} to {alert.dst}, {alert.service}",
        summary=alert.summary or "; ".join(alert.reasons),
        severity=alert.severity,
        src=src,
        dst=dst,
        score=alert.score,
        p_value=alert.p_value,
        count=alert.count,
        service=alert.service,
        operation=alert.operation,
        transport=alert.transport,
        community_id=alert.community_id,
        counterfactual=alert.counterfactual,
        hosts=_unique([alert.src, alert.dst]),
        users=() if alert.user is None else (alert.user,),
        techniques=_known(alert.techniques),
        tactics=alert.tactics or _tactics(alert.techniques),
        reasons=alert.reasons,
        bits=alert.bits,
        evidence=alert.evidence,
        related=alert.related,
        next_steps=alert.next_steps,
        decision=alert.decision,
        trust=None if alert.trust.verdict is None else alert.trust,
        model=alert.model,
    )


def _of_incident(incident: Incident, told: Told) -> Facts:
    path = incident.path
    alerts = _unique(alert for step in path for alert in step.alert_ids)
    return Facts(
        id=told.id,
        revision=told.revision,
        noun="incident",
        kind="incident",
        state="open",
        incident_id=told.id,
        start=incident.first_ts,
        end=incident.last_ts,
        title=incident.title or f"{_RULES['incident']} over {len(incident.hosts)} hosts",
        summary=incident.summary,
        severity=incident.severity,
        src=End(path[0].src, None, path[0].src_zone, Asset()) if path else None,
        dst=End(path[-1].dst, None, path[-1].dst_zone, Asset()) if path else None,
        score=incident.score,
        p_value=incident.p_value,
        count=len(alerts),
        service=path[-1].service if path else None,
        hosts=incident.hosts,
        users=_unique(user for step in path for user in step.users),
        techniques=_known(incident.techniques),
        tactics=incident.tactics or _tactics(incident.techniques),
        reasons=_unique(reason for step in path for reason in step.reasons),
        evidence=_unique(record for step in path for record in step.evidence),
        related=alerts,
        next_steps=incident.next_steps,
    )


def _known(techniques: Iterable[str]) -> tuple[Technique, ...]:
    return tuple(TECHNIQUES.get(technique, Technique(technique, technique, "")) for technique in techniques)


def _tactics(techniques: Iterable[str]) -> tuple[str, ...]:
    return _unique(technique.tactic for technique in _known(techniques) if technique.tactic)


def _version(address: str) -> int | None:
    try:
        return ipaddress.ip_address(address).version
    except ValueError:
        return None


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
