"""One attack at a time, by ATT&CK id, in the third day of a plant that was quiet: found at once, and near the top."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from detector.alerts.model import Alert
from detector.backtest.labels import parse_time
from detector.backtest.run import Result
from tests.scenarios.attack import Attack
from tests.scenarios.world import plant_of, run, simulated

DAY = "2026-03-04T00:00:00Z"
TEN_PAST_TEN = parse_time("2026-03-04T10:10:00Z") / 1e6
OFFICE, NEIGHBOUR, OTHER = "10.10.1.12", "10.10.1.17", "10.10.1.20"
DC, FILES, JUMP, MIRROR, STATION, HISTORIAN = (
    "10.20.0.13", "10.20.1.30", "10.50.0.14", "10.50.0.40", "10.60.1.23", "10.60.1.10",
)  # fmt: skip
S7_PLC, S7_PLC2, MODBUS_PLC = "10.61.1.21", "10.61.1.23", "10.61.2.22"
NEW_ENGINEER, NEW_SOURCE = "10.60.1.99", "10.60.1.77"


@pytest.fixture(scope="session")
def quiet(tmp_path_factory):
    """Three working days in which nobody attacks."""
    return simulated(tmp_path_factory, days=3, hosts=60, seed=13, campaigns=False)


def judged(quiet, attack: Attack, tmp_path: Path) -> Result:
    paths = [quiet.zeek_dir, attack.write(tmp_path / "attack")]
    return run(paths, tmp_path / "out", plant=plant_of(quiet), train_until=parse_time(DAY))


@dataclass(frozen=True)
class Case:
    """An attack: what it writes, its edge, one of whose alerts must name one of the techniques, and how soon (s)."""

    write: Callable[[Attack, float], None]
    src: str
    dst: str
    techniques: tuple[str, ...]
    delay: float = 10.0


CASES = {
    "T1021.002 admin share": Case(
        lambda a, at: a.service_over_admin_share(at, OFFICE, NEIGHBOUR), OFFICE, NEIGHBOUR, ("T1021.002", "T1570")
    ),
    "T1569.002 service creation": Case(
        lambda a, at: a.service_over_admin_share(at, OFFICE, FILES), OFFICE, FILES, ("T1569.002",)
    ),
    "T1021.006 WinRM": Case(lambda a, at: a.remote_shell(at, OFFICE, NEIGHBOUR), OFFICE, NEIGHBOUR, ("T1021.006",)),
    "T1003.006 DCSync": Case(lambda a, at: a.dcsync(at, OFFICE, DC), OFFICE, DC, ("T1003.006",)),
    "T1021.001 RDP": Case(lambda a, at: a.remote_desktop(at, OFFICE, MIRROR), OFFICE, MIRROR, ("T1021.001",)),
    "T0843 program download": Case(
        lambda a, at: a.program_download(at, NEW_ENGINEER, S7_PLC), NEW_ENGINEER, S7_PLC, ("T0843",)
    ),
    "T0855 Modbus write": Case(
        lambda a, at: a.modbus(at, NEW_SOURCE, MODBUS_PLC, "WRITE_SINGLE_COIL"),
        NEW_SOURCE,
        MODBUS_PLC,
        ("T0855", "T0836"),
    ),
}


# Measured over seeds 11 to 14, strongest alert of the edge among some 18 of the day: RDP none, 4, 7, 11; program
# download 6, 4, 3, 11; Modbus write 6, 6, 5, 4; all others always 1. One log-on to the neighbour of a host that the
# office reaches by RDP each day is weak evidence by itself.
@pytest.mark.parametrize("name", CASES)
def test_one_hop(name, quiet, tmp_path):
    case, attack = CASES[name], Attack()
    case.write(attack, TEN_PAST_TEN)
    alerts = judged(quiet, attack, tmp_path).alerts
    mine = [alert for alert in alerts if (alert.src, alert.dst) == (case.src, case.dst)]
    assert any(set(case.techniques) & set(alert.techniques) for alert in mine), [alert.techniques for alert in mine]
    assert rank(alerts, mine) <= 10
    first = min(parse_time(alert.ts) for alert in mine) / 1e6
    assert first - TEN_PAST_TEN <= case.delay


def rank(alerts: list[Alert], mine: list[Alert]) -> int:
    """Place of the strongest of mine among all of the day, 1 = strongest."""
    return 1 + sum(alert.score > max(alert.score for alert in mine) for alert in alerts if alert not in mine)


@pytest.fixture(scope="session")
def swept(quiet, tmp_path_factory):
    """T1046: 60 ports and hosts in a minute."""
    attack = Attack()
    for number in range(60):
        attack.attempt(TEN_PAST_TEN + number, OFFICE, f"10.20.1.{100 + number // 3}", (22, 445, 3389)[number % 3])
    return judged(quiet, attack, tmp_path_factory.mktemp("sweep")).alerts


def test_a_sweep_is_found_while_it_runs(swept):
    mine = [alert for alert in swept if alert.src == OFFICE and alert.kind == "attempt"]
    assert mine
    assert rank(swept, mine) <= 10
    assert min(parse_time(alert.ts) for alert in mine) / 1e6 - TEN_PAST_TEN <= 30
    assert len(mine) <= 12, "a sweep must not spend the budget of a day"


def test_a_sweep_is_called_one(swept):
    assert [alert for alert in swept if alert.src == OFFICE and "T1046" in alert.techniques]


def test_five_hops_over_two_zones_are_one_incident(quiet, tmp_path):
    """Office to office to server to server to office again, over two hours."""
    attack = Attack()
    hops = [
        (0, OFFICE, NEIGHBOUR, attack.service_over_admin_share),
        (25, NEIGHBOUR, OTHER, attack.remote_shell),
        (50, OTHER, FILES, attack.service_over_admin_share),
        (80, FILES, DC, attack.dcsync),
        (120, DC, "10.10.1.24", attack.service_over_admin_share),
    ]
    for minutes, src, dst, write in hops:
        write(TEN_PAST_TEN + minutes * 60, src, dst)
    result = judged(quiet, attack, tmp_path)
    edges = [(src, dst) for _, src, dst, _ in hops]
    holding = [i for i in result.incidents if any((step.src, step.dst) in edges for step in i.path)]
    assert len(holding) == 1
    assert holding[0] == result.incidents[0], "the strongest"
    path = [(step.src, step.dst) for step in holding[0].path]
    assert [edge for edge in path if edge in edges] == edges, "all hops, in order"
    assert len(path) <= len(edges) + 2, "little that does not belong"
    assert holding[0].severity in ("high", "critical")
    assert {"T1569.002", "T1021.006", "T1003.006"} <= set(holding[0].techniques)
    ids = {edge: {alert.incident_id for alert in result.alerts if (alert.src, alert.dst) == edge} for edge in edges}
    # A DCSync between servers is no alert by itself (p about 0.01), but the chain holds it.
    assert sum(holding[0].incident_id in found for found in ids.values()) >= 4
    assert all(found <= {holding[0].incident_id} for found in ids.values()), "what else was strange on the way belongs"


def test_without_an_attack_there_is_none(quiet, tmp_path):
    """The same day as it was: the edges of the cases above are not among its alerts."""
    result = run([quiet.zeek_dir], tmp_path / "out", plant=plant_of(quiet), train_until=parse_time(DAY))
    edges = {(case.src, case.dst) for case in CASES.values()}
    assert not [alert for alert in result.alerts if (alert.src, alert.dst) in edges]
    assert len(result.incidents) <= 1
