"""One name for a port, whatever sensor saw it."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.assets import services
from detector.assets.services import INTERACTIVE_SERVICES, OT_SERVICES, SERVICE_PORTS, is_service_port, token
from detector.correlate import chains


@pytest.mark.parametrize("module", [services, chains])
def test_examples_in_the_text_are_true(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    ("proto", "port", "name"),
    [
        ("tcp", 445, "smb"),
        ("tcp", 502, "modbus"),
        ("tcp", 102, "s7comm"),
        ("udp", 47808, "bacnet"),
        ("udp", 502, "udp/502"),
        ("udp", 137, "netbios-ns"),
        ("tcp", 7, "tcp/7"),
        ("tcp", 1023, "tcp/1023"),
        ("tcp", 1024, "tcp/high"),
        ("udp", 65535, "udp/high"),
        ("tcp", 0, "tcp/high"),
        ("tcp", None, "tcp"),
        ("icmp", 0, "icmp"),
        ("icmp", 8, "icmp"),
        ("ipv6-icmp", 0, "icmp"),  # Zeek has one name for both
        ("gre", None, "gre"),
        ("rdp", 0, "ip/27"),  # not remote desktop
    ],
)
def test_token(proto, port, name):
    assert token(proto, port) == name


@given(st.sampled_from(["tcp", "udp"]), st.integers(0, 65_535))
def test_a_port_is_named_or_counts_as_high(proto, port):
    name = token(proto, port)
    assert is_service_port(proto, port) == (not name.endswith("/high"))
    assert (port in SERVICE_PORTS[proto]) == ("/" not in name)


def test_services_with_a_meaning_have_a_port():
    """A name that no port leads to would silently never matter."""
    tokens = {token(proto, port) for proto, ports in SERVICE_PORTS.items() for port in ports}
    assert tokens >= OT_SERVICES
    assert tokens >= INTERACTIVE_SERVICES.keys()
    assert len(tokens) < 200
