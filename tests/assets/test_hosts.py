"""What an address is, from the plant file and from the address itself."""

import ipaddress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.assets import hosts as module
from detector.assets.hosts import OUTSIDE, Host, Hosts
from detector.assets.plant import Plant


def plant(**zones):
    listed = [{"name": name, "purdue_level": level, "cidrs": cidrs} for name, (level, *cidrs) in zones.items()]
    return Hosts(Plant.model_validate({"zones": listed}))


KNOWN = plant(
    all=(None, "10.0.0.0/8", "fd00::/8"),
    cell=(1, "10.61.1.0/24", "fd00:61::/64"),
    plc=(0, "10.61.1.0/28"),
    small=(2, "10.70.0.0/25"),
    link=(3, "10.80.0.0/31"),
    public=(4, "203.0.113.0/24"),
)
NAMED = Hosts(
    Plant.model_validate(
        {
            "zones": [
                {"name": "office", "purdue_level": 4, "cidrs": ["10.61.1.0/24"]},
                {
                    "name": "controllers",
                    "purdue_level": 1,
                    "roles": ["plc"],
                    "hosts": ["10.61.1.15", "8.8.4.1", "ff02::1"],
                },
            ],
            "assets": [{"address": "10.61.1.1", "role": "plc"}, {"address": "10.70.0.1", "name": "one"}],
        }
    )
)


@pytest.mark.parametrize(
    ("address", "zone", "level"),
    [
        ("10.61.1.0", "plc", 0),
        ("10.61.1.14", "plc", 0),
        ("10.61.1.16", "cell", 1),
        ("10.61.2.1", "all", None),
        ("203.0.113.9", "public", 4),
        ("fd00:61::1", "cell", 1),
        ("fd00:61:0:1::1", "all", None),
    ],
)
def test_the_most_specific_zone(address, zone, level):
    assert KNOWN[address] == Host(address, zone, level, inside=True, group=False, named=False)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.168.7.9", Host("192.168.7.9", "192.168.7.0/24", None, True, False, False)),
        ("100.64.1.1", Host("100.64.1.1", "100.64.1.0/24", None, True, False, False)),
        ("169.254.3.4", Host("169.254.3.4", "169.254.3.0/24", None, True, False, False)),
        ("0.0.0.9", Host("0.0.0.9", "0.0.0.0/24", None, True, False, False)),
        ("fe80::1:2", Host("fe80::1:2", "fe80::/64", None, True, False, False)),
        ("8.8.8.8", Host("8.8.0.0/16", OUTSIDE, None, False, False, False)),
        ("2001:db8:1::5", Host("2001:db8::/32", OUTSIDE, None, False, False, False)),
    ],
)
def test_what_nobody_declared(address, expected):
    assert KNOWN[address] == expected


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("255.255.255.255", True),
        ("224.0.0.251", True),
        ("239.255.255.250", True),
        ("ff02::1:2", True),
        ("192.168.1.255", True),
        ("10.61.1.255", True),
        ("10.70.0.127", True),  # of a declared /25
        ("10.80.0.1", False),  # a /31 has none
        ("10.61.1.15", True),
        ("192.168.1.25", False),
        ("203.0.113.255", True),  # declared
        ("198.51.100.255", False),  # somebody's host outside: no way to hide
        ("fd00::ff", False),
    ],
)
def test_groups_are_never_the_one_who_starts(address, group):
    host = KNOWN[address]
    assert host.group is group
    assert host.inside == (address != "198.51.100.255")


NETWORKS = st.builds(
    lambda address, length: str(ipaddress.IPv4Network((address, length), strict=False)),
    st.integers(0, 255).map(lambda n: (10 << 24) + n),
    st.integers(22, 32),
)


@given(st.lists(NETWORKS, unique=True, max_size=8), st.lists(st.integers(0, 300), max_size=20))
def test_lookup_is_the_longest_match(networks, places):
    hosts = plant(**{network: (None, network) for network in networks})
    for place in places:
        address = str(ipaddress.IPv4Address((10 << 24) + place))
        within = [ipaddress.ip_network(n) for n in networks if ipaddress.ip_address(address) in ipaddress.ip_network(n)]
        best = max(within, key=lambda network: network.prefixlen, default=None)
        assert hosts[address].zone == (str(best) if best else f"10.0.{place // 256}.0/24")


def test_a_full_cache_starts_again(monkeypatch):
    monkeypatch.setattr(module, "_CACHE_LIMIT", 3)
    hosts = plant()
    for _ in range(2):
        assert [hosts[f"10.0.{n}.1"].zone for n in range(7)] == [f"10.0.{n}.0/24" for n in range(7)]
        assert len(hosts._cache) <= 3


@given(
    st.lists(
        st.sampled_from(["10.61.1.", "10.70.0.", "10.80.0.", "172.16.3.", "8.8.4.", "203.0.113.", "224.0.0."]).flatmap(
            lambda net: st.sampled_from([0, 1, 15, 126, 127, 128, 254, 255]).map(lambda n: f"{net}{n}")
        )
        | st.ip_addresses(v=4).map(str)
        | st.ip_addresses(v=6).map(str)
        | st.sampled_from(["255.255.255.255", "0.1.2.3", "ff02::1", "fd00:61::1", "2001:db8::9"])
    )
)
def test_many_are_known_as_each(addresses):
    """At once by arrays, one by one, and where some zones name hosts or roles."""
    for hosts in (KNOWN, NAMED):
        found = hosts.many(addresses)
        told = [
            Host(
                address if found.prefix[row] < 0 else found.prefixes[found.prefix[row]],
                found.zones[found.zone[row]],
                None if np.isnan(found.level[row]) else found.level[row],
                found.inside[row], found.group[row], found.named[row],
            )
            for row, address in enumerate(addresses)
        ]  # fmt: skip
        assert told == [hosts[address] for address in addresses]
