"""The promise of the path: the same rows give the same alerts however they are cut and packed, and none is lost."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.backtest.labels import load_labels
from detector.config import MODELS, Settings
from detector.engine import RELEASE_ROWS, Engine
from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.records import Block, Decoded, merge
from detector.simulate import SimulatedPlant
from tests.scenarios.world import (
    LAYOUTS,
    concatenated,
    cut,
    decoded,
    in_order,
    lines_by_log,
    plant_of,
    run,
    simulated,
    told,
    written,
)

POLLS = ("modbus", "s7comm")  # nine tenths of an OT network's lines
LENIENT = Settings(false_incidents_per_day=100)  # two days are too young for sure incidents, and some must be compared


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> SimulatedPlant:
    return simulated(tmp_path_factory, days=2, hosts=40, seed=3)


@pytest.fixture(scope="session")
def lines(world) -> dict[str, list[bytes]]:
    """The Zeek lines of both days; of the polls every tenth, to be quick."""
    return {log: part[::10] if log in POLLS else part for log, part in lines_by_log(world.zeek_dir).items()}


@pytest.fixture(scope="session")
def expected(world, lines, tmp_path_factory) -> tuple[bytes, bytes]:
    """Alerts and incidents of one run over the lines; there are some of both, or nothing would be compared."""
    folder = tmp_path_factory.mktemp("expected")
    run([concatenated(lines, folder / "zeek")], folder / "out", LENIENT, plant=plant_of(world))
    alerts, incidents = written(folder / "out")
    assert len(alerts.splitlines()) >= 10
    assert incidents.splitlines()
    return alerts, incidents


# --- batches and layouts ---


@pytest.mark.parametrize("rows", [97, 1000, 100_000])
def test_the_size_of_batches_changes_nothing(rows, world, lines, expected, tmp_path):
    wish = LENIENT.model_copy(update={"batch_rows": rows})
    run([concatenated(lines, tmp_path / "zeek")], tmp_path / "out", wish, plant=plant_of(world))
    assert written(tmp_path / "out") == expected


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"concatenated"}))
def test_the_layout_of_files_changes_nothing(layout, world, lines, expected, tmp_path):
    folder = LAYOUTS[layout](lines, tmp_path / "zeek")
    result = run([folder], tmp_path / "out", LENIENT, plant=plant_of(world))
    assert written(tmp_path / "out") == expected
    assert result.summary["rows"]["in"] == sum(map(len, lines.values()))
    assert result.summary["rows"]["rejected"] == 0


def test_the_order_of_paths_changes_nothing(world, lines, expected, tmp_path):
    folder = concatenated(lines, tmp_path / "zeek")
    run(sorted(folder.iterdir(), reverse=True), tmp_path / "out", LENIENT, plant=plant_of(world))
    assert written(tmp_path / "out") == expected


@pytest.fixture(scope="session")
def around_a_hop(world, lines) -> tuple[Decoded, list[Decoded]]:
    """Rows before a hop of the attack, and two hours around it in parts of one hour."""
    hop = next(label for label in load_labels(world.labels) if label.technique == "T1003.006")
    hour = 3_600_000_000
    whole = in_order(
        part
        for log, content in lines.items()
        for part in [Decoder(log, Context("UTC", None)).decode(Block(f"{log}.log", 1, content))]
    )
    begin = hop.start // hour * hour
    before, first, second, _ = cut(whole, [begin, begin + hour, begin + 2 * hour])
    return before, [first, second]


@pytest.mark.parametrize(("rows", "share"), [(1, 4), (7, 1), (64, 1)])
def test_rows_one_by_one_are_judged_as_all_at_once(rows, share, world, around_a_hop):
    """An hour or two around a hop; one row at a time only every fourth poll, to be quick."""
    before, hours = around_a_hop
    judged = in_order(hours[:1] if rows == 1 else hours)
    if share > 1:
        quiet = pl.col("protocol").is_in(["modbus", "s7comm", "dns"])
        judged.operations = judged.operations.filter(~quiet | (pl.col("position") % share == 0))
        dull = pl.col("service").is_in(["dns", "http", "modbus"]) | pl.col("service").is_null()
        judged.flows = judged.flows.filter(~dull | (pl.col("position") % share == 0))
    told_by = []
    for batch in (rows, 1 << 20):
        wish = LENIENT.model_copy(update={"alerts_per_day": 1000.0})  # hours have alerts too
        engine = Engine(wish, plant_of(world), train_until=min(part["obs_ts"].min() for part in _frames(judged)))
        engine.push(before)
        engine.release_rows = 1
        for piece in pieces(judged, batch):
            engine.push(piece)
        engine.finish()
        told_by.append((told(engine), engine.judge.told(), engine.accounting, engine.snapshot()))
    assert told_by[0] == told_by[1]
    assert told_by[0][0][0], "no alert, so nothing was compared"


def _frames(part: Decoded) -> tuple[pl.DataFrame, pl.DataFrame]:
    return part.flows, part.operations


def pieces(whole: Decoded, rows: int) -> list[Decoded]:
    """``rows`` at a time in order of observation, flows and operations mixed as they come."""
    places = pl.concat(
        [
            pl.DataFrame(
                {"time": frame["obs_ts"], "kind": kind, "row": range(frame.height)}, schema_overrides={"row": pl.Int64}
            )
            for kind, frame in enumerate(_frames(whole))
        ]
    ).sort("time", maintain_order=True)
    out = []
    for start in range(0, places.height, rows):
        part = places[start : start + rows]
        flows, operations = (part.filter(pl.col("kind") == kind)["row"].to_list() for kind in (0, 1))
        out.append(Decoded(whole.flows[flows], whole.operations[operations]))
    return out


def test_netflow_in_other_batches(world, tmp_path):
    """Halves of conversations and twins of two interfaces find each other across the cuts."""
    day = sorted(world.netflow_dir.glob("*.json"))[-2]
    part = tmp_path / "flows.json"
    part.write_bytes(b"".join(day.read_bytes().splitlines(keepends=True)[5000:17000]))
    results = []
    for rows in (100, 1000, 100_000):
        out = tmp_path / f"out{rows}"
        summary = run([part], out, Settings(batch_rows=rows), plant=plant_of(world)).summary
        results.append((written(out), summary["rows"], summary["paired"]))
        assert summary["paired"] > 3000
        assert summary["rows"]["duplicate"] > 100
        assert _accounted(summary)
    assert results[0] == results[1] == results[2]
    assert results[0][0][0]


_ELSEWHERE = """
import sys
from detector.cli import main
sys.argv = ["eastwest", *sys.argv[1:]]
main()
"""


def test_another_process_with_another_hash_seed_and_folder_agrees(world, lines, expected, tmp_path):
    concatenated(lines, tmp_path / "elsewhere" / "zeek")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EASTWEST_")}
    command = [sys.executable, "-c", _ELSEWHERE, "backtest", "zeek", "--plant", str(world.plant), "--out", "out"]
    subprocess.run(
        command,
        check=True,
        cwd=tmp_path / "elsewhere",
        env=environment | {"PYTHONHASHSEED": "271828", "EASTWEST_FALSE_INCIDENTS_PER_DAY": "100"},
        capture_output=True,
    )
    assert written(tmp_path / "elsewhere" / "out") == expected


# --- accounting ---


def sums(engine: Engine) -> int:
    account = engine.accounting
    return account.scored + account.duplicate + account.late + account.rejected.total() + account.filtered.total()


def _dump(row: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(row)
    except (TypeError, orjson.JSONEncodeError):  # integers past 64 bits
        return json.dumps(row).encode("utf-8", "surrogatepass")


_T0 = 1_772_409_600
_HOSTS = st.sampled_from(
    ["10.0.0.1", "10.0.0.2", "192.168.1.9", "8.8.8.8", "fe80::1", "224.0.0.1", "::ffff:10.0.0.2", "nonsense"]
)
_TIMES = st.one_of(
    st.integers(0, 20).map(lambda n: _T0 + n / 2),
    st.sampled_from([_T0 + 1e-6, 0, -1, 1e300, "2026-03-02T00:00:01Z", None, "soon", True]),
)
_PORTS = st.sampled_from([22, 80, 445, 502, 50_000, 0, 65_536, -1, "22", None, 1 << 70])
_ENDS = {"id.orig_h": _HOSTS, "id.orig_p": _PORTS, "id.resp_h": _HOSTS, "id.resp_p": _PORTS}
_CONN = st.fixed_dictionaries(
    {
        "ts": _TIMES,
        "uid": st.sampled_from(["C1", "C2", ""]),
        **_ENDS,
        "proto": st.sampled_from(["tcp", "udp", "icmp", "?", None]),
    },
    optional={
        "duration": st.sampled_from([0.0, 1.5, -2, "long", 1e18]),
        "conn_state": st.sampled_from(["SF", "S0", "REJ", "OTH", "XX"]),
        "orig_bytes": st.sampled_from([0, 10, -1, 1 << 64, "many"]),
        "history": st.text(max_size=4),
    },
)
_RPC = st.fixed_dictionaries(
    {
        "ts": _TIMES,
        "uid": st.sampled_from(["C1", "C2"]),
        **_ENDS,
        "endpoint": st.sampled_from(["svcctl", "drsuapi", "", None]),
    },
    optional={
        "operation": st.sampled_from(["CreateServiceW", "\u202e\x00", "x" * 5000]),
        "named_pipe": st.text(max_size=5),
    },
)
_MODBUS = st.fixed_dictionaries(
    {
        "ts": _TIMES,
        "uid": st.just("C3"),
        **_ENDS,
        "func": st.sampled_from(["WRITE_SINGLE_COIL", "READ_COILS", "unknown-100"]),
    },
    optional={"pdu_type": st.sampled_from(["REQ", "RESP", "?"]), "tid": st.integers(0, 9)},
)
_MS = st.integers(0, 4000).map(lambda n: (_T0 * 1000 + n) * 1_000_000)
_GOFLOW = st.fixed_dictionaries(
    {
        "type": st.just("NETFLOW_V9"), "time_flow_start_ns": _MS, "time_flow_end_ns": _MS, "bytes": st.integers(0, 99),
        "packets": st.integers(0, 3), "src_addr": _HOSTS, "dst_addr": _HOSTS, "src_port": _PORTS, "dst_port": _PORTS,
        "proto": st.sampled_from(["TCP", "UDP", "ICMP", 6, 300]), "tcp_flags": st.sampled_from([0, 2, 18, 27, 4]),
        "sampler_address": st.sampled_from(["10.255.0.1", "10.255.0.2"]),
    }
)  # fmt: skip
_JSON = st.one_of(_CONN, _RPC, _MODBUS, _GOFLOW, st.dictionaries(st.text(max_size=5), st.integers(), max_size=3)).map(
    _dump
)
_RUBBISH = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.sampled_from(
        [b"{", b"}", b"null", b"[]", b'{"ts":1}', b'{"ts":', b"a,b,c", b"\xff\xfe", b"\x00", b'{"a":' * 2000, b"-" * 99]
    ),
)


_LINES = st.lists(st.one_of(_JSON, _JSON, _JSON, _RUBBISH), max_size=40).map(
    lambda found: [line.replace(b"\n", b"?").replace(b"\r", b"?") for line in found]
)


@given(
    first=_LINES,
    second=_LINES,
    blocks=st.lists(st.integers(1, 9), min_size=1),
    again=st.booleans(),
    rows=st.sampled_from([1, 5, RELEASE_ROWS]),
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_every_line_ends_in_one_bucket(first, second, blocks, again, rows):
    """Two sources in turns, in blocks of any size; rows that come back are late or twins."""
    engine = Engine(Settings())
    engine.release_rows = rows
    records = 0
    for name in ("one", "two", *(["again"] if again else [])):
        content, decoder, start = (
            {"one": first, "two": second, "again": first}[name],
            Decoder(name, Context("UTC", None)),
            0,
        )
        for turn in range(len(content) + 1):
            part = content[start : start + blocks[turn % len(blocks)]]
            if not part:
                break
            engine.push(decoder.decode(Block(name, start + 1, part)))
            start += len(part)
            assert engine.accounting.waiting >= 0
        records += sum(not nothing(line) for line in content)
    engine.finish()
    assert engine.accounting.waiting == 0
    assert sums(engine) == engine.accounting.rows
    assert records - 2 <= engine.accounting.rows <= records  # a table's header, at most one a source, is no record


def nothing(line: bytes) -> bool:
    """Blank lines and header lines are no records."""
    return not line.strip() or line.startswith(b"#")


def test_a_file_given_twice_is_all_duplicates(world, lines, expected, tmp_path):
    folder = concatenated(lines, tmp_path / "zeek")
    once = run([folder], tmp_path / "once", LENIENT, plant=plant_of(world))
    twice = run([folder, folder], tmp_path / "twice", LENIENT, plant=plant_of(world))
    assert written(tmp_path / "twice") == expected == written(tmp_path / "once")
    one, two = once.summary["rows"], twice.summary["rows"]
    assert two["in"] == 2 * one["in"]
    assert two["scored"] == one["scored"]
    assert two["duplicate"] == 2 * one["duplicate"] + one["scored"]
    assert two["filtered"] == 2 * one["filtered"]


def test_a_flow_export_given_twice_is_all_duplicates(world, tmp_path):
    day = sorted(world.netflow_dir.glob("*.json"))[-2]
    part = tmp_path / "flows.json"
    part.write_bytes(b"".join(day.read_bytes().splitlines(keepends=True)[8000:14000]))
    once, twice = (run(paths, tmp_path / "out", plant=plant_of(world)) for paths in ([part], [part, part]))
    # A conversation is two rows when both its halves are scored, one when its repeat stands for both.
    assert _units(twice.summary) == _units(once.summary) > 2000
    assert twice.summary["rows"]["duplicate"] >= once.summary["rows"]["duplicate"] + once.summary["rows"]["in"]
    assert _accounted(once.summary)
    assert _accounted(twice.summary)
    assert [replace(alert, evidence=()) for alert in twice.alerts] == [
        replace(alert, evidence=()) for alert in once.alerts
    ]


def _accounted(summary: dict[str, Any]) -> bool:
    return bool(summary["rows"]["in"] == sum(count for name, count in summary["rows"].items() if name != "in"))


def _units(summary: dict[str, Any]) -> int:
    return int(summary["rows"]["scored"] - summary["paired"])


def conn(ts: float, port: int, **more: Any) -> bytes:
    row = {
        "ts": ts, "uid": f"C{port}", "id.orig_h": "10.0.0.1", "id.orig_p": port, "id.resp_h": "10.0.0.2",
        "id.resp_p": 445, "proto": "tcp", "conn_state": "SF", "duration": 0.5, "orig_bytes": 9, "resp_bytes": 9,
        "orig_pkts": 3, "resp_pkts": 3,
    }  # fmt: skip
    return orjson.dumps(row | more)


def fed(engine: Engine, *batches: list[bytes]) -> Engine:
    decoder, start = Decoder("zeek/conn.log", Context("UTC", None)), 1
    for batch in batches:
        engine.push(decoder.decode(Block("zeek/conn.log", start, batch)))
        start += len(batch)
    return engine


def eager() -> Engine:
    """Looks after every push which rows' turn it is."""
    engine = Engine(Settings())
    engine.release_rows = 1
    return engine


def test_late_rows_are_scored_and_counted():
    engine = fed(eager(), [conn(_T0 + 10, 50_001)], [conn(_T0, 50_002)])
    account = engine.accounting
    assert (account.late, account.scored, account.waiting) == (0, 0, 2)  # 10 s is past the window of 2 s
    engine.finish()
    assert (account.late, account.scored, account.waiting) == (1, 1, 0)


def test_rows_within_the_window_are_not_late():
    engine = fed(eager(), [conn(_T0 + 1.9, 50_001)], [conn(_T0, 50_002)])
    engine.finish()
    assert (engine.accounting.late, engine.accounting.scored) == (0, 2)


def test_a_late_twin_is_a_duplicate():
    engine = fed(eager(), [conn(_T0, 50_002)], [conn(_T0 + 10, 50_001)], [conn(_T0, 50_002)])
    engine.finish()
    assert (engine.accounting.late, engine.accounting.duplicate, engine.accounting.scored) == (0, 1, 2)


def test_a_row_from_the_future_expires_nothing():
    """One clock that is a day ahead must not make all other rows late for a day."""
    plain = [conn(_T0 + second, 50_000 + second) for second in range(60)]
    engine = fed(eager(), plain[:30], [conn(_T0 + 86_400, 60_000)], plain[30:])
    engine.finish()
    assert engine.accounting.waiting == 0
    assert engine.accounting.scored + engine.accounting.late == 61


# --- models ---


def test_models_in_another_order_tell_the_same(world, around_a_hop):
    before, hours = around_a_hop
    told_by = []
    for models in (MODELS, tuple(reversed(MODELS))):
        engine = Engine(LENIENT.model_copy(update={"models": models}), plant_of(world))
        for part in (before, *hours):
            engine.push(part)
        engine.finish()
        told_by.append(told(engine))
    assert told_by[0] == told_by[1]
    assert told_by[0][0]


# --- training ---


def test_taught_rows_give_no_alert(world, lines, tmp_path):
    """`train_until` at the very end: everything is learned, nothing is judged."""
    last = max(label.end for label in load_labels(world.labels))
    result = run(
        [concatenated(lines, tmp_path / "zeek")],
        tmp_path / "out",
        plant=plant_of(world),
        train_until=last + 86_400_000_000,
    )
    assert (result.alerts, result.incidents) == ([], [])
    assert result.summary["taught"] == result.summary["rows"]["scored"] - result.summary["paired"]


def test_training_ends_at_the_instant_given(world, lines, tmp_path):
    split = next(label.start for label in load_labels(world.labels)) - 1
    engine = Engine(LENIENT, plant_of(world), train_until=split)
    whole = in_order(decoded([concatenated(lines, tmp_path / "zeek")]))
    scored = pl.concat([engine.push(whole).frame(), engine.finish().frame()])
    assert (scored["teach"] == (scored["obs_ts"] < split)).all()
    assert 0 < scored["teach"].sum() < scored.height
    assert engine.judge.alerts
    assert engine.accounting.taught == scored["teach"].sum()


def test_no_unit_is_judged_by_itself(world, around_a_hop):
    """Rows of the future change nothing that was said before them."""
    before, hours = around_a_hop
    short, long = (Engine(Settings(), plant_of(world)) for _ in range(2))
    head = short.push(merge([before, hours[0]]))
    whole = long.push(merge([before, *hours]))
    assert head.frame().equals(whole.frame()[: head.height])


def test_the_clock_is_not_read(monkeypatch, world, around_a_hop):
    def forbidden(*_: Any) -> float:
        raise AssertionError("the engine read the clock")

    for name in ("time", "time_ns", "monotonic", "monotonic_ns"):
        monkeypatch.setattr(time, name, forbidden)
    engine = Engine(Settings(), plant_of(world))
    engine.push(around_a_hop[1][0])
    engine.finish()
    monkeypatch.undo()
    assert engine.accounting.waiting == 0


def test_results_live_in_files_only(tmp_path, lines, world):
    """A run leaves nothing beside its folder of results."""
    folder = concatenated(lines, tmp_path / "zeek")
    before = sorted(Path(tmp_path).rglob("*"))
    run([folder], tmp_path / "out", plant=plant_of(world))
    after = [path for path in sorted(tmp_path.rglob("*")) if tmp_path / "out" not in (path, *path.parents)]
    assert after == before
