"""What no bytes may do to the flow formats: raise, lose a record, or change another record's row."""

from typing import Any

import orjson
import pytest
from google.protobuf.internal.encoder import _VarintBytes as varint
from hypothesis import given
from hypothesis import strategies as st

from detector.formats import csv_header, goflow2_protobuf
from detector.formats.batch import Context, Row
from detector.formats.fields import BadValue
from detector.formats.goflow2_protobuf import _Flow
from detector.records import FLOW
from tests.formats.lines import LOG_TYPES, convert
from tests.formats.test_netflow_golden import GOLDEN

START = 1_760_000_000  # s, 2025-10-09


def samples(log: str) -> list[Row]:
    """The rows of the golden files of one log, as their reader gives them."""
    rows: list[Row | None] = []
    for path in sorted((GOLDEN / log).glob("*")):
        lines = path.read_bytes().splitlines()
        if path.suffix == ".ndjson":
            rows += [orjson.loads(line) for line in lines]
        elif path.suffix in (".csv", ".tsv", ".binetflow"):
            reader = csv_header.match(lines[0], Context(columns=None))
            rows += [] if reader is None else [row for line in lines[1:] if (row := tried(reader, line))]
    return [row for row in rows if row is not None and "metrics" not in row]


def tried(reader: csv_header.CsvReader, line: bytes) -> Row | None:
    try:
        return reader.row(line)
    except BadValue:
        return None


SAMPLES = {log: samples(log) for log in LOG_TYPES}

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from(
        [
            "",
            "-",
            "0",
            "0x1b",
            "::ffff:10.0.0.1",
            "::",
            "0.0.0.0",  # noqa: S104 - an address in a record
            "1970-01-01",
            "0000-00-00 00:00:00",
            "tcp",
            "..A.",
        ]
    )
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def paths(row: Row, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in row.items():
        found.append((*prefix, key))
        if isinstance(value, dict):
            found += paths(value, (*prefix, key))
    return found


def damaged(row: Row, path: tuple[str, ...], value: Any) -> Row:
    copy: Row = orjson.loads(orjson.dumps(row))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


@st.composite
def hostile_rows(draw: st.DrawFn, log: str) -> Row:
    if draw(st.booleans()):
        return draw(st.dictionaries(st.text(max_size=12).filter(lambda key: key != "metrics"), json_values, max_size=5))
    row = draw(st.sampled_from(SAMPLES[log]))
    for path in draw(st.lists(st.sampled_from(paths(row)), min_size=1, max_size=3)):
        try:
            row = damaged(row, path, draw(json_values))
        except (KeyError, TypeError):  # an outer part was damaged already
            continue
    return row


@pytest.mark.parametrize("log", sorted(LOG_TYPES))
@given(data=st.data())
def test_a_bad_row_costs_only_itself(log: str, data: st.DataObject) -> None:
    good = data.draw(st.sampled_from(SAMPLES[log]))
    bad = data.draw(hostile_rows(log))
    alone = convert(log, [good])
    middle = convert(log, [bad])
    among = convert(log, [good, bad, good])
    assert among.rows == 3
    assert middle.rows == 1
    assert dict(among.flows.schema) == FLOW
    assert among.flows.height == 2 * alone.flows.height + middle.flows.height
    neighbours = among.flows.remove(among.flows["position"] == 1).drop("position")
    for start in range(0, neighbours.height, 1):
        assert neighbours.slice(start, 1).equals(alone.flows.drop("position"))
    only = among.flows.filter(among.flows["position"] == 1).drop("position")
    assert only.equals(middle.flows.drop("position"))
    assert among.notes == alone.notes + alone.notes + middle.notes
    assert all(reject.reason.startswith(f"{log}: ") for reject in among.rejects)


@given(st.binary(max_size=200))
def test_any_header_line_is_matched_or_refused(line: bytes) -> None:
    reader = csv_header.match(line, Context())
    assert reader is None or reader.log in LOG_TYPES


HEADERS = [
    path.read_bytes().splitlines()
    for log in sorted(LOG_TYPES)
    for path in sorted((GOLDEN / log).glob("*"))
    if path.suffix in (".csv", ".tsv", ".binetflow")
]


@given(st.data())
def test_any_line_under_a_header_is_a_row_nothing_or_a_reason(data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from(HEADERS))
    reader = csv_header.match(lines[0], Context())
    if reader is None:  # the mapped table: its header means nothing without the map
        return
    rows = []
    for line in data.draw(st.lists(st.binary(max_size=60) | st.sampled_from(lines[1:]), max_size=8)):
        cut = data.draw(st.integers(0, len(line)))
        flipped = bytearray(line)
        if flipped and data.draw(st.booleans()):
            flipped[cut % len(flipped)] ^= data.draw(st.integers(1, 255))
        row = tried(reader, bytes(flipped))
        if row is not None:
            rows.append(row)
    assert convert(reader.log, rows).rows == len(rows)


# --- protobuf ---

NAMES = {0: "HOPOPT", 1: "ICMP", 6: "TCP", 17: "UDP", 58: "IPv6-ICMP"}  # as goflow2's renderer prints them
TEXTS = {b"\x0a\x14\x01\x0f": "10.20.1.15", bytes(15) + b"\x01": "::1", b"": "", b"abc": ""}

messages = st.fixed_dictionaries(
    {
        "type": st.integers(0, 4),
        "sampling_rate": st.sampled_from([0, 1, 100]),
        "sequence_num": st.integers(0, 2**32 - 1),
        "bytes": st.integers(0, 2**64 - 1) | st.integers(0, 10**6),
        "packets": st.integers(0, 2**64 - 1) | st.integers(0, 10**6),
        "proto": st.sampled_from(sorted(NAMES)),
        "src_port": st.integers(0, 65535),
        "dst_port": st.integers(0, 65535),
        "tcp_flags": st.integers(0, 255),
        "time_received_ns": st.integers(START * 10**9, (START + 100) * 10**9),
        "time_flow_start_ns": st.sampled_from([0, START * 10**9, (START + 50) * 10**9 + 7, 2**64 - 1]),
        "time_flow_end_ns": st.sampled_from([0, START * 10**9, (START + 50) * 10**9 + 7]),
        "src_addr": st.sampled_from(sorted(TEXTS)),
        "dst_addr": st.sampled_from(sorted(TEXTS)),
        "sampler_address": st.sampled_from(sorted(TEXTS)),
    }
)


@given(messages, st.booleans())
def test_protobuf_and_json_give_the_same_frame(message: dict[str, Any], framed: bool) -> None:
    wire: bytes = _Flow(**message).SerializeToString()
    names = ("FLOWUNKNOWN", "SFLOW_5", "NETFLOW_V5", "NETFLOW_V9", "IPFIX")
    printed = {
        **message,
        "type": names[message["type"]],
        "proto": NAMES[message["proto"]],
        **{name: TEXTS[message[name]] for name in ("src_addr", "dst_addr", "sampler_address")},
    }
    row = goflow2_protobuf.row(varint(len(wire)) + wire if framed else wire)
    from_wire = convert("netflow.goflow2", [row])
    from_json = convert("netflow.goflow2", [orjson.loads(orjson.dumps(printed))])
    assert from_wire.flows.equals(from_json.flows)
    assert from_wire.filtered == from_json.filtered
    assert from_wire.notes == from_json.notes
    assert [reject.reason for reject in from_wire.rejects] == [reject.reason for reject in from_json.rejects]


@given(messages, st.data())
def test_damaged_protobuf_is_a_row_or_a_reason(message: dict[str, Any], data: st.DataObject) -> None:
    wire = bytearray(_Flow(**message).SerializeToString())
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= data.draw(st.integers(1, 255))
    for garbage in (bytes(wire), bytes(wire[: data.draw(st.integers(0, len(wire)))]), data.draw(st.binary())):
        try:
            row = goflow2_protobuf.row(garbage)
        except BadValue:
            continue
        assert convert("netflow.goflow2", [row]).rows == 1
