"""Logstash's netflow codec: elements under ``netflow``, of v5 and v9 in snake case, of IPFIX in camel case.

``@timestamp`` is the export time. ``out_bytes`` (element 23) counts what left the exporter on some devices
and the reply on others; it is therefore used only where a record has no ``in_bytes``, as one direction's
count.
"""

from typing import Any, Final

from detector.formats.batch import Batch, Context, LogType, Row
from detector.formats.netflow import Layout, flows
from detector.records import Decoded

LAYOUT: Final = Layout(
    orig_h=("ipv4_src_addr", "ipv6_src_addr", "sourceIPv4Address", "sourceIPv6Address"),
    resp_h=("ipv4_dst_addr", "ipv6_dst_addr", "destinationIPv4Address", "destinationIPv6Address"),
    orig_p=("l4_src_port", "sourceTransportPort"),
    resp_p=("l4_dst_port", "destinationTransportPort"),
    proto=("protocol", "protocolIdentifier"),
    orig_bytes=(
        "in_bytes",
        "octetDeltaCount",
        "octetTotalCount",
        "initiatorOctets",
        "fwd_flow_delta_bytes",
        "in_permanent_bytes",
        "out_bytes",
        "postOctetDeltaCount",
    ),
    orig_pkts=(
        "in_pkts",
        "packetDeltaCount",
        "packetTotalCount",
        "initiatorPackets",
        "in_permanent_pkts",
        "out_pkts",
        "postPacketDeltaCount",
    ),
    resp_bytes=(
        "reverseOctetDeltaCount",
        "reverseOctetTotalCount",
        "responderOctets",
        "rev_flow_delta_bytes",
    ),
    resp_pkts=("reversePacketDeltaCount", "reversePacketTotalCount", "responderPackets"),
    orig_flags=("tcp_flags", "tcpControlBits"),
    resp_flags=("reverseTcpControlBits",),
    start=(
        "first_switched",
        "flow_start_msec",
        "flowStartMilliseconds",
        "flowStartSeconds",
        "flowStartMicroseconds",
        "flowStartNanoseconds",
    ),
    end=(
        "last_switched",
        "flow_end_msec",
        "flowEndMilliseconds",
        "flowEndSeconds",
        "flowEndMicroseconds",
        "flowEndNanoseconds",
        "event_time_msec",
        "observationTimeMilliseconds",
    ),
    received=("@timestamp",),
    exporter=("@exporter",),
    sampling=("sampling_interval", "samplingInterval", "samplingPacketInterval"),
    reversed=("biflowDirection",),
    initiator=("initiatorOctets", "initiatorPackets"),
)


def convert(batch: Batch, context: Context) -> Decoded:
    """One direction a row, or both where the exporter sends reverse or responder counters."""
    rows = [_flat(row) for row in batch.rows]
    return flows(Batch(batch.log, batch.source, batch.positions, rows), context, LAYOUT, _options)


def _flat(row: Row) -> Row:
    elements = row.get("netflow")
    if not isinstance(elements, dict):
        return row
    return {**elements, "@timestamp": row.get("@timestamp"), "@exporter": _host(row.get("host"))}


def _host(host: Any) -> Any:
    """``host`` is the exporter's address, or with ECS naming an object that has it."""
    return host.get("ip") or host.get("name") if isinstance(host, dict) else host


def _options(row: Row) -> str | None:
    is_options = any(name.startswith("scope_") for name in row)
    return "options record" if is_options else None


LOG_TYPE: Final = LogType("netflow.logstash", convert)
