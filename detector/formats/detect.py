"""Which log a JSON record belongs to, told from the record itself: one topic may carry them all.

The order is: what the record says of itself (``_path``, ``@stream``, a data set name), then envelopes of
shippers, then tags around the record, then the shapes of flow exporters, then the name of its file or topic,
and the shape of Zeek's own rows last. ``path`` without underscore is a field of ``smb_files.log`` and decides
nothing.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson

from detector.formats import zeek, zeek_industrial, zeek_other, zeek_services, zeek_windows
from detector.formats.batch import Row

_ENVELOPES_MAX: Final = 4  # a shipper's envelope in another's, and one more; deeper is an attack
_STREAM_LIMIT: Final = 64  # characters of a stream name

STREAMS: Final = frozenset(
    log_type.name.removeprefix("zeek.")
    for module in (zeek, zeek_windows, zeek_services, zeek_industrial, zeek_other)
    for log_type in module.LOG_TYPES
)
"""The names of Zeek's streams that have a log type."""

_NUMBERED: Final = re.compile(r"(.+)-\d{1,3}")
_ALIASES: Final = {"connection": "conn"}  # the name of Filebeat's and Elastic Agent's data set

Found = tuple[str, Row, str]
"""Log name, the record without its envelopes, and the rule that told (bounded, for counters)."""


@lru_cache(maxsize=8192)
def stream(name: str) -> str | None:
    """The Zeek stream a tag means: ``conn`` of ``conn``, ``zeek.conn``, ``conn-2`` (a second filter)."""
    name = name[:_STREAM_LIMIT].lower().removeprefix("zeek.")
    name = _ALIASES.get(name, name)
    if name in STREAMS:
        return name
    numbered = _NUMBERED.fullmatch(name)
    return numbered[1] if numbered and numbered[1] in STREAMS else None


def log_of_stream(name: str, columns: Sequence[str]) -> str | None:
    """The log of a table by the path in its header; None when neither the path nor the columns are Zeek's."""
    found = stream(name)
    if found:
        return f"zeek.{found}"
    return zeek_other.OTHER if not {"ts", "uid", "id.orig_h"}.isdisjoint(columns) else None


@lru_cache(maxsize=4096)
def log_of_hint(hint: str) -> str | None:
    """The log that a file name, path or topic speaks of, or None.

    ``conn.log``, ``conn.16:00:00-17:00:00.log.gz``, ``NASHUA_dce_rpc.log.gz``, ``conn_json.log``,
    ``zeek-conn``, ``conn.log.labeled.gz``: the longest stream name among the parts of the last path
    component.
    """
    name = hint.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()
    parts = [part for part in re.split(r"[^a-z0-9_]+", name) if part]
    for part in parts[:3]:
        words = part.split("_")
        spans = ["_".join(words[start:end]) for start in range(len(words)) for end in range(len(words), start, -1)]
        found = [span for span in spans if span in STREAMS]
        if found:
            return f"zeek.{max(found, key=len)}"
    return None


# --- what a record says of itself ---


def _told(row: Row) -> Found | None:
    """By ``_path`` (Zeek, Corelight) or ``@stream`` (Corelight's older exporter)."""
    for key in ("_path", "@stream"):
        name = row.get(key)
        if type(name) is str:
            found = stream(name)
            if found:
                return f"zeek.{found}", row, key
            if _recognisable(row):
                return zeek_other.OTHER, row, key
    return None


def _recognisable(row: Row) -> bool:
    """A row as only Zeek writes it: its own ids, or a connection's four-tuple in one of its spellings."""
    return any(key in row for key in ("uid", "id.orig_h", "id_orig_h", "fuid")) or ("ts" in row and "id" in row)


# --- envelopes of shippers ---


def _inner(row: Row) -> Row | None:
    """The record inside ``message`` or ``event.original`` (Beats, Elastic Agent, Vector), if there is one."""
    event = row.get("event")
    original = event.get("original") if type(event) is dict else row.get("event.original")
    for text in (row.get("message"), original):
        if type(text) is dict:
            return text
        if type(text) is str and text.lstrip()[:1] == "{":
            try:
                parsed = orjson.loads(text)
            except orjson.JSONDecodeError:
                continue
            if type(parsed) is dict:
                return parsed
    return None


def _field(row: Row, outer: str, inner: str) -> Any:
    holder = row.get(outer)
    return holder.get(inner) if type(holder) is dict else row.get(f"{outer}.{inner}")


def _dataset(row: Row) -> str | None:
    """The Zeek log of a shipper's data set name: ``zeek.connection`` is ``zeek.conn``."""
    for outer, inner in (("data_stream", "dataset"), ("event", "dataset"), ("fileset", "name")):
        name = _field(row, outer, inner)
        if type(name) is str and (found := stream(name)):
            return f"zeek.{found}"
    return None


def _shipped_file(row: Row) -> str | None:
    """The log of the file a shipper read the record from: Vector's ``file``, Beats' ``log.file.path``."""
    log = row.get("log")
    path = row.get("file")
    if type(log) is dict and type(log.get("file")) is dict:
        path = log["file"].get("path")
    return log_of_hint(path) if type(path) is str else None


_ECS: Final = (
    ("uid", "zeek", "session_id"),
    ("id.orig_h", "source", "address"),
    ("id.orig_h", "source", "ip"),
    ("id.orig_p", "source", "port"),
    ("id.resp_h", "destination", "address"),
    ("id.resp_h", "destination", "ip"),
    ("id.resp_p", "destination", "port"),
    ("ts", "event", "created"),
)


def _from_ecs(row: Row, log: str) -> Row:
    """A record of Filebeat's zeek module, other than a connection, back under Zeek's names.

    The module renames the four-tuple and the time, the rest stays in an object of the log's name.
    """
    nested = _field(row, "zeek", log.removeprefix("zeek."))
    back: Row = dict(nested) if type(nested) is dict else {}
    for name, outer, inner in _ECS:
        value = _field(row, outer, inner)
        if value is not None:
            back.setdefault(name, value)
    back.setdefault("ts", row.get("@timestamp"))
    return back


# --- tags around the record ---


def _tagged(row: Row) -> Found | None:
    """``{"conn": {...}, "zeek_server": "x"}``: a key that names a stream and holds a record of Zeek."""
    for key, value in row.items():
        if type(value) is dict and key != "id" and _recognisable(value):
            found = stream(key)
            return (f"zeek.{found}" if found else zeek_other.OTHER), value, "tag"
    return None


# --- flow exporters ---

GOFLOW2_TYPES: Final = frozenset({"SFLOW_5", "NETFLOW_V5", "NETFLOW_V9", "IPFIX"})


def _exporter(row: Row) -> Found | None:
    """Flow collectors by the names only they use."""
    for name, tells in _EXPORTERS:
        if tells(row):
            return f"netflow.{name}", row, name
    return None


def _is_goflow(row: Row) -> bool:
    kind = row.get("type")
    return (type(kind) is str and kind in GOFLOW2_TYPES) or (
        "time_received_ns" in row and ("src_addr" in row or "sampler_address" in row)
    )


def _is_pmacct(row: Row) -> bool:
    return "ip_src" in row or "peer_ip_src" in row or row.get("event_type") in ("purge_init", "purge_close")


def _is_telegraf(row: Row) -> bool:
    return row.keys() >= {"name", "tags", "fields"} or type(row.get("metrics")) is list


def _is_nfdump(row: Row) -> bool:
    return "first" in row and ("src4_addr" in row or "src6_addr" in row or "in_packets" in row)


def _is_ecs_flow(row: Row) -> bool:
    action = _field(row, "event", "action")
    dataset = _field(row, "event", "dataset") or _field(row, "data_stream", "dataset")
    return (
        (type(action) is str and action.startswith("netflow_"))
        or _field(row, "input", "type") == "netflow"
        or (type(dataset) is str and dataset.startswith("netflow"))
    )


_EXPORTERS: Final[tuple[tuple[str, Callable[[Row], bool]], ...]] = (
    ("goflow2", _is_goflow),
    ("ecs", _is_ecs_flow),
    ("logstash", lambda row: type(row.get("netflow")) is dict),
    ("pmacct", _is_pmacct),
    ("telegraf", _is_telegraf),
    ("nfdump", _is_nfdump),
)


# --- shapes of Zeek's rows, most telling first ---

_FIELDS_MAX: Final = 128  # of a row, that its shape is told by; Zeek's widest log has some eighty

_SHAPES: Final[tuple[tuple[frozenset[str], str], ...]] = (
    (frozenset({"conn_state"}), "conn"),
    (frozenset({"endpoint", "operation"}), "dce_rpc"),
    (frozenset({"named_pipe", "rtt"}), "dce_rpc"),
    (frozenset({"func", "modbus_detailed_link_id"}), "modbus_detailed"),
    (frozenset({"func"}), "modbus"),
    (frozenset({"fc_reply"}), "dnp3"),
    (frozenset({"fc_request"}), "dnp3"),
    (frozenset({"action", "name"}), "smb_files"),
    (frozenset({"action", "path"}), "smb_files"),
    (frozenset({"share_type"}), "smb_mapping"),
    (frozenset({"server_nb_computer_name"}), "ntlm"),
    (frozenset({"domainname", "hostname"}), "ntlm"),
    (frozenset({"request_type"}), "kerberos"),
    (frozenset({"security_protocol"}), "rdp"),
    (frozenset({"cookie", "result"}), "rdp"),
    (frozenset({"auth_attempts"}), "ssh"),
    (frozenset({"trans_id", "query"}), "dns"),
    (frozenset({"trans_id", "rcode"}), "dns"),
    (frozenset({"trans_depth", "method"}), "http"),
    (frozenset({"trans_depth", "status_code"}), "http"),
    (frozenset({"share_flag"}), "rfb"),
    (frozenset({"client_major_version"}), "rfb"),
    (frozenset({"rosctr_code", "function_code"}), "s7comm"),
    (frozenset({"rosctr", "function_status"}), "s7comm_upload_download"),
    (frozenset({"szl_id"}), "s7comm_read_szl"),
    (frozenset({"opcode", "function_code"}), "s7comm_plus"),
    (frozenset({"cip_service_code"}), "cip"),
    (frozenset({"enip_command_code"}), "enip"),
    (frozenset({"bvlc_function"}), "bacnet"),
    (frozenset({"identifier_str"}), "opcua_binary"),
    (frozenset({"message_id", "scope"}), "ldap_search"),
    (frozenset({"message_id", "opcode"}), "ldap"),
    (frozenset({"get_requests"}), "snmp"),
    (frozenset({"command", "reply_code"}), "ftp"),
    (frozenset({"uid", "proto", "history", "orig_pkts"}), "conn"),
)


@lru_cache(maxsize=4096)
def _shape(names: tuple[str, ...]) -> str:
    present = frozenset(names)
    return next((f"zeek.{name}" for shape, name in _SHAPES if shape <= present), zeek_other.OTHER)


def _shaped(row: Row) -> Found | None:
    if not _recognisable(row):
        return None
    return _shape(tuple(row)[:_FIELDS_MAX]), row, "shape"


# --- all together ---

_OUTER: Final = frozenset(
    {"_path", "@stream", "message", "event", "event.original", "data_stream", "fileset", "event.dataset"}
    | {"@metadata", "type", "netflow", "ip_src", "peer_ip_src", "event_type", "name", "metrics", "first"}
    | {"time_received_ns", "input", "data_stream.dataset"}
)
"""Without one of these keys a row with a four-tuple is a bare Zeek row, and its hint or shape decides."""


def detect(row: Row, hinted: str | None) -> Found | str:
    """The log of a record, the record without envelopes, and the rule that told; or why none did.

    Args:
        row: a JSON object.
        hinted: the log that the name of the source speaks of (`log_of_hint`), or None.
    """
    if ("id.orig_h" in row or "id_orig_h" in row) and _OUTER.isdisjoint(row):
        return (hinted, row, "name") if hinted is not None else (_shape(tuple(row)[:_FIELDS_MAX]), row, "shape")
    for _ in range(_ENVELOPES_MAX):
        found = _told(row)
        if found:
            return found
        inner = _inner(row)
        dataset = _dataset(row)
        if inner is None:
            if dataset is not None and type(row.get("zeek")) is dict:
                if dataset == "zeek.conn":
                    return "zeek.ecs_conn", row, "dataset"
                return dataset, _from_ecs(row, dataset), "dataset"
            return _bare(row, dataset or hinted)
        hinted = dataset or _shipped_file(row) or hinted
        row = inner
    return "envelopes in envelopes"


def _bare(row: Row, hinted: str | None) -> Found | str:
    """A record without (further) envelope."""
    found = _exporter(row) or _tagged(row)
    if found:
        return found
    if hinted is not None and (hinted.startswith("netflow.") or _recognisable(row) or "ts" in row):
        return hinted, row, "name"
    return _shaped(row) or "no known log: neither names nor shape tell what this record is"
