"""What becomes of strange rows: findings, one alert a case, chains; the same however the rows are cut."""

import itertools
import json

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.alerts.model import to_json, told_json, told_of
from detector.config import MODELS, Settings
from detector.engine import Engine
from detector.judge import _MAX_FINDINGS, KNOWN_DAYS, YOUNG_DAYS, Judge
from detector.rows import Rows
from detector.score.budget import FINDINGS_PER_ALERT, HOPS_PER_ALERT, P_CUT
from tests.score.frames import PLANT, controller, desk, row, server, station, units

RATE = 10_000.0  # rows a day
STRANGE, CERTAIN, DULL = 1e-7, 1e-12, 0.5
FEW = settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])


def act(hour, src, dst, p, service="rdp", **more):
    """A row between two hosts and what the scorer is to have said of it; a known network, unless told otherwise."""
    said = {"p_value": p, "rows_per_day": RATE, "history": 20.0, "hosts": 200.0, "first_act": False}
    said |= {name: more.pop(name) for name in list(more) if name in said}
    return row(hour, src, dst, service, **more), said


def scored(acts, models=MODELS):
    """Rows as the scorer leaves them, with these numbers."""
    if not acts:
        return scored([act(0, desk(0), desk(1), DULL)]).clear()
    frame = Engine(Settings(models=models), PLANT).scorer.score(Rows.of(units([one for one, _ in acts]))).frame()
    told = {name: [said[name] for _, said in acts] for name in acts[0][1] if name != "first_act" or models}
    return frame.with_columns(pl.Series(name, values, strict=True) for name, values in told.items())


def judged(judge, acts, cuts=()):
    frame = scored(acts)
    bounds = [0, *sorted(cuts), frame.height]
    return pl.concat([judge.judge(Rows.of(frame[low:high])).frame() for low, high in itertools.pairwise(bounds)])


def judge(**wish):
    return Judge(Settings(**wish))


def told(one):
    return [to_json(record) for record in (*one.final_alerts(), *one.incidents())], json.dumps(one.state())


def _but(names, state):
    return {name: value for name, value in state.items() if name not in names}


# --- findings ---


@pytest.mark.parametrize("rate", [20.0, RATE, 1e6])
@pytest.mark.parametrize("budget", [1.0, 25.0])
def test_findings_are_those_that_come_seldom_enough(rate, budget):
    """A few for each alert of the budget, and never a large share of the rows."""
    wanted = min(P_CUT * rate, FINDINGS_PER_ALERT * budget)
    p_values = [wanted / rate * factor for factor in (0.5, 0.999, 1.001, 2)]
    found = judged(judge(alerts_per_day=budget), [
        act(hour, desk(hour), server(hour), p, rows_per_day=rate) for hour, p in enumerate(p_values)
    ])  # fmt: skip
    assert found["finding"].to_list() == [True, True, False, False]


def test_rows_that_teach_and_groups_are_never_findings():
    one = judge()
    found = judged(one, [
        act(0, desk(0), server(0), CERTAIN, teach=True),
        act(1, desk(0), "224.0.0.251", CERTAIN),
        act(2, desk(0), "10.4.0.255", CERTAIN),
        act(3, station(0), controller(0), DULL, "modbus", operation="WRITE_SINGLE_COIL", first_act=True, teach=True),
    ])  # fmt: skip
    assert not found["finding"].any()
    assert not one.alerts
    assert not one.chains.hops


def test_a_first_act_on_a_controller_is_an_alert_however_likely():
    """Once the network is known."""
    write = {"service": "modbus", "operation": "WRITE_SINGLE_COIL", "first_act": True}
    for history, expected in ((KNOWN_DAYS, True), (KNOWN_DAYS / 2, False)):
        one = judge()
        found = judged(one, [act(0, station(0), controller(0), DULL, history=history, **write)])
        assert found["finding"][0] == bool(one.alerts) == expected


def test_without_the_operations_model_no_act_is_a_first_one():
    one = judge()
    rows = [act(0, station(0), controller(0), DULL, "modbus", operation="WRITE_SINGLE_COIL"), *path(CERTAIN)]
    found = one.judge(Rows.of(scored(rows, models=())))
    assert found["finding"].to_list() == [False, True, True, True, True]
    assert len(one.alerts) == len(PATH)
    assert one.incidents()


def test_without_findings_nothing_happens():
    one, untouched = judge(), judge()
    frame = scored([act(hour, desk(hour), server(0), DULL) for hour in range(5)])
    assert one.judge(Rows.of(frame)).frame().equals(frame.with_columns(finding=pl.lit(False)))
    assert one.judge(Rows.of(frame.clear())).height == 0
    assert not one.told()
    records, state = told(one)
    assert records == []
    of_time = {"latest", "telling"}  # the rest is as it was
    assert _but(of_time, json.loads(state)) == _but(of_time, untouched.state())


# --- cases ---


def test_what_two_hosts_do_within_an_hour_is_one_alert():
    """It keeps the id and time of the first, and takes the numbers of the strongest and what all of them say."""
    first = act(1.0, desk(0), server(0), STRANGE, uid="C1")
    worse = act(1.9, desk(0), server(0), CERTAIN, "dce_rpc", operation="svcctl::CreateServiceW", user="admin", uid="C2")
    alone, both = judge(), judge()
    judged(alone, [first])
    judged(both, [first, worse])
    [opened], [joined] = alone.final_alerts(), both.final_alerts()
    assert (joined.alert_id, joined.ts) == (opened.alert_id, opened.ts)
    assert joined.p_value < opened.p_value
    assert joined.evidence == ("C1", "C2")
    assert set(opened.techniques) < set(joined.techniques) >= {"T1569.002"}
    assert joined.user == "admin"
    assert joined.operation == "svcctl::CreateServiceW"


def test_a_case_that_began_below_the_line_is_an_alert_when_it_passes_it():
    weak = act(1.0, desk(0), server(0), P_CUT / 10, uid="C1")
    one = judge(alerts_per_day=1.0)
    weak[1]["p_value"] = 3.0 / RATE  # a finding: three of its kind a day, where one alert is wanted
    judged(one, [weak])
    assert not one.alerts
    judged(one, [act(1.5, desk(0), server(0), CERTAIN, uid="C2")])
    [found] = one.final_alerts()
    assert found.evidence == ("C1", "C2")


def test_an_hour_later_it_is_another_case_but_the_same_act_is_told_once_a_day():
    one = judge()
    rdp = [act(hour, desk(0), server(0), CERTAIN) for hour in (1, 3, 20, 24.9)]
    judged(one, rdp)
    assert len(one.alerts) == 1
    judged(one, [act(25.5, desk(0), server(0), CERTAIN, "ssh")])  # another act
    assert len(one.alerts) == 2
    judged(one, [act(27, desk(0), server(0), CERTAIN)])  # a day later it is told again
    assert len(one.alerts) == 3


def test_acts_that_were_told_are_forgotten_after_a_day():
    """In order of the last time they were told; a row dated years ahead neither stays nor stands in the way."""
    one = judge(alerts_per_day=1000)
    ahead = act(24 * 365 * 74, desk(8), server(8), CERTAIN)
    judged(one, [act(hour, desk(number), server(number), CERTAIN) for number, hour in enumerate((1, 2, 3, 4))])
    judged(one, [act(1.5, desk(0), server(0), CERTAIN)])  # of the same case: the last time it was told
    assert [src for src, *_ in one.state()["alerted"]] == [desk(number) for number in (1, 2, 3, 0)]
    judged(one, [act(26.2, desk(5), server(5), CERTAIN)])
    assert [src for src, *_ in one.state()["alerted"]] == [desk(number) for number in (2, 3, 0, 5)]
    judged(one, [ahead, act(27, desk(6), server(6), CERTAIN), act(28, desk(8), server(8), CERTAIN)])
    assert [src for src, *_ in one.state()["alerted"]] == [desk(6), desk(8)]
    assert len([found for found in one.final_alerts() if found.src == desk(8)]) == 2


def test_both_directions_and_other_pairs_are_other_cases():
    one = judge()
    pairs = [(desk(0), desk(1)), (desk(1), desk(0)), (desk(2), desk(1)), (desk(3), desk(4))]
    judged(one, [act(1 + place / 100, *pair, CERTAIN) for place, pair in enumerate(pairs)])
    assert [(found.src, found.dst) for found, _ in one.alerts] == pairs


def test_a_case_tells_its_worst_act_however_much_came_before():
    """An intruder who makes noise first must not hide what follows in the same hour."""
    noise = [act(1 + n / 100, desk(0), server(0), STRANGE) for n in range(_MAX_FINDINGS + 1)]
    worst = act(1.9, desk(0), server(0), CERTAIN, "dce_rpc", operation="svcctl::CreateServiceW")
    one = judge()
    judged(one, [*noise, worst])
    [found] = one.final_alerts()
    assert "T1569.002" in found.techniques
    assert found.p_value < STRANGE


def test_a_case_keeps_its_strongest_findings_and_the_one_that_opened_its_alert():
    """In order of arrival, of equals the first; the alert has the evidence of the time it names. Of what it no longer
    keeps it has the evidence all the same, last, and the count."""
    strengths = [STRANGE, *[STRANGE / 2] * 4, *[STRANGE / 4] * _MAX_FINDINGS]
    one = judge()
    judged(one, [act(1 + n / 100, desk(0), server(0), p, uid=f"C{n}") for n, p in enumerate(strengths)])
    [found] = one.final_alerts()
    kept = ("C0", *(f"C{n}" for n in range(5, 4 + _MAX_FINDINGS)))
    assert found.evidence[: len(kept)] == kept
    assert set(found.evidence[len(kept) :]) <= {"C1", "C2", "C3", "C4"}
    assert found.count == len(strengths)


def test_what_opens_an_alert_is_in_it_however_strong_the_findings_before():
    """They are of an act that was told this day, so the case is no alert until something else comes."""
    told_before = act(1, desk(0), server(0), CERTAIN)
    repeats = [act(3 + n / 100, desk(0), server(0), CERTAIN, uid=f"C{n}") for n in range(_MAX_FINDINGS)]
    other = act(3.5, desk(0), server(0), STRANGE, "dce_rpc", operation="svcctl::CreateServiceW", uid="other")
    one = judge()
    judged(one, [told_before, *repeats, other])
    found = one.final_alerts()[-1]
    assert "other" in found.evidence
    assert "T1569.002" in found.techniques


# --- chains ---


def test_only_moves_are_hops():
    """A connection that no intruder could have moved by is an alert and nothing more."""
    one = judge()
    judged(one, [act(1, desk(0), server(0), CERTAIN, "https"), act(2, desk(1), server(0), CERTAIN, "rdp")])
    assert len(one.alerts) == 2
    assert [(hop.src, hop.dst) for hop in one.chains.hops.values()] == [(desk(1), server(0))]


def test_hops_are_the_strangest_findings():
    budget = 25.0
    p_values = [HOPS_PER_ALERT * budget / RATE * factor for factor in (0.999, 1.001)]
    one = judge(alerts_per_day=budget)
    found = judged(one, [act(hour, desk(hour), server(hour), p) for hour, p in enumerate(p_values)])
    assert found["finding"].all()
    assert [(hop.src, hop.dst) for hop in one.chains.hops.values()] == [(desk(0), server(0))]


def test_a_young_network_shows_daily_habits_for_the_first_time():
    """Hops of it count as less strange, in proportion; and never as stranger."""
    per_day = {}
    for history in (0.0, YOUNG_DAYS / 4, YOUNG_DAYS, 10 * YOUNG_DAYS):
        one = judge()
        judged(one, [act(1, desk(0), server(0), CERTAIN, history=history)])
        per_day[history] = one.chains.hops[0].per_day
    assert per_day[YOUNG_DAYS] == per_day[10 * YOUNG_DAYS] == pytest.approx(CERTAIN * RATE)
    assert per_day[YOUNG_DAYS / 4] == pytest.approx(4 * CERTAIN * RATE)
    assert per_day[0.0] > 1e6 * CERTAIN * RATE


PATH = [(desk(0), server(0)), (server(0), server(1)), (server(1), desk(7)), (desk(7), station(0))]


def path(p=STRANGE, gap=1.5):
    return [act(1 + gap * place, *pair, p) for place, pair in enumerate(PATH)]


def test_a_hop_that_continues_a_chain_is_as_unlikely_as_the_chain():
    one, alone = judge(), judge()
    in_chain = judged(one, path())["p_value"]
    by_itself = judged(alone, [act(1, desk(n), server(n), STRANGE) for n in range(4)])["p_value"]
    assert by_itself.to_list() == pytest.approx([STRANGE] * 4)
    assert in_chain[0] == pytest.approx(STRANGE)
    assert in_chain[-1] < STRANGE / 100
    assert any("continues a chain" in reason for reason in one.final_alerts()[-1].reasons)


def test_all_alerts_of_a_chain_name_its_incident():
    one = judge()
    judged(one, [*path(), act(9, desk(20), desk(21), CERTAIN)])
    [incident] = one.incidents()
    named = {(found.src, found.dst): found.incident_id for found in one.final_alerts()}
    assert set(PATH) <= set(named)
    assert {named[pair] for pair in PATH} == {incident.incident_id}
    assert named[desk(20), desk(21)] is None


# --- what must not change its results ---

_DESKS = [*(desk(n) for n in range(3)), server(0), station(0), controller(0)]


@st.composite
def days(draw, max_size=40):
    """Acts between few hosts, strange and not, minutes to days apart, some late, some certain."""
    hour, acts = 1.0, []
    for place in range(draw(st.integers(1, max_size))):
        hour = max(hour + draw(st.sampled_from([0.0, 0.1, 0.5, 2.0, 13.0, 25.0, -0.5])), 0.5)
        src, dst = draw(st.permutations(_DESKS))[:2]
        more = draw(
            st.sampled_from(
                [
                    {"service": "rdp"},
                    {"service": "https"},
                    {"service": "dce_rpc", "operation": "svcctl::CreateServiceW"},
                    {"service": "modbus", "operation": "WRITE_SINGLE_COIL", "first_act": True},
                ]
            )
        )
        p = draw(st.sampled_from([DULL, 1e-3, STRANGE, CERTAIN]))
        history = draw(st.sampled_from([0.01, 20.0]))
        acts.append(act(hour, src, dst, p, uid=f"C{place}", history=history, position=place, **more))
    return acts


@given(days(), st.data())
@FEW
def test_a_row_does_not_depend_on_its_batch(acts, data):
    cuts = data.draw(st.lists(st.integers(0, len(acts)), max_size=5))
    one, many = judge(false_incidents_per_day=20), judge(false_incidents_per_day=20)
    assert judged(one, acts).equals(judged(many, acts, cuts))
    assert told(one) == told(many)
    assert one.told() == many.told()


@given(days())
@FEW
def test_what_was_told_last_of_each_is_how_it_stands(acts):
    """Each is told first at once, then again only when it changed; an incident that is no more is told to be so."""
    one = judge(false_incidents_per_day=20)
    judged(one, acts)
    one.finish()
    last, events = {}, one.told()
    for event in events:
        before = last.get((event.kind, event.id))
        assert event.revision == (0 if before is None else before.revision + 1)
        assert before is None or before.record != event.record
        last[event.kind, event.id] = event
    standing = {("incident", incident.incident_id): incident for incident in one.incidents()}
    standing |= {("alert", found.alert_id): found for found in one.final_alerts()}
    assert {key: event.record for key, event in last.items() if event.record is not None} == standing
    merged = [event for event in last.values() if event.record is None]
    assert all(("incident", event.merged_into) in last for event in merged)
    assert all(event.ts is not None and event == told_of(event.kind, told_json(event)) for event in merged)
    one.finish()
    assert not one.told()


def test_an_alert_is_told_with_the_row_that_opened_it_and_its_changes_with_the_next_minute():
    one = judge()
    judged(one, [act(1.0, desk(0), server(0), STRANGE, uid="C1")])
    [opened] = one.told()
    assert (opened.kind, opened.revision, opened.record) == ("alert", 0, one.final_alerts()[0])
    judged(one, [act(1.001, desk(0), server(0), CERTAIN, "ssh", uid="C2")])
    assert not one.told()
    judged(one, [act(1.2, desk(1), server(1), DULL)])
    [changed] = one.told()
    assert (changed.id, changed.revision, changed.record) == (opened.id, 1, one.final_alerts()[0])


def test_an_incident_is_told_when_it_opens_and_then_when_it_is_worth_it():
    one = judge()
    judged(one, path(CERTAIN))
    first = [event for event in one.told() if event.kind == "incident"]
    assert first
    assert [event.revision for event in first] == list(range(len(first)))
    named = [event.record.incident_id for event in one.told() if event.kind == "alert"]
    assert all(name == first[0].id for name in named)


def test_a_service_forgets_alerts_that_no_chain_can_change():
    one = judge()
    one.keep_all = False
    month = [act(24 * day + 1, desk(day), server(day), CERTAIN) for day in range(30)]
    judged(one, month)
    assert len({event.id for event in one.told()}) == 30
    assert len(one.final_alerts()) == 15  # of two weeks
    restored = judge()
    restored.load_state(json.loads(json.dumps(one.state())))
    more = act(24 * 29 + 1.5, desk(29), server(29), CERTAIN, "ssh", uid="C2")
    for each in (one, restored):
        judged(each, [more])
        each.finish()
    assert told(one) == told(restored)
    assert one.told() == restored.told() != []


@given(days(), st.data())
@FEW
def test_going_on_from_a_snapshot_is_as_if_there_had_been_none(acts, data):
    """Through JSON, into a judge that had something else in mind."""
    place = data.draw(st.integers(0, len(acts)))
    frame = scored(acts)
    whole, before, after = (judge(false_incidents_per_day=20) for _ in range(3))
    whole.judge(Rows.of(frame))
    before.judge(Rows.of(frame[:place]))
    after.judge(Rows.of(scored([act(1, desk(5), desk(6), CERTAIN)])))
    after.load_state(json.loads(json.dumps(before.state())))
    assert told(after) == told(before)
    after.judge(Rows.of(frame[place:]))
    assert told(after) == told(whole)


def test_p_values_stay_probabilities():
    found = judged(judge(), [*path(CERTAIN, 0.2), *path(1e-60, 0.1)])
    assert found["p_value"].is_between(0, 1, closed="right").all()
    assert found.columns == [*scored(path()).columns, "finding"]
