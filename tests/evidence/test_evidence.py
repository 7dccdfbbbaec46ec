"""The reports of an incident hold what was measured, ask for the rest, and are due when the directive says."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from detector.cli import app

HOSTILE = "adm|n<script>[x](http://y)`"
HOP = {
    "ts": "2026-01-30T21:53:24Z", "src": "10.30.250.15", "dst": "10.50.0.14", "src_zone": "vpn", "dst_zone": "dmz",
    "service": "rdp", "services": ["rdp"], "operations": ["connect"], "techniques": ["T1133"], "users": [HOSTILE],
    "p_value": 1e-5, "reasons": ["never seen"], "alert_ids": ["a1"], "evidence": ["C1"],
}  # fmt: skip
INCIDENT = {
    "incident_id": "i1", "first_ts": "2026-01-30T21:53:24Z", "last_ts": "2026-01-30T22:00:00Z", "score": 3.0,
    "p_value": 0.001, "severity": "critical", "hosts": ["10.30.250.15", "10.50.0.14"], "path": [HOP],
    "techniques": ["T1133"], "summary": "A chain of moves.", "title": "x", "tactics": ["TA0001"],
    "next_steps": ["look"],
}  # fmt: skip
ALERT = {
    "incident_id": "i1", "src": "10.30.250.15", "dst": "10.50.0.14", "src_asset": None, "community_id": "1:abc=",
    "dst_asset": {"name": "JUMP", "role": "jump host", "importance": "high", "owner": "IT"},
}  # fmt: skip


@pytest.fixture
def result(tmp_path):
    for name, rows in (
        ("incidents", [INCIDENT]),
        ("alerts", [ALERT]),
        ("entities", [{"host": "10.50.0.14", "why": "jump"}]),
    ):
        (tmp_path / f"{name}.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def run(result, *more, incident="i1", aware="2026-01-31T10:00+01:00"):
    args = ["evidence", str(result), "--incident", incident, "--out", str(result / "out"), "--aware", aware, *more]
    return CliRunner().invoke(app, args)


def read(result, name):
    return json.loads((result / "out" / name).read_text())


def test_deadlines_count_from_awareness_and_the_last_from_the_notification(result):
    assert run(result).exit_code == 0
    due = {name: read(result, f"{name}.json")["due"] for name in ("early-warning", "notification", "final-report")}
    assert due == {
        "early-warning": "2026-02-01T10:00:00+01:00",
        "notification": "2026-02-03T10:00:00+01:00",
        "final-report": "2026-03-03T10:00:00+01:00",
    }
    run(result, "--notified", "2026-01-31T20:00+01:00")
    assert read(result, "final-report.json")["due"] == "2026-02-28T20:00:00+01:00"  # no 31st of February


def test_what_was_measured_is_in_and_the_rest_is_asked_for(result):
    run(result)
    sections = {each["title"]: each for each in read(result, "notification.json")["sections"]}
    assert ["10.50.0.14", "dmz", "JUMP; jump host; IT", "high", "jump"] in sections["Affected assets"]["rows"]
    assert ["account", HOSTILE] in sections["Indicators of compromise"]["rows"]
    assert ["log record", "C1"] in sections["Indicators of compromise"]["rows"]
    asked = [field for field in sections["Severity and impact"]["fields"] if field["value"] is None]
    assert [field["name"] for field in asked] == ["Disruption of services", "Financial loss, damage to others"]
    text = (result / "out" / "notification.md").read_text()
    assert (
        text.count("TO BE FILLED IN") == (result / "out" / "notification.html").read_text().count("TO BE FILLED IN") > 5
    )


def test_texts_out_of_logs_are_texts(result):
    run(result)
    page, text = ((result / "out" / f"final-report.{end}").read_text() for end in ("html", "md"))
    assert "<script>" not in page
    assert "<script>" not in text
    assert "[x](" not in text
    assert re.search(r"adm\\\|n", text)


def test_the_manifest_hashes_all_and_the_same_input_gives_the_same_bytes(result):
    run(result)
    manifest = read(result, "manifest.json")
    for each in manifest["outputs"]:
        assert hashlib.sha256((result / "out" / each["name"]).read_bytes()).hexdigest() == each["sha256"]
    assert len(manifest["outputs"]) == 9
    before = {path.name: path.read_bytes() for path in (result / "out").iterdir()}
    run(result)
    assert before == {path.name: path.read_bytes() for path in (result / "out").iterdir()}


def test_what_is_wrong_is_said(result):
    for more in ({"incident": "i2"}, {"aware": "yesterday"}, {"aware": "2026-01-31T10:00"}):
        answer = run(result, **more)
        assert answer.exception is not None
        assert re.search("--incident|--aware", str(answer.exception))


def test_each_option_and_file_is_documented(result):
    run(result)
    page = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in ("--incident", "--out", "--aware", "--notified", "manifest.json"))
    assert all(f"`{path.stem}`" in page for path in (result / "out").glob("*.md"))
