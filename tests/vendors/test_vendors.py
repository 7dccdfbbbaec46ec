"""Each kind of violation is found where it is, and where all is as agreed nothing is."""

import csv
import json
import subprocess
from datetime import datetime

import pytest
import yaml
from typer.testing import CliRunner

from detector.cli import app
from tests.inventory.logs import conn, row, write

PC, SPARE, JUMP, STATION, PLC, OTHER, DC = (
    "10.30.250.15", "10.30.250.16", "10.50.0.14", "10.60.1.23", "10.61.1.5", "10.61.2.5", "10.20.0.13",
)  # fmt: skip
PLANT = {
    "timezone": "Europe/Berlin",
    "zones": [
        {"name": "vpn", "purdue_level": 4, "cidrs": ["10.30.250.0/24"]},
        {"name": "cell1", "purdue_level": 1, "cidrs": ["10.61.1.0/24"]},
    ],
    "known_servers": {"domain_controllers": [DC], "orchestration": ["10.30.250.40"]},
    "vendors": [
        {
            "name": "Presses", "accounts": ["ext-presses"], "hosts": [PC, "2001:db8::15"],
            "via": [JUMP, "2001:db8:1::14"],
            "assets": [STATION, "cell1"], "operations": ["read", "write"],
            "windows": [{"day": "wed", "from": "11:00", "to": "14:00"}],
        },
        {"name": "Robots", "accounts": ["ext-robots"], "hosts": ["10.30.250.20"], "via": [JUMP]},
    ],
}  # fmt: skip


def at(text):
    return datetime.fromisoformat(text).timestamp()


WED = "2026-03-25T12:{:02d}:00+01:00"


def rdp(orig, resp, start, minutes, user=None, uid=None, **more):
    """A remote desktop: the connection, and what rdp.log says of it."""
    uid = uid or f"C{orig}{resp}{start}"
    told = {"ts": at(start), "uid": uid, "duration": None if minutes is None else minutes * 60.0}
    logs = {"conn": [conn(orig, resp, 3389, **told | more)]}
    if user is not None:
        logs["rdp"] = [row(orig, resp, 3389, ts=at(start) + 0.5, uid=uid, cookie=user, result="encrypted")]
    return logs


def together(*parts):
    logs = {}
    for part in parts:
        for name, rows in part.items():
            logs.setdefault(name, []).extend(rows)
    return {name: sorted(rows, key=lambda one: one["ts"]) for name, rows in logs.items()}


def visit(start="2026-03-25T12:00:00+01:00", minutes=40, user="ext-presses", orig=PC, resp=JUMP):
    return rdp(orig, resp, start, minutes, user)


def work(function, start, orig=STATION, resp=PLC):
    told = row(orig, resp, 502, ts=at(start), uid=f"M{start}{resp}", func=function)
    return {"modbus": [told], "conn": [conn(orig, resp, 502, ts=at(start), uid=told["uid"], duration=2.0)]}


def report(folder, *parts, plant=PLANT, more=()):
    write(folder / "logs", **together(*parts))
    (folder / "plant.yaml").write_text(yaml.safe_dump(plant))
    args = [
        "vendors",
        "report",
        str(folder / "logs"),
        "--plant",
        str(folder / "plant.yaml"),
        "--out",
        str(folder / "out"),
    ]
    result = CliRunner().invoke(app, [*args, *more], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads((folder / "out" / "report.json").read_text())


def kinds(told):
    return sorted(each["kind"] for each in told["violations"])


def test_a_visit_as_agreed_is_told_and_nothing_is_wrong(tmp_path):
    onward = rdp(JUMP, STATION, WED.format(2), 30, "ext-presses")
    told = report(
        tmp_path, visit(), onward, work("READ_COILS", WED.format(5)), work("WRITE_SINGLE_COIL", WED.format(6))
    )
    assert kinds(told) == []
    [session] = told["sessions"]
    assert (session["vendor"], session["src"], session["dst"], session["minutes"]) == ("Presses", PC, JUMP, 40.0)
    assert session["reached"] == [STATION, PLC]
    assert {deed["class"] for deed in session["operations"] if deed["operation"]} == {"read", "write"}
    assert session["local_start"] == "2026-03-25 12:00:00+01:00"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([visit("2026-03-25T14:20:00+01:00")], ["outside_window"]),
        ([visit("2026-03-24T12:00:00+01:00")], ["outside_window"]),
        ([visit("2026-03-25T13:50:00+01:00")], ["overrun"]),
        ([visit("2026-03-25T13:20:30+01:00")], []),  # half a minute too long
        ([visit("2026-03-25T10:50:00+01:00")], ["outside_window"]),  # too early
        ([visit(minutes=None)], []),  # the end is not known
        ([visit(user=None)], []),
        ([visit(), rdp(JUMP, OTHER, WED.format(2), 9, "ext-presses")], ["asset"]),
        ([visit(), rdp(JUMP, OTHER, WED.format(2), 9)], ["asset"]),  # nobody else is on the jump host
        ([visit(), rdp(JUMP, OTHER, "2026-03-25T12:50:00+01:00", 9)], []),  # the supplier has left
        ([visit(), rdp(JUMP, STATION, WED.format(2), 9), work("DIAGNOSTICS", WED.format(4))], []),
        ([visit(), rdp(JUMP, STATION, WED.format(2), 9), work("PROGRAM_UNITY", WED.format(4))], ["operation"]),
        ([visit(), rdp(JUMP, STATION, WED.format(2), 9), work("READ_COILS", WED.format(4), resp=OTHER)], ["asset"]),
        ([visit(resp=STATION)], ["direct"]),
        ([visit(resp=OTHER)], ["asset", "direct"]),
        ([work("READ_COILS", "2026-03-25T12:05:00+01:00", orig=PC)], ["direct"]),
        ([work("PROGRAM_UNITY", "2026-03-25T12:05:00+01:00", orig=PC)], ["direct", "operation"]),
        ([visit(orig=SPARE)], ["unknown_source"]),
        ([visit(minutes=10), visit(WED.format(30), 10, orig="2001:db8::15")], []),  # one after the other
        ([visit(), visit(WED.format(30), 10, orig="2001:db8::15")], ["shared_account"]),
        ([visit(user="maria")], ["unknown_account"]),
        ([visit(user="CORP\\Ext-Presses")], []),
        ([visit(user="ext-press")], []),  # nine characters of it
        ([visit(), visit(WED.format(10), orig=SPARE)], ["shared_account", "unknown_source"]),
        ([visit(), visit(WED.format(50), user="ext-robots")], ["shared_source", "unknown_account"]),
        ([visit(user="ext-valves", orig="10.12.0.9")], ["undeclared"]),
        ([visit(user=None, orig="203.0.113.9")], ["undeclared"]),
        ([visit(user=None, orig="10.30.250.41")], ["undeclared"]),
        ([visit(user=None, orig="10.30.250.40")], []),  # a known server
        ([visit(user="maria", orig="10.12.0.9")], []),  # an administrator
        ([visit(), rdp("10.12.0.9", JUMP, WED.format(1), 30, "maria"), rdp(JUMP, OTHER, WED.format(2), 9)], []),
    ],
)  # fmt: skip
def test_what_was_not_agreed_is_found(tmp_path, parts, expected):
    assert kinds(report(tmp_path, *parts)) == expected


def test_minutes_outside_are_counted(tmp_path):
    told = report(tmp_path, visit("2026-03-25T13:50:00+01:00"), visit("2026-03-25T22:00:00+01:00", 7))
    assert [(each["kind"], each["minutes_outside"]) for each in told["violations"]] == [
        ("overrun", 30.0), ("outside_window", 7.0),
    ]  # fmt: skip


def changed(**fields):
    return {**PLANT, "vendors": [{**PLANT["vendors"][0], **fields}]}


def test_over_midnight_and_in_the_night_the_clocks_change(tmp_path):
    night = changed(windows=[{"dtstart": "2026-03-28T23:00", "duration": "PT6H", "rrule": "FREQ=WEEKLY;BYDAY=SA"}])
    fine = visit("2026-03-28T23:30:00+01:00", 330)  # to 06:00 in summer time: 05:00 by the clock before
    assert kinds(report(tmp_path / "a", fine, plant=night)) == []
    told = report(tmp_path / "b", visit("2026-03-28T23:30:00+01:00", 360), plant=night)
    assert [(each["kind"], each["minutes_outside"]) for each in told["violations"]] == [("overrun", 30.0)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"expires": "2026-03-24"}, ["expired"]),
        ({"expires": "2026-03-25"}, []),
        ({"expires": "2026-03-25T12:10"}, ["expired"]),
        ({"valid_from": "2026-03-26"}, ["not_yet_valid"]),
        ({"services": ["ssh"]}, ["service"]),
        ({"hosts": ["10.30.250.99"], "vpn_pools": ["10.30.250.0/24"]}, ["unknown_source"]),
        ({"hosts": [], "vpn_pools": ["10.30.250.0/24"]}, []),
    ],
)
def test_validity_services_and_pools(tmp_path, fields, expected):
    assert kinds(report(tmp_path, visit(), plant=changed(**fields))) == expected


def test_ipv6(tmp_path):
    told = report(tmp_path, visit("2026-03-25T15:00:00+01:00", orig="2001:db8::15", resp="2001:db8:1::14"))
    assert kinds(told) == ["outside_window"]


def test_flows_alone_are_enough_and_their_parts_are_one_session(tmp_path):
    lines = []
    for begin, end in (("13:30", "14:00"), ("14:00", "14:25")):
        first, last = (round(at(f"2026-03-25T{clock}:00+01:00")) for clock in (begin, end))
        for src, dst, sport, dport in ((PC, JUMP, 50_000, 3389), (JUMP, PC, 3389, 50_000)):
            lines.append(
                {"type": "NETFLOW_V9", "time_received_ns": last * 10**9, "time_flow_start_ns": first * 10**9,
                 "time_flow_end_ns": last * 10**9, "src_addr": src, "dst_addr": dst, "src_port": sport,
                 "dst_port": dport,
                 "proto": "TCP", "bytes": 9000, "packets": 90, "tcp_flags": 27, "sampler_address": "192.0.2.1"}
            )  # fmt: skip
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "flows.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = report(tmp_path)
    assert [(each["kind"], each["minutes_outside"]) for each in told["violations"]] == [("overrun", 25.0)]
    assert len(told["sessions"]) == 1


def test_access_that_nobody_uses(tmp_path):
    other = visit("2026-03-04T12:00:00+01:00"), visit("2026-03-25T12:00:00+01:00")
    told = report(tmp_path, *other, more=["--unused-days", "14"])
    assert [(each["kind"], each["vendor"]) for each in told["violations"]] == [("unused", "Robots")]
    assert kinds(report(tmp_path, *other)) == []  # these logs do not last that long


def test_an_order_of_files_and_batches_changes_no_byte(tmp_path):
    parts = [visit(), rdp(JUMP, STATION, WED.format(2), 9), work("PROGRAM_UNITY", WED.format(4)), visit(orig=SPARE)]
    report(tmp_path / "a", *parts)
    split = together(*parts)
    write(tmp_path / "b" / "logs", **{name: rows[:1] for name, rows in split.items()})
    (tmp_path / "small.yaml").write_text("batch_rows: 1\n")
    report(tmp_path / "b", *parts, more=["--config", str(tmp_path / "small.yaml")])
    for name in ("report.json", "sessions.csv", "violations.csv"):
        assert (tmp_path / "a" / "out" / name).read_bytes() == (tmp_path / "b" / "out" / name).read_bytes()


def test_hostile_texts_are_texts(tmp_path):
    report(tmp_path, visit(user="ext-presses"), visit(WED.format(50), user='=1+1<script>alert("x")</script>'))
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    rows = list(csv.DictReader((tmp_path / "out" / "sessions.csv").read_text().splitlines()))
    assert rows[1]["account"].startswith("'=1+1")


def test_the_manifest_tells_of_all_files(tmp_path):
    import hashlib

    report(tmp_path, visit())
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    for each in manifest["outputs"]:
        assert hashlib.sha256((tmp_path / "out" / each["name"]).read_bytes()).hexdigest() == each["sha256"]
    assert {each["name"] for each in manifest["inputs"]} == {"conn.log.gz", "rdp.log.gz", "plant.yaml"}


def test_one_supplier_and_one_day(tmp_path):
    parts = [visit("2026-03-24T12:00:00+01:00"), visit("2026-03-26T12:00:00+01:00"),
             visit("2026-03-26T13:00:00+01:00", user="ext-robots", orig="10.30.250.20")]  # fmt: skip
    told = report(tmp_path, *parts, more=["--since", "2026-03-25", "--vendor", "presses"])
    assert [session["local_start"] for session in told["sessions"]] == ["2026-03-26 12:00:00+01:00"]
    assert kinds(told) == ["outside_window"]


def test_check_ends_with_five_when_something_was_not_agreed(tmp_path):
    report(tmp_path, visit())
    args = ["vendors", "check", str(tmp_path / "logs"), "--plant", str(tmp_path / "plant.yaml")]
    assert CliRunner().invoke(app, args).exit_code == 0
    report(tmp_path, visit("2026-03-24T12:00:00+01:00"))
    assert CliRunner().invoke(app, args).exit_code == 5


@pytest.mark.browser
def test_a_browser_shows_the_page(tmp_path, require_tool):
    report(tmp_path, visit(), visit("2026-03-25T22:00:00+01:00", user="<b>ext"))
    command = [
        require_tool("chromium"),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
    ]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "out" / "report.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert 'id="s2"' in dom
    assert "<b>ext" not in dom
    assert "minutes outside" in dom
