"""The compiled reader of goflow2's JSON changes nothing but the time it takes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.formats.goflow2_lines import Goflow2Lines
from detector.records import Decoded, Lines
from tests.formats import usual
from tests.formats.test_conn_lines import USUAL as CONN
from tests.formats.test_netflow_golden import GOLDEN
from tests.formats.usual import SOURCE

END = 1_760_000_005_000_050_000  # ns
PLAIN: dict[str, Any] = {
    "type": "NETFLOW_V9", "time_received_ns": END + 10**9, "sequence_num": 7, "sampling_rate": 1,
    "sampler_address": "192.0.2.1", "time_flow_start_ns": END - 10**9 - 1, "time_flow_end_ns": END,
    "bytes": 340, "packets": 2, "src_addr": "10.0.8.164", "dst_addr": "10.0.73.107", "etype": "IPv4", "proto": "TCP",
    "src_port": 44950, "dst_port": 161, "in_if": 3, "src_mac": "00:00:5e:00:53:01", "tcp_flags": 27, "as_path": [],
    "layer_stack": ["Ethernet", "IPv4"], "layer_size": [14, 20], "next_hop": "", "src_net": "10.0.0.0/16",
}  # fmt: skip


def put(**changes: Any) -> bytes:
    return orjson.dumps({key: value for key, value in (PLAIN | changes).items() if value is not ...})


USUAL = put()


def same(lines: Sequence[bytes], size: int | None = None, **how: Any) -> list[Decoded]:
    return usual.same(lines, size, before=[USUAL], **({"hint": "flows"} | how))


def taken(lines: Sequence[bytes]) -> list[int]:
    """The numbers of the lines that are read by the compiled reader."""
    return Goflow2Lines(SOURCE).read(Lines.of(list(lines)), np.arange(len(lines))).lines.tolist()


times = st.integers(END - 10**15, END + 10**15) | st.sampled_from([0, END, END // 10**9, END // 1000, 2**63])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(["SFLOW_5", "IPFIX", "FLOWUNKNOWN", "", 4]),
    "time_received_ns": times,
    "time_flow_start_ns": times,
    "time_flow_end_ns": times,
    "sampling_rate": st.sampled_from([0, 1, 2, 1000, 2**40, 2**63 - 1, "7"]),
    "sampler_address": st.sampled_from(["", "192.0.2.7:2055", "[fe80::1]:9", "0.0.0.0", "north", "x" * 41]),  # noqa: S104
    "bytes": st.integers(0, 2**64) | st.just(340.0),
    "packets": st.integers(-1, 2**40),
    "src_addr": st.sampled_from(["::ffff:10.0.0.1", "", "0.0.0.0", "::", "fe80::1", "10.0.0.256", "x"]),  # noqa: S104
    "dst_addr": st.sampled_from(["", "0.0.0.0", "::", "010.001.002.003", "ff02::1"]),  # noqa: S104
    "proto": st.sampled_from(["UDP", "ICMP", "IPv6-ICMP", "unassigned", "", 6, "17", "300", "a b", "unknown (89)"]),
    "src_port": st.sampled_from([0, 65_535, 65_536, "80", ""]),
    "dst_port": st.sampled_from([0, 65_535, 70_000, 8.0]),
    "tcp_flags": st.sampled_from([0, 65_535, 65_536, "...A.", "0x1b"]),
    "as_path": st.lists(st.integers(0, 9) | st.sampled_from(["", "a", None, 1.5]), max_size=3),
}
ODD = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=9) | st.just({"a": 1})


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A line of some odd values, some gone, some twice, in any order, maybe wounded."""
    row = dict(PLAIN)
    for name in draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=4)):
        row[name] = draw(VALUES[name])
    for name in draw(st.lists(st.sampled_from(sorted(row)), max_size=2)):
        row.pop(name, None)
    for name in draw(st.lists(st.sampled_from([*row, "extra", "message", "id.orig_h", "_path"]), max_size=1)):
        row[name] = draw(ODD)
    if draw(st.booleans()):
        row = dict(draw(st.permutations(list(row.items()))))
    line = bytearray(json.dumps(row, separators=(",", ":")).encode())
    match draw(st.sampled_from(["", "", "", "put", "cut", "twice"])):
        case "put":
            line[draw(st.integers(0, len(line) - 1))] = draw(st.integers(0, 255))
        case "cut":
            del line[draw(st.integers(0, len(line))) :]
        case "twice":
            line[1:1] = line[1:].split(b",")[0] + b","
    return bytes(line)


anything = lines() | st.sampled_from([USUAL, CONN, b"", b"{}", b"#fields\tts\tuid", b'{"message":"x"}'])


@given(st.lists(anything, max_size=10), st.integers(1, 10), st.sampled_from(["flows", "conn.log"]))
def test_the_general_path_alone_says_the_same(some: list[bytes], size: int, hint: str) -> None:
    same(some, size, hint=hint)


@given(st.lists(anything, max_size=6), st.sampled_from(["netflow.goflow2", "netflow.pmacct", "zeek.conn"]))
def test_a_format_given_by_hand_is_kept(some: list[bytes], format: str) -> None:
    same(some, format=format)


@pytest.mark.parametrize(
    "line",
    [
        USUAL,
        put(type=...),
        put(time_received_ns=...),
        put(proto="ICMP", src_port=7, dst_port=9),
        put(proto="UDP", tcp_flags=27),
        put(src_port=..., dst_port=..., tcp_flags=..., sampling_rate=..., sampler_address=..., bytes=...),
        put(sampling_rate=1000, bytes=(2**63 - 1) // 1000),
        put(sampling_rate=0),
        put(ipv6_routing_header_addresses=["fe80::1"], ipv6_routing_header_seg_left=0),
        orjson.dumps(dict(reversed(PLAIN.items()))),
    ],
)
def test_taken(line: bytes) -> None:
    assert taken([line]) == [0]
    (found,) = same([line])
    assert found.flows.height == 1


@pytest.mark.parametrize(
    "line",
    [
        put(type="x", time_received_ns=...),
        put(sampling_rate=1000, bytes=(2**63 - 1) // 1000 + 1),
        put(time_flow_end_ns=0),
        put(time_flow_end_ns=END // 1000),
        put(time_flow_start_ns=END + 1000),
        put(time_received_ns=END - 10**10),
        put(time_received_ns=END + 10**14),
        put(time_received_ns=0),
        put(src_addr="0.0.0.0", dst_addr="0.0.0.0"),  # noqa: S104
        put(src_addr=""),
        put(proto=6),
        put(proto="a b?"),
        put(src_port=65_536),
        put(tcp_flags=65_536),
        put(bytes=2**63),
        put(extra=1),
        put(as_path=[None]),
    ],
)
def test_left(line: bytes) -> None:
    assert taken([USUAL, line, USUAL]) == [0, 2]
    same([USUAL, line, USUAL])


def test_golden_files() -> None:
    for path in sorted((GOLDEN / "netflow.goflow2").glob("*.ndjson")):
        rows = path.read_bytes().splitlines()
        same(rows)
        same(rows, 1)


def test_two_logs_in_one_topic() -> None:
    (found,) = same([USUAL, CONN, CONN, b"?", USUAL, *[CONN] * 5, USUAL])
    assert found.flows["position"].is_sorted()
    assert found.flows["log"].value_counts(sort=True)["count"].to_list() == [7, 3]
    assert len(found.rejects) == 1
    again: list[Decoded] = same([CONN, USUAL] * 20, 4, hint="conn.log")
    assert sum(part.flows.height for part in again) == 40


def test_recorded_flows(shared_data: Path) -> None:
    """Records of other exporters are left as they were."""
    for path in sorted((shared_data / "netflow").rglob("*.json")):
        if path.stat().st_size < 4 << 20:
            same([line for line in path.read_bytes().splitlines() if line.strip()][:2000])
