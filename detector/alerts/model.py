"""The two things eastwest tells people: an alert (one strange act) and an incident (a chain of moves)."""

import base64
import hashlib
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SCORE_DIGITS: Final = 4  # decimals written out; kernels agree to 1e-12, so what is written is the same everywhere
P_DIGITS: Final = 4  # significant digits
_ID_LENGTH: Final = 26  # base32 characters: 130 bits


def content_id(*parts: object) -> str:
    """An id from content only: the same in stream, backtest and replay, never from time of day, score or model."""
    digest = hashlib.sha256("|".join(["v1", *map(str, parts)]).encode("utf-8", "surrogatepass")).digest()
    return base64.b32encode(digest).decode("ascii").lower()[:_ID_LENGTH]


def iso(micros: int) -> str:
    """ISO 8601 UTC with microseconds."""
    whole, fraction = divmod(micros, 1_000_000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:06d}Z"


def rounded_p(p: float) -> float:
    """A p-value to `P_DIGITS` significant digits."""
    return float(f"{p:.{P_DIGITS - 1}e}")


@dataclass(frozen=True, slots=True)
class Asset:
    """What is declared or known of a host, so that who reads of it knows whom to call and how much it matters."""

    name: str | None = None
    role: str | None = None  # domain controller, engineering workstation, PLC, ...
    purdue_level: float | None = None  # 0 to 5; 3.5 = industrial DMZ
    importance: str = "normal"  # low, normal, high, critical
    owner: str | None = None


VERIFIED, UNVERIFIED, DENIED, LEARNING = "verified", "unverified", "denied", "learning"
VERDICTS: Final = (VERIFIED, UNVERIFIED, DENIED, LEARNING)
"""``denied``: no conduit permits it. ``learning``: the history is younger than what is known has to be."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a connection or act is one that can be verified (docs/trust.md). Answers are None where there was nothing
    to ask about."""

    verdict: str | None = None  # of `VERDICTS`; None = nobody answers for a group, so it was not asked
    failed: str = ""  # which questions were answered with no, joined by +
    device_known: bool | None = None
    user_known: bool | None = None
    service_expected: bool | None = None
    path_permitted: bool | None = None

    @property
    def weight(self) -> tuple[int, int]:
        """How much there is to look into: what is denied, then what failed most."""
        order = (None, LEARNING, VERIFIED, UNVERIFIED, DENIED)
        return order.index(self.verdict), self.failed.count("+") + bool(self.failed)


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody decided about acts like this one; it relabels, it deletes nothing."""

    id: str
    action: Literal["suppress", "learn"]
    by: str
    why: str
    until: str | None  # ISO 8601 UTC


@dataclass(frozen=True, slots=True)
class Alert:
    """One strange act and its repeats. Field order is the order written. ``summary``, the assets, ``next_steps`` and
    the incident are filled in when it is told (`correlate.context`)."""

    alert_id: str
    ts: str
    src: str
    dst: str
    service: str
    operation: str | None
    kind: str  # connection, attempt, operation
    score: float  # -log10 of the p-value: higher is stranger
    p_value: float
    severity: str  # low, medium, high, critical
    techniques: tuple[str, ...]
    reasons: tuple[str, ...]
    incident_id: str | None
    evidence: tuple[str, ...]
    src_zone: str
    dst_zone: str
    user: str | None
    title: str = ""  # one line
    summary: str = ""  # a few sentences: what, how strange, what would have made it none
    counterfactual: str = ""  # would not alert if ...
    count: int = 1  # findings in it
    last_ts: str = ""  # of the last of them
    src_port: int | None = None
    dst_port: int | None = None
    transport: str | None = None  # tcp, udp, icmp
    community_id: str | None = None
    src_asset: Asset = Asset()
    dst_asset: Asset = Asset()
    bits: dict[str, float] = field(default_factory=dict)  # of surprise, by model, largest first
    tactics: tuple[str, ...] = ()  # ATT&CK ids
    next_steps: tuple[str, ...] = ()  # what to check
    related: tuple[str, ...] = ()  # ids of other alerts
    status: str = "open"  # open, suppressed, learned
    decision: Decision | None = None  # why it is not open
    trust: Verdict = Verdict()  # of what in it is verified least
    model: str | None = None  # digest of the model the engine began with; not written when there was none


@dataclass(frozen=True, slots=True)
class Step:
    """One hop of an incident's path."""

    ts: str
    src: str
    dst: str
    service: str
    services: tuple[str, ...]
    operations: tuple[str, ...]
    techniques: tuple[str, ...]
    p_value: float
    src_zone: str
    dst_zone: str
    users: tuple[str, ...]
    reasons: tuple[str, ...]
    alert_ids: tuple[str, ...]
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Incident:
    """A chain, or several that share a hop."""

    incident_id: str
    first_ts: str
    last_ts: str
    score: float
    p_value: float
    severity: str
    hosts: tuple[str, ...]
    path: tuple[Step, ...]
    techniques: tuple[str, ...]
    summary: str
    title: str = ""
    tactics: tuple[str, ...] = ()  # ATT&CK ids
    next_steps: tuple[str, ...] = ()  # what to check


@dataclass(frozen=True, slots=True)
class Told:
    """An alert or an incident as it stands; ``record`` is None for an incident that became part of ``merged_into``, or
    was dropped (None). ``made_by`` is the record (source and position) that opened an alert."""

    kind: Literal["alert", "incident"]
    id: str
    revision: int  # from 0, one more each time
    record: Alert | Incident | None
    merged_into: str | None = None
    made_by: tuple[str, int] | None = None
    ts: str | None = None  # ISO 8601 UTC; of an incident that is no more


def told_json(told: Told) -> bytes:
    """What is told as one line without the newline: the record and its ``revision``; of an incident that is no more its
    id, ``merged_into`` and the minute it was found out."""
    if told.record is not None:
        return escaped(orjson.dumps({**_fields(told.record), "revision": told.revision}))
    gone = {"incident_id": told.id, "merged_into": told.merged_into, "revision": told.revision, "ts": told.ts}
    return orjson.dumps(gone)


def told_of(kind: str, line: bytes) -> Told:
    """What `told_json` wrote as a line.

    Args:
        kind: ``alert`` or ``incident``.
        line: of the outbox.
    """
    plain = orjson.loads(line)
    revision, into = plain.pop("revision"), plain.pop("merged_into", None)
    if kind == "alert":
        record: Alert | Incident = alert_of(plain)
    elif "path" in plain:
        record = incident_of(plain)
    else:
        return Told("incident", plain["incident_id"], revision, None, into, ts=plain["ts"])
    return Told("alert" if kind == "alert" else "incident", id_of(record), revision, record)


def id_of(record: Alert | Incident) -> str:
    """The id that stays the same in all revisions."""
    return record.alert_id if isinstance(record, Alert) else record.incident_id


def to_json(record: "DataclassInstance") -> bytes:
    """One NDJSON line without the newline. Log strings are the attacker's: control, bidi and line separators
    are escaped."""
    return escaped(orjson.dumps(_fields(record)))


def _fields(record: "DataclassInstance") -> dict[str, Any]:
    return as_dict(record) if isinstance(record, Alert) else asdict(record)


def escaped(line: bytes) -> bytes:
    """JSON that says the same, in which control, bidi and line separator characters are escaped."""
    text = line.decode("utf-8")
    if text.isascii():
        return line if b"\x7f" not in line else line.replace(b"\x7f", b"\\u007f")
    return "".join(f"\\u{ord(char):04x}" if hostile(char) else char for char in text).encode("utf-8")


def hostile(char: str) -> bool:
    """C1 controls, line and paragraph separators, and the bidirectional controls of CVE-2021-42574."""
    code = ord(char)
    return (
        0x7F <= code <= 0x9F
        or code in (0x2028, 0x2029, 0x061C, 0x200E, 0x200F)
        or (0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069)
    )


SEVERITIES: Final = ("low", "medium", "high", "critical")


IMPORTANCES: Final = {"low": -1.0, "normal": 0.0, "high": 0.5, "critical": 1.0}
"""Levels of severity that the importance of a host adds."""
STRANGE: Final = (1e-3, 1e-4, 1e-5, 1e-6)  # p-values; each counts half a level
CONSEQUENCE_LEVELS: Final = (0.0, 1.0, 1.5, 2.0, 2.0)  # levels: read, write, operate, mode, program


def severity(p: float, consequence: int, importance: str = "normal") -> str:
    """From strangeness, OT consequence class (0 read .. 4 program) and the importance of the more important host.

    Risk is their product (NIST SP 800-30: likelihood times impact); levels are logarithms, so they add up. What is
    stranger, does more, or concerns a more important host is never less severe.
    """
    strange = sum(p <= bound for bound in STRANGE) / 2
    level = int(max(strange + CONSEQUENCE_LEVELS[consequence] + IMPORTANCES[importance], 0.0))
    return SEVERITIES[min(level, len(SEVERITIES) - 1)]


def alert_of(plain: dict[str, Any]) -> Alert:
    """The alert that `as_dict` made plain."""
    fields = _tuples(plain)
    for end in ("src_asset", "dst_asset"):
        fields[end] = Asset(**plain[end])
    fields["bits"] = dict(sorted(plain["bits"].items(), key=lambda said: (-said[1], said[0])))  # snapshots sort by name
    if plain["decision"] is not None:
        fields["decision"] = Decision(**plain["decision"])
    if "trust" in plain:  # alerts of old have none
        fields["trust"] = Verdict(**plain["trust"])
    return Alert(**fields)


def incident_of(plain: dict[str, Any]) -> Incident:
    """The incident that `as_dict` made plain."""
    return Incident(**{**_tuples(plain), "path": tuple(Step(**_tuples(step)) for step in plain["path"])})


def _tuples(plain: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}


def as_dict(record: Alert | Incident) -> dict[str, Any]:
    """Plain types, for tables, templates and snapshots."""
    plain: dict[str, Any]
    if isinstance(record, Alert):  # most of it cannot change: `asdict` would copy each of thousands to its last text
        plain = {name: getattr(record, name) for name in Alert.__slots__}
        plain["src_asset"], plain["dst_asset"] = asdict(record.src_asset), asdict(record.dst_asset)
        plain["decision"] = None if record.decision is None else asdict(record.decision)
        plain["trust"] = asdict(record.trust)
        if record.model is None:
            del plain["model"]
    else:
        plain = asdict(record)
    return plain
