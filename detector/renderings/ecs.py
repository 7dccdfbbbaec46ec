"""Elastic Common Schema 9: what Elasticsearch, OpenSearch and Kibana know the fields of.

Source: elastic.co, ECS reference 9.4. What has no field there is in ``eastwest``. Only what is open is an ``alert``:
what is suppressed, merged or withdrawn is an ``event``, which no rule of Elastic makes an alert of.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Final

from detector.alerts.model import Told
from detector.renderings.facts import PRODUCT, VERSION, End, Facts, facts_of, tactic_name, technique_name
from detector.renderings.json_line import json_line

ECS_VERSION: Final = "9.4.0"
_ATTACK: Final = "https://attack.mitre.org"
_RISK: Final = {"informational": "Unknown", "low": "Low", "medium": "Moderate", "high": "High", "critical": "Critical"}


def render(told: Told) -> bytes:
    """One JSON object without a line feed."""
    return json_line(document(told))


def document(told: Told) -> dict[str, Any]:
    """The fields, before they are cut to size."""
    facts = facts_of(told)
    return {
        "@timestamp": facts.end,
        "ecs": {"version": ECS_VERSION},
        "message": facts.title,
        "event": _event(facts),
        "rule": {"id": facts.kind, "name": facts.rule, "ruleset": PRODUCT, "version": VERSION},
        "threat": _threat(facts),
        "source": _end(facts.src),
        "destination": _end(facts.dst),
        "network": {
            "transport": facts.transport,
            "protocol": facts.service,
            "community_id": facts.community_id,
            "type": f"ipv{facts.src.version}" if facts.src is not None and facts.src.version else None,
        },
        "user": {"name": facts.users[0] if facts.users else None},
        "observer": _observer(facts),
        "host": _host(facts),
        "related": {"ip": facts.addresses, "hosts": facts.names, "user": facts.users},
        "tags": [PRODUCT, facts.noun],
        PRODUCT: _own(facts),
    }


def _event(facts: Facts) -> dict[str, Any]:
    return {
        "kind": "alert" if facts.open else "event",
        "category": ["network", "intrusion_detection"],
        "type": ["info"],
        "action": facts.kind,
        "module": PRODUCT,
        "dataset": f"{PRODUCT}.alerts",
        "provider": PRODUCT,
        "id": facts.id,
        "sequence": facts.revision,
        "severity": facts.level.elastic,
        "risk_score": facts.score,
        "risk_score_norm": float(facts.level.elastic),
        "start": facts.start,
        "end": facts.end,
        "reason": facts.summary,
    }


def _threat(facts: Facts) -> dict[str, Any]:
    if not facts.techniques and not facts.tactics:
        return {}
    whole = _unique(technique.id.partition(".")[0] for technique in facts.techniques)
    parts = [technique for technique in facts.techniques if "." in technique.id]
    technique: dict[str, Any] = {
        "id": whole,
        "name": [technique_name(each) for each in whole],
        "reference": [f"{_ATTACK}/techniques/{each}/" for each in whole],
    }
    if parts:
        technique["subtechnique"] = {
            "id": [part.id for part in parts],
            "name": [part.name for part in parts],
            "reference": [f"{_ATTACK}/techniques/{part.id.replace('.', '/')}/" for part in parts],
        }
    tactic = {
        "id": facts.tactics,
        "name": [tactic_name(each) for each in facts.tactics],
        "reference": [f"{_ATTACK}/tactics/{each}/" for each in facts.tactics],
    }
    return {"framework": "MITRE ATT&CK", "tactic": tactic, "technique": technique}


def _end(end: End | None) -> dict[str, Any]:
    if end is None:
        return {}
    return {"address": end.address, "ip": end.ip, "port": end.port, "domain": end.asset.name}


def _observer(facts: Facts) -> dict[str, Any]:
    zones = {
        side: {"zone": {"name": end.zone}}
        for side, end in (("ingress", facts.src), ("egress", facts.dst))
        if end is not None and end.zone
    }
    return {"vendor": PRODUCT, "product": PRODUCT, "type": "ids", "version": VERSION, **zones}


def _host(facts: Facts) -> dict[str, Any]:
    """The one that acted, and what is to be thought of it."""
    if facts.src is None:
        return {}
    risk = {
        "calculated_level": _RISK[facts.level.word],
        "calculated_score": facts.score,
        "calculated_score_norm": float(facts.level.elastic),
    }
    return {
        "name": facts.src.asset.name or facts.src.address,
        "ip": [facts.src.ip] if facts.src.ip else [],
        "risk": risk,
    }


def _own(facts: Facts) -> dict[str, Any]:
    return {
        "kind": facts.noun,
        "state": facts.state,
        "incident_id": facts.incident_id,
        "revision": facts.revision,
        "severity": facts.severity if facts.src is not None else None,
        "p_value": facts.p_value,
        "count": facts.count,
        "operation": facts.operation,
        "counterfactual": facts.counterfactual,
        "reasons": facts.reasons,
        "bits": facts.bits,
        "next_steps": facts.next_steps,
        "related_alerts": facts.related,
        "evidence": facts.evidence,
        "source": _asset(facts.src),
        "destination": _asset(facts.dst),
        "decision": None if facts.decision is None else asdict(facts.decision),
        "trust": None if facts.trust is None else asdict(facts.trust),
        "model": facts.model,
    }


def _asset(end: End | None) -> dict[str, Any]:
    if end is None:
        return {}
    asset = end.asset
    return {
        "zone": end.zone,
        "role": asset.role,
        "purdue_level": asset.purdue_level,
        "importance": asset.importance,
        "owner": asset.owner,
    }


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
