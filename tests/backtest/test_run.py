"""A backtest's bookkeeping: what is measured against labels, what stands in the summary, and what is left behind."""

import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.backtest import pieces
from detector.backtest.labels import load_labels, parse_time
from detector.backtest.summary import _state
from detector.backtest.tally import Tally
from detector.config import Settings
from detector.engine import Engine
from detector.errors import UnreadableInput
from detector.normalize.spool import Spool
from tests.scenarios.world import concatenated, decoded, lines_by_log, plant_of, run, simulated, written

LENIENT = Settings(false_incidents_per_day=100)  # a day is too young for sure incidents, and some must be compared


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return simulated(tmp_path_factory, days=2, hosts=40, seed=3)


@pytest.fixture(scope="session")
def done(world, tmp_path_factory):
    """A run with everything: plant, labels, training."""
    out = tmp_path_factory.mktemp("done")
    until = parse_time(world.train_until)
    labels = load_labels(world.labels)
    return run([world.zeek_dir], out, LENIENT, plant=plant_of(world), labels=labels, train_until=until)


def test_the_summary_is_the_result(done, world):
    summary = orjson.loads((done.out / "summary.json").read_bytes())
    assert summary == orjson.loads(orjson.dumps(done.summary))
    assert summary["rows"]["in"] == sum(len(lines) for lines in lines_by_log(world.zeek_dir).values())
    assert summary["rows"]["in"] == sum(count for name, count in summary["rows"].items() if name != "in")
    assert sum(summary["filtered_reasons"].values()) == summary["rows"]["filtered"] > 0
    assert sum(summary["rejected_reasons"].values()) == summary["rows"]["rejected"] == 0
    assert summary["input"]["files"] == len(summary["input"]["paths"]) == len(list(world.zeek_dir.rglob("*.log")))
    assert summary["time"]["first"] < summary["time"]["last"]
    assert 1.9 < summary["time"]["days"] < 2.1
    assert 0.9 < summary["time"]["judged_days"] < 1.1
    assert summary["alerts"]["count"] == sum(summary["alerts"]["by_severity"].values()) == len(done.alerts)
    assert summary["alerts"]["per_day"] == pytest.approx(
        len(done.alerts) / max(summary["time"]["judged_days"], 1), abs=0.01
    )
    assert (summary["state"]["evicted"], summary["state"]["evicted_from"]) == (0, [])
    assert summary["state"]["entries"] > 1000


def test_what_the_labels_say(done, world):
    measured = done.summary["labels"]
    phish, supplier = measured["campaigns"]
    assert (phish["campaign"], supplier["campaign"]) == ("phish", "supplier")
    assert (phish["hops"], supplier["hops"]) == (6, 4)
    assert phish["found"]
    for campaign in (phish, supplier):
        assert campaign["found"] == (campaign["hops_found"] > 0)
        assert 0 <= campaign["hops_found"] <= campaign["hops"]
    assert 0 <= phish["hops_before_first_alert"] <= phish["hops"] - phish["hops_found"]
    assert measured["hops_found"] == phish["hops_found"] + supplier["hops_found"]
    assert measured["true_alerts"] + measured["false_alerts"] == len(done.alerts)
    assert measured["true_incidents"] + measured["false_incidents"] == len(done.incidents)
    assert measured["true_incidents"] >= 1


def test_findings_and_alerts_agree(done):
    """An alert is made of findings, has the p-value of one of them, and none of a taught row."""
    rows = pl.read_parquet(done.out / "findings.parquet").with_columns(pl.col("ts").dt.epoch("us"))
    by_evidence = defaultdict(list)
    for row in rows.iter_rows(named=True):
        by_evidence[row["src"], row["dst"], row["uid"] or row["evidence"]].append(row)
    assert done.alerts
    for alert in done.alerts:
        made_of = [row for pointer in alert.evidence for row in by_evidence[alert.src, alert.dst, pointer]]
        assert all(by_evidence[alert.src, alert.dst, pointer] for pointer in alert.evidence)
        assert any(row["ts"] == parse_time(alert.ts) and not row["taught"] for row in made_of)
        told = (alert.service, alert.operation)
        same = [row for row in made_of if (row["service"], row["operation"]) == told and not row["taught"]]
        assert any(
            alert.p_value == pytest.approx(row["p_value"], rel=1e-3)
            and alert.score == pytest.approx(row["score"], abs=1e-3)
            for row in same
        )


def test_findings_are_in_order_and_typed(done):
    findings = pl.read_parquet(done.out / "findings.parquet")
    assert findings.schema["ts"] == pl.Datetime("us", "UTC")
    assert findings["p_value"].is_between(0, 1, closed="right").all()
    assert findings["score"].is_finite().all()
    assert set(findings["kind"].unique()) <= {"connection", "attempt", "operation"}
    assert findings["evidence"].str.contains(r"\.log:\d+$").all()
    assert findings["evidence"].n_unique() == findings.height, "each row of the input stands for itself"


def test_the_report_holds_the_result(done):
    html = (done.out / "report.html").read_text("utf-8")
    for alert in done.alerts[:3]:
        assert alert.src in html
    assert "http://" not in html.replace("http://www.w3.org", "")


# --- order and memory ---


def test_spilling_to_disk_changes_nothing(world, done, tmp_path, monkeypatch):
    """Hours on disk instead of a heap in memory, some spilled several times: the same files."""
    monkeypatch.setattr(pieces, "Spool", lambda folder, name: Spool(folder, 5_000, name))
    until = parse_time(world.train_until)
    result = run([world.zeek_dir], tmp_path / "out", LENIENT, plant=plant_of(world), train_until=until)
    assert written(tmp_path / "out") == written(done.out)
    assert result.summary["rows"] == done.summary["rows"]


def test_files_in_no_order_of_time_are_never_late(world, done, tmp_path):
    """The newest day first, each log backwards: what is read is sorted before it is scored."""
    backwards = {log: lines[::-1] for log, lines in lines_by_log(world.zeek_dir).items()}
    folder = concatenated(backwards, tmp_path / "zeek")
    until = parse_time(world.train_until)
    result = run([folder], tmp_path / "out", LENIENT, plant=plant_of(world), train_until=until)
    assert result.summary["rows"] == done.summary["rows"]
    assert written(tmp_path / "out") == written(done.out)


@given(
    st.lists(st.tuples(st.integers(0, 4 * 3600), st.booleans()), max_size=60), st.integers(1, 20), st.integers(1, 30)
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_a_spool_gives_back_what_it_took_in_order(rows, spill_rows, batch_rows):
    from detector.records import FLOW, OPERATION, Decoded

    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder) / "spool", spill_rows=spill_rows)
        for number, (second, is_flow) in enumerate(rows):
            frame = pl.DataFrame(
                [{"obs_ts": second * 1_000_000, "position": number}], schema=FLOW if is_flow else OPERATION
            )
            spool.add(Decoded(flows=frame) if is_flow else Decoded(operations=frame))
        assert spool.rows == len(rows)
        batches = list(spool.batches(batch_rows))
        assert not list((Path(folder) / "spool").iterdir()), "what was handed out is deleted"
    assert all(0 < batch.rows <= batch_rows for batch in batches)
    times = [sorted([*batch.flows["obs_ts"], *batch.operations["obs_ts"]]) for batch in batches]
    assert sum(times, []) == sorted(second * 1_000_000 for second, _ in rows)  # noqa: RUF017 - a few short lists
    found = {(True, n) for batch in batches for n in batch.flows["position"]} | {
        (False, n) for batch in batches for n in batch.operations["position"]
    }
    assert found == {(is_flow, number) for number, (_, is_flow) in enumerate(rows)}


def test_nothing_is_left_in_the_temporary_folder(world, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    run([world.zeek_dir / "2026-03-02" / "rdp.log"], tmp_path / "out")
    assert not list((tmp_path / "scratch").iterdir())
    (tmp_path / "bad.pcap").write_bytes(b"\xd4\xc3\xb2\xa1" + bytes(50))
    with pytest.raises(UnreadableInput):
        run([tmp_path / "bad.pcap"], tmp_path / "out")
    assert not list((tmp_path / "scratch").iterdir())


def test_progress_reaches_the_end(world, tmp_path):
    told: dict[str, tuple[int, int, int]] = {}
    run(
        [world.zeek_dir / "2026-03-02"],
        tmp_path / "out",
        progress=lambda stage, *numbers: told.update({stage: numbers}),
    )
    assert set(told) == {"read", "score"}
    assert told["read"][0] == told["read"][1] > 0
    assert (
        told["score"][0]
        == told["score"][1]
        == sum(p.flows.height + p.operations.height for p in decoded([world.zeek_dir / "2026-03-02"]))
    )


def test_an_empty_tally_has_no_times():
    tally = Tally()
    tally.add(pl.DataFrame())
    assert (tally.first, tally.last, tally.new_edges, tally.top_edges) == (None, None, 0, None)


def test_whatever_any_table_dropped_is_in_the_summary():
    """Tables of models, of what a model keeps beside, of newer ones: by the count that a snapshot has of each."""
    engine = Engine(Settings())
    arrays = engine.scorer.arrays()
    dropped = [name for name in arrays if name.endswith(("evicted", "forgotten"))]
    assert {"phases.evicted", "windows.counts.evicted", "drip.days.forgotten", "fusion.cases.evicted"} <= set(dropped)
    for number, name in enumerate(dropped, 1):
        arrays[name] = np.array([number])
    engine.scorer.load(arrays)
    engine.flow_twins.seen.evicted = 1000
    state = _state(engine)
    counts = {part["table"]: part["count"] for part in state["evicted_from"]}
    assert counts == {name.rpartition(".")[0]: number for number, name in enumerate(dropped, 1)} | {"flow_twins": 1000}
    assert state["evicted"] == sum(counts.values())
    assert _state(Engine(Settings())) == {"entries": 0, "evicted": 0, "evicted_from": [], "truncated": 0}


def test_a_bound_too_small_evicts_and_says_so(world, tmp_path):
    """A table of a thousand entries is not enough for a plant; memory stays bounded and the counter tells."""
    day = [world.zeek_dir / "2026-03-02"]
    small = run(day, tmp_path / "small", Settings(max_entries=1000, max_seen=1000), plant=plant_of(world))
    state = small.summary["state"]
    assert state["entries"] <= 1000 + 20
    counts = {part["table"]: part["count"] for part in state["evicted_from"]}
    assert state["evicted"] == sum(counts.values())
    assert min(counts.values()) > 0
    assert {"structure.counts", "timing.counts", "flow_twins", "operation_twins"} <= set(counts)
    again = run(
        day, tmp_path / "again", Settings(max_entries=1000, max_seen=1000, batch_rows=777), plant=plant_of(world)
    )
    assert written(tmp_path / "again") == written(tmp_path / "small")
    assert again.summary["state"] == small.summary["state"]
