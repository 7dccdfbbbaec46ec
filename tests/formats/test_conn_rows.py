"""The compiled reader of tab-separated conn.log changes nothing but the time it takes."""

import gzip
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.formats import conn_lines
from detector.formats.conn_lines import ConnLines
from detector.formats.tsv import Header
from detector.records import Decoded, Lines
from tests.formats import usual
from tests.formats.usual import SOURCE

PLAIN = {
    "ts": "1521911721.255387", "uid": "CHhAvVGS1DHFjwGM9", "id.orig_h": "10.0.0.1", "id.orig_p": "49152",
    "id.resp_h": "192.0.2.7", "id.resp_p": "445", "proto": "tcp", "service": "gssapi,smb",
    "duration": "0.955021", "orig_bytes": "7", "resp_bytes": "0", "conn_state": "SF", "local_orig": "T",
    "history": "ShADadFf", "orig_pkts": "3", "resp_pkts": "-", "tunnel_parents": "(empty)", "_system_name": "north",
    "our_own": "-1",
}  # fmt: skip
TYPES = {
    "ts": "time", "uid": "string", "id.orig_h": "addr", "id.orig_p": "port", "id.resp_h": "addr", "id.resp_p": "port",
    "proto": "enum", "service": "string", "duration": "interval", "orig_bytes": "count", "resp_bytes": "count",
    "conn_state": "string", "local_orig": "bool", "history": "string", "orig_pkts": "count", "resp_pkts": "count",
    "tunnel_parents": "set[string]", "_system_name": "string", "our_own": "int",
}  # fmt: skip


def header(separator: str = "\\x09", path: str = "conn", unset: str = "-", **types: str) -> list[bytes]:
    """The header of a table with these columns; a type of "" leaves the column out."""
    columns = {name: kind for name, kind in (TYPES | types).items() if kind}
    lines = [f"#separator {separator}", "#set_separator\t,", "#empty_field\t(empty)", f"#unset_field\t{unset}"]
    lines += [f"#path\t{path}", "#fields\t" + "\t".join(columns), "#types\t" + "\t".join(columns.values())]
    return [line.encode() for line in lines]


def put(**changes: str) -> bytes:
    return "\t".join((PLAIN | changes).values()).encode()


USUAL = put()
HEADER = header()


def same(lines: Sequence[bytes], size: int | None = None, **how: Any) -> list[Decoded]:
    return usual.same(lines, size, before=how.pop("before", HEADER), **how)


def reader(lines: Sequence[bytes] = HEADER) -> conn_lines.ConnRows | None:
    made = Header()
    for line in lines:
        made = made.read(line)
    return conn_lines.rows(ConnLines(SOURCE, None), made)


def taken(lines: Sequence[bytes]) -> list[int]:
    """The numbers of the lines that are read by the compiled reader."""
    rows = reader()
    assert rows is not None
    return rows.read(Lines.of(list(lines)), np.arange(len(lines))).lines.tolist()


CELLS = {
    "ts": st.floats(0, 2e9).map(str) | st.sampled_from(["-", "1e9", "", "nan", "1_0.0", "01.5", "-1.5", "1e11", "1."]),
    "uid": st.sampled_from(["CHhAvVGS1DHFjwGM9", "-", "", "(empty)", "C" * 70, "1C", "#C", "{C"]),
    "id.orig_h": st.sampled_from(["10.0.0.1", "fe80::1%eth0", "010.001.002.003", "10.0.0.256", "::", "-", ""]),
    "id.orig_p": st.integers(0, 70_000).map(str) | st.sampled_from(["-", "+7", "007", "7.0", " 7", "7 "]),
    "id.resp_h": st.sampled_from(["10.0.0.2", "2001:DB8::9", "::ffff:10.0.0.9", "x"]),
    "proto": st.sampled_from(["tcp", "UDP", "icmp", "unknown_transport", "-", "a b", "(empty)"]),
    "service": st.sampled_from(["dns", "gssapi,smb", "-ssl", "-", "--", "", "(empty)", "x," * 30, "a\\x09b", "a\\\\b"]),
    "duration": st.floats(0, 2e9).map(str) | st.sampled_from(["-", "0", "inf", "", "1e3", "-0.0", "1e-400"]),
    "orig_bytes": st.integers(-2, 2**64).map(str) | st.sampled_from(["-", "", "9" * 19, "1" * 30]),
    "conn_state": st.sampled_from(["SF", "S0", "XX", "-", ""]),
    "local_orig": st.sampled_from(["T", "F", "-", "x", ""]),
    "history": st.sampled_from(["ShADadFf", "-", "^d", "x" * 300, "Zürich", 'a"b', "a\x00b", "a\x1fb"]),
    "orig_pkts": st.integers(0, 2**20).map(str) | st.just("3.0"),
    "tunnel_parents": st.sampled_from(["(empty)", "-", "Cab,Cde", "\\x2c"]),
    "_system_name": st.sampled_from(["north", "-", "(empty)", "", "x" * 41, "n\\x22"]),
    "our_own": st.sampled_from(["-1", "-", "x", "", "\r", "1\t2"]),
}
TABLES = st.sampled_from(
    [
        *(header(), header(path="conn-2"), header(path="dns"), header(separator=","), header(unset="?")),
        *(header(ts="string"), header(duration="double"), header(id_orig_h="addr"), header(local_orig="")),
        *(header(ts=""), header(uid="count"), header(resp_bytes="time"), header(proto=""), header()[:-1]),
        *([*header(), b"#close\t2025-10-09"], header()[5:], [*header(), *header(service="")]),
    ]
)


@st.composite
def rows(draw: st.DrawFn) -> bytes:
    """A row of some odd cells, maybe cut, or with a byte too many."""
    changes = {name: draw(CELLS[name]) for name in draw(st.lists(st.sampled_from(sorted(CELLS)), max_size=3))}
    line = put(**changes)
    match draw(st.sampled_from(["", "", "", "cut", "more", "put"])):
        case "cut":
            line = line[: draw(st.integers(0, len(line)))]
        case "more":
            line += draw(st.sampled_from([b"\t", b"\r", b"\n", b" ", b"\t-", b"\n" + USUAL, b"\0"]))
        case "put":
            at = draw(st.integers(0, len(line) - 1))
            line = line[:at] + bytes([draw(st.integers(0, 255))]) + line[at + 1 :]
    return line


others = st.sampled_from([b"", b" ", b"?", b"{}", b'{"ts":1.0,"uid":"C1"}', b"{\t", b"#close", b"#fields\tts", b"-"])
anything = rows() | others | st.just(USUAL)


@given(st.lists(anything, max_size=10), st.integers(1, 10), st.sampled_from(["conn.log", "dns.log", "zeek"]), TABLES)
def test_the_general_path_alone_says_the_same(lines: list[bytes], size: int, hint: str, table: list[bytes]) -> None:
    same(lines, size, hint=hint, before=table)
    same([*lines, *table, *lines], hint=hint, before=table)


@given(st.lists(anything, max_size=6), st.sampled_from(["zeek.conn", "zeek.dns", "netflow.goflow2"]), TABLES)
def test_a_format_given_by_hand_is_kept(lines: list[bytes], format: str, table: list[bytes]) -> None:
    same(lines, format=format, before=table)


@pytest.mark.parametrize(
    "line",
    [
        USUAL,
        put(service="-", duration="-", orig_bytes="-", conn_state="-", _system_name="(empty)"),
        put(history='a"b', our_own=""),
        put(service="a\\x2cb", _system_name="Zürich \\\\ \\xff"),
        put(**{"id.orig_h": "fe80::1%eth0", "id.resp_h": "::ffff:10.0.0.9"}),
    ],
)
def test_taken(line: bytes) -> None:
    assert taken([line]) == [0]
    (found,) = same([line])
    assert found.flows.height == 1


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"#close",
        USUAL + b"\t",
        USUAL + b"\r",
        USUAL + b"\n" + USUAL,
        USUAL[:-3],
        put(ts="-"),
        put(uid="-"),
        put(uid="{C"),
        put(history="a\\x2cb"),
        put(history="Zürich"),
        put(history="a\x00b"),
        put(duration="-1.0"),
        put(orig_pkts="3.0"),
        put(**{"id.orig_p": "65536"}),
        put(**{"id.orig_h": "10.0.0.256"}),
    ],
)
def test_left(line: bytes) -> None:
    assert taken([USUAL, line, USUAL]) == [0, 2]
    same([USUAL, line, USUAL])


@pytest.mark.parametrize(
    "lines",
    [header(unset="?"), header(ts="string"), header(id_orig_h="addr"), header(ts=""), header()[:-1],
     header(separator=",")],
)  # fmt: skip
def test_an_unusual_header_is_left_alone(lines: list[bytes]) -> None:
    assert reader(lines) is None


def test_headers_in_mid_block() -> None:
    other = header(service="")
    shorter = USUAL.replace(b"gssapi,smb\t", b"")
    (found,) = same([USUAL, b"#close", *other, *[shorter] * 200, *HEADER, *[USUAL] * 200])
    assert found.flows.height == 401
    assert found.flows["service"].null_count() == 200


def test_recorded_logs(shared_data: Path) -> None:
    """Of logs with the same header the first three will do."""
    seen, headers = 0, Counter[bytes]()
    for path in sorted(shared_data.rglob("conn*")):
        if path.is_file() and path.stat().st_size < 4 << 20:
            data = path.read_bytes()
            lines = (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
            fields = next((line for line in lines[:10] if line.startswith(b"#fields")), b"")
            headers[fields] += 1
            if lines and lines[0].startswith(b"#separator") and headers[fields] <= 3:
                seen += sum(found.flows.height for found in same(lines[:2000], hint=path.name, before=()))
                same(lines[:70], 7, hint=path.name, before=())
    assert seen > 1000
