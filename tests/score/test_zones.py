"""Learning phases by zone: who counts, how far a zone is, and that neither batches nor floods change it."""

import pytest

from detector.features.acts import ATTEMPT_KIND, FLOW_KIND
from detector.score import zones as module
from detector.score.columns import Columns
from detector.score.phases import Phases
from detector.score.zones import NAMELESS, ZonePhases, Zones, least_known
from tests.score.frames import MONDAY, PLANT, controller, desk, enriched, row, same_state, server
from tests.score.reference import HOUR_US

DAYS = 24


def learned(rows, cuts=(), bound=1 << 16):
    zones, phases = Zones(bound), Phases(bound)
    frame = enriched(rows)
    for low, high in zip((0, *cuts), (*cuts, frame.height), strict=True):
        zones.learn(Columns(frame[low:high]))
        phases.score(Columns(frame[low:high]))
    return zones, phases


def stand(rows, hour, **more):
    zones, phases = learned(rows, **more)
    return {zone.zone: zone for zone in zones.phases(phases, MONDAY + round(hour * HOUR_US))}


def busy(source, first, last, step=2.0):
    """A desk that talks to the same server every so many hours."""
    count = int((last - first) / step)
    return [row(first + step * number, source, server(0)) for number in range(count)]


def in_order(*parts):
    return sorted((one for part in parts for one in part), key=lambda one: one["obs_ts"])


def test_hosts_that_are_known_protect_and_newcomers_learn():
    rows = in_order(busy(desk(0), 0, 20 * DAYS), busy(desk(1), 19.5 * DAYS, 20 * DAYS), busy(desk(2), 18 * DAYS, 480))
    office = stand(rows, 20 * DAYS)["office"]
    assert (office.learning, office.shadow, office.protecting, office.idle, office.hosts) == (1, 1, 1, 0, 3)
    assert office.phase == "learning", "one of three learns: fewer than four of five are further"
    assert office.progress == pytest.approx(2 / 3, abs=0.01), "the middle one is known for two of three days"
    assert office.protected == pytest.approx(1 / 3, abs=1e-3)


def test_a_zone_is_as_far_as_four_of_five_of_its_hosts():
    known = [busy(desk(number), 0, 20 * DAYS, 12) for number in range(8)]
    for newcomers, phase in ((2, "protecting"), (3, "learning")):
        fresh = [busy(desk(50 + number), 19.9 * DAYS, 20 * DAYS) for number in range(newcomers)]
        office = stand(in_order(*known, *fresh), 20 * DAYS)["office"]
        assert (office.protecting, office.learning) == (8, newcomers)
        assert office.phase == phase
        assert office.progress == 1.0


def test_hosts_silent_for_a_week_are_idle_and_hold_nothing_up():
    rows = in_order(busy(desk(0), 0, 20 * DAYS), *(busy(desk(n), 0, 4) for n in range(1, 9)))
    told = stand(rows, 20 * DAYS)
    office = told["office"]
    assert (office.hosts, office.idle, office.phase) == (1, 8, "protecting")
    late = stand(rows, 40 * DAYS)["office"]
    assert (late.hosts, late.idle, late.phase, late.progress, late.protected) == (0, 9, "idle", 0.0, 0.0)


def test_a_young_history_protects_what_was_there_from_the_start():
    office = stand(busy(desk(0), 0, 3, 0.25), 3)["office"]
    assert (office.phase, office.progress) == ("protecting", 1.0)


def test_only_hosts_inside_that_spoke_are_counted():
    rows = [
        row(0, desk(0), server(0)),
        row(0.1, desk(0), controller(7), kind=ATTEMPT_KIND),  # nobody answered
        row(0.2, desk(0), "224.0.0.251", "mdns"),
        row(0.3, desk(0), "10.4.255.255", "netbios-ns"),
        row(0.4, desk(0), "8.8.8.8", "dns"),
        row(0.5, "8.8.4.4", server(1), "https"),
    ]
    told = stand(rows, 1)
    assert {name: zone.hosts for name, zone in told.items()} == {"office": 1, "servers": 2}
    answered = stand([*rows, row(0.6, desk(0), controller(7), kind=FLOW_KIND)], 1)
    assert answered["cell"].hosts == 1


def test_batches_change_nothing():
    rows = in_order(
        *(busy(desk(n), n, 9 * DAYS, 7) for n in range(20)), *(busy(f"10.7.{n}.1", n, 200, 31) for n in range(9))
    )
    whole, _ = learned(rows)
    for cuts in ((1,), (7, 8, 100), tuple(range(1, len(rows), 13))):
        parts, _ = learned(rows, cuts)
        assert same_state(parts, whole)
        assert list(parts.names.items()) == list(whole.names.items())


def test_a_snapshot_brings_everything_back():
    rows = in_order(*(busy(desk(n), n, 5 * DAYS, 9) for n in range(5)), busy(controller(1), 3, 90))
    zones, phases = learned(rows)
    again = Zones(1 << 16)
    again.load({name: array.copy() for name, array in zones.arrays().items()})
    now = MONDAY + 120 * HOUR_US
    assert again.phases(phases, now) == zones.phases(phases, now)
    assert {zone.zone for zone in again.phases(phases, now)} == {"office", "servers", "cell"}


def test_names_are_bounded_and_the_first_ones_stay(monkeypatch):
    monkeypatch.setattr(module, "MAX_ZONES", 3)
    rows = [row(0.1 * n, f"10.7.{n}.1", server(0)) for n in range(10)]
    for cuts in ((), (1, 5)):
        told = stand(rows, 2, cuts=cuts)
        assert set(told) == {"10.7.0.0/24", "10.7.1.0/24", "servers", NAMELESS}
        assert told[NAMELESS].hosts == 8


def test_hosts_are_bounded():
    rows = [row(0.01 * n, f"10.7.{n % 250}.{1 + n // 250}", server(0)) for n in range(5000)]
    zones, _ = learned(rows, bound=1000)
    assert int(zones.hosts.used[0]) <= 1002
    assert zones.hosts.evicted > 3000


def test_the_least_known_come_first():
    def zone(name, progress, protected):
        return ZonePhases(name, "shadow", progress, protected, 1, 0, 1, 0, 0)

    listed = [zone("b", 0.9, 0.5), zone("a", 0.9, 0.5), zone("c", 0.9, 0.1), zone("d", 0.2, 0.9)]
    assert [one.zone for one in least_known(listed)] == ["d", "c", "a", "b"]


def test_the_plant_of_these_tests_has_the_zones_named_here():
    assert {zone.name for zone in PLANT.zones} >= {"office", "servers", "cell"}
