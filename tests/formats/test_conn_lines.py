"""The compiled reader of conn.log changes nothing but the time it takes: the general path alone says the same."""

import gzip
import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.parsers import damaged, zeek
from detector.formats import line_cells, line_values
from detector.formats.batch import Context
from detector.formats.conn_lines import ConnLines
from detector.formats.decode import LINE_LIMIT, Decoder
from detector.records import Block, Decoded, Lines
from tests.formats import usual
from tests.formats.usual import SOURCE, equal, general


def same(lines: Sequence[bytes], size: int | None = None, **how: Any) -> list[Decoded]:
    """Behind a first record of conn.log, so that the readers run from the first line on."""
    return usual.same(lines, size, before=[USUAL], **how)


def taken(lines: Sequence[bytes], hinted: str | None = "zeek.conn") -> list[int]:
    """The numbers of the lines that are read by the compiled reader."""
    return ConnLines(SOURCE, hinted).read(Lines.of(list(lines)), np.arange(len(lines))).lines.tolist()


# --- made lines ---

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "_path": st.sampled_from(["conn", "conn-2", "dns", "", "nonsense"]),
    "_system_name": st.sampled_from(["sensor-1", "-", "(empty)", "", 'a"b', "Zürich", "x" * 41]),
    "_write_ts": st.floats(0, 2e9) | st.just("2025-10-09T08:53:20.511226Z"),
    "ts": st.floats(0, 2e9) | st.integers(0, 2**40) | st.just("2025-10-09T08:53:20.511226Z"),
    "uid": st.text("ABCdef123", min_size=1, max_size=20) | st.sampled_from(["-", "", "(empty)", "C" * 70, "1C"]),
    "id.orig_h": st.sampled_from(["10.0.0.1", "fe80::1%eth0", "192.0.2.7", "010.001.002.003", "10.0.0.256", "::"]),
    "id.orig_p": st.integers(0, 70_000),
    "id.resp_h": st.sampled_from(["10.0.0.2", "2001:DB8::9", "::ffff:10.0.0.9", "", "x"]),
    "id.resp_p": st.integers(0, 70_000),
    "proto": st.sampled_from(["tcp", "UDP", "icmp", "unknown_transport", "-", "a b"]),
    "service": st.sampled_from(["dns", "gssapi,smb", "-ssl", "-", "", "DCE_RPC", "x," * 30]),
    "duration": st.floats(0, 2e9) | st.integers(0, 10),
    "orig_bytes": st.integers(0, 2**64),
    "resp_bytes": st.integers(0, 2**20),
    "conn_state": st.sampled_from(["SF", "S0", "XX", "-", ""]),
    "local_orig": st.booleans(),
    "missed_bytes": st.integers(0, 2**20) | st.floats(),
    "history": st.sampled_from(["ShADadFf", "", "^d", "x" * 300]),
    "orig_pkts": st.integers(0, 2**20) | st.just(3.0),
    "resp_pkts": st.integers(0, 2**20) | st.just("7"),
    "tunnel_parents": st.lists(st.text("Cab", max_size=4), max_size=3),
    "ip_proto": st.integers(0, 300),
    "community_id": st.just("1:abc/def+="),
}
NEEDED = ("ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto")
PLAIN: dict[str, Any] = {
    "ts": 1521911721.255387,
    "uid": "CHhAvVGS1DHFjwGM9",
    "id.orig_h": "10.0.0.1",
    "id.orig_p": 49_152,
    "id.resp_h": "192.0.2.7",
    "id.resp_p": 445,
    "proto": "tcp",
    "service": "gssapi,smb",
    "duration": 0.9550209045410156,
    "orig_bytes": 7,
    "resp_bytes": 0,
    "conn_state": "SF",
    "local_orig": True,
    "missed_bytes": 0,
    "history": "ShADadFf",
    "orig_pkts": 3,
    "tunnel_parents": ["Cab"],
}
USUAL = orjson.dumps(PLAIN)
ODD = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=9) | st.just({"a": 1})


@st.composite
def rows(draw: st.DrawFn) -> bytes:
    """A line as Zeek or another JSON writer prints it: some fields changed, some gone, some odd, in any order."""
    row = dict(PLAIN)
    for name in draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=5)):
        row[name] = draw(FIELDS[name])
    for name in draw(st.lists(st.sampled_from(sorted(row)), max_size=2)):
        row.pop(name, None)
    for name in draw(st.lists(st.sampled_from([*row, "extra", "id", "message", "id_orig_h"]), max_size=1)):
        row[name] = draw(ODD)
    if draw(st.booleans()):
        row = dict(draw(st.permutations(list(row.items()))))
    compact = draw(st.sampled_from([(",", ":")] * 5 + [(", ", ": ")]))
    return json.dumps(row, separators=compact, ensure_ascii=draw(st.booleans())).encode("utf-8", "replace")


@st.composite
def wounded(draw: st.DrawFn) -> bytes:
    """A line with some bytes changed, gone, or too many."""
    line = bytearray(draw(rows()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(line) - 1)) if line else 0
        match draw(st.sampled_from(["put", "drop", "cut", "add", "twice"])):
            case "put" if line:
                line[at] = draw(st.integers(0, 255))
            case "drop" if line:
                del line[at]
            case "cut":
                del line[at:]
            case "add":
                line[at:at] = draw(st.sampled_from([b" ", b"\\", b'"', b",", b"}", b"\n", b"\0", b"\xff", b"0", b"e9"]))
            case "twice":
                line[1:1] = line[1:].split(b",")[0] + b","
    return bytes(line)


numbers = st.from_regex(r"\A-?(0|[1-9][0-9]{0,20}|00[0-9])(\.[0-9]{0,22})?([eE][-+]?[0-9]{0,3})?\Z")
others = st.sampled_from(
    [
        *(b"", b" ", b"?", b"{}", b"[", b"{", b"#fields\tts\tuid", b"#separator |", b"#close", b"ts,sa,da,pr"),
        *(USUAL + b" ", USUAL + b"\r", b" " + USUAL, USUAL + b"}", USUAL[:-1], USUAL + b"\n" + USUAL),
    ]
)


@st.composite
def numbered(draw: st.DrawFn) -> bytes:
    """A line with a number of any spelling."""
    name = draw(st.sampled_from(["ts", "duration", "orig_bytes", "id.orig_p", "missed_bytes"]))
    return orjson.dumps(PLAIN | {name: "HERE"}).replace(b'"HERE"', draw(numbers).encode())


anything = rows() | wounded() | numbered() | others | st.just(USUAL)


@given(st.lists(anything, max_size=10), st.integers(1, 10), st.sampled_from(["conn.log", "dns.log", "zeek"]))
def test_the_general_path_alone_says_the_same(lines: list[bytes], size: int, hint: str) -> None:
    same(lines, size, hint=hint)


@given(st.lists(anything, max_size=6), st.sampled_from(["zeek.conn", "zeek.dns"]))
def test_a_format_given_by_hand_is_kept(lines: list[bytes], format: str) -> None:
    same(lines, format=format)


@given(st.lists(anything, min_size=1, max_size=6))
def test_from_the_first_line_on(lines: list[bytes]) -> None:
    """Where the first lines may yet be headers."""
    usual.same([*lines, USUAL, *lines])
    usual.same([part for line in lines * 2 for part in (line, USUAL)], 2)


@settings(max_examples=300)
@given(st.floats(0, 1e9) | st.integers(0, 10**15).map(lambda us: us / 1e6) | st.floats(0, 1e-3))
def test_floats_have_the_same_bits(value: float) -> None:
    lines = [orjson.dumps(PLAIN | {"ts": value, "duration": value})]
    (found,) = same(lines)
    assert found.flows["duration"].to_list() == [value]
    assert found.flows["ts"].to_list() == [round(value * 1e6)]


@given(st.integers(10**9 - 1, 2**31), st.integers(0, 10**6 - 1), st.integers(1, 6))
def test_times_are_read_as_a_correct_parser_rounds_them(seconds: int, micros: int, digits: int) -> None:
    """Their digits are the µs."""
    text = f"{seconds}.{micros:06}"[: 11 + digits].encode()
    (found,) = same([USUAL.replace(b"1521911721.255387", text)])
    assert found.flows["ts"].to_list() == [round(float(text) * 1e6)]


@given(st.integers(0, 2**64 - 1), st.integers(-45, 25))
def test_a_rounding_is_right_or_not_told(number: int, power: int) -> None:
    found = line_values.rounded(np.uint64(number), power)
    assert np.isnan(found) or found == float(f"{number}e{power}")


def test_ties_are_not_told() -> None:
    assert np.isnan(line_values.rounded(np.uint64(2**53 + 1), 0))
    assert np.isnan(line_values.rounded(np.uint64(2**54 + 6), 0))


def test_most_floats_are_read_by_the_kernels() -> None:
    """Differences of two epoch times, as Zeek's durations are, print with 16 or 17 digits."""
    generator = random.Random(4)
    ends = [1.5e9 + generator.random() * 1e5 for _ in range(2000)]
    lines = [orjson.dumps(PLAIN | {"duration": end - generator.random() * 10 ** -generator.randrange(6) - 1.4e9 - 1e8})
             for end in ends]  # fmt: skip
    assert len(taken(lines)) > 0.98 * len(lines)
    same(lines)


# --- what is read, and what is left ---


def put(**changes: Any) -> bytes:
    return orjson.dumps({key: value for key, value in (PLAIN | changes).items() if value is not ...})


@pytest.mark.parametrize(
    "line",
    [
        USUAL,
        put(service=..., duration=..., orig_bytes=..., conn_state=...),
        put(**{"id.orig_h": "fe80::1%eth0", "id.resp_h": "::ffff:10.0.0.9"}),
        put(service="-ssl", conn_state="-", _system_name="(empty)"),
        put(_path="conn-2", _write_ts=1.5, ip_proto=6, failed_service=[], speculative_service=["a", 7, "b"]),
        put(duration=4.887580871582031e-05, ts=1e9, orig_bytes=2**63 - 1),
        put(id_orig_h="10.0.0.3", **{"id.orig_h": ...}),
        put(_system_name='tap "north" \\3', service="Zürich"),
        USUAL.replace(b'"SF"', b'"S\\u0046"'),
        USUAL.replace(b'"10.0.0.1"', b'"10\\u002e0.0.1"'),
        orjson.dumps(dict(reversed(PLAIN.items()))),
    ],
)
def test_taken(line: bytes) -> None:
    assert taken([line]) == [0]
    same([line])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        USUAL + b" ",
        USUAL + USUAL,
        USUAL + b"\n" + USUAL,
        USUAL[:-1],
        USUAL.replace(b":7,", b":07,"),
        USUAL.replace(b":7,", b":7.0,"),
        USUAL.replace(b":7,", b":,"),
        USUAL.replace(b'"SF"', b'"S\\x46"'),
        USUAL.replace(b'"SF"', b'"S\\ud800"'),
        USUAL.replace(b'"SF"', b'"S\xc3"'),
        USUAL.replace(b'"Sh', b'"\\u0053h'),
        USUAL.replace(b'"CHh', b'"C\\u0048h'),
        USUAL.replace(b'"SF"', b'"S\x1f"'),
        USUAL.replace(b'"SF"', b'"S"F"'),
        USUAL.replace(b'"SF"', b'"SF""'),
        USUAL.replace(b'"SF"', b'"S"F\\"'),
        USUAL.replace(b'"SF","', b'"S"F\\",\\"'),
        USUAL.replace(b'"Sh', b'"S"h'),
        USUAL.replace(b'"tcp"', b'"tcp" '),
        USUAL.replace(b'"tcp",', b'"tcp", '),
        put(service="x,"),
        put(failed_service=["a"] * 99),
        USUAL.replace(b":true", b":truE"),
        USUAL.replace(b":0,", b":1e999,"),
        USUAL.replace(b"1521911721.255387", b"01521911721.255387"),
        USUAL.replace(b"1521911721.255387", b"1521911721."),
        USUAL.replace(b"1521911721.255387", b"-1.5"),
        USUAL.replace(b"{", b'{"ts":1.5,'),
        put(id_orig_h="10.0.0.3"),
        put(extra=1),
        put(uid=...),
        put(uid="-"),
        put(uid="C" * 65),
        put(proto="unknown_transport"),
        put(orig_bytes=2**63),
        put(orig_pkts=None),
        put(duration=1.1e9),
        put(ts=1e11),
        put(ip_proto=256),
        put(history="x" * (1 << 16)),
        put(_path="dns"),
        put(**{"id.orig_p": 65_536}),
        put(**{"id.orig_h": "10.0.0.256"}),
        put(service="x" * 41),
    ],
)
def test_left(line: bytes) -> None:
    assert taken([USUAL, line, USUAL]) == [0, 2]
    same([USUAL, line, USUAL])


def test_without_a_hint_the_state_tells() -> None:
    assert taken([USUAL, put(conn_state=...), put(conn_state="-")], hinted=None) == [0, 2]
    assert taken([USUAL, put(_path="conn")], hinted="zeek.dns") == [1]


def test_a_header_in_mid_block_ends_it() -> None:
    header = [b"#separator ,", b"#fields,ts,uid,id.orig_h,id.orig_p,id.resp_h,id.resp_p,proto", b"#path,conn"]
    found = same([USUAL, *header, USUAL, USUAL])
    assert found[0].flows["position"].to_list() == [1]
    assert len(found[0].rejects) == 2


def test_a_record_of_more_than_the_limit() -> None:
    (found,) = same([USUAL, put(history="x" * LINE_LIMIT), USUAL])
    assert [reject.position for reject in found.rejects] == [2]


def test_positions_without_an_order_are_kept() -> None:
    lines, positions = [USUAL, b"?", USUAL, USUAL], [5, 5, 5, 3]
    compiled, plain = Decoder(SOURCE, Context()), general(Decoder(SOURCE, Context()))
    left, right = (decoder.decode(Block(SOURCE, 0, lines, positions)) for decoder in (compiled, plain))
    equal(left, right)
    assert left.flows["position"].to_list() == [5, 5, 3]


def test_texts_of_all_lengths_are_told_apart():
    text = "abcdefgh" * 5
    names = [text[:size] for size in range(1, 41)] + [text[:size] + "x" for size in range(40)]
    lines = [orjson.dumps({**orjson.loads(USUAL), "_system_name": name}) for name in names]
    assert taken(lines) == list(range(len(lines)))
    (read,) = same(lines)
    assert read.flows["exporter"].to_list()[-len(names) :] == names


def test_texts_that_find_no_room_take_the_general_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_cells, "_TEXTS", 64)
    lines = [put(**{"id.resp_h": f"10.1.0.{number}"}) for number in range(200)]
    same(lines)
    same(lines, 20)
    assert 0 < len(taken(lines)) < 100


# --- many lines ---


def many(rows: int) -> tuple[list[bytes], list[bytes]]:
    """Clean lines, and the same with every fifth damaged."""
    generator = random.Random(1)
    clean = [zeek(generator, number) for number in range(rows)]
    return clean, [damaged(generator, line, at) if at % 5 == 0 else line for at, line in enumerate(clean)]


@pytest.mark.parametrize("size", [None, 1, 700, 4096])
def test_blocks_of_any_size(size: int | None) -> None:
    for lines in many(500 if size == 1 else 5000):
        same(lines, size)


def test_clean_lines_are_taken() -> None:
    clean, hostile = many(5000)
    assert len(taken(clean)) > 0.99 * len(clean)
    assert 0.75 * len(clean) < len(taken(hostile)) < 0.85 * len(clean)


# --- recorded logs ---


def recorded(folder: Path) -> Iterator[Path]:
    for part in ("brim-zeek-sample", "rita-testdata", "apt29-day1", "zeek-from-pcap"):
        for path in sorted((folder / part).rglob("*")):
            if path.is_file() and path.stat().st_size < 4 << 20:
                yield path


def test_recorded_logs(shared_data: Path) -> None:
    """Of logs of one name with the same keys in their first lines the first will do."""
    seen, shapes = 0, set()
    for path in recorded(shared_data):
        data = path.read_bytes()
        lines = (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
        shape = (path.name, *(tuple(re.findall(rb'"([^"]+)":', line)) for line in lines[:5]))
        if lines and lines[0][:1] == b"{" and shape not in shapes:
            shapes.add(shape)
            same(lines[:2000], hint=path.name)
            same(lines[:70], 7, hint=path.name)
            seen += len(taken(lines[:2000], None))
    assert seen > 1000
