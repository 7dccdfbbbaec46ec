"""Argus flows as ``ra`` prints them to ``.binetflow`` files: CSV or TSV, columns by name.

Argus matches both directions itself. ``Dir`` tells who started: ``->`` and ``<->`` the source, ``<-`` the
destination; a question mark (``<?>``, ``?>``, ``<?``) that Argus did not see the start, and then the record
is not ``oriented``, though its reply counters are real. ``Dur`` is seconds; times are local, without a
zone, and near 1970 when a capture was replayed.
"""

import re
from typing import Any, Final

from detector.formats.address import canonical
from detector.formats.batch import Batch, Context, LogType, Row
from detector.formats.fields import BadValue, evidence
from detector.formats.flow_values import whole
from detector.formats.netflow import Layout, flows
from detector.records import Decoded, Reject

NAME: Final = "netflow.argus"
CSV_NAMES: Final = frozenset(
    {
        "StartTime",
        "LastTime",
        "Dur",
        "Proto",
        "SrcAddr",
        "Sport",
        "Dir",
        "DstAddr",
        "Dport",
        "State",
        "TotPkts",
        "SrcPkts",
        "DstPkts",
        "TotBytes",
        "SrcBytes",
        "DstBytes",
    }
)

LAYOUT: Final = Layout(
    orig_h=("orig_h",),
    resp_h=("resp_h",),
    orig_p=("orig_p",),
    resp_p=("resp_p",),
    proto=("Proto",),
    orig_bytes=("orig_bytes",),
    orig_pkts=("orig_pkts",),
    resp_bytes=("resp_bytes",),
    resp_pkts=("resp_pkts",),
    orig_flags=("orig_flags",),
    resp_flags=("resp_flags",),
    oriented=("oriented",),
    start=("StartTime",),
    end=("LastTime",),
    duration=("Dur",),
    implied_end=True,
    relative_times=True,
)

_MAC: Final = re.compile(r"(?:[0-9a-fA-F]{1,2}:){5}[0-9a-fA-F]{1,2}")
_TCP_STATE: Final = re.compile(r"([FSRPAUEC]*)_([FSRPAUEC]*)")  # flags of both sides: FSPA_FSRPA, S_
_SIDES: Final = ("Src", "Dst")


def convert(batch: Batch, context: Context) -> Decoded:
    """One conversation a row, initiator first; management and link-layer records are no traffic."""
    rows: list[Row] = []
    positions: list[int] = []
    rejects: list[Reject] = []
    for position, row in zip(batch.positions, batch.rows, strict=True):
        try:
            rows.append(_flow(row))
            positions.append(position)
        except BadValue as problem:
            reason = f"{batch.log}: {problem.reason}"
            rejects.append(Reject(batch.source, position, reason, evidence(row), problem.detail))
    decoded = flows(Batch(batch.log, batch.source, positions, rows), context, LAYOUT, _not_traffic)
    decoded.rejects = sorted([*decoded.rejects, *rejects], key=lambda reject: reject.position)
    return decoded


def _not_traffic(row: Row) -> str | None:
    match str(row.get("Proto")).strip().lower():
        case "man":
            return "management record"
        case "arp" | "rarp":
            return "ARP record"
    for name in ("orig_h", "resp_h"):
        address = row.get(name)
        if isinstance(address, str) and _MAC.fullmatch(address) and canonical(address) is None:
            return "no address pair"
    return None


def _flow(row: Row) -> Row:
    """The row with our names for the two sides; what is not renamed stays as evidence."""
    orig_octets, resp_octets = _both(row, "Bytes")
    orig_packets, resp_packets = _both(row, "Pkts")
    flow = {
        **row,
        "StartTime": _dashed(row.get("StartTime")),
        "LastTime": _dashed(row.get("LastTime")),
        "orig_h": row.get("SrcAddr"),
        "resp_h": row.get("DstAddr"),
        "orig_p": row.get("Sport"),
        "resp_p": row.get("Dport"),
        "orig_bytes": orig_octets,
        "resp_bytes": resp_octets,
        "orig_pkts": orig_packets,
        "resp_pkts": resp_packets,
    }
    if state := _TCP_STATE.fullmatch(str(row.get("State", "")).strip()):
        flow["orig_flags"], flow["resp_flags"] = state.groups()
    return _directed(flow)


def _both(row: Row, unit: str) -> tuple[int | None, int | None]:
    """The counters of source and destination; Argus prints the source's and the total, or both."""
    source, destination, total = (
        None if (value := row.get(side + unit)) in (None, "") else whole(value) for side in (*_SIDES, "Tot")
    )
    if destination is None and source is not None and total is not None:
        if source > total:
            raise BadValue(f"Src{unit}: more than Tot{unit}", f"{source} of {total}")
        destination = total - source
    return source, destination


def _dashed(time: Any) -> Any:
    return time.replace("/", "-", 2) if isinstance(time, str) else time


def _directed(flow: Row) -> Row:
    """``Dir`` may have words before the arrow; only the arrow counts."""
    words = str(flow.get("Dir", "")).split()
    arrow = words[-1] if words else ""
    flow["oriented"] = arrow in ("->", "<->", "<-")
    if arrow == "<-":
        for name in ("h", "p", "bytes", "pkts", "flags"):
            orig, resp = flow.get(f"orig_{name}"), flow.get(f"resp_{name}")
            flow[f"orig_{name}"], flow[f"resp_{name}"] = resp, orig
    return flow


LOG_TYPE: Final = LogType(NAME, convert)
