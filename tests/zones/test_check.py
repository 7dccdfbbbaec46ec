"""`eastwest zones check`: what no conduit permits, whoever asks in whatever order, and nothing else."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from detector.assets.plant import Plant, load_plant
from detector.cli import app
from detector.config import Settings
from detector.simulate import simulate
from detector.zones.check import check
from tests.inventory.logs import DAY, conn, row, write

PLANT = {
    "zones": [
        {"name": "office", "purdue_level": 4, "cidrs": ["10.1.0.0/24"]},
        {"name": "servers", "purdue_level": 4, "cidrs": ["10.2.0.0/24"], "hosts": ["10.1.0.9"]},
        {"name": "cell", "purdue_level": 1, "roles": ["plc"]},
    ],
    "assets": [{"hosts": ["10.1.0.64/26"], "role": "PLC"}],
    "conduits": [
        {"from": "office", "to": "servers", "services": ["smb", "tcp/8443"]},
        {"from": "office", "to": "cell", "services": ["modbus"], "operations": ["read"]},
        {"from": "office", "to": "cell", "services": ["modbus"], "operations": ["write"],
         "windows": [{"day": "mon", "from": "11:00", "to": "12:00"}]},
        {"from": "servers", "to": "cell", "services": ["http"], "direction": "both", "name": "never"},
    ],
}  # fmt: skip
LOGS = {
    "conn": [
        conn("10.1.0.1", "10.2.0.1", 445),
        conn("10.1.0.1", "10.1.0.9", 8443),  # by its address a server
        conn("10.1.0.1", "10.1.0.9", 9443),
        conn("10.1.0.1", "10.2.0.1", 22, ts=DAY + 5),
        conn("10.1.0.2", "10.2.0.1", 22, ts=DAY + 9),
        conn("10.1.0.1", "10.2.0.1", 23, conn_state="S0", resp_pkts=0, resp_bytes=0),
        conn("10.1.0.1", "10.1.0.70", 502),
        conn("10.9.0.1", "10.9.0.2", 22),
        conn("10.1.0.1", "10.1.0.255", 137, proto="udp"),
        conn("127.0.0.1", "127.0.0.1", 8080),
        conn("fe80::1", "fe80::2", 22),
    ],
    "modbus": [
        row("10.1.0.1", "10.1.0.70", 502, func="READ_COILS", uid="M1"),
        row("10.1.0.1", "10.1.0.70", 502, func="WRITE_SINGLE_COIL", uid="M2"),  # DAY is a Monday, 08:00
        row("10.1.0.1", "10.1.0.70", 502, func="WRITE_SINGLE_COIL", uid="M3", ts=DAY + 3.5 * 3600),
        row("10.1.0.1", "10.1.0.70", 502, func="PROGRAM_UNITY", uid="M4"),
    ],
}


def made(tmp_path, logs=LOGS, plant=PLANT, batch_rows=50_000):
    folder = write(tmp_path / "logs", **logs)
    return check([folder], tmp_path / "out", Settings(batch_rows=batch_rows), Plant.model_validate(plant))


def test_what_no_conduit_permits(tmp_path):
    result = made(tmp_path)
    told = {
        (one.from_zone, one.to_zone, one.service, one.operation, one.attempt): (one.count, one.pairs, one.why)
        for one in result.violations
    }
    assert told == {
        ("office", "servers", "ssh", "", False): (2, 2, "no conduit names this service"),
        ("office", "servers", "https-alt", "", False): (1, 1, "no conduit names this service"),  # 9443
        ("office", "servers", "telnet", "", True): (1, 1, "no conduit names this service"),
        ("office", "cell", "modbus", "write", False): (1, 1, "outside the windows"),
        ("office", "cell", "modbus", "program", False): (1, 1, "no conduit names this operation"),
    }
    ssh = next(one for one in result.violations if one.service == "ssh")
    assert (ssh.sources, ssh.targets) == (("10.1.0.1", "10.1.0.2"), ("10.2.0.1",))
    assert (ssh.first_seen[:19], ssh.last_seen[:19]) == ("2026-01-05T08:00:05", "2026-01-05T08:00:10")
    assert ssh.evidence == "C10.1.0.110.2.0.122"


def test_unused_conduits_and_coverage(tmp_path):
    summary = made(tmp_path).summary
    assert summary["conduits"] == {"declared": 4, "unused": [3], "partly_used": []}
    assert summary["coverage"]["hosts"] == 7
    assert summary["coverage"]["hosts_without_zone"] == 2
    assert summary["coverage"]["zones"] == {"office": 2, "servers": 2, "cell": 1}
    assert (tmp_path / "out" / "unzoned.csv").read_text() == "host,rows\n10.9.0.1,1\n10.9.0.2,1\n"
    judged = summary["rows"]["judged"]
    assert judged == {"inside": 0, "permitted": 5, "violations": 5, "attempts": 1, "unzoned": 1, "link": 2, "group": 1}
    assert sum(judged.values()) == summary["rows"]["in"]


def test_the_same_bytes_whatever_the_order_and_the_batch(tmp_path):
    turned = {name: rows[::-1] for name, rows in LOGS.items()}
    made(tmp_path / "a")
    made(tmp_path / "b", turned, batch_rows=2)
    for name in ("violations.ndjson", "violations.csv", "conduits.csv", "unzoned.csv", "summary.json", "report.html"):
        assert (tmp_path / "a" / "out" / name).read_bytes() == (tmp_path / "b" / "out" / name).read_bytes()


def test_texts_of_logs_are_nobodys_formula_or_markup(tmp_path):
    hostile = "=cmd|' /C calc'!A0<script>\u202e"
    logs = {"http": [row("10.1.0.1", "10.2.0.1", 80, method=hostile, uid="<img src=x onerror=alert(1)>")]}
    made(tmp_path, logs)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert "\u202e" not in page + (tmp_path / "out" / "violations.csv").read_text()


def test_the_command_and_its_exit_codes(tmp_path):
    folder = write(tmp_path / "logs", **LOGS)
    plant = tmp_path / "plant.yaml"
    plant.write_text(yaml.safe_dump(PLANT))
    arguments = ["zones", "check", str(folder), "--plant", str(plant), "--out", str(tmp_path / "out")]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0
    assert "4 ways that no conduit permits, 1 more were only tried" in shown.output
    assert CliRunner().invoke(app, [*arguments, "--fail-on-violations"]).exit_code == 1
    plant.write_text(yaml.safe_dump(PLANT | {"conduits": [{}]}))
    assert CliRunner().invoke(app, [*arguments, "--fail-on-violations"]).exit_code == 0
    lines = (tmp_path / "out" / "violations.ndjson").read_bytes()
    assert lines == b""


@pytest.mark.browser
def test_the_page_opens_in_a_browser(tmp_path, require_tool):
    made(tmp_path)
    page = (tmp_path / "out" / "report.html").resolve()
    command = [
        require_tool("chromium"),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
    ]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "Zones and conduits" in told.stdout
    assert told.stdout.count('class="violated"') == 2


@pytest.mark.parametrize(("hosts", "seed"), [(80, 21), (60, 4)])
def test_a_simulated_plant_keeps_to_its_conduits_but_for_what_is_seeded(tmp_path, hosts, seed):
    plain = simulate(tmp_path / "plant", days=2, hosts=hosts, seed=seed, netflow=False, campaigns=False)
    plant = load_plant(plain.plant)
    assert check([plain.zeek_dir], tmp_path / "a", Settings(), plant).violations == []
    with min(Path(plain.zeek_dir).rglob("conn.log")).open(encoding="utf-8") as lines:
        ts = json.loads(lines.readline())["ts"]
    seeded = write(
        tmp_path / "seeded",
        conn=[conn("10.10.1.10", "10.61.1.21", 502, ts=ts), conn("10.61.1.21", "10.20.0.13", 445, ts=ts)],
        modbus=[row("10.60.1.23", "10.61.1.22", 502, func="PROGRAM_UNITY", ts=ts)],
    )
    found = check([plain.zeek_dir, seeded], tmp_path / "b", Settings(), plant).violations
    assert sorted((one.from_zone, one.to_zone, one.service, one.operation) for one in found) == [
        ("cell1_control", "servers", "smb", ""),
        ("office1", "cell1_control", "modbus", ""),
        ("site_operations", "cell1_control", "modbus", "program"),
    ]
