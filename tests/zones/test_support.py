"""`eastwest zones propose`: what speaks for a conduit, and what an intruder in the history cannot make one of."""

import json

import pytest

from detector.assets.plant import load_plant
from detector.config import Settings
from detector.errors import UnreadableInput
from detector.zones.propose import Basis, propose
from tests.inventory.logs import DAY, conn, row, write

DESKS = [f"10.1.0.{n}" for n in range(1, 7)]
SERVER, STATION, INTRUDER = "10.2.0.1", "10.3.0.1", "10.1.0.5"
CONTROLLERS = [f"10.4.0.{n}" for n in range(1, 5)]
LEARNED = 6  # days of conduits; two more check them


def at(day, hour=9.0):
    """A time; `DAY` is a Monday, 08:00 UTC."""
    return DAY + day * 86_400 + (hour - 8) * 3600


def work():
    """Eight days: desks use the server, the station reads and programs controllers, and so does each by turns."""
    flows, acts = [], []
    for day in range(8):
        for hour in (9, 11, 13):
            flows += [conn(desk, SERVER, 445, ts=at(day, hour)) for desk in DESKS]
            flows += [conn(STATION, plc, 502, ts=at(day, hour)) for plc in CONTROLLERS]
            acts += [row(STATION, plc, 502, func="READ_COILS", ts=at(day, hour)) for plc in CONTROLLERS]
            acts += [row(STATION, plc, 502, func="PROGRAM_UNITY", ts=at(day, hour)) for plc in CONTROLLERS]
        # Another desk each day, twice in all: several hosts, none of them steady.
        flows += [conn(DESKS[day % 4], SERVER, 3389, ts=at(day))]
    return flows, acts


def proposed(tmp_path, flows, acts, **more):
    folder = write(tmp_path / "logs", conn=flows, modbus=acts)
    result = propose([folder], tmp_path / "out", Settings(), Basis(LEARNED / 8, **more))
    permitted = {
        (one.from_zone, one.to_zone, service, act)
        for one in result.conduits for service in one.services for act in one.operations or ("",)
    }  # fmt: skip
    return result, permitted


def intrusion(days, hours=(9, 10, 11), source=INTRUDER):
    return [conn(source, SERVER, 5985, ts=at(day, hour)) for day in days for hour in hours]


def why(result, service, operation=""):
    return [one.why for one in result.rare if (one.service, one.operation) == (service, operation)]


def test_work_is_proposed_but_for_programs(tmp_path):
    result, permitted = proposed(tmp_path, *work())
    assert permitted == {
        ("office", "servers", "smb", ""),
        ("office", "servers", "rdp", ""),
        ("operations", "control", "modbus", "read"),
    }
    assert why(result, "modbus", "program") == ["programs controllers: permit it with a window"]
    assert load_plant(tmp_path / "out" / "plant.yaml").conduits


@pytest.mark.parametrize(
    ("days", "said"),
    [
        ((1,), "seen seldom"),  # three hours of a day
        ((1, 2), "seen seldom"),
        ((1, 3, 4), None),  # as often and as early as work: nothing tells it from work
        ((3, 4, 5), "began lately"),
    ],
)
def test_what_an_intruder_has_to_do_for_a_conduit(tmp_path, days, said):
    flows, acts = work()
    result, permitted = proposed(tmp_path, flows + intrusion(days), acts)
    assert (("office", "servers", "winrm", "") in permitted) == (said is None)
    assert why(result, "winrm") == ([] if said is None else [said])


def test_two_hosts_that_take_turns_are_not_steady(tmp_path):
    flows, acts = work()
    turns = intrusion((1,), source=DESKS[0]) + intrusion((2,), source=DESKS[1]) + intrusion((4,), source=DESKS[0])
    _, permitted = proposed(tmp_path, flows + turns, acts)
    assert ("office", "servers", "winrm", "") not in permitted


def test_a_connection_is_no_better_than_what_was_done_over_it(tmp_path):
    flows, acts = work()
    acts = [act for act in acts if act["func"] != "READ_COILS"]
    _, permitted = proposed(tmp_path, flows, acts)
    assert not [way for way in permitted if way[2] == "modbus"]


def alert(day, **more):
    stamp = f"2026-01-{5 + day:02}T09:00:00.000000Z"
    return {"ts": stamp, "last_ts": stamp, "src": INTRUDER, "dst": SERVER, "status": "open"} | more


def test_what_findings_tell_of_is_not_learned(tmp_path):
    flows, acts = work()
    flows += intrusion((1, 3, 4))
    told = tmp_path / "result"
    told.mkdir()
    (told / "incidents.ndjson").write_text("")
    (told / "alerts.ndjson").write_text(json.dumps(alert(3)) + "\n")
    result, permitted = proposed(tmp_path, flows, acts, result=told)
    assert ("office", "servers", "winrm", "") not in permitted
    assert ("office", "servers", "smb", "") in permitted  # the others' days speak for it
    assert why(result, "winrm") == ["findings tell of it"]
    (told / "alerts.ndjson").write_text(json.dumps(alert(3, status="suppressed")) + "\n")
    assert ("office", "servers", "winrm", "") in proposed(tmp_path, flows, acts, result=told)[1]
    (told / "incidents.ndjson").write_text(json.dumps({"path": [alert(4)]}) + "\n")
    assert ("office", "servers", "winrm", "") not in proposed(tmp_path, flows, acts, result=told)[1]
    (told / "incidents.ndjson").write_text("[]\n")
    with pytest.raises(UnreadableInput, match=r"incidents\.ndjson"):
        proposed(tmp_path, flows, acts, result=told)


def test_an_intruder_makes_no_zone(tmp_path):
    """Whoever writes and reads all the time is a panel; a server that did so on one day is none."""
    flows, acts = work()
    flows += [conn(SERVER, plc, 502, ts=at(5, 9), duration=7200.0) for plc in CONTROLLERS]
    acts += [row(SERVER, plc, 502, func="WRITE_SINGLE_COIL", ts=at(5, 9)) for plc in CONTROLLERS]
    before = proposed(tmp_path / "a", *work())[0]
    after = proposed(tmp_path / "b", flows, acts)[0]
    assert [(one.name, one.members) for one in after.groups] == [(one.name, one.members) for one in before.groups]


def test_a_station_of_one_cell_is_in_that_cells_zone(tmp_path):
    """Whether it polls or not; one beside a station for both cells stays there."""
    flows, acts = work()
    both = [*CONTROLLERS, *(f"10.5.0.{n}" for n in range(1, 5))]
    asked = {"10.6.0.1": both[:4], "10.6.1.1": both[4:], "10.7.0.1": both, "10.7.0.2": both[:4]}
    for station, plcs in asked.items():
        flows += [conn(station, plc, 502, ts=at(day, hour)) for plc in plcs for day in range(8) for hour in (2, 3, 4)]
    zones = {host: group.name for group in proposed(tmp_path, flows, acts)[0].groups for host in group.members}
    assert zones["10.6.0.1"] != zones["10.6.1.1"]
    assert zones["10.7.0.1"] == zones["10.7.0.2"] != zones["10.6.0.1"]
    levels = {group.name: group.level for group in proposed(tmp_path, flows, acts)[0].groups}
    assert (levels[zones["10.6.0.1"]], levels[zones["10.7.0.1"]]) == (2.0, 3.0)
