"""A drill from history to report."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import orjson
import polars as pl
import pytest

from detector.assets.plant import load_plant
from detector.backtest.labels import load_labels
from detector.backtest.run import backtest
from detector.config import Settings
from detector.drill.records import FLOW_MARK, UID_PREFIX
from detector.drill.run import Wish, drill, prepare
from detector.drill.techniques import PLAYABLE
from detector.errors import ConfigError, UnreadableInput
from detector.sources.files import DRILL_MARKER, Files

from .conftest import WISH


def digests(folder):
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(Path(folder).rglob("*"))
        if file.is_file()
    }


def injected(out):
    return [
        orjson.loads(line)
        for file in sorted((out / "logs" / "drill").rglob("*"))
        if file.is_file()
        for line in file.read_bytes().splitlines()
    ]


def rows_of(played):
    return {row["technique"]: row for row in played.summary["coverage"]}


def test_every_technique_is_played_or_told_why_not(played):
    rows = rows_of(played)
    assert list(rows) == list(PLAYABLE)
    assert sum(row["status"] == "played" for row in rows.values()) >= 16
    for row in rows.values():
        assert (row["injected"] > 0) == (row["reason"] is None)
        assert row["coverage"] is None or row["low"] <= row["coverage"] <= row["high"]


def test_something_is_found_and_what_is_told_is_in_the_alerts(played):
    assert played.summary["found"]["found"] > 0
    told = {alert.ts for alert in played.result.alerts}
    told |= {step.ts for one in played.result.incidents for step in one.path}
    firsts = [one["first_alert"] for one in played.summary["campaigns"] if one["found"]]
    assert firsts
    assert all(first in told for first in firsts)


def test_labels_are_those_of_the_backtest(played):
    labels = load_labels(played.out / "labels.csv")
    hops = [hop for one in played.summary["campaigns"] for hop in one["hops"]]
    assert [label.technique for label in labels] == [hop["technique"] for hop in hops]
    assert all(label.start <= label.end for label in labels)


def test_nothing_begins_before_the_history_is_judged(played):
    begin = played.summary["history"]["judged_from"]
    assert all(hop["ts"] >= begin for one in played.summary["campaigns"] for hop in one["hops"])


def test_hops_lead_from_host_to_host(played):
    moves = {name for name, technique in PLAYABLE.items() if technique.moves}
    for one in played.summary["campaigns"]:
        at = one["hops"][0]["src"]
        for hop in one["hops"]:
            assert hop["src"] == at
            at = hop["dst"] if hop["technique"] in moves else at


def test_every_record_is_marked_and_the_copy_is_the_history(plant, played):
    records = injected(played.out)
    assert records
    assert all(record["uid"].startswith(UID_PREFIX) for record in records)
    assert digests(played.out / "logs" / "history" / "00") == digests(plant.zeek_dir)


def test_every_hop_shows_in_a_log_that_can_show_it(played):
    records = injected(played.out)
    dce = {(r["id.orig_h"], r["id.resp_h"], r["operation"]) for r in records if "endpoint" in r}
    pdus = {(r["source_h"], r["destination_h"], r["function_name"]) for r in records if "rosctr_code" in r}
    wanted = {"T1047": "ExecMethod", "T1053.005": "SchRpcRegisterTask", "T1569.002": "CreateServiceW",
              "T1003.006": "DRSGetNCChanges"}  # fmt: skip
    plc = {"T0843": "Request Download", "T0858": "PLC Stop"}
    seen = set()
    for hop in (hop for one in played.summary["campaigns"] for hop in one["hops"]):
        ends, technique = (hop["src"], hop["dst"]), hop["technique"]
        if technique in wanted:
            assert (*ends, wanted[technique]) in dce
            seen.add(technique)
        if technique in plc:
            assert (*ends, plc[technique]) in pdus
            seen.add(technique)
    assert seen == {*wanted, *plc}


def test_sizes_are_those_of_the_history(plant, played):
    conns = pl.concat([pl.read_ndjson(file, infer_schema_length=None)
                       for file in sorted(plant.zeek_dir.rglob("conn.log"))], how="diagonal_relaxed")  # fmt: skip
    known = set(conns.filter(pl.col("id.resp_p") == 3389)["resp_bytes"].to_list())
    ours = [r for r in injected(played.out) if r.get("id.resp_p") == 3389 and "conn_state" in r]
    assert ours
    assert all(record["resp_bytes"] in known for record in ours)


def test_same_seed_same_bytes(plant, played, tmp_path):
    again = drill([plant.zeek_dir], tmp_path / "again", Settings(), WISH, plant=load_plant(plant.plant))
    for name in ("drill.json", "drill.csv", "report.html", "labels.csv"):
        assert (again.out / name).read_bytes() == (played.out / name).read_bytes()
    assert digests(again.out / "logs") == digests(played.out / "logs")


def test_the_drill_is_passed_over_by_who_reads_a_folder_above(played, tmp_path):
    above = tmp_path / "above"
    shutil.copytree(played.out, above / "drill")
    (above / "conn.log").write_text("{}\n", encoding="utf-8")
    assert [file.name for file in Files([above]).files] == ["conn.log"]
    assert Files([above / "drill" / "logs"]).files


def test_with_flows_only_there_are_only_flows(plant, tmp_path):
    result = drill([plant.netflow_dir], tmp_path / "out", Settings(), Wish(campaigns=4), plant=load_plant(plant.plant))
    rows = rows_of(result)
    hidden = [row for row in rows.values() if (row["reason"] or "").startswith("not visible in these logs")]
    assert {row["technique"] for row in hidden} >= {"T1569.002", "T1047", "T1003.006", "T0843", "T1110"}
    assert not (result.out / "logs" / "drill" / "zeek").exists()
    records = injected(result.out)
    assert records
    assert all(record[FLOW_MARK] is True for record in records)
    assert result.summary["found"]["found"] > 0
    assert result.result.summary["rows"]["rejected"] == 0


def test_only_the_techniques_that_were_asked_for(plant, tmp_path):
    wish = Wish(campaigns=3, techniques=("T1021", "T1046"))
    result = drill([plant.zeek_dir], tmp_path / "out", Settings(), wish, plant=load_plant(plant.plant))
    assert set(rows_of(result)) == {"T1046", "T1021.001", "T1021.002", "T1021.004", "T1021.006"}
    found = {hop["technique"] for one in result.summary["campaigns"] for hop in one["hops"]}
    assert found <= set(rows_of(result))


def test_with_the_labels_a_backtest_finds_the_same_campaigns(plant, played, tmp_path):
    result = backtest(
        [played.out / "logs" / "history", played.out / "logs" / "drill"], tmp_path / "out", Settings(),
        plant=load_plant(plant.plant), labels=load_labels(played.out / "labels.csv"),
        train_until=load_labels(played.out / "labels.csv") and _judged_from(played),
    )  # fmt: skip
    found = {one["campaign"] for one in result.summary["labels"]["campaigns"] if one["found"]}
    ours = {one["campaign"] for one in played.summary["campaigns"] if one["found"]}
    assert ours <= found  # the labels alone give credit for what is told without the drill, too


def _judged_from(played):
    from detector.backtest.labels import parse_time

    return parse_time(played.summary["history"]["judged_from"])


# --- what cannot be ---


def test_a_folder_that_would_be_read_as_real_is_refused(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    for out in (logs, logs / "drill", tmp_path):
        with pytest.raises(ConfigError, match="must not be read as real logs"):
            prepare([logs], out)
    assert not list(logs.iterdir())


def test_a_folder_of_somebody_else_is_refused(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="no drill wrote"):
        prepare([tmp_path / "logs"], out)
    assert [file.name for file in out.iterdir()] == ["notes.txt"]


def test_an_earlier_drill_is_replaced_and_nothing_else(tmp_path):
    out = tmp_path / "out"
    prepare([tmp_path / "logs"], out)
    (out / "logs").mkdir()
    (out / "logs" / "old.log").write_text("old", encoding="utf-8")
    (out / "mine.txt").write_text("mine", encoding="utf-8")
    prepare([tmp_path / "logs"], out)
    assert sorted(file.name for file in out.iterdir()) == [DRILL_MARKER, "mine.txt"]


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish(campaigns=0), "--campaigns"),
        (Wish(paces=("weeks",)), "--pace"),
        (Wish(clock="dawn"), "--clock"),
        (Wish(techniques=("T9999",)), "--techniques"),
    ],
)
def test_wishes_that_cannot_be_are_refused(tmp_path, wish, words):
    with pytest.raises(ConfigError, match=words):
        drill([tmp_path], tmp_path / "out", Settings(), wish)
    assert not (tmp_path / "out").exists()


def conn(ts, orig, resp, port=445):
    return json.dumps({
        "ts": ts, "uid": f"C{int(ts)}", "id.orig_h": orig, "id.orig_p": 50_000 + int(ts) % 999, "id.resp_h": resp,
        "id.resp_p": port, "proto": "tcp", "conn_state": "SF", "duration": 1.5, "orig_bytes": 900, "resp_bytes": 800,
        "orig_pkts": 9, "resp_pkts": 8,
    })  # fmt: skip


def history(folder, lines):
    folder.mkdir()
    (folder / "conn.log").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def test_public_addresses_need_a_plant_file(tmp_path):
    logs = history(tmp_path / "logs", [conn(1.7e9 + i * 60, f"198.51.100.{i % 5}", "203.0.113.9") for i in range(90)])
    with pytest.raises(UnreadableInput, match="declare their zones"):
        drill([logs], tmp_path / "out", Settings(), Wish())


def test_a_history_of_a_moment_is_refused(tmp_path):
    logs = history(tmp_path / "logs", [conn(1.7e9 + i, f"10.0.0.{1 + i % 5}", "10.0.0.9") for i in range(90)])
    with pytest.raises(ConfigError, match="less than two minutes"):
        drill([logs], tmp_path / "out", Settings(), Wish())


def test_an_hour_of_file_sharing_is_enough(tmp_path):
    logs = history(tmp_path / "logs", [conn(1.7e9 + i * 40, f"10.0.0.{1 + i % 5}", "10.0.0.9") for i in range(90)])
    result = drill([logs], tmp_path / "out", Settings(), Wish(campaigns=3))
    rows = rows_of(result)
    assert rows["T1021.002"]["injected"] > 0
    assert rows["T1021.004"]["reason"] == "nowhere to play it: no host offers SSH"
    assert rows["T0843"]["reason"] == "not visible in these logs: needs s7comm"
    assert all(one["hurried"] for one in result.summary["campaigns"] if len(one["hops"]) > 1)


def test_the_table_is_the_json(played):
    with (played.out / "drill.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["technique"] for row in rows] == [row["technique"] for row in played.summary["coverage"]]
    assert [row["detected"] for row in rows] == [str(row["detected"]) for row in played.summary["coverage"]]
