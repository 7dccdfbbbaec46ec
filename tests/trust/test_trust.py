"""`eastwest trust`: what is known was there before; nothing that comes later, and no batch, has a say."""

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from detector.alerts.model import VERDICTS
from detector.assets.plant import Plant
from detector.cli import app
from detector.config import Settings
from detector.score.trust import CHECKS
from detector.trust.run import trust
from detector.trust.verify import SCHEMA
from tests.inventory.logs import DAY, conn, row, write

PAGE = (Path(__file__).parents[2] / "docs" / "trust.md").read_text(encoding="utf-8")
NEXT = DAY + 86_400
PLANT = {
    "zones": [{"name": "office", "cidrs": ["10.1.0.0/24"]}, {"name": "servers", "cidrs": ["10.2.0.0/24"]},
              {"name": "cell", "cidrs": ["10.3.0.0/24"]}],
    "conduits": [{"from": "office", "to": "servers", "services": ["smb", "rdp"]}],
    "assets": [{"hosts": ["10.1.0.77"], "name": "spare", "role": "workstation"}],
}  # fmt: skip


def verdicts(tmp_path, plant=PLANT, batch_rows=50_000, **logs):
    """(originator, responder, port or user) -> the last row about it."""
    folder = write(tmp_path / "logs", **logs)
    result = trust([folder], tmp_path / "out", Settings(batch_rows=batch_rows), plant=Plant.model_validate(plant))
    told = pl.read_parquet(tmp_path / "out" / "connections.parquet").drop("source")
    return result, {(one["orig_h"], one["resp_h"], one["service"]): one for one in told.iter_rows(named=True)}


def later(orig, resp, port, ts=NEXT + 60, **more):
    return conn(orig, resp, port, ts=ts, uid=f"L{orig}{resp}{port}{ts}", **more)


def test_a_habit_is_verified_and_a_first_time_is_not(tmp_path):
    _, told = verdicts(
        tmp_path,
        conn=[conn("10.1.0.1", "10.2.0.1", 445), *(later("10.1.0.1", "10.2.0.1", port) for port in (445, 3389))],
    )
    assert told["10.1.0.1", "10.2.0.1", "smb"]["verdict"] == "verified"
    assert told["10.1.0.1", "10.2.0.1", "rdp"]["verdict"] == "unverified"
    assert told["10.1.0.1", "10.2.0.1", "rdp"]["failed"] == "service"


def test_nothing_becomes_known_by_being_repeated_within_a_day(tmp_path):
    again = [later("10.1.0.1", "10.2.0.1", 3389, ts=NEXT + second) for second in range(0, 80_000, 10_000)]
    _, told = verdicts(tmp_path, conn=[conn("10.1.0.1", "10.2.0.1", 445), *again])
    assert told["10.1.0.1", "10.2.0.1", "rdp"]["failed"] == "service"
    day_on = later("10.1.0.1", "10.2.0.1", 3389, ts=NEXT + 86_400)
    _, told = verdicts(tmp_path / "b", conn=[conn("10.1.0.1", "10.2.0.1", 445), *again, day_on])
    assert told["10.1.0.1", "10.2.0.1", "rdp"]["verdict"] == "verified"


def test_what_nobody_answered_teaches_nothing(tmp_path):
    tried = conn("10.1.0.1", "10.2.0.1", 3389, conn_state="S0", resp_pkts=0, resp_bytes=0)
    _, told = verdicts(tmp_path, conn=[tried, later("10.1.0.1", "10.2.0.1", 3389)])
    assert told["10.1.0.1", "10.2.0.1", "rdp"]["failed"] == "device+service"


def test_a_service_that_three_hosts_of_a_zone_use_is_expected_of_the_next(tmp_path):
    users = [conn(f"10.1.0.{host}", "10.2.0.1", 445) for host in (1, 2, 3)]
    met = conn("10.1.0.9", "10.2.0.2", 445)
    _, told = verdicts(tmp_path, conn=[*users[:2], met, later("10.1.0.9", "10.2.0.1", 445)])
    assert told["10.1.0.9", "10.2.0.1", "smb"]["failed"] == "service"
    _, told = verdicts(tmp_path / "b", conn=[*users, met, later("10.1.0.9", "10.2.0.1", 445)])
    assert told["10.1.0.9", "10.2.0.1", "smb"]["verdict"] == "verified"


def test_devices_are_seen_or_named_and_nobody_outside_is(tmp_path):
    _, told = verdicts(
        tmp_path,
        conn=[
            conn("10.1.0.1", "10.2.0.1", 445),
            conn("203.0.113.5", "10.2.0.1", 445),
            later("10.1.0.2", "10.2.0.1", 445),
            later("10.1.0.77", "10.2.0.1", 445),
            later("203.0.113.5", "10.2.0.1", 445),
        ],
    )
    known = {orig: one["device_known"] for (orig, _, _), one in told.items()}
    assert known == {"10.1.0.1": False, "10.1.0.2": False, "10.1.0.77": True, "203.0.113.5": False}


def test_accounts_are_known_on_their_host(tmp_path):
    def logon(user, orig, ts):
        return row(orig, "10.2.0.1", 3389, ts=ts, cookie=user, result="Success", uid=f"R{user}{orig}{ts}")

    _, told = verdicts(
        tmp_path,
        conn=[conn("10.1.0.1", "10.2.0.1", 3389), conn("10.1.0.2", "10.2.0.1", 3389)],
        rdp=[
            logon("Anna", "10.1.0.1", DAY),
            logon("ben", "10.1.0.2", DAY),
            logon("ANNA", "10.1.0.1", NEXT + 60),
            logon("anna", "10.1.0.2", NEXT + 61),
        ],
    )
    assert told["10.1.0.1", "10.2.0.1", "rdp"]["user_known"] is True
    assert told["10.1.0.2", "10.2.0.1", "rdp"]["failed"] == "user"


def test_a_path_without_a_conduit_is_denied_from_the_first_row_on(tmp_path):
    _, told = verdicts(tmp_path, conn=[conn("10.1.0.1", "10.3.0.1", 502), conn("10.9.0.1", "10.9.0.2", 22)])
    assert told["10.1.0.1", "10.3.0.1", "modbus"]["verdict"] == "denied"
    assert told["10.9.0.1", "10.9.0.2", "ssh"]["path_permitted"] is None
    assert told["10.9.0.1", "10.9.0.2", "ssh"]["verdict"] == "learning"
    _, told = verdicts(tmp_path / "b", plant={}, conn=[conn("10.1.0.1", "10.3.0.1", 502)])
    assert told["10.1.0.1", "10.3.0.1", "modbus"]["path_permitted"] is None


def many():
    hosts = range(1, 12)
    rows = [
        later(f"10.1.0.{a}", f"10.2.0.{b}", port, ts=DAY + 7_000 * ((a * b + day * 13) % 12) + 86_400 * day + a)
        for day in range(4) for a in hosts for b in hosts if (a * b + day) % 3 == 0
        for port in (445, 3389, 502)
    ]  # fmt: skip
    return sorted(rows, key=lambda line: line["ts"])


def test_batches_and_the_order_of_files_have_no_say(tmp_path):
    rows = many()
    result, whole = verdicts(tmp_path / "a", conn=rows)
    _, parts = verdicts(tmp_path / "b", batch_rows=7, conn=rows)
    assert whole == parts
    other = write(tmp_path / "c", conn=[])
    for place in range(3):
        write(other / f"{2 - place}", conn=rows[place::3])
    shuffled = trust([other], tmp_path / "d", Settings(), plant=Plant.model_validate(PLANT))
    assert shuffled.zones == result.zones
    assert shuffled.pairs == result.pairs
    assert set(result.summary["verdicts"].values()) - {0} == set(result.summary["verdicts"].values())


def test_every_row_has_one_verdict(tmp_path):
    result, _ = verdicts(tmp_path, conn=many())
    assert sum(result.summary["verdicts"].values()) == result.summary["rows"]["in"] == len(many())


def test_zones_and_services_that_a_scan_makes_up_are_counted_together(tmp_path, monkeypatch):
    monkeypatch.setattr("detector.trust.verify.MOST_SERVICES", 3)
    result, _ = verdicts(tmp_path, plant={}, conn=[conn("10.1.0.1", f"10.2.{net}.1", 445) for net in range(9)])
    assert {(one.zone, one.learning) for one in result.zones if one.zone == "other"} == {("other", 6)}
    assert len(result.zones) == 4


def test_the_command_writes_what_it_says_and_escapes_names(tmp_path):
    folder = write(tmp_path / "logs", conn=[conn("10.1.0.1", "10.3.0.1", 502)])
    evil = {"zones": [{"name": "=<script>alert(1)</script>", "cidrs": ["10.3.0.0/24"]}],
            "conduits": [{"from": "external", "to": "=<script>alert(1)</script>", "services": ["ssh"]}]}  # fmt: skip
    (tmp_path / "plant.yaml").write_text(json.dumps(evil), encoding="utf-8")
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["trust", str(folder), "--plant", str(tmp_path / "plant.yaml"), "--out", str(out)])
    assert done.exit_code == 0
    assert "1 denied" in done.stdout
    assert "<script" not in (out / "report.html").read_text(encoding="utf-8")
    assert "'=<script>" in (out / "zones.csv").read_text(encoding="utf-8")
    assert all(f"`{path.name}`" in PAGE for path in out.iterdir())


@pytest.mark.parametrize("name", [*SCHEMA, *VERDICTS, *CHECKS])
def test_the_page_names_every_column_and_verdict(name):
    assert f"`{name}`" in PAGE
