"""Violations of enforced zones in the engine: alerts of their own kind, the same whatever the batches."""

from dataclasses import asdict

import orjson
import pytest

from detector.assets.plant import Plant
from detector.backtest.run import backtest
from detector.config import Settings
from detector.engine import Engine
from tests.inventory.logs import DAY, conn, row, write
from tests.scenarios.world import cut, decoded, in_order, told

ZONES = [
    {"name": "office", "purdue_level": 4, "cidrs": ["10.1.0.0/24"]},
    {"name": "servers", "purdue_level": 4, "cidrs": ["10.2.0.0/24"]},
    {"name": "cell", "purdue_level": 1, "cidrs": ["10.3.0.0/24"], "enforced": True},
]
PLANT = {
    "zones": ZONES,
    "conduits": [{"from": "office", "to": "cell", "services": ["modbus"], "operations": ["read"]}],
}


def logs(folder):
    calm = [conn("10.1.0.1", "10.2.0.1", 445, ts=DAY + 60 * n, uid=f"A{n}") for n in range(300)]
    allowed = [conn("10.1.0.1", "10.3.0.1", 502, ts=DAY + 60 * n, uid=f"B{n}") for n in range(300)]
    reads = [row("10.1.0.1", "10.3.0.1", 502, func="READ_COILS", ts=DAY + 60 * n, uid=f"B{n}") for n in range(300)]
    breaches = [conn("10.2.0.1", f"10.3.0.{1 + n % 3}", 445, ts=DAY + 9000 + n, uid=f"V{n}") for n in range(9)]
    tried = [conn("10.2.0.1", "10.3.0.9", 22, conn_state="S0", resp_pkts=0, resp_bytes=0, ts=DAY + 9500)]
    writes = [row("10.1.0.1", "10.3.0.1", 502, func="WRITE_SINGLE_COIL", ts=DAY + 9100, uid="W")]
    return write(folder, conn=calm + allowed + breaches + tried, modbus=reads + writes)


def alerts(tmp_path, plant, batch_rows=50_000):
    settings = Settings(batch_rows=batch_rows, alerts_per_day=5)
    result = backtest([logs(tmp_path / "logs")], tmp_path / "out", settings, plant=Plant.model_validate(plant))
    return result.alerts, (tmp_path / "out" / "alerts.ndjson").read_bytes(), result.summary


def test_one_alert_a_pair_of_hosts_and_way(tmp_path):
    found, _, summary = alerts(tmp_path, PLANT)
    told = [one for one in found if one.kind == "violation"]
    assert sorted((one.src, one.dst, one.service, one.count) for one in told) == [
        ("10.1.0.1", "10.3.0.1", "modbus", 1),
        *(("10.2.0.1", f"10.3.0.{n}", "smb", 3) for n in (1, 2, 3)),
    ]
    smb = next(one for one in told if one.dst == "10.3.0.1" and one.service == "smb")
    assert smb.title.endswith("smb from 10.2.0.1 (servers) to 10.3.0.1 (cell), no conduit leads this way")
    assert smb.counterfactual == "Would not alert if a conduit from servers to cell permitted smb."
    assert smb.next_steps[0].startswith("Ask the owner of the target zone")
    assert smb.severity in ("high", "critical")  # the cell's hosts are at level 1
    write = next(one for one in told if one.service == "modbus")
    assert write.counterfactual == "Would not alert if a conduit from office to cell permitted modbus write."
    assert summary["violations"] == {"alerts": 4, "withheld": 0}


def test_the_same_bytes_in_any_batch(tmp_path):
    assert alerts(tmp_path / "a", PLANT)[1] == alerts(tmp_path / "b", PLANT, batch_rows=7)[1]


def test_without_enforced_zones_nothing_changes(tmp_path):
    """As if the keys were not there: neither alerts nor what is learned."""
    loose = [{key: value for key, value in zone.items() if key != "enforced"} for zone in ZONES]
    plain, lines, summary = alerts(tmp_path / "a", PLANT | {"zones": loose})
    assert not [one for one in plain if one.kind == "violation"]
    assert summary["violations"] == {"alerts": 0, "withheld": 0}
    named = [zone | {"security_level": 2} for zone in loose]
    assert alerts(tmp_path / "b", PLANT | {"zones": named})[1] == lines


@pytest.mark.parametrize("per_day", [1, 3])
def test_violations_have_a_budget_of_their_own(tmp_path, per_day):
    flood = [conn("10.2.0.1", f"10.3.{0}.{n}", 445, ts=DAY + n, uid=f"F{n}") for n in range(1, 200)]
    other = [conn("10.2.0.1", "10.3.0.1", 3389, ts=DAY + 500, uid="R")]
    folder = write(tmp_path / "logs", conn=flood + other)
    plant = Plant.model_validate(PLANT)
    result = backtest([folder], tmp_path / "out", Settings(alerts_per_day=per_day), plant=plant)
    told = [one for one in result.alerts if one.kind == "violation"]
    assert len(told) == per_day + 1  # a new way is told at once
    assert told[-1].service == "rdp"
    assert result.summary["violations"]["withheld"] == 200 - len(told)
    assert all(orjson.dumps(asdict(one)) for one in told)


def test_the_same_after_a_restart_in_the_midst_of_violations(tmp_path):
    files = sorted(logs(tmp_path).rglob("*.gz"))
    first, second = cut(in_order(decoded(files)), [round((DAY + 9004) * 1e6)])
    plant = Plant.model_validate(PLANT)
    engines = [Engine(Settings(), plant), Engine(Settings(), plant)]
    engines[0].push(first)
    engines[1].restore(engines[0].snapshot())
    for engine in engines:
        engine.push(second)
        engine.finish()
    assert told(engines[0]) == told(engines[1])
    assert told(engines[1])[0].count(b'"kind":"violation"') == 4
