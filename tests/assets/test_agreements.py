"""What was agreed with a supplier is answered as the plant file says it."""

import numpy as np
import pytest

from detector.assets.agreements import agreements
from detector.assets.hosts import Hosts
from detector.assets.plant import Plant, load_plant, unknown_keys
from detector.errors import ConfigError

TEXT = """
timezone: Europe/Berlin
zones: [{name: cell1, cidrs: [10.1.0.0/24, "2001:db8:1::/64"]}, {name: dmz, cidrs: [10.5.0.0/24]}]
known_servers: {historians: [10.9.0.7]}
assets: [{hosts: [10.8.0.4], role: HMI}]
vendors:
  - name: Presses Ltd
    contacts: [Jo, {name: Kim, email: kim@example.net, phone: "+44 20 7946 0000", role: on call}]
    contract: C-17
    criticality: high
    account: Ext-One
    accounts: [ext-two]
    hosts: [203.0.113.5, 203.0.113.64/28, "2001:DB8:F::5"]
    vpn_pools: [10.99.0.0/24]
    via: [10.5.0.9]
    assets: [cell1, historians, HMI, 10.7.0.0/30]
    services: [rdp, s7comm]
    operations: [read, write, "Start Upload"]
    windows: [{day: wed, from: "11:00", to: "14:00"}]
    valid_from: 2026-02-01
    expires: 2026-03-29
"""


def load(tmp_path, text=TEXT):
    path = tmp_path / "plant.yaml"
    path.write_text(text)
    return load_plant(path)


def agreed(tmp_path):
    plant = load(tmp_path)
    return agreements(plant, Hosts(plant))[0]


def test_the_register_is_read_whole(tmp_path):
    plant = load(tmp_path)
    vendor = plant.vendors[0]
    assert list(unknown_keys(plant)) == []
    assert (vendor.label, vendor.logins, vendor.contract) == ("Presses Ltd", ("ext-one", "ext-two"), "C-17")
    assert [contact.name for contact in vendor.contacts] == ["Jo", "Kim"]
    assert vendor.contacts[1].email == "kim@example.net"


def test_sources_are_hosts_and_networks(tmp_path):
    one = agreed(tmp_path)
    inside = ["203.0.113.5", "203.0.113.70", "2001:db8:f::5", "10.99.0.200"]
    assert [one.owns(host) for host in [*inside, "203.0.113.6", "2001:db8:f::6", "10.98.0.1"]] == [True] * 4 + [
        False
    ] * 3


def test_assets_are_places_zones_roles_and_kinds_of_servers(tmp_path):
    one = agreed(tmp_path)
    may = ["10.1.0.77", "2001:db8:1::1", "10.9.0.7", "10.8.0.4", "10.7.0.2", "10.5.0.9"]
    assert [one.asset(host) for host in may] == [True] * 6
    assert [one.asset(host) for host in ["10.7.0.4", "10.5.0.8", "10.9.0.8", "2001:db8:2::1"]] == [False] * 4


def test_operations_are_classes_or_how_they_begin(tmp_path):
    one = agreed(tmp_path)
    assert one.operation("modbus", "READ_COILS")
    assert one.operation("modbus", "WRITE_SINGLE_COIL")
    assert one.operation("s7comm", "Start Upload")
    assert not one.operation("s7comm", "PLC Stop")
    assert not one.operation("dnp3", "DIRECT_OPERATE")
    assert one.operation("svcctl", "CreateServiceW")  # no operation of a plant protocol
    assert [one.service(name) for name in ("rdp", "ssh")] == [True, False]


def test_access_is_valid_from_the_first_day_to_the_end_of_the_last(tmp_path):
    one = agreed(tmp_path)
    times = ["2026-01-28T11:30", "2026-02-04T10:59", "2026-02-04T11:00", "2026-03-25T13:59", "2026-04-01T12:00"]
    us = (np.array(times, dtype="datetime64[us]") - np.timedelta64(1, "h")).astype(np.int64)
    us[-1] -= 3_600_000_000  # summer
    assert one.in_time(us).tolist() == [False, False, True, True, False]
    # 2026-03-29 has 23 hours in Berlin: its end is 22:00 UTC.
    assert one.valid[1] == np.datetime64("2026-03-29T22:00", "us").astype(np.int64)


def test_what_is_not_given_is_not_limited():
    plant = Plant.model_validate({"vendors": [{"account": "a"}]})
    one = agreements(plant, Hosts(plant))[0]
    assert one.asset("10.0.0.1")
    assert one.operation("s7comm", "PLC Stop")
    assert one.service("ssh")
    assert one.in_time(np.array([0])).all()
    assert one.vendor.label == "a"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("{hosts: [laptop-7]}", "vendors.0.hosts.0"),
        ("{hosts: [10.0.0.1/24]}", "vendors.0.hosts.0"),
        ("{vpn_pools: [10.0.0.0/40]}", "vendors.0.vpn_pools.0"),
        ("{via: [jump]}", "vendors.0.via.0"),
        ("{assets: [cell9]}", "vendors.0.assets.0"),
        ("{operations: read}", "vendors.0.operations"),
        ("{criticality: urgent}", "vendors.0.criticality"),
        ("{expires: soon}", "vendors.0.expires"),
        ("{contacts: [[1]]}", "vendors.0.contacts.0"),
        ("{valid_from: 2026-02-02, expires: 2026-02-01}", "vendors.0"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(tmp_path, line, key):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"vendors: [{line}]")
    assert key in str(caught.value)
