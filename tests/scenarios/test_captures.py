"""Recorded captures: known attacks are found where their labels say, and everything else runs through."""

from pathlib import Path

import polars as pl
import pytest

from detector.sources.files import Files
from tests.scenarios.world import run

CAPTURES = "zeek-from-pcap/lemay-modbus"
FAKE = "send_a_fake_command_modbus_6RTU_with_operate"
EXPLOIT = "exploit_ms08_netapi_modbus_6RTU_with_operate"
CLEAN_UNTIL = 1_424_799_609  # s; 289 s after the start, seconds before the fake command


def place(out: Path, src: str, dst: str) -> int:
    """How many judged units are at least as strange as the strangest of an edge, itself included."""
    findings = pl.read_parquet(out / "findings.parquet").filter(~pl.col("taught"))
    mine = findings.filter((pl.col("src") == src) & (pl.col("dst") == dst))["p_value"].min()
    assert mine is not None
    return findings.filter(pl.col("p_value") <= mine).height  # type: ignore[operator]


def accounted(summary: dict[str, dict[str, int]]) -> bool:
    rows = summary["rows"]
    return rows["in"] == sum(count for name, count in rows.items() if name != "in")


def test_apt29_lateral_movement(shared_data, tmp_path):
    """38 minutes with hardly a history: the hop to the second host is in an incident or among the ten strongest."""
    result = run([shared_data / "apt29-day1" / "combined_zeek.json.zst"], tmp_path / "out")
    assert result.summary["rows"]["in"] == 2140
    assert result.summary["rows"]["rejected"] == 0
    strongest = sorted(result.alerts, key=lambda alert: -alert.score)[:10]
    places = [(alert.src, alert.dst) for alert in strongest]
    places += [(step.src, step.dst) for incident in result.incidents for step in incident.path]
    assert ("10.0.1.4", "10.0.1.6") in places


def test_apt29_by_host_and_combined_agree(shared_data, tmp_path):
    """The logs of each sensor hold the records of the combined file."""
    folder = shared_data / "apt29-day1"
    combined = run([folder / "combined_zeek.json.zst"], tmp_path / "combined")
    by_host = run([folder / "individual_zeek_logs"], tmp_path / "by_host")
    assert by_host.summary["rows"] == combined.summary["rows"]
    assert combined.summary["rows"]["duplicate"] >= 48, "what both sensors saw"
    assert [alert.alert_id for alert in by_host.alerts] == [alert.alert_id for alert in combined.alerts]


def test_fake_modbus_command(shared_data, tmp_path):
    """Five clean minutes teach; then a controller commands its neighbour."""
    result = run([shared_data / CAPTURES / FAKE], tmp_path / "out", train_until=CLEAN_UNTIL * 1_000_000)
    assert result.summary["rows"]["rejected"] == 0
    assert place(tmp_path / "out", "192.168.1.101", "192.168.1.102") <= 10


def test_exploit_over_smb_with_a_history_from_elsewhere(shared_data, tmp_path):
    """MS08-067 from a controller to its neighbour; the clean minutes of another capture teach, at another time."""
    clean = tmp_path / "clean"
    clean.mkdir()
    for file in Files([shared_data / CAPTURES / FAKE]).files:
        lines = [line for block in Files([file]) for line in block.lines if _time(line) < CLEAN_UNTIL]
        (clean / file.name.removesuffix(".gz")).write_bytes(b"\n".join(lines) + b"\n")
    result = run([shared_data / CAPTURES / EXPLOIT], tmp_path / "out", history=[clean])
    assert result.summary["rows"]["rejected"] == 0
    assert result.summary["taught"] > 500
    assert place(tmp_path / "out", "192.168.1.101", "192.168.1.105") <= 10


def _time(line: bytes) -> float:
    return float(line.partition(b'"ts":')[2].partition(b",")[0])


def test_tab_separated_and_json_agree(shared_data, tmp_path):
    json, tsv = (shared_data / folder for folder in (f"{CAPTURES}/{FAKE}", f"{CAPTURES}-tsv/send_a_fake_command"))
    one, two = (run([path], tmp_path / path.parent.name) for path in (json, tsv))
    assert one.summary["rows"] == two.summary["rows"]
    key = ["ts", "src", "dst", "service", "operation", "kind", "p_value"]
    frames = [pl.read_parquet(result.out / "findings.parquet").select(key).sort(key) for result in (one, two)]
    assert frames[0].equals(frames[1])


FOLDERS = {  # rows in, rejected
    "brim-zeek-sample/zeek-default": (158_439, 0),
    "brim-zeek-sample/zeek-json": (158_439, 0),
    "iot23-34-1": (23_145, 0),
    "netflow": (9562, 656),  # aggregates of pmacct that hold no time
    "qut-dnp3": (185, 0),
    "rita-testdata/has_unknown_field": (5, 1),
    "rita-testdata/json_with_all_fields": (216, 0),
    "rita-testdata/proxy_rolling": (16_169, 0),
    "rita-testdata/truncated": (122, 4),
    "stratosphere/002-zeek-scenario-port-scanning": (4504, 0),
    "stratosphere/008-zeek-mixed": (6661, 0),
    "stratosphere/010-zeek-mixed": (6730, 0),
    "zeek-from-pcap/lemay-modbus": (12_550, 0),
    "zeek-from-pcap/lemay-modbus-tsv": (12_550, 0),
    "zeek-from-pcap/otrf-atomic-lm": (337, 0),
    "zeek-from-pcap/qut-dnp3": (40_021, 0),
    "zeek-from-pcap/zeek-btest": (9054, 0),
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_capture_runs_through(folder, shared_data, tmp_path):
    """Whatever is in it: no crash, every row in one bucket, every reject kept."""
    summary = run([shared_data / folder], tmp_path / "out").summary
    assert (summary["rows"]["in"], summary["rows"]["rejected"]) == FOLDERS[folder]
    assert summary["rows"]["scored"] > 0
    assert accounted(summary)
    assert len((tmp_path / "out" / "rejected.ndjson").read_bytes().splitlines()) == summary["rows"]["rejected"]
