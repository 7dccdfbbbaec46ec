"""Flows as sensors write them: Zeek JSON, Zeek tab-separated, goflow2 JSON. One line a record, without line feeds."""

from collections.abc import Iterator
from typing import Any, Final

import orjson
import polars as pl

_MICRO: Final = 1e6
_ANALYZERS: Final = {"smb": "gssapi,smb"}  # as Zeek lists those that agreed
_FROM_FLOW: Final = (
    "ts", "uid", "orig_h", "orig_p", "resp_h", "resp_p", "proto", "service", "duration", "orig_bytes", "resp_bytes",
    "conn_state", "orig_pkts", "resp_pkts", "exporter", "obs_ts", "position",
)  # fmt: skip
CONN: Final = {
    "ts": "time", "uid": "string", "id.orig_h": "addr", "id.orig_p": "port", "id.resp_h": "addr", "id.resp_p": "port",
    "proto": "enum", "service": "string", "duration": "interval", "orig_bytes": "count", "resp_bytes": "count",
    "conn_state": "string", "local_orig": "bool", "local_resp": "bool", "missed_bytes": "count", "history": "string",
    "orig_pkts": "count", "orig_ip_bytes": "count", "resp_pkts": "count", "resp_ip_bytes": "count",
    "_system_name": "string",
}  # fmt: skip
"""Zeek's columns of conn.log and their types, and the name of the sensor as Corelight adds it."""
TSV_HEADER: Final = [
    b"#separator \\x09",
    b"#set_separator\t,",
    b"#empty_field\t(empty)",
    b"#unset_field\t-",
    b"#path\tconn",
    b"#fields\t" + "\t".join(CONN).encode(),
    b"#types\t" + "\t".join(CONN.values()).encode(),
]
_SYN, _ALL_FLAGS = 2, 27
_NANO: Final = 1_000
_EXPORT_US: Final = 1_000_000  # from a flow's end to its export


def records(flows: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """What Zeek knows of each flow, in its order, None where it knows nothing."""
    for row in flows.select(_FROM_FLOW).iter_rows():
        ts, uid, src, sport, dst, dport, proto, service, duration, sent, got, state, out, back, sensor, _, number = row
        local = True if number % 3 else None  # `Site::local_nets` is not always set
        yield {
            "ts": ts / _MICRO, "uid": uid, "id.orig_h": src, "id.orig_p": sport, "id.resp_h": dst, "id.resp_p": dport,
            "proto": proto, "service": _ANALYZERS.get(service, service), "duration": duration,
            "orig_bytes": sent, "resp_bytes": got, "conn_state": state, "local_orig": local, "local_resp": local,
            "missed_bytes": 0, "history": "S" if state == "S0" else "ShADadFf", "orig_pkts": out,
            "orig_ip_bytes": (sent or 0) + 40 * out, "resp_pkts": back, "resp_ip_bytes": (got or 0) + 40 * back,
            "_system_name": sensor,
        }  # fmt: skip


def zeek_json(flows: pl.DataFrame) -> list[bytes]:
    """As Zeek's JSON writer: what is not set is left out."""
    return [orjson.dumps({name: value for name, value in row.items() if value is not None}) for row in records(flows)]


def zeek_tsv(flows: pl.DataFrame) -> list[bytes]:
    """As Zeek's ASCII writer, under `TSV_HEADER`."""
    return ["\t".join(map(_cell, row.values())).encode() for row in records(flows)]


def goflow2_json(flows: pl.DataFrame) -> list[bytes]:
    """As goflow2 v2 writes what an exporter saw: one record a direction, so two of a conversation."""
    lines = []
    for row in flows.select(_FROM_FLOW).iter_rows():
        ts, _, src, sport, dst, dport, proto, _, _, sent, got, state, out, back, _, end, number = row
        shared = {"time_flow_start_ns": ts * _NANO, "time_flow_end_ns": end * _NANO, "sequence_num": number}
        shared["time_received_ns"] = (end + _EXPORT_US) * _NANO
        lines.append(_direction(shared, proto, (src, sport), (dst, dport), (sent or 40 * out, out)))
        if state != "S0":
            lines.append(_direction(shared, proto, (dst, dport), (src, sport), (got, back)))
    return lines


def _direction(
    shared: dict[str, int], proto: str, src: tuple[str, int], dst: tuple[str, int], counts: tuple[int, int]
) -> bytes:
    """One record; ends are address and port, counts bytes and packets."""
    flags = 0 if proto == "udp" else _SYN if counts[1] == 1 else _ALL_FLAGS
    return orjson.dumps(
        {
            "type": "NETFLOW_V9", **shared, "sampling_rate": 1, "sampler_address": "192.0.2.1", "bytes": counts[0],
            "packets": counts[1], "src_addr": src[0], "dst_addr": dst[0],
            "etype": "IPv6" if ":" in src[0] else "IPv4", "proto": proto.upper(), "src_port": src[1],
            "dst_port": dst[1], "in_if": 3, "out_if": 4, "src_mac": "00:00:5e:00:53:01",
            "dst_mac": "00:00:5e:00:53:02", "src_vlan": 0, "dst_vlan": 0, "vlan_id": 0, "ip_tos": 0,
            "forwarding_status": 64, "ip_ttl": 0, "tcp_flags": flags, "icmp_type": 0, "icmp_code": 0,
            "next_hop": "10.0.0.1", "src_net": "10.0.0.0/16", "dst_net": "10.0.0.0/16",
        }
    )  # fmt: skip


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "T" if value else "F"
        case float():
            return f"{value:.6f}"
        case str():
            return value.replace("\\", "\\x5c")
        case _:
            return str(value)
