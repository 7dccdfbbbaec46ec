"""Elastic's ECS documents: Filebeat's and Elastic Agent's netflow input, and Filebeat's Zeek connection.

A document on Kafka was not yet through Elasticsearch's ingest pipeline, an exported one was. The netflow
input fills the ECS fields itself, so both are alike but for types (``network.iana_number`` is text after
ingest). It sets ``event.start`` and ``event.end`` only from uptimes; absolute times stay in ``netflow.*``.
``@timestamp`` is the export time. Documents nest objects or have dotted keys; both are read.
"""

from typing import Any, Final
from zoneinfo import ZoneInfo

from detector.formats import columns
from detector.formats.batch import Batch, Context, LogType, Row
from detector.formats.fields import BadValue, micros
from detector.formats.netflow import Layout, flows
from detector.records import Decoded

LAYOUT: Final = Layout(
    orig_h=("source.ip", "source.address"),
    resp_h=("destination.ip", "destination.address"),
    orig_p=("source.port",),
    resp_p=("destination.port",),
    proto=("network.iana_number", "network.transport", "netflow.protocol_identifier"),
    orig_bytes=("source.bytes",),
    orig_pkts=("source.packets",),
    resp_bytes=("destination.bytes",),
    resp_pkts=("destination.packets",),
    orig_flags=("netflow.tcp_control_bits",),
    resp_flags=("netflow.reverse_tcp_control_bits",),
    start=(
        "event.start",
        "netflow.flow_start_milliseconds",
        "netflow.flow_start_microseconds",
        "netflow.flow_start_nanoseconds",
        "netflow.flow_start_seconds",
    ),
    end=(
        "event.end",
        "netflow.flow_end_milliseconds",
        "netflow.flow_end_microseconds",
        "netflow.flow_end_nanoseconds",
        "netflow.flow_end_seconds",
        "netflow.observation_time_milliseconds",
    ),
    received=("@timestamp", "netflow.exporter.timestamp"),
    exporter=("netflow.exporter.address", "observer.ip"),
    sampling=("netflow.sampling_interval", "netflow.sampling_packet_interval"),
)

_PATHS: Final = {
    name: tuple(name.split("."))
    for field in LAYOUT.__slots__
    if isinstance(names := getattr(LAYOUT, field), tuple)
    for name in (*names, "netflow.type", "event.action")
}
_CONNECTION: Final = {
    "uid": ("zeek.session_id",),
    "orig_h": ("source.address", "source.ip"),
    "orig_p": ("source.port",),
    "resp_h": ("destination.address", "destination.ip"),
    "resp_p": ("destination.port",),
    "proto": ("network.transport",),
    "service": ("network.application", "network.protocol"),
    "conn_state": ("zeek.connection.state", "zeek.connection.conn_state"),
    "orig_bytes": ("source.bytes",),
    "resp_bytes": ("destination.bytes",),
    "orig_pkts": ("source.packets",),
    "resp_pkts": ("destination.packets",),
}
_NANOSECONDS: Final = 1e-9
_UTC: Final = ZoneInfo("UTC")


def dig(row: Row, name: str) -> Any:
    """The value at a dotted name: a dotted key, or nested objects; None when there is none."""
    return row[name] if name in row else _nested(row, tuple(name.split(".")))


def _nested(row: Row, path: tuple[str, ...]) -> Any:
    value: Any = row
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def convert(batch: Batch, context: Context) -> Decoded:
    """One direction a row, or both where the exporter sends reverse or responder counters."""
    rows = [_flat(row) for row in batch.rows]
    return flows(Batch(batch.log, batch.source, batch.positions, rows), context, LAYOUT, _options)


def _flat(row: Row) -> Row:
    values = ((name, row.get(name, _nested(row, path))) for name, path in _PATHS.items())
    return {name: value for name, value in values if value is not None}


def _options(row: Row) -> str | None:
    kind = row.get("netflow.type", row.get("event.action"))
    return "options record" if kind == "netflow_options" else None


def convert_connection(batch: Batch, context: Context) -> Decoded:
    """Filebeat's ECS-ised Zeek connection; ``source.bytes`` are IP bytes, the module drops ``orig_bytes``."""
    rows = [_connection(row) for row in batch.rows]
    return columns.convert(Batch(batch.log, batch.source, batch.positions, rows), context)


def _connection(row: Row) -> Row:
    flat = {name: _first(row, names) for name, names in _CONNECTION.items()}
    flat["oriented"] = True
    flat["ts"], flat["duration"] = _clock(row)
    return {name: value for name, value in flat.items() if value is not None}


def _first(row: Row, names: tuple[str, ...]) -> Any:
    return next((value for name in names if (value := dig(row, name)) is not None), None)


def _clock(row: Row) -> tuple[Any, Any]:
    """(start, seconds). The unit of ``event.duration`` depends on where the document was taken.

    The module moves Zeek's ``ts`` and ``duration`` (seconds) to ``event.created`` and ``event.duration``,
    later versions to ``zeek.connection.ts`` and ``temp.duration``. The ingest pipeline moves the start on
    to ``@timestamp``, puts the time of reading into ``event.created`` and makes the duration nanoseconds.
    As a log is read after the connection began, the earlier of the two times is the start, and tells on
    which side we are.
    """
    moved = dig(row, "zeek.connection.ts")
    if moved is not None:
        seconds = dig(row, "temp.duration")
        return moved, seconds if seconds is not None else dig(row, "event.duration")
    created, stamped = dig(row, "event.created"), dig(row, "@timestamp")
    duration = dig(row, "event.duration")
    if dig(row, "event.ingested") is None and _at(created) <= _at(stamped):
        return created, duration
    return stamped, _scaled(duration)


def _at(time: Any) -> float:
    """µs, or the end of time for what is no time."""
    try:
        return micros(time, _UTC)
    except BadValue:
        return float("inf")


def _scaled(duration: Any) -> Any:
    if isinstance(duration, int | float) and not isinstance(duration, bool):
        return duration * _NANOSECONDS
    return duration


LOG_TYPE: Final = LogType("netflow.ecs", convert)
CONNECTION_LOG_TYPE: Final = LogType("zeek.ecs_conn", convert_connection)
