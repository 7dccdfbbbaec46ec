"""Splunk: JSON with the field names of the Common Information Model, data models Intrusion Detection and Alerts.

Source: Splunk, "Common Information Model Add-on Manual" 6, pages Intrusion Detection and Alerts. eastwest watches and
blocks nothing, so ``action`` is ``allowed``.
"""

from dataclasses import asdict
from typing import Any, Final

from detector.alerts.model import Asset, Told
from detector.renderings.facts import PRODUCT, VERSION, End, facts_of, tactic_name
from detector.renderings.json_line import json_line

_NOBODY: Final = End("", None, "", Asset(importance=""))


def render(told: Told) -> bytes:
    """One JSON object without a line feed."""
    return json_line(document(told))


def document(told: Told) -> dict[str, Any]:
    """The fields, before they are cut to size."""
    facts = facts_of(told)
    src, dst = facts.src or _NOBODY, facts.dst or _NOBODY
    return {
        "timestamp": facts.end,
        "id": facts.id,
        "revision": facts.revision,
        "type": "alert" if facts.open else "event",
        "app": PRODUCT,
        "vendor_product": PRODUCT,
        "product_version": VERSION,
        "ids_type": "network",
        "action": "allowed",
        "signature": facts.rule,
        "signature_id": facts.kind,
        "severity": facts.level.word,
        "severity_id": facts.level.cef,
        "category": [tactic_name(tactic) for tactic in facts.tactics],
        "mitre_tactic_id": facts.tactics,
        "mitre_technique_id": [technique.id for technique in facts.techniques],
        "subject": facts.title,
        "description": facts.summary,
        "src": src.address,
        "src_port": src.port,
        "src_zone": src.zone,
        "src_name": src.asset.name,
        "src_role": src.asset.role,
        "src_priority": src.asset.importance,
        "src_owner": src.asset.owner,
        "dest": dst.address,
        "dest_port": dst.port,
        "dest_zone": dst.zone,
        "dest_name": dst.asset.name,
        "dest_role": dst.asset.role,
        "dest_priority": dst.asset.importance,
        "dest_owner": dst.asset.owner,
        "transport": facts.transport,
        "service": facts.service,
        "operation": facts.operation,
        "user": facts.users,
        "community_id": facts.community_id,
        "state": facts.state,
        "incident_id": facts.incident_id,
        "first_time": facts.start,
        "last_time": facts.end,
        "count": facts.count,
        "score": facts.score,
        "p_value": facts.p_value,
        "bits": facts.bits,
        "reason": facts.reasons,
        "counterfactual": facts.counterfactual,
        "next_steps": facts.next_steps,
        "hosts": facts.hosts,
        "related_ids": facts.related,
        "evidence": facts.evidence,
        "decision": None if facts.decision is None else asdict(facts.decision),
        "trust": None if facts.trust is None else asdict(facts.trust),
        "model": facts.model,
    }
