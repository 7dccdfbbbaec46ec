"""nfdump's text outputs: ``-o csv`` before and after 1.7.5, ``-o csv-fast``, ``-o json`` and ``-o ndjson``.

All text times are local times of the machine that ran nfdump, without a zone: ``Context.timezone``. nfcapd
has already scaled sampled counters, so nothing is scaled here.

JSON of some 1.7 versions before 2024-10-18 has the *packets* in ``in_bytes`` (1.7.1 is right). The record
does not tell which version wrote it, so this cannot be detected: take the CSV of these versions where bytes
matter. ``-B -o json`` of 1.7.1 also leaves out the reply counters that ``-B -o csv`` has.
"""

from typing import Final

from detector.formats.batch import Batch, Context, LogType, Row
from detector.formats.netflow import Layout, flows
from detector.records import Decoded

NAME: Final = "netflow.nfdump"

LAYOUT: Final = Layout(
    orig_h=("sa", "srcAddr", "src4_addr", "src6_addr"),
    resp_h=("da", "dstAddr", "dst4_addr", "dst6_addr"),
    orig_p=("sp", "srcPort", "src_port"),
    resp_p=("dp", "dstPort", "dst_port"),
    proto=("pr", "proto"),
    orig_bytes=("ibyt", "bytes", "in_bytes"),
    orig_pkts=("ipkt", "packets", "in_packets"),
    resp_bytes=("obyt", "out_bytes"),
    resp_pkts=("opkt", "out_packets"),
    orig_flags=("flg", "flags", "tcp_flags"),
    start=("ts", "firstSeen", "first"),
    end=("te", "lastSeen", "last"),
    duration=("td", "duration"),
    received=("tr", "received"),
    exporter=("ra", "ip4_router", "ip6_router"),
    zero_is_no_reply=True,  # both CSV columns are always printed
    implied_end=True,  # the ten-column CSV has a duration instead
)

CSV_NAMES: Final = frozenset(
    name
    for names in (getattr(LAYOUT, field) for field in LAYOUT.__slots__)
    if isinstance(names, tuple)
    for name in names
)
"""Columns that are read; the other of the 48 are left in the line."""


def convert(batch: Batch, context: Context) -> Decoded:
    """One flow a row; with reply counters (``-B``, biflow exporters) both directions of it."""
    return flows(batch, context, LAYOUT, _statistics)


def _statistics(row: Row) -> str | None:
    kind = row.get("type")
    return f"{kind} record" if isinstance(kind, str) and kind not in ("FLOW", "EVENT") else None


LOG_TYPE: Final = LogType(NAME, convert)
