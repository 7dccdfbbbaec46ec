"""What no bytes may do to the decoder: raise, lose a record, change another record's row."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import ConfigError
from detector.formats import detect, tsv
from detector.formats.batch import Context
from detector.formats.decode import LINE_LIMIT, Decoder
from detector.records import FLOW, OPERATION, Block, Decoded, merge
from tests.formats.test_zeek_golden import CASES

SOURCE = "zeek:0"
START = 1_760_000_000


def decode(lines: Sequence[bytes], hint: str = "zeek", size: int | None = None) -> Decoded:
    """The lines through one decoder, in blocks of ``size`` lines."""
    decoder = Decoder(SOURCE, Context(), hint)
    size = size or max(1, len(lines))
    blocks = [Block(SOURCE, at + 1, list(lines[at : at + size])) for at in range(0, len(lines), size)]
    return merge(decoder.decode(block) for block in blocks)


def same(left: Decoded, right: Decoded) -> None:
    assert left.flows.sort("position", maintain_order=True).equals(right.flows)
    assert left.operations.sort("position", maintain_order=True).equals(right.operations)
    assert left.rejects == right.rejects
    assert left.filtered == right.filtered


LINES = [line for path in CASES if path.suffix == ".ndjson" for line in path.read_bytes().splitlines() if line.strip()]
GOOD = [line for line in LINES if not decode([line]).rejects]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["-", "(empty)", "T", "1e400", "2025-10-09T08:53:20.1000000Z", "unknown-4294967296", "::"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = sorted({name for line in GOOD for name in orjson.loads(line)})


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good record with some fields replaced by anything."""
    row: dict[str, Any] = orjson.loads(draw(st.sampled_from(GOOD)))
    for name in draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=4)):
        row[name] = draw(values)
    try:
        return orjson.dumps(row, default=str)
    except TypeError:  # more than 64 bits, or half a surrogate pair: only Python writes such
        return repr(row).encode("utf-8", "replace")


cuts = st.builds(lambda line, at: line[:at], st.sampled_from(GOOD), st.integers(0, 200))
anything = st.binary(max_size=80).map(lambda line: line.replace(b"\n", b" "))
headers = st.sampled_from(
    [b"#separator |", b"#fields\tts\tuid", b"#path\tconn", b"#close", b"#", b"ts,sa,da,pr", b"ts\tuid\tid.orig_h"]
)
hostile = mutated() | cuts | anything
mixed = st.lists(hostile | headers | st.sampled_from(GOOD), max_size=12)


@given(mixed)
def test_every_record_is_counted_once(lines):
    decoded = decode(lines)
    assert decoded.flows.schema == pl.Schema(FLOW)
    assert decoded.operations.schema == pl.Schema(OPERATION)
    frames = [*decoded.flows["position"], *decoded.operations["position"]]
    rejected = [reject.position for reject in decoded.rejects]
    assert len(set(frames + rejected)) == len(frames + rejected)
    assert decoded.rows <= len(lines)


@given(st.lists(mutated() | st.sampled_from(GOOD), max_size=12))
def test_no_json_record_is_lost(lines):
    assert decode(lines).rows == len(lines)


@given(mixed, st.integers(1, 5))
def test_block_boundaries_do_not_matter(lines, size):
    same(decode(lines, size=size), decode(lines))


@given(st.lists(st.sampled_from(GOOD), min_size=1, max_size=6), hostile, st.integers(0, 6))
def test_a_bad_record_changes_no_other(lines, bad, at):
    at = min(at, len(lines))
    alone = decode(lines)
    among = decode([*lines[:at], bad, *lines[at:]])
    for name in ("flows", "operations"):
        frame: pl.DataFrame = getattr(among, name).filter(pl.col("position") != at + 1)
        moved = frame.with_columns(position=pl.col("position") - (pl.col("position") > at + 1).cast(pl.Int64))
        assert moved.equals(getattr(alone, name))


# --- tab-separated rows ---

COLUMNS = {
    "ts": ("time", st.integers(START, START + 10**6).map(lambda s: s + 0.25)),
    "uid": ("string", st.text("ABCdef123", min_size=6, max_size=12)),
    "id.orig_h": ("addr", st.sampled_from(["10.0.0.1", "fe80::1", "192.0.2.7"])),
    "id.orig_p": ("port", st.integers(0, 65535)),
    "id.resp_h": ("addr", st.sampled_from(["10.0.0.2", "2001:db8::9"])),
    "id.resp_p": ("port", st.integers(0, 65535)),
    "proto": ("enum", st.sampled_from(["tcp", "udp", "icmp"])),
    "service": ("string", st.none() | st.sampled_from(["dns", "gssapi,smb", "-ssl"])),
    "duration": ("interval", st.none() | st.integers(0, 10**6).map(lambda us: us / 4)),
    "orig_bytes": ("count", st.none() | st.integers(0, 2**63 - 1)),
    "conn_state": ("string", st.sampled_from(["SF", "S0", "XX"])),
    "local_orig": ("bool", st.none() | st.booleans()),
    "tunnel_parents": ("set[string]", st.none() | st.lists(st.sampled_from(["Cab", "Cde"]), max_size=2)),
}
rows = st.fixed_dictionaries({name: values for name, (_, values) in COLUMNS.items()})


def cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, list):
        return ",".join(map(cell, value)) or "(empty)"
    if isinstance(value, float):
        return f"{value:.6f}"
    escaped = str(value).replace("\\", "\\\\")
    return "".join(c if c not in "\t\n\r" else f"\\x{ord(c):02x}" for c in escaped)


def header(names: Sequence[str], path: str = "conn", types: dict[str, str] | None = None) -> list[bytes]:
    kinds = types or {name: kind for name, (kind, _) in COLUMNS.items()}
    lines = ["#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", f"#path\t{path}"]
    lines += ["#fields\t" + "\t".join(names), "#types\t" + "\t".join(kinds[name] for name in names)]
    return [line.encode() for line in lines]


def table(names: Sequence[str], records: Sequence[dict[str, Any]]) -> list[bytes]:
    return ["\t".join(cell(record[name]) for name in names).encode() for record in records]


def without_place(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop("position", "source")


@given(st.lists(rows, min_size=1, max_size=8), st.permutations(list(COLUMNS)))
def test_tsv_and_json_give_the_same_flows(records, names):
    written = [orjson.dumps({"_path": "conn", **record}) for record in records]
    from_json = decode(written)
    from_tsv = decode([*header(names), *table(names, records)])
    assert from_json.flows.height == len(records)
    assert without_place(from_tsv.flows).equals(without_place(from_json.flows))


@given(st.lists(rows, min_size=2, max_size=6), anything, st.integers(0, 5))
def test_a_bad_line_changes_no_row_of_a_table(records, bad, at):
    names = list(COLUMNS)
    lines = table(names, records)
    at = min(at, len(lines))
    if bad.lstrip()[:1] == b"#":
        bad = b"x" + bad
    alone = decode([*header(names), *lines])
    among = decode([*header(names), *lines[:at], bad, *lines[at:]])
    assert without_place(among.flows).equals(without_place(alone.flows))
    assert among.rows == len(lines) + (1 if bad.strip() else 0)


TEXT_TYPES = {"ts": "time", "uid": "string", **dict.fromkeys(("id.orig_h", "id.resp_h"), "addr")}
TEXT_TYPES |= {**dict.fromkeys(("id.orig_p", "id.resp_p"), "port"), "path": "string", "share_type": "string"}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30), min_size=1, max_size=5))
def test_escaped_text_is_the_text_of_json(paths):
    ids = {"id.orig_h": "10.0.0.1", "id.orig_p": 1, "id.resp_h": "10.0.0.2", "id.resp_p": 445}
    records = [
        {"ts": START + 0.5, "uid": "Cab", **ids, "path": "\\\\srv\\" + path, "share_type": "DISK"} for path in paths
    ]
    written = [orjson.dumps({"_path": "smb_mapping", **record}) for record in records]
    lines = [*header(list(TEXT_TYPES), "smb_mapping", TEXT_TYPES), *table(list(TEXT_TYPES), records)]
    assert without_place(decode(lines).operations).equals(without_place(decode(written).operations))


def test_a_brace_may_begin_a_row_of_a_table():
    names = ["node", *COLUMNS]
    kinds = {"node": "string"} | {name: kind for name, (kind, _) in COLUMNS.items()}
    record = {"node": "{5f2c}", **dict.fromkeys(COLUMNS), "ts": START + 0.5, "proto": "tcp"}
    record |= {"id.orig_h": "10.0.0.1", "id.orig_p": 1, "id.resp_h": "10.0.0.2", "id.resp_p": 2}
    assert decode([*header(names, types=kinds), *table(names, [record])]).flows.height == 1


def test_bytes_that_are_no_utf8_are_kept_as_escapes():
    read, _, _ = tsv.rows(tsv.Header(columns=["a", "b"]), [b"\xff\tx\\xfey\\x5c"])
    assert read == [{"a": "\\xff", "b": "x\\xfey\\"}]


# --- limits ---


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"uid":"' + b"x" * LINE_LIMIT + b'"}', "longer than"),
        (b"x" * (LINE_LIMIT + 1), "longer than"),
        (b'{"a":' * 2000 + b"1" + b"}" * 2000, "not JSON"),
        (b'{"ts":"\xff\xfe"}', "not JSON"),
        (b"[1,2]", "neither a JSON object"),
        (b"{}", "no known log"),
        (b'{"_path":"conn","ts":' + b"9" * 400 + b"}", "not JSON"),
        (b'{"_path":"conn","ts":' + b'{"a":' * 600 + b"1" + b"}" * 600 + b"}", "zeek.conn: ts: not a time"),
    ],
)
def test_oversize_deep_and_broken_records_are_rejected(line, reason):
    decoded = decode([GOOD[0], line, GOOD[0]])
    assert decoded.rows == 3
    [reject] = decoded.rejects
    assert reject.position == 2
    assert reject.reason.startswith(reason)
    assert len(reject.raw) <= 1024


def test_a_converter_that_stumbles_costs_one_record(monkeypatch):
    from detector.formats import decode as module
    from detector.formats.batch import LogType

    real = module.LOG_TYPES["zeek.conn"]

    def stumbling(batch, context):
        if any(row.get("history") == "boom" for row in batch.rows):
            raise RuntimeError
        return real.convert(batch, context)

    monkeypatch.setitem(module.LOG_TYPES, "zeek.conn", LogType("zeek.conn", stumbling))
    good = next(line for line in GOOD if b'"conn_state"' in line and line.startswith(b'{"ts"'))
    good = orjson.dumps({**orjson.loads(good), "our_own": 1})  # a field that the compiled reader does not know
    bad = orjson.dumps({**orjson.loads(good), "history": "boom"})
    decoded = decode([good, bad, good])
    assert decoded.flows["position"].to_list() == [1, 3]
    assert [reject.reason for reject in decoded.rejects] == ["zeek.conn: RuntimeError while reading it"]


def test_a_header_in_the_middle_of_records_is_rubbish():
    decoded = decode([GOOD[0], b"ts,td,sa,da,sp,dp,pr", b"a,b,c", GOOD[0]])
    assert [reject.position for reject in decoded.rejects] == [2, 3]


def test_an_unknown_format_name_is_a_usage_error():
    with pytest.raises(ConfigError, match="use auto or one of"):
        Decoder(SOURCE, Context(), format="zeek.nonsense")


def test_a_format_name_is_taken_for_every_record():
    row = {name: value for name, value in orjson.loads(GOOD[0]).items() if name != "_path"}
    decoder = Decoder(SOURCE, Context(), format="zeek.conn")
    assert decoder.decode(Block(SOURCE, 1, [orjson.dumps(row)])).rejects[0].reason.startswith("zeek.conn: ")


# --- names ---


@pytest.mark.parametrize(
    ("hint", "log"),
    [
        ("conn.log", "conn"),
        ("/data/zeek/conn.16:00:00-17:00:00.log.gz", "conn"),
        ("NASHUA_dce_rpc.log.gz", "dce_rpc"),
        ("conn_json.log", "conn"),
        ("conn.log.labeled.gz", "conn"),
        ("open_conn.log", "open_conn"),
        ("known_hosts.log", "known_hosts"),
        ("opcua_binary_read.log", "opcua_binary_read"),
        ("zeek-dns", "dns"),
        ("C:\\logs\\smb_files.log", "smb_files"),
        ("site1_smb_files.ndjson", "smb_files"),
        ("zeek", None),
        ("dns-archive/export.json", None),
    ],
)
def test_the_log_that_a_name_speaks_of(hint, log):
    assert detect.log_of_hint(hint) == (log and f"zeek.{log}")


def test_what_the_record_says_goes_before_the_name():
    line = next(line for line in GOOD if b'"_path":"dnp3_control"' in line)
    assert decode([line], hint="conn.log").operations["log"].to_list() == ["zeek.dnp3_control"]


# --- recorded logs ---


@pytest.fixture(scope="module")
def brim(shared_data: Path) -> Path:
    folder = shared_data / "brim-zeek-sample"
    if not folder.is_dir():
        pytest.skip("no sample of the same logs in both formats")
    return folder


def test_recorded_logs_are_the_same_in_both_formats(brim):
    from tests.formats.lines import decode_file

    compared = 0
    for path in sorted((brim / "zeek-default").glob("*.log.gz")):
        other = brim / "zeek-json" / path.name.replace(".log.gz", ".json.gz")
        from_tsv, from_json = decode_file(path, Context()), decode_file(other, Context())
        place = ["position", "source", "obs_ts"]  # only the JSON has the time of writing
        # Within one time stamp the two writers keep no common order.
        keys = [name for name in OPERATION if name not in place]
        left = from_tsv.operations.drop(place).sort(keys)
        assert left.equals(from_json.operations.drop(place).sort(keys)), path.name
        assert from_tsv.filtered == from_json.filtered
        assert not from_tsv.rejects
        assert not from_json.rejects
        compared += left.height
    assert compared > 50_000
