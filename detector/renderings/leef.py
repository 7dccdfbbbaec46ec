r"""IBM QRadar's Log Event Extended Format, version 2.0.

Source: IBM, "QRadar Log Event Extended Format (LEEF) guide". The delimiter is ``^``: a tab, the usual one, is what
syslog relays rewrite. The format has no escape, so a ``^`` in a value, and what could break or hide text, is written
out (`strings.visible`). Keys of the guide's list are used where there is one; the others are ours.
"""

from collections.abc import Iterator
from typing import Final

from detector.alerts.model import Told
from detector.renderings.facts import PRODUCT, VERSION, Facts, facts_of, millis
from detector.renderings.strings import cut, visible

DELIMITER: Final = "^"
BYTES: Final = {
    "title": 200, "summary": 800, "reasons": 600, "counterfactual": 300, "techniques": 150, "evidence": 200,
    "usrName": 128, "identHostName": 100, "srcZone": 64, "dstZone": 64, "operation": 100,
}  # fmt: skip
"""Of the longest values: all of it stays within the 4,096 bytes that QRadar takes of an event by default."""
_OTHER_BYTES: Final = 64


def render(told: Told) -> bytes:
    """One record without a line feed."""
    facts = facts_of(told)
    header = "|".join(("LEEF:2.0", PRODUCT, PRODUCT, VERSION, facts.kind, DELIMITER))
    values = (f"{key}={_value(key, value)}" for key, value in _attributes(facts) if value not in (None, ""))
    return f"{header}|{DELIMITER.join(values)}".encode()


def _attributes(facts: Facts) -> Iterator[tuple[str, object]]:
    yield "devTime", millis(facts.end)
    yield "cat", facts.kind
    yield "sev", facts.level.leef
    if facts.src is not None and facts.dst is not None:
        yield "src", facts.src.ip
        yield "srcPort", facts.src.port
        yield "dst", facts.dst.ip
        yield "dstPort", facts.dst.port
        yield "srcZone", facts.src.zone
        yield "dstZone", facts.dst.zone
        yield "identHostName", facts.src.asset.name or (None if facts.src.ip else facts.src.address)
    yield "proto", None if facts.transport is None else facts.transport.upper()
    yield "usrName", ", ".join(facts.users)
    yield f"{facts.noun}Id", facts.id
    yield "revision", facts.revision
    yield "state", facts.state
    yield "partOf", facts.incident_id if facts.incident_id != facts.id else None
    yield "firstTime", millis(facts.start)
    yield "count", facts.count
    yield "score", facts.score
    yield "service", facts.service
    yield "operation", facts.operation
    yield "communityId", facts.community_id
    if facts.trust is not None:
        yield "verdict", facts.trust.verdict
        yield "failed", facts.trust.failed
    yield "model", facts.model
    yield "techniques", ", ".join(technique.id for technique in facts.techniques)
    yield "title", facts.title
    yield "summary", facts.summary
    yield "reasons", "; ".join(facts.reasons)
    yield "counterfactual", facts.counterfactual
    yield "evidence", ", ".join(facts.evidence)


def _value(key: str, value: object) -> str:
    text = visible(str(value)).replace(DELIMITER, f"\\u{ord(DELIMITER):04x}")
    return cut(text.strip(), BYTES.get(key, _OTHER_BYTES))
