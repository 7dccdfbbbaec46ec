"""The plant file: every field is read, every mistake is named."""

import ipaddress

import pytest

from detector.assets.plant import Plant, load_plant, unknown_keys
from detector.errors import ConfigError

FULL = """
timezone: Europe/London
zones:
  - {name: office, purdue_level: 4, cidrs: [10.10.0.0/16, "fd00:10::/64"]}
  - {name: industrial_dmz, purdue_level: 3.5}
  - {name: cell1}
conduits:
  - {from: office, to: industrial_dmz, services: [rdp, https], operations: any}
  - {from: industrial_dmz, to: cell1, operations: [READ_COILS]}
vendors:
  - {account: ext-abc, hosts: [10.30.250.15], via: [10.50.0.14], windows: [{day: wed, from: "11:00", to: "14:00"}]}
maintenance_windows:
  - {zone: cell1, day: mon, from: "21:00", to: "01:00", station: 10.60.1.23}
known_servers: {domain_controllers: [10.20.0.13], backup: ["fd00::2"]}
later_section: [anything]
"""


def load(tmp_path, text):
    path = tmp_path / "plant.yaml"
    path.write_text(text, encoding="utf-8")
    return load_plant(path)


def test_every_field(tmp_path):
    plant = load(tmp_path, FULL)
    office, dmz, cell = plant.zones
    assert (office.purdue_level, list(map(str, office.cidrs))) == (4, ["10.10.0.0/16", "fd00:10::/64"])
    assert (dmz.purdue_level, cell.purdue_level, cell.cidrs) == (3.5, None, ())
    first, second = plant.conduits
    assert (first.from_zone, first.to_zone, first.services, first.operations) == (
        "office", "industrial_dmz", ("rdp", "https"), "any",
    )  # fmt: skip
    assert (second.services, second.operations) == ("any", ("READ_COILS",))
    vendor, window = plant.vendors[0], plant.maintenance_windows[0]
    assert (vendor.account, vendor.hosts, vendor.via) == ("ext-abc", ("10.30.250.15",), ("10.50.0.14",))
    assert [(w.day, w.start, w.end) for w in vendor.windows] == [("wed", "11:00", "14:00")]
    assert (window.zone, window.day, window.start, window.end) == ("cell1", "mon", "21:00", "01:00")
    assert (window.station, plant.timezone) == ("10.60.1.23", "Europe/London")
    assert plant.known_servers["domain_controllers"] == (ipaddress.ip_address("10.20.0.13"),)


@pytest.mark.parametrize("text", ["", "{}", "zones: []\n", "# nothing yet\n"])
def test_everything_is_optional(tmp_path, text):
    assert load(tmp_path, text) == Plant()


def test_in_every_section_too(tmp_path):
    text = "zones: [{name: a}]\nconduits: [{}]\nvendors: [{windows: [{}]}]\nmaintenance_windows: [{}]\n"
    plant = load(tmp_path, text)
    assert plant.zones[0].cidrs == ()
    assert plant.permits("anywhere", "elsewhere", "smb")  # a conduit without ends or services
    assert (plant.vendors[0].account, plant.vendors[0].windows[0].day) == (None, None)
    assert list(unknown_keys(plant)) == []


def test_unknown_fields_are_kept_out_of_the_way_and_listed(tmp_path):
    text = "zones: [{name: a}, {name: b, cidr: [10.0.0.0/8]}]\nvendors: [{windows: [{till: '14:00'}]}]\n"
    assert list(unknown_keys(load(tmp_path, text))) == ["zones.1.cidr", "vendors.0.windows.0.till"]
    assert list(unknown_keys(load(tmp_path, FULL))) == ["later_section"]


def test_what_yaml_reads_otherwise_than_people_mean(tmp_path):
    """An unquoted 11:00 is a number in YAML 1.1, and so is a zone named 61."""
    text = "zones: [{name: 61}]\nmaintenance_windows: [{from: 21:00, to: 07:30}, {from: 1:05, to: 7:00}]\n"
    plant = load(tmp_path, text)
    assert plant.zones[0].name == "61"
    assert [(w.start, w.end) for w in plant.maintenance_windows] == [("21:00", "07:30"), ("01:05", "07:00")]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("zones: [{purdue_level: 1}]", "zones.0.name"),
        ("zones: [{name: a, purdue_level: 6}]", "zones.0.purdue_level"),
        ("zones: [{name: a, purdue_level: low}]", "zones.0.purdue_level"),
        ("zones: [{name: a}, {name: b, cidrs: [10.0.0.1/8]}]", "zones.1.cidrs.0"),
        ("zones: [{name: a}, {name: a}]", "zones"),
        ("conduits: [{from: [a]}]", "conduits.0.from"),
        ("vendors: [{hosts: 10.0.0.1}]", "vendors.0.hosts"),
        ("vendors: [{account: a, windows: [{day: sunday, from: '1:00', to: '02:00'}]}]", "vendors.0.windows.0.day"),
        ("maintenance_windows: [{zone: a, day: mon, from: '7', to: '08:00'}]", "maintenance_windows.0.from"),
        ("known_servers: {backup: [here]}", "known_servers.backup.0"),
        ("[1, 2]", ""),
        ("zones: [", ""),
    ],
)
def test_what_is_wrong_is_named_by_key(tmp_path, text, key):
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)
    assert raised.value.key == key
    assert "plant.yaml" in str(raised.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        load_plant(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"timezone: \xe9")
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        load_plant(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("way", "permitted"),
    [
        (("office", "office", "rdp"), True),
        (("office", "industrial_dmz", "rdp"), True),
        (("office", "industrial_dmz", "smb"), False),
        (("industrial_dmz", "office", "rdp"), False),  # one way only
        (("industrial_dmz", "cell1", "modbus"), True),
        (("office", "cell1", "https"), False),  # not by adding conduits up
        (("elsewhere", "cell1", "https"), False),
    ],
)
def test_permits(tmp_path, way, permitted):
    assert load(tmp_path, FULL).permits(*way) is permitted
