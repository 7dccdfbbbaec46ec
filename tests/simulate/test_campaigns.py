import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import combinations, pairwise

import numpy as np
import pytest

from detector.simulate.acts import DRAWN, SURE, Acts
from detector.simulate.campaigns import attack_acts, clean_until, first_attack_day, plan_campaigns
from detector.simulate.plant import Role, build_plant
from detector.simulate.rhythm import DAY, HOUR, MINUTE, day_of
from detector.simulate.services import Kind
from detector.simulate.stories import NEW, OPERATION, QUIET
from detector.simulate.stories_clocks import NIGHT, WEEKEND, WORK
from detector.simulate.stories_deeds import PACES
from detector.simulate.stories_ways import WAYS

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
NAME = re.compile(
    r"(new|operation)-\d\d(-supplier)?(-ot)?|quiet-\d\d-(credential|time|volume|provenance)(-supplier)?(-ot)?"
)
OT = {Role.PLC, Role.HMI, Role.EWS, Role.HISTORIAN, Role.MES}


def days_of(count):
    return [day_of(MONDAY, number) for number in range(count)]


@cache
def plant_of(hosts, seed):
    return build_plant(hosts, seed)


@cache
def planned(count, pace, *, days=21, hosts=200, seed=1):
    """The hops of each campaign, in order of time."""
    calendar, plant = days_of(days), plant_of(hosts, seed)
    span = calendar[0].midnight, calendar[0].midnight + days * DAY
    nobody = np.zeros(len(plant.hosts), dtype=np.int64)
    campaigns = {}
    for hop in plan_campaigns(plant, calendar, span, nobody, seed, count=count, pace=pace):
        campaigns.setdefault(hop.campaign, []).append(hop)
    return campaigns


def role(hop_end, hosts=200, seed=1):
    return plant_of(hosts, seed).hosts[hop_end].role


def local(hop):
    day = day_of(MONDAY, (hop.at - days_of(1)[0].midnight) // DAY)
    return hop.at + day.offset


def betrayed_by(campaigns, betrayal):
    return [hops for name, hops in campaigns.items() if betrayal in name]


@pytest.mark.parametrize("pace", PACES)
def test_up_to_two_campaigns_are_the_pair_of_the_demonstration(pace):
    assert set(planned(2, pace, days=7)) == {"phish", "supplier"}
    assert set(planned(1, pace, days=7)) == {"phish"}
    assert planned(0, pace, days=7) == {}


@pytest.mark.parametrize("count", [3, 12, 36])
def test_every_group_has_its_third_and_every_betrayal_its_quarter(count):
    campaigns = planned(count, "minutes")
    assert len(campaigns) == count
    assert all(NAME.fullmatch(name) for name in campaigns)
    assert Counter(name.split("-")[0] for name in campaigns) == dict.fromkeys(("new", "operation", "quiet"), count // 3)
    quarters = Counter(name.split("-")[2] for name in campaigns if name.startswith("quiet"))
    assert max(quarters.values()) - min(quarters.values()) <= 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_some_come_from_suppliers_and_a_quarter_reaches_the_floor(seed):
    campaigns = planned(36, "minutes", seed=seed)
    assert 4 <= sum("-supplier" in name for name in campaigns) <= 9
    assert 0.2 <= sum(name.endswith("-ot") for name in campaigns) / 36 <= 0.4
    for name, hops in campaigns.items():
        assert ("-supplier" in name) == (role(hops[0].orig, seed=seed) is Role.SUPPLIER)
        assert name.endswith("-ot") == any(role(hop.resp, seed=seed) in OT for hop in hops)


def test_stories_but_the_new_ones_keep_to_old_ways():
    for stories in (OPERATION, *QUIET.values()):
        assert {hop for story in stories for hop in story.split()} <= set(WAYS)
    ways = [hop for story in NEW for hop in story.split()]
    assert sum(way in WAYS for way in ways) < len(ways) / 8


@pytest.mark.parametrize("pace", PACES)
def test_hops_are_connected_and_three_to_seven(pace):
    for hops in planned(60, pace).values():
        assert 3 <= len(hops) <= 7
        reached = {hops[0].orig}
        for hop in hops:
            assert hop.orig in reached
            assert hop.orig != hop.resp
            assert re.fullmatch(r"T\d{4}(\.\d{3})?", hop.technique)
            reached.add(hop.resp)


def test_both_paces_tell_the_same_campaigns():
    fast, slow = planned(36, "minutes"), planned(36, "hours")

    def told(hops):
        return [(hop.orig, hop.resp, hop.technique, hop.steps[-1].user) for hop in hops]

    assert {name: told(hops) for name, hops in fast.items()} == {name: told(hops) for name, hops in slow.items()}


def test_one_connection_a_hop_or_several():
    assert {len(hop.steps) for hops in planned(36, "hours").values() for hop in hops} == {1}
    several = [len(hop.steps) for hops in planned(36, "minutes").values() for hop in hops]
    assert min(several) >= 2
    swollen = [len(hop.steps) for hops in betrayed_by(planned(36, "minutes"), "volume") for hop in hops]
    assert np.median(swollen) >= 14


def test_hops_are_minutes_or_hours_to_days_apart():
    pauses = {pace: [b.at - a.at for hops in planned(60, pace).values() for a, b in pairwise(hops)] for pace in PACES}
    assert np.median(pauses["minutes"]) < 2 * HOUR
    assert min(pauses["minutes"]) >= MINUTE
    assert 8 * HOUR < np.median(pauses["hours"]) < 2 * DAY
    assert np.quantile(pauses["hours"], 0.05) > HOUR


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize(("count", "first"), [(30, 7), (6, 14)])
def test_history_is_clean_and_life_goes_on_afterwards(pace, count, first):
    calendar = days_of(21)
    span = calendar[0].midnight, calendar[0].midnight + 21 * DAY
    assert first_attack_day(calendar, count) == first
    assert clean_until(calendar, *span, count) == calendar[first].midnight
    times = [hop.at for hops in planned(count, pace).values() for hop in hops]
    assert min(times) >= calendar[first].midnight
    assert max(times) < span[1] - 12 * HOUR


@pytest.mark.parametrize("pace", PACES)
def test_campaigns_are_spread_and_overlap(pace):
    spans = [(hops[0].at, hops[-1].at) for hops in planned(36, pace).values()]
    days = {start // DAY for start, _ in spans}
    assert len(days) >= 6
    assert sum(a[0] < b[1] and b[0] < a[1] for a, b in combinations(spans, 2)) >= 8


def test_campaigns_fit_a_single_day_of_a_small_plant():
    campaigns = planned(30, "hours", days=1, hosts=40)
    first = days_of(1)[0].midnight
    times = [hop.at for hops in campaigns.values() for hop in hops]
    assert len(campaigns) == 30
    assert min(times) >= first + DAY // 3
    assert max(times) < first + DAY


@pytest.mark.parametrize("pace", PACES)
def test_only_the_hour_betrays_campaigns_of_that_name(pace):
    for hops in betrayed_by(planned(60, pace), "-time"):
        backup = role(hops[0].orig) is Role.BACKUP
        assert all((WORK.has(local(hop)) if backup else not WORK.has(local(hop))) for hop in hops)


def test_only_the_account_betrays_campaigns_of_that_name():
    plant = plant_of(200, 1)
    for hops in betrayed_by(planned(60, "hours"), "credential"):
        for hop in hops:
            assert hop.steps[0].user not in (plant.owner[hop.orig], plant.machine[hop.orig])
    for betrayal in ("-time", "volume", "provenance"):
        users = {hop.steps[0].user for hops in betrayed_by(planned(60, "hours"), betrayal) for hop in hops}
        assert plant.account("administrator") not in users


def test_credentials_change_along_most_loud_campaigns():
    loud = [hops for name, hops in planned(60, "hours").items() if not name.startswith("quiet")]
    assert np.mean([len({hop.steps[0].user for hop in hops}) > 1 for hops in loud]) > 0.6


def test_an_executable_arrives_before_it_runs():
    runs = (Kind.SVC_EXEC, Kind.RPC_ADMIN)
    loud = [hop for name, hops in planned(60, "minutes").items() if not name.startswith("quiet") for hop in hops]
    executed = [hop for hop in loud if hop.steps[-1].kind in runs]
    assert len(executed) / len(loud) > 0.3
    assert all(hop.steps[0].kind is Kind.SMB_COPY for hop in executed)


def test_hosts_that_come_later_are_not_part_of_it():
    plant, calendar = plant_of(200, 1), days_of(21)
    span = calendar[0].midnight, calendar[0].midnight + 21 * DAY
    hired = np.zeros(len(plant.hosts), dtype=np.int64)
    hired[plant.of(Role.WORKSTATION)[1::2]] = 9
    hops = plan_campaigns(plant, calendar, span, hired, 1, count=36)
    assert not {host for hop in hops for host in (hop.orig, hop.resp) if hired[host]}


def test_the_first_connection_of_a_hop_works_out_but_a_probe_may_not():
    hops = [hop for hops in planned(36, "minutes").values() for hop in hops]
    acts = Acts()
    attack_acts(enumerate(hops), acts)
    table = acts.table()
    probes = table.kind == Kind.PROBE
    assert probes.any()
    assert (table.fate[probes] == DRAWN).all()
    sure = np.bincount(table.hop[table.fate == SURE], minlength=len(hops))
    assert set(sure.tolist()) == {0, 1}
    assert len(set(table.hop[probes].tolist())) == (sure == 0).sum()


def test_an_unknown_pace_is_refused():
    with pytest.raises(ValueError, match="pace"):
        plan_campaigns(plant_of(40, 1), days_of(3), (0, 1), np.zeros(1, dtype=np.int64), 1, pace="weeks")


@pytest.mark.parametrize(("clock", "weekday", "hour"), [(WORK, 5, 12), (NIGHT, 0, 12), (WEEKEND, 2, 3)])
def test_a_clock_waits_for_its_hours(clock, weekday, hour):
    calendar = days_of(21)
    moment = calendar[weekday].clock(hour, 30)
    met = clock.meet(moment, calendar, 5)
    assert not clock.has(moment)
    assert moment < met < moment + timedelta(days=7).total_seconds() * 1_000_000
    assert clock.has(met)
    assert clock.meet(met, calendar, 5) == met
