"""`eastwest zones propose --plant`: what is in force stays as it is, and what is missing is proposed."""

import pytest
import yaml
from typer.testing import CliRunner

from detector.assets.plant import load_plant
from detector.cli import app
from detector.zones.diff import diff
from detector.zones.rules import added
from tests.inventory.logs import conn, write
from tests.zones.test_support import CONTROLLERS, DESKS, SERVER, STATION, at, work

IN_FORCE = """\
# ours, reviewed
timezone: Europe/Berlin
zones:
- {name: office, purdue_level: 4, cidrs: [10.9.0.0/16]}   # elsewhere; the name is taken
- name: "machine room"
  purdue_level: 4
  cidrs: [10.2.0.0/24]
- {name: cell, purdue_level: 1, hosts: [10.4.0.1, 10.4.0.2]}
conduits:
# engineers
- {from: any zone, to: cell, services: [modbus], operations: [program], note: never write}
- {from: cell*, to: off*, services: [http]}
vendors:
- {account: acme, hosts: [192.0.2.7]}
""".replace("any zone", '"machine room"')


def merged(tmp_path, text):
    flows, acts = work()
    flows += [conn(SERVER, plc, 502, ts=at(day, hour)) for plc in CONTROLLERS for day in range(8) for hour in (1, 2, 3)]
    folder = write(tmp_path / "logs", conn=flows, modbus=acts)
    plant = tmp_path / "plant.yaml"
    plant.write_text(text, encoding="utf-8")
    arguments = ["zones", "propose", str(folder), "--out", str(tmp_path / "out"), "--plant", str(plant)]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    return load_plant(plant), load_plant(tmp_path / "out" / "plant.yaml"), (tmp_path / "out" / "plant.yaml").read_text()


def test_what_is_in_force_stays(tmp_path):
    before, after, text = merged(tmp_path, IN_FORCE)
    assert all(line in text.splitlines() for line in IN_FORCE.splitlines())
    assert after.vendors == before.vendors
    assert {zone.name: zone for zone in after.zones} | {zone.name: zone for zone in before.zones} == {
        zone.name: zone for zone in after.zones
    }
    places = {zone.name: {str(place) for place in (*zone.cidrs, *zone.hosts)} for zone in after.zones}
    new = {name: places[name] for name in places.keys() - {zone.name for zone in before.zones}}
    assert new == {"new_office": {"10.1.0.0/24"}, "operations": {"10.3.0.0/24"}, "control": set(CONTROLLERS[2:])}
    ways = {(one.from_zone, one.to_zone, one.services) for one in after.conduits[: -len(before.conduits)]}
    assert ways == {
        ("new_office", "machine room", ("rdp", "smb")),
        ("operations", "control", ("modbus",)),
        ("operations", "cell", ("modbus",)),
        (
            "machine room",
            "control",
            ("modbus",),
        ),  # to the cell a conduit names it, and people decided what may be done
    }
    assert not (tmp_path / "out" / "rules.nft").exists()
    assert {change.what for change in diff(before, after)} == {"added", "moved"}


def test_nothing_is_proposed_twice(tmp_path):
    _, after, text = merged(tmp_path / "a", IN_FORCE)
    _, again, same = merged(tmp_path / "b", text)
    assert (again, same) == (after, text)


@pytest.mark.parametrize(
    "text",
    ["", "# nothing yet\n", "zones: []\nconduits: []\n", "zones: [{name: a, cidrs: [10.2.0.0/24]}]\nvendors: []\n"],
)
def test_any_way_of_writing_a_plant_file(tmp_path, text):
    before, after, _ = merged(tmp_path, text)
    assert len(after.zones) == 4
    assert set(before.zones) <= set(after.zones)
    assert {str(host) for zone in after.zones for host in zone.cidrs} >= {f"{STATION[:-1]}0/24", f"{DESKS[0][:-1]}0/24"}


def test_nothing_new_changes_nothing():
    assert added(IN_FORCE, [], []) == IN_FORCE
    assert yaml.safe_load(added("", [], [])) is None
