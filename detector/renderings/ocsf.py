"""OCSF 1.5.0, class Detection Finding (2004).

Source: schema.ocsf.io/1.5.0. An incident is a Detection Finding as well, with its alerts as ``related_events``: the
class Incident Finding (2005) wants an assignee, whom only the SIEM can know. ``finding_info.uid`` stays the same in all
revisions, ``metadata.sequence`` is the revision; what has no attribute is in ``unmapped``.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from detector.alerts.attack import VERSION as ATTACK_VERSION
from detector.alerts.attack import Technique
from detector.alerts.model import Told
from detector.renderings.facts import PRODUCT, VERSION, End, Facts, facts_of, millis, tactic_name
from detector.renderings.json_line import json_line

OCSF_VERSION: Final = "1.5.0"
_CLASS: Final = 2004
_ACTIVITIES: Final = {1: "Create", 2: "Update", 3: "Close"}
_STATUSES: Final = {
    "open": (1, "New"),
    "suppressed": (3, "Suppressed"),
    "learned": (4, "Resolved"),
    "merged": (4, "Resolved"),
    "withdrawn": (4, "Resolved"),
}
_RISKS: Final = ("Info", "Low", "Medium", "High", "Critical")
_ADDRESS: Final = (2, "IP Address")  # type of an observable
_USER: Final = (4, "User Name")


def render(told: Told) -> bytes:
    """One JSON object without a line feed."""
    return json_line(document(told))


def document(told: Told) -> dict[str, Any]:
    """The attributes, before they are cut to size."""
    facts = facts_of(told)
    activity = 3 if facts.state in {"merged", "withdrawn"} else 1 + (facts.revision > 0)
    status, status_name = _STATUSES[facts.state]
    return {
        "activity_id": activity,
        "activity_name": _ACTIVITIES[activity],
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": _CLASS,
        "class_name": "Detection Finding",
        "type_uid": _CLASS * 100 + activity,
        "type_name": f"Detection Finding: {_ACTIVITIES[activity]}",
        "severity_id": facts.level.ocsf,
        "severity": facts.level.word.capitalize(),
        "status_id": status,
        "status": status_name,
        "status_detail": None if facts.decision is None else facts.decision.why,
        "is_alert": facts.open,
        "time": millis(facts.end),
        "start_time": millis(facts.start),
        "end_time": millis(facts.end),
        "count": facts.count,
        "message": facts.summary,
        "risk_level_id": facts.level.risk,
        "risk_level": _RISKS[facts.level.risk],
        "risk_score": facts.level.elastic,
        "metadata": _metadata(facts),
        "finding_info": _finding(facts),
        "evidences": _evidences(facts),
        "resources": [] if facts.dst is None else [_resource(facts.dst)],
        "observables": list(_observables(facts)),
        "unmapped": _unmapped(facts),
    }


def _metadata(facts: Facts) -> dict[str, Any]:
    return {
        "version": OCSF_VERSION,
        "product": {"name": PRODUCT, "vendor_name": PRODUCT, "version": VERSION},
        "uid": f"{facts.id}-{facts.revision}",
        "sequence": facts.revision,
        "event_code": facts.kind,
        "correlation_uid": facts.incident_id,
        "log_name": facts.noun,
        "original_time": facts.end,
    }


def _analytic(kind: str) -> dict[str, Any]:
    """What found it: somebody's rule about zones, or what was learned."""
    return {"type_id": 1, "type": "Rule"} if kind == "violation" else {"type_id": 4, "type": "Learning (ML/DL)"}


def _finding(facts: Facts) -> dict[str, Any]:
    return {
        "uid": facts.id,
        "title": facts.title,
        "desc": facts.summary,
        "types": [facts.rule],
        "analytic": {"uid": facts.kind, "name": facts.rule, **_analytic(facts.kind)},
        "created_time": millis(facts.start),
        "modified_time": millis(facts.end),
        "first_seen_time": millis(facts.start),
        "last_seen_time": millis(facts.end),
        "attacks": [_attack(technique) for technique in facts.techniques],
        "related_events": [{"uid": alert, "type_uid": _CLASS * 100 + 1} for alert in facts.related],
        "related_events_count": len(facts.related) or None,
    }


def _attack(technique: Technique) -> dict[str, Any]:
    above, _, part = technique.id.partition(".")
    named = {"uid": technique.id, "name": technique.name}
    tactic = {"uid": technique.tactic, "name": tactic_name(technique.tactic)} if technique.tactic else {}
    ids = {"technique": {"uid": above}, "sub_technique": named} if part else {"technique": named}
    return {"version": ATTACK_VERSION, "tactic": tactic, **ids}


def _evidences(facts: Facts) -> list[dict[str, Any]]:
    if facts.src is None or facts.dst is None:
        return []
    evidence = {
        "src_endpoint": _endpoint(facts.src),
        "dst_endpoint": {**_endpoint(facts.dst), "svc_name": facts.service},
        "connection_info": {
            "direction_id": 0,  # seen from no single network, so neither inbound nor outbound
            "protocol_name": facts.transport,
            "protocol_ver_id": facts.src.version,
            "community_uid": facts.community_id,
        },
        "user": {"name": facts.users[0]} if facts.users else {},
        "data": {"records": facts.evidence, "operation": facts.operation},
    }
    return [evidence]


def _endpoint(end: End) -> dict[str, Any]:
    role = {"type_id": 99, "type": end.asset.role} if end.asset.role else {}
    return {
        "ip": end.ip,
        "name": end.asset.name or (None if end.ip else end.address),
        "port": end.port,
        "zone": end.zone,
        "owner": {"name": end.asset.owner} if end.asset.owner else {},
        **role,
    }


def _resource(end: End) -> dict[str, Any]:
    return {
        "uid": end.address,
        "name": end.asset.name,
        "ip": end.ip,
        "type": end.asset.role,
        "criticality": end.asset.importance,
        "owner": {"name": end.asset.owner} if end.asset.owner else {},
    }


def _observables(facts: Facts) -> Iterator[dict[str, Any]]:
    for end, name in ((facts.src, "src"), (facts.dst, "dst")):
        if end is not None and end.ip:
            yield _observable(f"evidences[].{name}_endpoint.ip", end.ip, _ADDRESS)
    for user in facts.users[:1]:
        yield _observable("evidences[].user.name", user, _USER)


def _observable(name: str, value: str, kind: tuple[int, str]) -> dict[str, Any]:
    return {"name": name, "value": value, "type_id": kind[0], "type": kind[1]}


def _unmapped(facts: Facts) -> dict[str, Any]:
    return {
        "state": facts.state,
        "severity": facts.severity if facts.src is not None else None,
        "score": facts.score,
        "p_value": facts.p_value,
        "bits": facts.bits,
        "reasons": facts.reasons,
        "counterfactual": facts.counterfactual,
        "next_steps": facts.next_steps,
        "hosts": facts.hosts,
        "users": facts.users,
        "decision": None if facts.decision is None else asdict(facts.decision),
        "trust": None if facts.trust is None else asdict(facts.trust),
        "model": facts.model,
    }
