"""goflow2 v2 and v3: one JSON object (or protobuf message, see `goflow2_protobuf`) per flow.

Names and units as in goflow2's ``flow.proto`` and mapping documentation: times are integer nanoseconds,
``proto`` is an IANA name unless the renderer is switched off, addresses are text and empty when the packet
had none.
"""

from typing import Final

from detector.formats.batch import Batch, Context, LogType
from detector.formats.netflow import Layout, flows
from detector.records import Decoded

LAYOUT: Final = Layout(
    orig_h=("src_addr",),
    resp_h=("dst_addr",),
    orig_p=("src_port",),
    resp_p=("dst_port",),
    proto=("proto",),
    orig_bytes=("bytes",),
    orig_pkts=("packets",),
    orig_flags=("tcp_flags",),
    start=("time_flow_start_ns",),
    end=("time_flow_end_ns",),
    received=("time_received_ns",),
    exporter=("sampler_address",),
    sampling=("sampling_rate",),
    missing_port=0,  # proto3 does not send zeros, and a field list may leave them out of the JSON
)


def convert(batch: Batch, context: Context) -> Decoded:
    """One direction of a conversation a row; sFlow and sampled flows are scaled up by ``sampling_rate``."""
    return flows(batch, context, LAYOUT)


LOG_TYPE: Final = LogType("netflow.goflow2", convert)
