"""What is declared of rows is what plain Python says of each, one after the other."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from detector.assets.plant import Plant
from detector.features.acts import FLOW_KIND
from detector.features.declared import DUTIES
from tests.score.frames import MONDAY, controller, desk, row, server, station, units

ZONE = "Europe/Berlin"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
PLANT = Plant.model_validate(
    {
        "timezone": ZONE,
        "zones": [
            {"name": "office", "purdue_level": 4, "cidrs": ["10.4.0.0/16"]},
            {"name": "cell", "purdue_level": 1, "cidrs": ["10.1.0.0/16"]},
        ],
        "known_servers": {
            "domain_controllers": [server(0), server(1)],
            "vulnerability_scanners": [desk(0)],
            "deployment": [desk(1), server(0)],
            "backup": [desk(2)],
            "orchestration": [desk(3)],
        },
        "maintenance_windows": [
            {"zone": "cell", "day": "mon", "from": "21:00", "to": "01:00", "station": station(0)},
            {"zone": "cell", "from": "05:00", "to": "06:30"},
            {"zone": "office", "day": "sun", "station": station(1)},
            {"day": "tue"},
        ],
        "vendors": [
            {"account": "Maker", "hosts": [desk(4)], "via": [server(2)], "windows": [{"day": "sun", "from": "23:00"}]},
            {"account": "other", "windows": [{"from": "11:00", "to": "14:00"}, {"day": "fri"}]},
            {"hosts": [desk(4), desk(5)]},
        ],
    }
)


def within(window, time):
    """Whether a local time lies in the window of today, or of yesterday over midnight."""
    for back in (0, 1):
        day = (time - timedelta(days=back)).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        begin, end = (
            day + timedelta(hours=int(clock[:2]), minutes=int(clock[3:]))
            for clock in (window.start or "00:00", window.end or "24:00")
        )
        end += timedelta(days=1) if end <= begin else timedelta(0)
        if window.day in (None, DAYS[day.weekday()]) and begin <= time.replace(tzinfo=None) < end:
            return True
    return False


def expected(one, zone, time):
    for window in PLANT.maintenance_windows:
        if window.zone == zone and window.station in (None, one["orig_h"]) and within(window, time):
            return True
    for kind, beginnings in DUTIES.items():
        hosts = [str(host) for host in PLANT.known_servers.get(kind, ())]
        work = one["operation"] is None or any(one["operation"].startswith(begin) for begin in beginnings)
        if one["orig_h"] in hosts and work and (kind != "domain_controllers" or one["resp_h"] in hosts):
            return True
    return False


def supplier(one, time):
    """The vendor of a row and whether it is outside what was agreed."""
    for place, vendor in enumerate(PLANT.vendors):
        account = vendor.account is not None and (one["user"] or "").lower() == vendor.account.lower()
        if account or one["orig_h"] in vendor.hosts:
            late = bool(vendor.windows) and not any(within(window, time) for window in vendor.windows)
            return place, late or (
                bool(vendor.via) and one["orig_h"] in vendor.hosts and one["resp_h"] not in vendor.via
            )
    return None, False


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_marked_as_plain_python_marks_them(seed):
    rng = np.random.default_rng(seed)
    origs = [desk(n) for n in range(7)] + [server(0), server(1), station(0), station(1)]
    resps = [server(n) for n in range(3)] + [controller(0), desk(6)]
    acts = [None, "drsuapi::DRSGetNCChanges", "svcctl::CreateServiceW", "write:other:x", "getx", "read:a"]
    rows = []
    for hour in np.sort(rng.uniform(0, 24 * 14, 3000)):
        act, user = acts[rng.integers(len(acts))], [None, "MAKER", "other", "ann", ""][rng.integers(5)]
        ends = origs[rng.integers(len(origs))], resps[rng.integers(len(resps))]
        rows.append(row(hour, *ends, **({"kind": FLOW_KIND} if act is None else {"operation": act, "user": user})))
    told = units(rows, PLANT).select("expected", "vendor", "outside", "resp_zone").to_dicts()
    assert {one["vendor"] for one in told} == {None, 0, 1, 2}
    assert 100 < sum(one["outside"] for one in told) < 2000
    for one, mark in zip(rows, told, strict=True):
        time = datetime.fromtimestamp(one["ts"] // 1_000_000, UTC).astimezone(ZoneInfo(ZONE))
        assert mark["expected"] == expected(one, mark["resp_zone"], time)
        assert (mark["vendor"], mark["outside"]) == supplier(one, time)
        assert one["ts"] >= MONDAY


GROWN = Plant.model_validate(
    {
        "timezone": ZONE,
        "zones": [{"name": "cell", "purdue_level": 1, "cidrs": ["10.1.0.0/16"]}],
        "vendors": [
            {"accounts": ["first"], "hosts": ["10.4.0.0/30"], "windows": [{"from": "00:00", "to": "00:00"}]},
            {
                "accounts": ["GROWN"],
                "vpn_pools": ["10.4.0.4/30"],
                "via": [server(2)],
                "assets": ["cell"],
                "operations": ["read", "write", "svc"],
                "windows": [{"dtstart": "2025-12-03T08:00", "duration": "PT10H", "rrule": "FREQ=DAILY;INTERVAL=2"}],
                "valid_from": "2026-01-06",
                "expires": "2026-01-15T12:00",
            },
        ],
    }
)
_ACTS = [("rdp", None), ("smb", None), ("modbus", None), ("modbus", "READ_COILS"), ("modbus", "WRITE_SINGLE_COIL"),
         ("s7comm", "PLC Stop"), ("dce_rpc", "svcctl::CreateServiceW")]  # fmt: skip


def beyond(one, time):
    """Whether a row of the grown entry is outside what was agreed, by plain Python."""
    days = (time.replace(tzinfo=None) - datetime.fromisoformat("2025-12-03T00:00")).days
    timely = days % 2 == 0 and 8 <= time.hour < 18 and "2026-01-06T00:00" <= time.isoformat()[:16] < "2026-01-15T12:00"
    straight = one["orig_h"] in {desk(n) for n in range(3, 7)} and one["resp_h"] != server(2)
    touches = one["service"] in {"rdp", "modbus", "s7comm"}
    elsewhere = touches and not one["resp_h"].startswith("10.1.") and one["resp_h"] != server(2)
    return not timely or straight or elsewhere or one["operation"] == "PLC Stop"


def test_ranges_recurrences_expiry_assets_and_operations_count():
    rng = np.random.default_rng(7)
    origs, resps = [desk(n) for n in range(8)] + [server(2)], [server(2), controller(0), controller(1), desk(9)]
    rows = []
    for hour in np.sort(rng.uniform(0, 24 * 14, 4000)):
        service, act = _ACTS[rng.integers(len(_ACTS))]
        ends = origs[rng.integers(len(origs))], resps[rng.integers(len(resps))]
        user = None if act is None else [None, "Grown", "FIRST", "ann"][rng.integers(4)]
        kind = {"kind": FLOW_KIND} if act is None else {"operation": act, "user": user}
        rows.append(row(hour, *ends, service=service, **kind))
    told = units(rows, GROWN).select("vendor", "outside").to_dicts()
    grown = [mark["outside"] for mark in told if mark["vendor"] == 1]
    assert 100 < sum(grown) < len(grown) - 30
    for one, mark in zip(rows, told, strict=True):
        time = datetime.fromtimestamp(one["ts"] // 1_000_000, UTC).astimezone(ZoneInfo(ZONE))
        first = one["user"] == "FIRST" or one["orig_h"] in {desk(n) for n in range(3)}
        second = one["user"] == "Grown" or one["orig_h"] in {desk(n) for n in range(3, 7)}
        assert mark["vendor"] == (0 if first else 1 if second else None)
        assert mark["outside"] == (not first and second and beyond({**one, "operation": one["operation"] or ""}, time))
