"""From the hops of a significant chain to the incident people read."""

import math
from dataclasses import replace
from typing import Final

from detector.alerts.attack import TECHNIQUES, named, tactics
from detector.alerts.model import SCORE_DIGITS, SEVERITIES, Alert, Incident, Step, iso, rounded_p
from detector.alerts.runbook import RUNBOOK
from detector.correlate.chains import HOUR_US, Chains, Hop

_SHOWN: Final = 8  # moves and zones in a summary
CHANCE_A_DAY: Final = (0.05, 0.001)
"""One chance chain in three weeks is high, one in three years critical."""


def incidents(chains: Chains) -> list[Incident]:
    """All incidents as they stand, strongest first."""
    return sorted((incident(chains, name) for name in chains.incidents), key=_strength)


def _strength(incident: Incident) -> tuple[float, str, str]:
    return -incident.score, incident.first_ts, incident.incident_id


def incident(chains: Chains, name: int) -> Incident:
    """One incident as it stands."""
    return _incident(chains.ids[name], [chains.hops[number] for number in chains.incidents[name]])


def chained(alert: Alert, incident_id: str | None) -> Alert:
    """The alert with its place in an incident."""
    if incident_id is None:
        return alert
    return replace(alert, incident_id=incident_id, severity=_raised(alert.severity))


def _raised(level: str) -> str:
    """One level more: what is part of a chain matters more than the same alone."""
    return SEVERITIES[min(SEVERITIES.index(level) + 1, len(SEVERITIES) - 1)]


def _by_chance(p: float) -> str:
    """Of a chain, from how often a day chance makes one as strong."""
    return SEVERITIES[1 + sum(p <= level for level in CHANCE_A_DAY)]


def _incident(name: str, hops: list[Hop]) -> Incident:
    hops = sorted(hops, key=lambda hop: (hop.ts, hop.number))
    steps = tuple(_step(hop) for hop in hops)
    p = -math.expm1(-min(hop.chance for hop in hops))  # P(at least one such chain a day by chance)
    techniques = tuple(dict.fromkeys(technique for step in steps for technique in step.techniques))
    worst = max((alert.severity for hop in hops for alert in hop.findings), key=SEVERITIES.index)
    return Incident(
        incident_id=name,
        first_ts=steps[0].ts,
        last_ts=steps[-1].ts,
        score=round(-math.log10(p), SCORE_DIGITS),
        p_value=rounded_p(p),
        severity=max(_raised(worst), _by_chance(p), key=SEVERITIES.index),
        hosts=tuple(dict.fromkeys(host for hop in hops for host in (hop.src, hop.dst))),
        path=steps,
        techniques=techniques,
        summary=_summary(steps, techniques),
        title=_title(hops),
        tactics=tactics(techniques),
        next_steps=RUNBOOK["incident"],
    )


def _title(hops: list[Hop]) -> str:
    """One line: how many moves, from where to where, in what time."""
    hours = (hops[-1].ts - hops[0].ts) / HOUR_US
    took = f"{hours / 24:.0f} days" if hours > 2 * 24 else f"{hours:.1f} hours"
    return f"{len(hops)} unlikely moves from {hops[0].src} to {hops[-1].dst} in {took}"


def _step(hop: Hop) -> Step:
    findings = sorted(hop.findings, key=lambda alert: (alert.p_value, alert.ts, alert.alert_id))
    strongest = findings[0]
    return Step(
        ts=iso(hop.ts),
        src=hop.src,
        dst=hop.dst,
        service=strongest.service,
        services=tuple(dict.fromkeys(alert.service for alert in findings)),
        operations=tuple(dict.fromkeys(alert.operation for alert in findings if alert.operation)),
        techniques=tuple(dict.fromkeys(technique for alert in findings for technique in alert.techniques)),
        p_value=strongest.p_value,
        src_zone=strongest.src_zone,
        dst_zone=strongest.dst_zone,
        users=tuple(dict.fromkeys(alert.user for alert in findings if alert.user)),
        reasons=strongest.reasons,
        alert_ids=tuple(alert.alert_id for alert in findings),
        evidence=tuple(dict.fromkeys(pointer for alert in findings for pointer in alert.evidence)),
    )


def _summary(steps: tuple[Step, ...], techniques: tuple[str, ...]) -> str:
    zones = list(dict.fromkeys(zone for step in steps for zone in (step.src_zone, step.dst_zone)))
    moves = "; ".join(f"{step.src} -> {step.dst} ({step.service})" for step in steps[:_SHOWN])
    more = f" and {len(steps) - _SHOWN} more" if len(steps) > _SHOWN else ""
    others = ", ..." if len(zones) > _SHOWN else ""
    named_techniques = ", ".join(named(technique) for technique in techniques if technique in TECHNIQUES)
    return (
        f"{len(steps)} unlikely moves in time order through {len(zones)} zone{'s' if len(zones) > 1 else ''} "
        f"({', '.join(zones[:_SHOWN])}{others}): {moves}{more}."
        + (f" ATT&CK: {named_techniques}." if named_techniques else "")
    )
