"""Telegraf's ``inputs.netflow`` through its JSON serializer: a metric a message, or ``{"metrics": [...]}``.

Times of v5 and v9 records are milliseconds of the exporter's uptime; the metric's own time, in whole
seconds unless configured otherwise, is the export time they hang on.
"""

from typing import Any, Final
from zoneinfo import ZoneInfo

from detector.formats.batch import Batch, Context, LogType, Row
from detector.formats.fields import BadValue, micros
from detector.formats.netflow import Layout, flows
from detector.records import Decoded

LAYOUT: Final = Layout(
    orig_h=("src",),
    resp_h=("dst",),
    orig_p=("src_port",),
    resp_p=("dst_port",),
    proto=("protocol",),
    orig_bytes=("in_bytes", "in_total_bytes", "initiator_bytes", "out_bytes"),
    orig_pkts=("in_packets", "in_total_packets", "initiator_packets", "out_packets"),
    resp_bytes=("responder_bytes",),
    resp_pkts=("responder_packets",),
    orig_flags=("tcp_flags",),
    start=("flow_start_ms", "flow_start_us", "flow_start_ns", "flow_start", "@start"),
    end=("flow_end_ms", "flow_end_us", "flow_end_ns", "flow_end", "event_time_ms", "@end"),
    received=("@timestamp",),
    exporter=("@exporter",),
    sampling=("sampling_interval",),
    reversed=("biflow_direction",),
    initiator=("initiator_bytes", "initiator_packets"),
)

_V5_INTERVAL: Final = 0x3FFF  # the two bits above are the sampling mode; Telegraf leaves them in
_UTC: Final = ZoneInfo("UTC")


def convert(batch: Batch, context: Context) -> Decoded:
    """One direction a row; a message with several metrics counts as that many records."""
    rows: list[Row] = []
    positions: list[int] = []
    for position, row in zip(batch.positions, batch.rows, strict=True):
        metrics = row.get("metrics")
        for metric in metrics if isinstance(metrics, list) and metrics else (row,):
            rows.append(_flat(metric) if isinstance(metric, dict) else {"metric": metric})
            positions.append(position)
    return flows(Batch(batch.log, batch.source, positions, rows), context, LAYOUT)


def _flat(metric: Row) -> Row:
    fields, tags = metric.get("fields"), metric.get("tags")
    if not isinstance(fields, dict):
        return metric
    tags = tags if isinstance(tags, dict) else {}
    flat = {**fields, "@timestamp": metric.get("timestamp"), "@exporter": tags.get("source")}
    flat["@start"], flat["@end"] = _uptimes(flat)
    interval = flat.get("sampling_interval")
    if isinstance(interval, int) and tags.get("version") == "NetFlowV5":
        flat["sampling_interval"] = interval & _V5_INTERVAL
    return flat


def _uptimes(flat: Row) -> tuple[int | None, int | None]:
    """Absolute start and end, µs, of a record that tells them in the exporter's uptime, ms."""
    uptime, first, last = (flat.get(name) for name in ("sys_uptime", "first_switched", "last_switched"))
    try:
        exported = micros(flat.get("@timestamp"), _UTC)
    except BadValue:
        return None, None
    return _before(exported, uptime, first), _before(exported, uptime, last)


def _before(exported: int, uptime: Any, switched: Any) -> int | None:
    if not isinstance(uptime, int) or not isinstance(switched, int) or not 0 <= uptime - switched < 2**32:
        return None
    return max(exported - (uptime - switched) * 1_000, 0)


LOG_TYPE: Final = LogType("netflow.telegraf", convert)
