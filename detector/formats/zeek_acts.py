"""One operation row for each row of a Zeek protocol log: the frame that each log's own words go into.

Log strings are the attacker's. What goes into ``operation`` comes out of a bounded vocabulary, what goes into
``object`` and ``user`` is text for people.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Final

from detector.formats.batch import Batch, Context, LogType, Row
from detector.formats.fields import TEXT_LIMIT, Fields
from detector.formats.zeek import ORIG_H, ORIG_P, PORT_MAX, RESP_H, RESP_P, flatten, observed
from detector.records import OPERATION, Decoded

UNKNOWN: Final = "unknown"
"""The token of an act whose word is missing or outside the vocabulary."""

_WORD_LIMIT: Final = 80  # characters of a field that may become a token
_BYTE_MAX: Final = 255
_NUMBERED: Final = re.compile(r"unknown-(\d{1,3})", re.ASCII)
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_HEX_BYTE: Final = re.compile(r"0x([0-9a-f]{1,4})", re.ASCII | re.IGNORECASE)

Reader = Callable[[Row], str | None]


def _nothing(row: Row) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """How the rows of one log become operations; each reader sees a row as the wire carried it.

    Args:
        protocol: name in the ``protocol`` column.
        operation: the token; must be of a bounded vocabulary whatever the row holds.
        skip: why a row is no act of its own (it answers one that was counted), or None.
        by_sender: the log has ``source_h`` and ``destination_h``, which name who asked whom.
    """

    protocol: str
    operation: Callable[[Row], str]
    object: Reader = _nothing
    outcome: Reader = _nothing
    user: Reader = _nothing
    skip: Reader = _nothing
    by_sender: bool = False


def log_type(name: str, act: Act) -> LogType:
    """The log type ``zeek.<name>``."""
    return LogType(f"zeek.{name}", partial(_convert, act))


def _convert(act: Act, batch: Batch, context: Context) -> Decoded:
    batch, filtered = _without(batch, act.skip)
    flatten(batch)
    fields = Fields(batch)
    rows = batch.rows
    orig = ("source",) if act.by_sender else ()
    resp = ("destination",) if act.by_sender else ()
    times = fields.time("ts")
    decoded = fields.decoded(
        OPERATION,
        {
            "ts": times,
            "obs_ts": observed(fields, times),
            "uid": fields.text("uid"),
            "orig_h": fields.address(*(f"{end}_h" for end in orig), *ORIG_H),
            "orig_p": fields.integer(*(f"{end}_p" for end in orig), *ORIG_P, high=PORT_MAX, required=True),
            "resp_h": fields.address(*(f"{end}_h" for end in resp), *RESP_H),
            "resp_p": fields.integer(*(f"{end}_p" for end in resp), *RESP_P, high=PORT_MAX, required=True),
            "protocol": act.protocol,
            "operation": [act.operation(row) for row in rows],
            "object": None if act.object is _nothing else [act.object(row) for row in rows],
            "outcome": None if act.outcome is _nothing else [act.outcome(row) for row in rows],
            "user": None if act.user is _nothing else [act.user(row) for row in rows],
        },
    )
    decoded.filtered += filtered
    return decoded


def _without(batch: Batch, skip: Reader) -> tuple[Batch, Counter[tuple[str, str]]]:
    filtered: Counter[tuple[str, str]] = Counter()
    if skip is _nothing:
        return batch, filtered
    reasons = [skip(row) for row in batch.rows]
    kept = [index for index, reason in enumerate(reasons) if reason is None]
    filtered.update((batch.log, reason) for reason in reasons if reason is not None)
    rows, positions = batch.rows, batch.positions
    return replace(batch, rows=[rows[i] for i in kept], positions=[positions[i] for i in kept]), filtered


# --- readers that several logs share ---


def word(row: Row, *names: str) -> str:
    """The first present field as text of at most 80 characters; empty when missing or a container."""
    for name in names:
        value = row.get(name)
        if type(value) is str:
            return "" if value == "-" else value[:_WORD_LIMIT]
        if type(value) is int:
            return str(value)[:_WORD_LIMIT]
    return ""


def text(*names: str) -> Reader:
    """A reader of the first present of these fields, for people."""
    return lambda row: _text(row, names)


def joined(separator: str, *names: str) -> Reader:
    """A reader that joins the fields that are present."""

    def read(row: Row) -> str | None:
        parts = [part for name in names if (part := _text(row, (name,))) is not None]
        return separator.join(parts)[:TEXT_LIMIT] or None

    return read


def _text(row: Row, names: tuple[str, ...]) -> str | None:
    for name in names:
        value = row.get(name)
        if type(value) is str and value not in {"", "-", "(empty)"}:
            return value[:TEXT_LIMIT]
        if type(value) is int or type(value) is float:
            return str(value)
    return None


def flag(row: Row, name: str) -> bool | None:
    """A Zeek bool: JSON true, or T where the header gave no types."""
    value = row.get(name)
    if type(value) is bool:
        return value
    return {"T": True, "F": False}.get(value) if type(value) is str else None


def success(name: str) -> Reader:
    """An outcome reader for a Zeek bool: ``ok``, ``failed``, or None when the log does not tell."""
    return lambda row: {True: "ok", False: "failed", None: None}[flag(row, name)]


def below(name: str, limit: int) -> Reader:
    """An outcome reader for reply codes (HTTP, FTP, SIP): those under ``limit`` are good."""

    def read(row: Row) -> str | None:
        code = row.get(name)
        if type(code) is not int:
            return None
        return "ok" if code < limit else "failed"

    return read


def reply(row: Row) -> str | None:
    """Skip what the responder of the connection sent (ICSNPP logs tell by ``is_orig``)."""
    return "reply" if flag(row, "is_orig") is False else None


def words(*lines: str) -> frozenset[str]:
    """A vocabulary out of words with blanks between."""
    return frozenset(" ".join(lines).split())


@lru_cache(maxsize=8192)
def one_of(value: str, vocabulary: frozenset[str], other: str = UNKNOWN) -> str:
    """The value if the vocabulary holds it."""
    return value if value in vocabulary else other


@lru_cache(maxsize=8192)
def identifier(value: str) -> str:
    """A name out of one of Zeek's own tables, or ``unknown-N`` with N of one byte, or ``unknown``.

    Zeek prints a name it knows, else ``unknown-<number>`` or ``unknown-<uuid>``; numbers and UUIDs are the
    sender's, so only a byte's worth of them gets tokens.
    """
    numbered = _NUMBERED.fullmatch(value)
    if numbered:
        return value if int(numbered[1]) <= _BYTE_MAX else UNKNOWN
    return value if _IDENTIFIER.fullmatch(value) else UNKNOWN


@lru_cache(maxsize=8192)
def code(value: str) -> int | None:
    """A code that ICSNPP writes as hex text (``0x1a``), or decimal; None when it is none."""
    found = _HEX_BYTE.fullmatch(value)
    if found:
        return int(found[1], 16)
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 5 else None


@lru_cache(maxsize=65536)
def account(value: str | None) -> str | None:
    """An account as one key: lower case, without domain or realm.

    ``CORP\\Ann``, ``ann@corp.example`` and ``ann/CORP.EXAMPLE`` (Kerberos) are ``ann``; a service principal
    keeps its first component (``host/ws1/REALM`` is ``host/ws1``).
    """
    if value is None:
        return None
    name = value.rpartition("\\")[2].lower().strip()
    name = name.partition("@")[0] or name
    # Zeek writes <unknown> where a session began before it looked.
    return None if name.startswith("<") else name or None


def user(*names: str) -> Reader:
    """A reader of an account name, see `account`."""
    return lambda row: account(_text(row, names))


def realmless(name: str) -> Reader:
    """A reader of a Kerberos principal without its realm: all up to the last slash."""

    def read(row: Row) -> str | None:
        principal = _text(row, (name,))
        if principal is None:
            return None
        head, slash, tail = principal.rpartition("/")
        return account(head if slash else tail)

    return read
