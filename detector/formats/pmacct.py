"""pmacct (nfacctd, sfacctd, pmacctd) JSON: which fields a record has is the operator's ``aggregate`` list.

Times are strings: local text without a zone, epoch seconds, or RFC 3339/9557. ``sampling_rate`` is 1 when
pmacct has already scaled the counters, 0 when it is not known (CONFIG-KEYS, "aggregate"). With
``kafka_history`` flows are summed over a period and only ``stamp_inserted`` and ``stamp_updated`` are left.
"""

from typing import Final

from detector.formats.batch import Batch, Context, LogType, Row
from detector.formats.netflow import Layout, flows
from detector.records import Decoded

LAYOUT: Final = Layout(
    orig_h=("ip_src",),
    resp_h=("ip_dst",),
    orig_p=("port_src",),
    resp_p=("port_dst",),
    proto=("ip_proto",),
    orig_bytes=("bytes",),
    orig_pkts=("packets",),
    orig_flags=("tcp_flags",),
    start=("timestamp_start", "timestamp_min", "stamp_inserted"),
    end=("timestamp_end", "timestamp_max"),
    received=("timestamp_arrival", "stamp_updated", "timestamp_export"),
    exporter=("peer_ip_src",),
    sampling=("sampling_rate",),
)


def convert(batch: Batch, context: Context) -> Decoded:
    """One direction of a conversation a row; the markers around a purge are no traffic."""
    return flows(batch, context, LAYOUT, _marker)


def _marker(row: Row) -> str | None:
    event = row.get("event_type")
    return "purge marker" if isinstance(event, str) and event.startswith("purge_") else None


LOG_TYPE: Final = LogType("netflow.pmacct", convert)
