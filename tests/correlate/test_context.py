"""What goes with an alert: what is declared of its hosts, and how that makes it more severe, never less."""

import itertools

import pytest

from detector.alerts.model import IMPORTANCES, SEVERITIES, Alert, Asset, severity
from detector.assets.plant import Plant
from detector.correlate.context import Context
from tests.alerts.test_model import PLAIN

PLANT = Plant.model_validate(
    {
        "zones": [
            {"name": "office", "purdue_level": 4, "cidrs": ["192.0.2.0/26"]},
            {"name": "cell", "purdue_level": 1, "cidrs": ["192.0.2.64/26"]},
            {"name": "control", "purdue_level": 2, "cidrs": ["192.0.2.128/26"]},
        ],
        "known_servers": {"domain_controllers": ["192.0.2.3"], "dns": ["192.0.2.4"]},
        "assets": [
            {"hosts": ["192.0.2.64/26"], "role": "PLC", "owner": "maintenance"},
            {"hosts": ["192.0.2.70", "192.0.2.3"], "name": "named", "importance": "low"},
            {"hosts": ["192.0.2.70/32"], "name": "too late"},
            {"hosts": ["2001:db8::/32"], "importance": "critical"},
        ],
    }
)


@pytest.mark.parametrize(
    ("host", "asset"),
    [
        ("192.0.2.1", Asset(None, None, 4.0, "normal", None)),
        ("192.0.2.3", Asset("named", "domain controller", 4.0, "low", None)),
        ("192.0.2.4", Asset(None, "dns", 4.0, "high", None)),
        ("192.0.2.65", Asset(None, "PLC", 1.0, "critical", "maintenance")),
        ("192.0.2.70", Asset("named", None, 1.0, "low", None)),
        ("192.0.2.130", Asset(None, None, 2.0, "high", None)),
        ("198.51.100.1", Asset(None, None, None, "normal", None)),
        ("2001:db8::1", Asset(None, None, None, "critical", None)),
    ],
)
def test_what_is_declared_of_a_host_is_told(host, asset):
    """The most specific network, of equals the first; the rest follows from purpose and level."""
    assert Context(PLANT).asset(host) == asset


def test_an_alert_is_told_with_all_that_goes_with_it():
    context = Context(PLANT)
    found = Alert(**(PLAIN | {"src": "192.0.2.1", "dst": "192.0.2.65", "title": "What", "severity": "medium"}))
    whole = context.told(found, "incident")
    assert (whole.src_asset, whole.dst_asset) == (context.asset(found.src), context.asset(found.dst))
    assert (whole.incident_id, whole.severity) == ("incident", "high")
    assert whole.next_steps
    assert whole.summary.startswith("What. Source: zone it, Purdue level 4. Target: PLC, zone ot, Purdue level 1")
    assert context.told(whole, "incident").summary == whole.summary


def test_severity_never_falls_when_something_is_worse():
    strengths = (1.0, 1e-3, 1e-4, 1e-5, 1e-6, 1e-9)
    level = {
        (p, consequence, importance): SEVERITIES.index(severity(p, consequence, importance))
        for p, consequence, importance in itertools.product(strengths, range(5), IMPORTANCES)
    }
    for axis, worse in ((0, strengths), (1, range(5)), (2, IMPORTANCES)):
        for low, high in itertools.pairwise(worse):
            for key, value in level.items():
                if key[axis] == low:
                    assert value <= level[(*key[:axis], high, *key[axis + 1 :])]
    assert len(set(level.values())) == len(SEVERITIES)
    assert severity(1e-5, 0, "normal") == "medium"
    assert severity(1e-5, 0, "high") == "high", "half a level of each"
