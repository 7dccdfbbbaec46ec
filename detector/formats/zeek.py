"""Zeek's ``conn.log`` as flows, and what all Zeek logs share: the four-tuple and the times."""

import re
from functools import lru_cache
from typing import Any, Final

from detector.formats.batch import Batch, Context, LogType
from detector.formats.fields import BadValue, Fields
from detector.formats.protocols import NAMES
from detector.records import FLOW, Decoded

ORIG_H: Final = ("id.orig_h", "id_orig_h")
ORIG_P: Final = ("id.orig_p", "id_orig_p")
RESP_H: Final = ("id.resp_h", "id_resp_h")
RESP_P: Final = ("id.resp_p", "id_resp_p")
PORT_MAX: Final = 65_535

CONN_STATES: Final = frozenset(
    {"S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH"}
)
"""The thirteen states of conn.log (Zeek, ``scripts/base/protocols/conn/main.zeek``)."""

SPAN_MAX: Final = 1e9  # s; a conversation of thirty years is rubbish, not a duration
_LONGEST_SERVICE: Final = 256  # characters of a comma list that are looked at
_WRAPPERS: Final = frozenset({"gssapi", "ntlm", "spnego", "krb", "krb_tcp"})
_SERVICE: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")
_PROTO: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,19}")


def flatten(batch: Batch) -> None:
    """Lift a nested ``id: {orig_h: ...}`` to the dotted names Zeek itself writes, in place."""
    for row in batch.rows:
        nested = row.get("id")
        if type(nested) is dict:
            for name in ("orig_h", "orig_p", "resp_h", "resp_p"):
                row.setdefault(f"id.{name}", nested.get(name))


def endpoints(fields: Fields) -> dict[str, list[Any]]:
    """The columns every Zeek log shares: ts [µs], uid, originator and responder."""
    return {
        "ts": fields.time("ts"),
        "uid": fields.text("uid"),
        "orig_h": fields.address(*ORIG_H),
        "orig_p": fields.integer(*ORIG_P, high=PORT_MAX, required=True),
        "resp_h": fields.address(*RESP_H),
        "resp_p": fields.integer(*RESP_P, high=PORT_MAX, required=True),
    }


def observed(fields: Fields, otherwise: list[int | None]) -> list[int | None]:
    """When each record was complete [µs]: ``_write_ts`` where the writer adds it, else the given time."""
    written = fields.time("_write_ts", required=False)
    return [late if time is None else time for time, late in zip(written, otherwise, strict=True)]


@lru_cache(maxsize=4096)
def service(value: str | None) -> str | None:
    """The application out of Zeek's comma list: the first that is no mere authentication layer.

    ``gssapi,smb,krb`` is ``smb``. A leading minus (Zeek 7: the analyzer gave up) is no service.
    """
    if value is None or len(value) > _LONGEST_SERVICE:
        return None
    names = [name for name in value.lower().split(",") if _SERVICE.fullmatch(name)]
    speaking = [name for name in names if name not in _WRAPPERS]
    return next(iter(speaking or names), None)


@lru_cache(maxsize=4096)
def transport(name: str | None, number: int | None) -> str | None:
    """Lower-case transport: Zeek's ``proto``, or since 8.0 ``ip_proto`` where Zeek tells none."""
    if name is not None and name != "unknown_transport":
        lowered = name.lower()
        return lowered if _PROTO.fullmatch(lowered) else None
    return NAMES.get(number, name) if number is not None else name


def _durations(fields: Fields) -> list[float | None]:
    """Seconds; a negative or absurd one rejects its row."""
    durations = fields.number("duration")
    for index, duration in enumerate(durations):
        if duration is not None and not 0.0 <= duration <= SPAN_MAX:
            fields.reject(index, BadValue("duration: not a duration", f"{duration!r} s"))
            durations[index] = None
    return durations


def _protos(fields: Fields) -> list[str | None]:
    protos = list(map(transport, fields.text("proto"), fields.integer("ip_proto", high=255)))
    for index, proto in enumerate(protos):
        if proto is None:
            fields.reject(index, BadValue("proto: missing, or no protocol name"))
    return protos


def convert(batch: Batch, context: Context) -> Decoded:
    """Rows of ``conn.log`` (or ``open_conn.log``) as flows; ``obs_ts`` is the write time or else the end."""
    flatten(batch)
    fields = Fields(batch)
    columns = endpoints(fields)
    durations = _durations(fields)
    ends = [
        ts if ts is None or duration is None else ts + round(duration * 1e6)
        for ts, duration in zip(columns["ts"], durations, strict=True)
    ]
    states = [state if state in CONN_STATES else None for state in fields.text("conn_state")]
    return fields.decoded(
        FLOW,
        {
            **columns,
            "obs_ts": observed(fields, ends),
            "proto": _protos(fields),
            "service": list(map(service, fields.text("service"))),
            "conn_state": states,
            "duration": durations,
            "orig_bytes": fields.integer("orig_bytes"),
            "resp_bytes": fields.integer("resp_bytes"),
            "orig_pkts": fields.integer("orig_pkts"),
            "resp_pkts": fields.integer("resp_pkts"),
            "oriented": True,
            "sampling": 1,
        },
    )


LOG_TYPES: Final = (LogType("zeek.conn", convert), LogType("zeek.open_conn", convert))
