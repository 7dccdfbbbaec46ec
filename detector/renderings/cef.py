r"""ArcSight's Common Event Format, version 0.

Source: Micro Focus ArcSight, "Common Event Format Implementation Standard", version 26. In the header ``\`` and ``|``
are escaped, in values ``\``, ``=`` and line ends. What else could break or hide text is written out
(`strings.visible`). IPv6 addresses have no place in ``src`` and ``dst`` of this version but their own, ``c6a2`` and
``c6a3``.
"""

from collections.abc import Iterator
from typing import Final

from detector.alerts.model import Told
from detector.renderings.facts import PRODUCT, VERSION, Facts, facts_of, millis
from detector.renderings.strings import cut, visible

NAME_BYTES: Final = 256
BYTES: Final = {
    "msg": 1000, "reason": 400, "cs1": 200, "cs2": 100, "cs3": 100, "cs4": 700, "cs6": 300, "flexString2": 100,
    "suser": 128, "shost": 100, "dhost": 100,
}  # fmt: skip
"""Of the longest values, before escapes: none beyond the standard's, and all of it with a syslog header in 8,192 bytes,
which receivers take."""
_OTHER_BYTES: Final = 63


def render(told: Told) -> bytes:
    """One record without a line feed."""
    facts = facts_of(told)
    header = ("CEF:0", PRODUCT, PRODUCT, VERSION, facts.kind, cut(_name(facts.title), NAME_BYTES))
    values = (f"{key}={_value(key, value)}" for key, value in _extension(facts) if value not in (None, ""))
    return f"{'|'.join(map(_header, header))}|{facts.level.cef}|{' '.join(values)}".encode()


def _extension(facts: Facts) -> Iterator[tuple[str, object]]:
    yield "rt", millis(facts.end)
    yield "start", millis(facts.start)
    yield "end", millis(facts.end)
    yield "externalId", facts.id
    yield "act", facts.state
    yield "cat", facts.noun
    yield "cnt", facts.count
    yield from _labelled("cn1", "revision", facts.revision)
    yield from _labelled("cfp1", "score", facts.score)
    yield from _labelled("cs5", "incidentId", facts.incident_id)
    yield from _ends(facts)
    yield "proto", None if facts.transport is None else facts.transport.upper()
    yield "app", facts.service
    yield "suser", ", ".join(facts.users)
    yield from _labelled("flexString1", "communityId", facts.community_id)
    yield from _labelled("flexString2", "operation", facts.operation)
    yield from _labelled("cs1", "techniques", ", ".join(technique.id for technique in facts.techniques))
    yield "msg", facts.summary
    yield from _labelled("cs4", "reasons", "; ".join(facts.reasons))
    yield "reason", facts.counterfactual
    yield from _labelled("cs6", "evidence", ", ".join(facts.evidence))


def _ends(facts: Facts) -> Iterator[tuple[str, object]]:
    for end, letter, sixth, zone, side in (
        (facts.src, "s", "c6a2", "cs2", "Source"),
        (facts.dst, "d", "c6a3", "cs3", "Destination"),
    ):
        if end is None:
            continue
        if end.version == 4:
            yield "src" if letter == "s" else "dst", end.address
        elif end.version == 6:
            yield from _labelled(sixth, f"{side} IPv6 Address", end.address)
        yield f"{letter}pt", end.port
        yield f"{letter}host", end.asset.name or (None if end.version else end.address)
        yield from _labelled(zone, f"{side.lower()}Zone", end.zone)


def _labelled(key: str, label: str, value: object) -> Iterator[tuple[str, object]]:
    """A slot that any vendor may use, with the name of what is in it."""
    if value not in (None, ""):
        yield f"{key}Label", label
        yield key, value


def _name(title: str) -> str:
    """Readers that look for ``key=`` in the whole line (pycef, jc) would take an attacker's for the extension."""
    return visible(title).replace("=", "\\u003d")


def _header(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")


def _value(key: str, value: object) -> str:
    lines = "\n".join(map(visible, str(value).replace("\r\n", "\n").replace("\r", "\n").split("\n")))
    text = cut(lines.strip(), BYTES.get(key, _OTHER_BYTES))
    return text.replace("\\", "\\\\").replace("=", "\\=").replace("\n", "\\n")
