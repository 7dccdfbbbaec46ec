"""What was decided about acts is relabelled and hides nothing else, however rows are cut and states handed on."""

import itertools
import json

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from detector.alerts.decisions import parse_decisions
from detector.alerts.model import iso
from detector.config import Settings
from detector.judge import Judge
from detector.rows import Rows
from tests.score.frames import MONDAY, PLANT, desk, server
from tests.test_judge import CERTAIN, FEW, STRANGE, act, days, path, scored, told

HOUR_US = 3_600_000_000
OP = {"service": "dce_rpc", "operation": "svcctl::CreateServiceW"}


def at(hour):
    return iso(MONDAY + round(hour * HOUR_US))


def entries(*made):
    text = "decisions:\n" + "".join(
        f"  - {{id: d{n}, action: {action}, by: anna, why: known, "
        f"from: {at(begin)}, until: {at(end)}, scope: {scope}}}\n"
        for n, (action, begin, end, scope) in enumerate(made)
    )
    return parse_decisions(text, "decisions.yaml")


EDGE = f"{{src: {desk(0)}, dst: {server(0)}}}"
EDGE_OP = f"{{src: {desk(0)}, dst: {server(0)}, operation: 'svcctl::*'}}"


def judge(*made, **wish):
    return Judge(Settings(**wish), PLANT, entries(*made))


def judged(one, acts, cuts=()):
    frame = scored(acts)
    bounds = [0, *sorted(cuts), frame.height]
    return pl.concat([one.judge(Rows.of(frame[low:high])).frame() for low, high in itertools.pairwise(bounds)])


def test_what_is_covered_is_an_alert_of_another_status_from_its_time_on():
    one = judge(("suppress", 30, 100, EDGE), ("learn", 100, 200, EDGE))
    judged(one, [act(hour, desk(0), server(0), CERTAIN) for hour in (1, 31, 101, 201)])
    assert [found.status for found in one.final_alerts()] == ["open", "suppressed", "learned", "open"]
    made = one.final_alerts()[1].decision
    assert (made.id, made.action, made.by, made.why, made.until) == ("d0", "suppress", "anna", "known", at(100))
    assert one.final_alerts()[0].decision is None
    assert one.decisions.hits == {"d0": 1, "d1": 1}


def test_what_is_covered_hides_nothing_else_of_the_hour():
    """A suppressed act comes first; what it does not cover opens an alert of its own, as if the first had not been."""
    covered = act(1.0, desk(0), server(0), CERTAIN, uid="C1", **OP)
    other = act(1.2, desk(0), server(0), STRANGE, uid="C2")
    both, alone = judge(("suppress", 0, 100, EDGE_OP)), judge()
    judged(both, [covered, other])
    judged(alone, [other])
    suppressed, opened = both.final_alerts()
    assert (suppressed.status, opened.status) == ("suppressed", "open")
    [expected] = alone.final_alerts()
    assert (opened.alert_id, opened.p_value, opened.evidence) == (expected.alert_id, expected.p_value, ("C2",))


def test_what_is_covered_takes_nothing_of_the_budget():
    noise = [act(1 + n / 1000, desk(0), server(n), CERTAIN, **OP) for n in range(20)]
    last = [act(1.5, desk(1), server(1), CERTAIN), act(1.6, desk(2), server(2), CERTAIN)]
    without, covered = judge(alerts_per_day=2), judge(("suppress", 0, 100, f"{{src: {desk(0)}}}"), alerts_per_day=2)
    judged(without, [*noise, *last])
    judged(covered, [*noise, *last])
    assert not [found for found in without.final_alerts() if found.src != desk(0)]
    assert [found.src for found in covered.final_alerts() if found.status == "open"] == [desk(1), desk(2)]
    suppressed = [found for found in covered.final_alerts() if found.status == "suppressed"]
    assert 0 < len(suppressed) <= 3, "they have a budget of their own, so that they cannot flood either"
    assert covered.decisions.hits == {"d0": 20}


def test_what_is_covered_is_no_evidence():
    open_, covered = judge(), judge(("suppress", 0, 1000, "{service: rdp}"))
    for one in (open_, covered):
        judged(one, path(CERTAIN))
    assert open_.incidents()
    assert not covered.incidents()
    assert not covered.chains.hops
    assert not covered.entities.ranked(0, [], [], PLANT)


def test_repeats_count_in_the_alert_of_their_status():
    one = judge(("suppress", 0, 10, EDGE))
    judged(one, [act(hour, desk(0), server(0), CERTAIN) for hour in (1, 3, 5, 11, 14)])
    assert [(found.status, found.count, found.last_ts) for found in one.final_alerts()] == [
        ("suppressed", 3, at(5)),
        ("open", 2, at(14)),
    ]


MADE = [
    ("suppress", 20, 60, EDGE_OP),
    ("learn", 30, 400, f"{{host: {server(0)}}}"),
    ("suppress", 0, 9, "{service: rdp}"),
]


@given(days(), st.data())
@FEW
def test_with_decisions_nothing_depends_on_batches_or_snapshots(acts, data):
    cuts = data.draw(st.lists(st.integers(0, len(acts)), max_size=5))
    place = data.draw(st.integers(0, len(acts)))
    one, many, before, after = (judge(*MADE, false_incidents_per_day=20) for _ in range(4))
    frame = scored(acts)
    one.judge(Rows.of(frame))
    judged(many, acts, cuts)
    assert told(one) == told(many)
    assert one.told() == many.told()
    before.judge(Rows.of(frame[:place]))
    after.load_state(json.loads(json.dumps(before.state(), sort_keys=True)))
    assert not after.adopted
    after.judge(Rows.of(frame[place:]))
    assert told(after)[0] == told(one)[0]


@given(days(), st.data())
@FEW
def test_a_decision_that_is_added_is_as_if_it_had_been_there_from_the_start(acts, data):
    """Going on with a longer file from any place gives the same as a backtest with it: its time lies ahead."""
    place = data.draw(st.integers(0, len(acts)))
    frame = scored(acts)
    before = judge(false_incidents_per_day=20)
    before.judge(Rows.of(frame[:place]))
    latest = max([row["obs_ts"] for row in frame[:place].iter_rows(named=True)], default=MONDAY)
    hour = (latest + 1 - MONDAY) / HOUR_US + data.draw(st.sampled_from([0.001, 1, 20]))
    made = "suppress", hour, hour + 1000, f"{{host: {server(0)}}}"
    after, whole = (judge(made, false_incidents_per_day=20) for _ in range(2))
    after.load_state(json.loads(json.dumps(before.state(), sort_keys=True)))
    after.judge(Rows.of(frame[place:]))
    whole.judge(Rows.of(frame))
    assert not after.adopted
    assert told(after)[0] == told(whole)[0]


# --- repeats are bounded ---


def test_a_chatty_repeat_is_told_seldom_and_the_last_is_how_it_stands():
    one = judge(alerts_per_day=100)
    minutes = 23 * 60
    judged(one, [act(1 + minute / 60, desk(0), server(0), STRANGE, uid=f"C{minute}") for minute in range(minutes)])
    one.finish()
    events = [event for event in one.told() if event.kind == "alert"]
    [final] = one.final_alerts()
    assert final.count == minutes
    assert final.last_ts == at(1 + (minutes - 1) / 60)
    assert len(final.evidence) == 32
    assert events[-1].record == final
    assert len(events) < 50, "once an hour, and at the beginning when it grows by a quarter"
