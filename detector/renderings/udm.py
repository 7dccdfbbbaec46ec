"""Google SecOps: an event of the Unified Data Model.

Source: docs.cloud.google.com/chronicle, "Unified Data Model field list" and "UDM usage guide". What lies between two
IP addresses is a NETWORK_CONNECTION, all else a GENERIC_EVENT. ``metadata.product_log_id`` stays the same in all
revisions.
"""

from typing import Any, Final

from detector.alerts.attack import VERSION as ATTACK_VERSION
from detector.alerts.attack import Technique
from detector.alerts.model import Told
from detector.renderings.facts import PRODUCT, VERSION, End, Facts, facts_of, tactic_name, technique_name
from detector.renderings.json_line import json_line

_TRANSPORTS: Final = {"tcp": "TCP", "udp": "UDP", "icmp": "ICMP", "sctp": "SCTP"}
_PROTOCOLS: Final = {
    "cip": "CIP", "cotp": "COTP", "dce_rpc": "DCERPC", "dhcp": "DHCP", "dnp3": "DNP3", "dns": "DNS", "enip": "CIP",
    "ftp": "FTP", "http": "HTTP", "krb": "KRB5", "krb_tcp": "KRB5", "kerberos": "KRB5", "ldap": "LDAP",
    "modbus": "MODBUS", "mqtt": "MQTT", "nfs": "NFS", "ntp": "NTP", "rdp": "RDP", "sip": "SIP", "smb": "SMB",
    "smtp": "SMTP", "snmp": "SNMP", "ssh": "SSH", "ssl": "HTTPS",
}  # fmt: skip
"""Our services by the enumeration; others are told in ``additional``, as an unknown name fails the event."""


def render(told: Told) -> bytes:
    """One JSON object without a line feed."""
    return json_line(document(told))


def document(told: Told) -> dict[str, Any]:
    """The fields, before they are cut to size."""
    facts = facts_of(told)
    between = facts.src is not None and facts.src.ip and facts.dst is not None and facts.dst.ip
    network = {
        "ip_protocol": _TRANSPORTS.get(facts.transport or ""),
        "application_protocol": _PROTOCOLS.get(facts.service or ""),
        "community_id": facts.community_id,
    }
    return {
        "metadata": {
            "event_timestamp": facts.end,
            "event_type": "NETWORK_CONNECTION" if between else "GENERIC_EVENT",
            "vendor_name": PRODUCT,
            "product_name": PRODUCT,
            "product_version": VERSION,
            "product_event_type": facts.kind,
            "product_log_id": facts.id,
            "description": facts.title,
        },
        "principal": _noun(facts.src, facts.users),
        "target": _noun(facts.dst),
        "network": network if between else {},
        "security_result": [_result(facts)],
        "additional": _additional(facts),
    }


def _noun(end: End | None, users: tuple[str, ...] = ()) -> dict[str, Any]:
    if end is None:
        return {"application": PRODUCT}
    return {
        "ip": [end.ip] if end.ip else [],
        "port": end.port,
        "hostname": end.asset.name or (None if end.ip else end.address),
        "user": {"userid": users[0]} if users else {},
    }


def _result(facts: Facts) -> dict[str, Any]:
    return {
        "category": ["NETWORK_MALICIOUS"],
        "category_details": [tactic_name(tactic) for tactic in facts.tactics],
        "severity": facts.level.word.upper(),
        "severity_details": facts.state,
        "alert_state": "ALERTING" if facts.open else "NOT_ALERTING",
        "risk_score": float(facts.level.elastic),
        "rule_id": facts.kind,
        "rule_name": facts.rule,
        "rule_version": VERSION,
        "summary": facts.title,
        "description": facts.summary,
        "attack_details": {
            "version": ATTACK_VERSION,
            "tactics": [{"id": tactic, "name": tactic_name(tactic)} for tactic in facts.tactics],
            "techniques": [_technique(technique) for technique in facts.techniques],
        },
        "detection_fields": _labels(facts),
    }


def _technique(technique: Technique) -> dict[str, Any]:
    above, _, part = technique.id.partition(".")
    if part:
        return {
            "id": above,
            "name": technique_name(above),
            "subtechnique_id": technique.id,
            "subtechnique_name": technique.name,
        }
    return {"id": technique.id, "name": technique.name}


def _labels(facts: Facts) -> list[dict[str, str]]:
    """Single words that rules match on."""
    values = {
        "revision": str(facts.revision),
        "incident_id": facts.incident_id,
        "score": None if facts.score is None else str(facts.score),
        "source_zone": facts.src.zone if facts.src is not None else None,
        "destination_zone": facts.dst.zone if facts.dst is not None else None,
        "destination_importance": facts.dst.asset.importance if facts.dst is not None else None,
        "count": None if facts.count is None else str(facts.count),
        "verdict": None if facts.trust is None else facts.trust.verdict,
        "failed": None if facts.trust is None else facts.trust.failed,
        "model": facts.model,
    }
    return [{"key": key, "value": value} for key, value in values.items() if value]


def _additional(facts: Facts) -> dict[str, Any]:
    return {
        "state": facts.state,
        "service": facts.service,
        "operation": facts.operation,
        "counterfactual": facts.counterfactual,
        "reasons": facts.reasons,
        "next_steps": facts.next_steps,
        "hosts": facts.hosts,
        "users": facts.users,
        "related_alerts": facts.related,
        "evidence": facts.evidence,
    }
