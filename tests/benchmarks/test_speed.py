"""The race: what is made has the stated shape, everybody accounts for every row, unmet targets are flagged."""

import importlib.util
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import orjson
import polars as pl
import pytest
from kafka.record import MemoryRecords
from race import (
    batches,
    cores,
    eastwest,
    forest,
    growth,
    laps,
    lines,
    pair,
    parsers,
    programme,
    rivals,
    shape,
    stages,
    state,
    tables,
)
from race.folder import Folder
from race.forest import Forests
from race.growth import Growth
from race.laps import Contestant, Laps, race
from race.latency import Latency
from race.programme import Plan, Report
from race.shape import CHUNK, TAP, Network, Shape
from race.targets import targets
from rich.console import Console
from typer.testing import CliRunner

from detector.records import FLOW
from detector.sources.record_batches import read_records
from detector.state.counts import Counts, find

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TINY = Shape(rows=6_000, lines=3_000, hosts=300, edges=2_000, per_second=200)
PLACES = ("log", "source", "position")


@pytest.fixture(scope="module")
def network():
    return Network(TINY)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All files of a tiny race, and a taught engine."""
    made = Folder(tmp_path_factory.mktemp("race"), TINY)
    assert set(programme.make(made)) == {"zeek.json", "zeek.tsv", "goflow2.json", "flows.parquet"}
    return made


@pytest.fixture
def quick(monkeypatch):
    """No pass is repeated to be timed well, and one start is enough."""
    monkeypatch.setattr(laps, "SHORT_S", 0.0)
    monkeypatch.setattr(programme, "READY_TRIES", 1)


# --- what is made ---


def test_the_same_seed_makes_the_same_rows_whatever_part_is_asked_for(network):
    whole = network.flows(0, CHUNK + 500)
    assert whole.height == CHUNK + 500
    assert Network(TINY).flows(CHUNK - 300, CHUNK + 200).equals(whole[CHUNK - 300 : CHUNK + 200])
    assert pl.concat(network.pieces(50, CHUNK + 90)).equals(whole[50 : CHUNK + 90])
    assert not Network(replace(TINY, seed=5)).flows(0, 500).equals(whole[:500])
    assert Network(TINY).history().equals(network.history())


def test_the_history_knows_every_edge_once_and_ends_before_the_stream(network):
    history = network.history()
    assert history.schema == FLOW
    assert history.select("orig_h", "resp_h").n_unique() == history.height == TINY.edges
    assert history.filter(pl.col("orig_h") == pl.col("resp_h")).is_empty()
    assert history["obs_ts"].max() < shape.START_US <= network.flows(0, 1)["obs_ts"].min()


def test_the_stream_has_the_stated_shape(network):
    flows = network.flows(0, CHUNK)
    known = flows.join(network.history(), on=["orig_h", "resp_h"], how="semi")
    assert 1 - known.height / flows.height == pytest.approx(TINY.novel, abs=0.001)
    assert flows["obs_ts"].is_sorted()
    assert flows["obs_ts"].max() - flows["obs_ts"].min() == pytest.approx(CHUNK / TINY.per_second * 1e6, rel=0.01)
    hosts = pl.concat([flows["orig_h"], flows["resp_h"]]).unique()
    assert hosts.len() == TINY.hosts
    assert hosts.str.contains(":").sum() == TINY.hosts * shape.IPV6_SHARE
    per_pair = known.group_by("orig_h", "resp_h").len()["len"].sort(descending=True)
    assert per_pair[: TINY.edges // 100].sum() > 10 * known.height / 100  # one edge in a hundred, far more of the rows
    assert (flows["exporter"] == TAP).sum() / CHUNK == pytest.approx(shape.ESCAPED_SHARE, abs=0.001)


def test_a_network_without_room_for_new_pairs_says_so():
    full = Network(Shape(hosts=20, edges=20 * 19, novel=0.5))
    with pytest.raises(ValueError, match="no new pairs"):
        full.flows(0, 1)


def test_lines_leave_out_what_is_not_set_and_escape_what_has_to_be(network):
    flows = network.flows(0, 3_000)
    records = [orjson.loads(line) for line in lines.zeek_json(flows)]
    assert len(records) == flows.height
    for name in ("service", "duration", "orig_bytes", "local_orig", "_system_name"):
        assert 0 < sum(name in record for record in records) < len(records), name
    assert any(rb"\"north\" \\3" in line for line in lines.zeek_json(flows))
    assert any(rb"\x5c3" in line for line in lines.zeek_tsv(flows))
    assert {len(line.split(b"\t")) for line in lines.zeek_tsv(flows)} == {len(lines.CONN)}


def test_goflow2_has_a_record_for_each_direction(network):
    flows = network.flows(0, 1_000)
    answered = flows.filter(pl.col("conn_state") == "SF").height
    assert len(lines.goflow2_json(flows)) == flows.height + answered


@pytest.mark.parametrize("source", [eastwest.JSON, eastwest.TSV, eastwest.KAFKA, eastwest.PARQUET])
def test_every_source_holds_the_same_flows(folder, source):
    read = pl.concat(piece.flows for piece in eastwest.Sources(folder).read(source, 2_000, 1_000))
    made = Network(TINY).flows(TINY.lead, TINY.lead + 2_000)
    if source == eastwest.PARQUET:  # a table of flows has an end, so a duration too
        made = made.with_columns(pl.col("duration").fill_null(0.0))
    assert read.drop(PLACES).equals(made.drop(PLACES))


def test_goflow2_is_read_without_rejects(folder):
    pieces = list(eastwest.Sources(folder).read(eastwest.GOFLOW2, 1_000))
    assert sum(piece.flows.height for piece in pieces) == 1_000
    assert not any(piece.rejects for piece in pieces)


@pytest.mark.parametrize("codec", batches.CODECS)
def test_record_batches_hold_one_line_a_record(codec):
    rows = [b"line %d" % number for number in range(2 * batches.RECORDS + 7)]
    sent = batches.responses(rows, codec, 2 * batches.RECORDS)
    assert [response.offset for response in sent] == [0, 2 * batches.RECORDS]
    read = [read_records(response.batches, response.offset) for response in sent]
    assert [line for records in read for block in records.blocks("flows:0") for line in block.lines] == rows
    assert np.concatenate([records.offsets for records in read]).tolist() == list(range(len(rows)))
    attributes = {MemoryRecords(response.batches).next_batch().attributes for response in sent}
    assert attributes == {batches.CODECS[codec]}


# --- how it is timed ---


def test_everybody_accounts_for_every_row(folder, quick):
    found = programme.laps(folder, 1)
    texts = {f"{name}: {who}" for name in ("zeek.json", "zeek.tsv", "goflow2.json")
             for who in (parsers.COUNT, parsers.OURS)}  # fmt: skip
    others = {"zeek.json: Polars read_ndjson", "zeek.json: DuckDB read_json", "zeek.json: msgspec"}
    others |= {"zeek.tsv: Polars read_csv", "zeek.tsv: DuckDB read_csv"}
    others |= {batches.name(codec, who) for codec in batches.CODECS for who in (batches.KAFKA_PYTHON, batches.OURS)}
    scorers = {rivals.POLARS, rivals.DUCKDB, rivals.MIDAS, rivals.RIVER, eastwest.JSON, eastwest.TSV,
               eastwest.GOFLOW2, eastwest.KAFKA, eastwest.PARQUET, eastwest.FRAMES}  # fmt: skip
    assert texts | others | scorers <= set(found)
    assert all(len(one.seconds) == 1 and one.rows > 0 for one in found.values())
    assert found[rivals.DUCKDB].rows == TINY.rows
    assert found["zeek.json: msgspec"].rows == TINY.lines


def test_a_contestant_that_loses_rows_is_found_out():
    with pytest.raises(RuntimeError, match="loser: 9 of 10 rows"):
        race([Contestant("loser", 10, lambda: lambda: 9)], 1)


def test_all_take_turns_and_the_first_turn_does_not_count():
    turns = []

    def runner(name):
        return Contestant(name, 1, lambda: lambda: turns.append(name) or 1, once=True)

    found = race([runner("a"), runner("b")], 2)
    assert turns == ["a", "b"] * 3
    assert [len(one.seconds) for one in found.values()] == [2, 2]
    turns.clear()
    found = race([runner("a"), replace(runner("b"), warm=True)], 1)
    assert turns == ["a", "a", "b"]
    assert [len(one.seconds) for one in found.values()] == [1, 1]


def test_a_ratio_is_the_median_of_the_rounds():
    own = Laps("a", 100, [1.0, 10.0, 2.0])
    other = Laps("b", 200, [4.0, 40.0, 1.0])
    assert own.against(other) == 2  # of 2, 2, 0.25
    assert other.against(own) == 0.5
    assert own.rate == 50
    assert own.ns == pytest.approx(2e7)


@pytest.mark.parametrize(("wanted", "found"), [(0.3, 1), (1, 1), (4.9, 2), (50_000, 50_000), (99_999, 50_000)])
def test_rows_go_in_steps(wanted, found):
    assert laps.some(wanted) == found


def test_a_stage_is_not_charged_for_the_stages_it_calls(monkeypatch):
    ticks = iter([0, 10, 15, 40])  # outer begins, inner begins, inner ends, outer ends
    monkeypatch.setattr(stages.time, "perf_counter_ns", lambda: next(ticks))
    watch = stages.Stopwatch()
    assert watch.run("outer", lambda: watch.run("inner", lambda: "made")) == "made"
    assert watch.ns == {"outer": 35, "inner": 5}


def test_models_with_threads_of_their_own_take_turns():
    inside, together = [], []

    def score():
        inside.append(1)
        time.sleep(0.05)  # long enough for the other one to come in
        together.append(len(inside))
        inside.pop()

    watch, models = stages.Stopwatch(), [SimpleNamespace(name=name, score=score) for name in "ab"]
    for model in models:
        watch.wrap_model(model)
    with ThreadPoolExecutor(2) as threads:
        watch.run("outer", lambda: list(threads.map(lambda model: model.score(), models)))
    assert together == [1, 1]
    assert set(watch.ns) == {"outer", "model a", "model b"}


@pytest.mark.skipif(not cores.available(), reason="processes cannot be held to cores here")
def test_a_process_is_held_to_its_cores():
    with programme._process(cores.available()[:1]) as pool:
        assert pool.submit(cores.available).result() == cores.available()[:1]


def test_the_life_of_a_flow_has_every_model_and_changes_no_score(folder):
    (life,) = stages.measure(folder, 1)
    engine = eastwest.new_engine()
    assert {f"model {model.name}" for model in engine.scorer.models} <= set(life.ns)
    assert {stages.DECODE, "order", "enrich", "fusion", "judge", stages.REST} <= set(life.ns)
    piece = Network(TINY).flows(0, 2_000)
    plain, watched = eastwest.taught(folder), eastwest.taught(folder)
    stages.watched(watched)
    decoded = eastwest.Decoded(flows=piece)
    assert watched.push(decoded).frame().equals(plain.push(decoded).frame())


# --- what is held ---


def test_what_is_held_is_counted_once():
    engine = eastwest.new_engine()
    assert sum(state.learned(engine).values()) > 0
    tables_ = [thing for thing in state.reachable(engine) if isinstance(thing, Counts)]
    assert len({id(table) for table in tables_}) == len(tables_) > 5
    assert state.held(engine) >= sum(table.keys.nbytes + table.cells.nbytes + table.last.nbytes for table in tables_)


def test_a_filled_table_keeps_what_it_has():
    table = Counts(100_000)
    keys = np.arange(1, 101, dtype=np.uint64)
    table.load(
        {
            "keys": keys,
            "cells": np.ones((100, 2)),
            "last": np.arange(100),
            "since": np.zeros(100, np.int32),
            "evicted": np.zeros(1, np.int64),
        }
    )
    assert not growth.fill(table, 5_000)
    assert int(table.used[0]) == 5_000
    assert all(table.keys[find(table.keys, key)] == key for key in keys)
    assert growth.fill(table, 1_000_000)  # the bound came first
    assert int(table.used[0]) < table.max_entries


def test_tables_of_edges_are_told_from_those_of_hosts(folder):
    engine = eastwest.taught(folder)
    grown = growth.edge_tables(engine, TINY.hosts)
    assert engine.scorer.structure.memory.counts in grown
    assert all(int(table.used[0]) > TINY.hosts for table in grown)


def test_growth_skips_what_no_table_may_hold(folder, quick):
    found = growth.measure(folder, (4_000, 5_000_000_000), 1)
    assert [one.edges for one in found] == [TINY.edges, 4_000, 5_000_000_000]
    assert found[0].times_small == 1
    assert found[1].entries > 1.5 * found[0].entries
    assert found[2].ns is None
    assert "max_entries" in found[2].note


# --- targets ---


def report(**given):
    """A report in which everything is as fast as could be wished, but for what is given."""
    fast = {
        f"zeek.json: {parsers.COUNT}": 0.5, f"zeek.json: {parsers.READ_NDJSON}": 5.0, f"zeek.json: {parsers.OURS}": 1.0,
        rivals.MIDAS: 1.0, rivals.DUCKDB: 1.0, rivals.RIVER: 100.0, eastwest.JSON: 1.0, eastwest.KAFKA: 1.0,
        eastwest.PARQUET: 1.0, eastwest.FRAMES: 1.0, pair.ALONE: 1.0, pair.TOGETHER: 0.5,
        **{batches.name(codec, batches.KAFKA_PYTHON): 10.0 for codec in batches.CODECS},
        **{batches.name(codec, batches.OURS): 1.0 for codec in batches.CODECS},
    }  # fmt: skip
    made = Report(
        TINY,
        laps={name: Laps(name, 1_000, [seconds]) for name, seconds in fast.items()},
        latency=[Latency(1_000, 100, 1.0, 2.0), Latency(10_000, 100, 10.0, 20.0)],
        state=state.State(100, 10, 1, 3_200, {}, 1, 1.0, 1.0, 0.1, 1.0, 1, 1.0),
        ready_s=5.0,
        growth=[Growth(330_000, ns=1.0, times_small=1.0), Growth(5_000_000, ns=1.0, times_small=2.0, capture_s=0.1)],
        forest=[Forests(100, 1.0, 25.0, 25.0, 0.0), Forests(10_000, 1.0, 2.0, 2.0, 1e-16)],
    )
    for name, value in given.items():
        setattr(made, name, value)
    return made


def by_name(made):
    return {target.name: target for target in targets(made)}


def test_targets_that_are_reached_are_met():
    assert {target.met for target in targets(report())} == {True}


@pytest.mark.parametrize(
    ("slow", "name"),
    [
        (eastwest.JSON, "end to end from Zeek JSON / read_ndjson alone"),
        (f"zeek.json: {parsers.OURS}", "decoder / read_ndjson, Zeek JSON"),
        (f"zeek.json: {parsers.OURS}", "time of decoder / of newline count"),
        (eastwest.KAFKA, "end to end from Kafka / read_ndjson alone"),
        (batches.name("lz4", batches.OURS), "record batches, lz4 / kafka-python's iteration"),
        (eastwest.FRAMES, "decoded frames to alerts / MIDAS-R"),
        (eastwest.PARQUET, "end to end from Parquet / DuckDB group-by"),
        (eastwest.PARQUET, "end to end from Parquet / naive River"),
        (pair.TOGETHER, "two processes / one"),
    ],
)
def test_who_is_slow_misses_the_target(slow, name):
    made = report()
    made.laps[slow] = Laps(slow, 1_000, [10.0])
    assert by_name(made)[name].met is False


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"latency": [Latency(1_000, 100, 1.0, 3.1)]}, "p99 / p50, batches of 1,000"),
        ({"latency": [Latency(10_000, 100, 10.0, 51.0)]}, "p99, batches of 10,000"),
        ({"ready_s": 11.0}, "start to ready"),
        ({"state": state.State(100, 10, 1, 3_300, {}, 1, 1.0, 1.0, 0.1, 1.0, 1, 1.0)}, "learned, by edge"),
        ({"forest": [Forests(100, 1.0, 19.0, 19.0, 0.0)]}, "forest / scikit-learn, 100 rows"),
        ({"forest": [Forests(100, 1.0, 19.0, 19.0, 1e-9)]}, "forest - scikit-learn, largest difference"),
        (
            {"growth": [Growth(330_000, ns=1.0, times_small=1.0), Growth(50_000_000, ns=1.0, times_small=2.6)]},
            "cost a row at 50,000,000 edges / at 330,000",
        ),
    ],
)
def test_unmet_targets_are_flagged(given, name):
    assert by_name(report(**given))[name].met is False


def test_a_small_snapshot_can_only_miss_the_target():
    quick, slow = (Growth(330_000, ns=1.0, times_small=1.0, capture_s=seconds) for seconds in (0.1, 0.6))
    name = "snapshot of 5,000,000 edges (the path stops)"
    assert by_name(report(growth=[quick]))[name].met is None
    assert by_name(report(growth=[slow]))[f"{name}, tried: 330,000"].met is False


def test_few_batches_tell_no_percentile():
    found = by_name(report(latency=[Latency(1_000, 3, 1.0, 1.0)]))["p99 / p50, batches of 1,000"]
    assert found.met is None
    assert "batches" in found.note


def test_nothing_measured_is_nothing_met():
    assert {target.met for target in targets(Report(TINY))} == {None}


def test_the_forest_race_holds_scores_to_scikit_learn(quick):
    found = forest.measure(1)
    assert [one.rows for one in found] == list(forest.ROWS)
    assert max(one.difference for one in found) <= 1e-12


# --- all of it ---


@pytest.mark.slow
@pytest.mark.long
def test_a_tiny_race_from_files_to_tables(quick):
    console = Console(width=150, record=True, quiet=True)
    made = programme.run(Plan(TINY, rounds=1, known=(4_000,), apart=False), console)
    assert all(made.gates.values()), made.gates
    assert made.laps[pair.TOGETHER].rows == 2 * made.laps[pair.ALONE].rows
    assert made.ready_s > 0
    document = orjson.loads(orjson.dumps(programme.document(made)))
    assert {target["met"] for target in document["targets"]} <= {True, False, None}
    assert document["laps"][eastwest.KAFKA]["rows_per_second"] == made.laps[eastwest.KAFKA].rate
    assert len(document["digest"]) == 64
    text = Console(width=200, record=True)
    with text.capture() as captured:
        for table in tables.tables(made):
            text.print(table)
    assert eastwest.KAFKA in captured.get()
    assert "NOT MET" in captured.get()


@pytest.fixture
def command():
    """The `main` of the file, which is no module."""
    spec = importlib.util.spec_from_file_location("speed", BENCHMARKS / "speed.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("held", "code"), [(True, 0), (False, 1)])
def test_the_command_writes_json_and_fails_when_a_gate_does_not_hold(command, monkeypatch, tmp_path, held, code):
    asked = []

    def run(plan, console):
        asked.append(plan)
        return report(gates={"what must hold": held})

    monkeypatch.setattr(programme, "run", run)
    app = command.typer.Typer()
    app.command()(command.main)
    out = tmp_path / "deep" / "speed.json"
    result = CliRunner().invoke(app, ["--out", str(out), "--rows", "2000", "--rounds", "1"])
    assert result.exit_code == code
    assert asked[0].shape == replace(Shape(), rows=2_000, lines=2_000)
    assert orjson.loads(out.read_bytes())["gates"] == {"what must hold": held}
