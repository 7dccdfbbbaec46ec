"""Ranked hosts: evidence adds up within bounds and fades, importance has its reasons, and floods drive out no one."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.alerts.model import Alert, Incident, content_id, iso
from detector.assets.plant import Plant
from detector.correlate import entities as module
from detector.correlate.entities import (
    DAY_US,
    HALF_LIFE_US,
    MAX_PIECES,
    TAIL,
    TARGET_SHARE,
    Entities,
    importance_of,
)

START = 1_767_225_600_000_000
CUT = 100.0
PLANT = Plant.model_validate(
    {
        "zones": [
            {"name": "office", "purdue_level": 4, "cidrs": ["10.4.0.0/16"]},
            {"name": "dmz", "purdue_level": 3.5, "cidrs": ["10.3.0.0/16"]},
            {"name": "supervision", "purdue_level": 2, "cidrs": ["10.2.0.0/16"]},
            {"name": "control", "purdue_level": 1, "cidrs": ["10.1.0.0/16"]},
        ],
        "known_servers": {"domain_controllers": ["10.4.0.2"], "print": ["10.4.0.3"], "jump_hosts": ["10.3.0.9"]},
    }
)


def finding(src, dst, ts, techniques=(), reason=None):
    return Alert(
        alert_id=content_id(src, dst, ts), ts=iso(ts), src=src, dst=dst, service="smb", operation=None,
        kind="connection", score=5.0, p_value=1e-5, severity="low", techniques=tuple(techniques),
        reasons=(reason or f"first use of smb from {src} to {dst}", "more"), incident_id=None, evidence=("C1",),
        src_zone="office", dst_zone="office", user=None,
    )  # fmt: skip


def made(moves):
    """Entities after (src, dst, days since the start, nats above the cut)."""
    entities = Entities()
    for src, dst, days, nats in moves:
        add(entities, src, dst, days, nats)
    return entities


def add(entities, src, dst, days, nats, clients=0.0, kind=0, **more):
    ts = START + round(days * DAY_US)
    row = {"ts": ts, "kind": kind, "resp_pairs": clients}
    entities.add(finding(src, dst, ts, **more), row, CUT * math.exp(-nats), CUT)


def ranked(entities, days=0.0, alerts=(), incidents=(), plant=PLANT):
    return entities.ranked(START + round(days * DAY_US), alerts, incidents, plant)


def of(entities, host, **more):
    (found,) = [one for one in ranked(entities, **more) if one.host == host]
    return found


def incident(name, *hosts):
    return Incident(name, iso(START), iso(START), 3.0, 1e-3, "high", hosts, (), (), "")


# --- evidence ---


def test_a_finding_counts_whole_for_its_source_and_less_for_its_target():
    entities = made([("10.4.1.1", "10.4.1.2", 0.0, 6.0)])
    assert of(entities, "10.4.1.1").evidence == pytest.approx(6.0)
    assert of(entities, "10.4.1.2").evidence == pytest.approx(6.0 * TARGET_SHARE)
    assert 0 < TARGET_SHARE < 1


def test_pieces_add_up_as_documented():
    entities = made([("10.4.1.1", f"10.4.2.{n}", 0.0, nats) for n, nats in enumerate([2.0, 9.0, 4.0])])
    expected = 9.0 + 4.0 / 2**TAIL + 2.0 / 3**TAIL
    assert of(entities, "10.4.1.1").evidence == pytest.approx(expected, abs=1e-4)


def test_repeats_of_a_pair_within_a_day_count_once_and_the_strongest_stays():
    entities = made([("10.4.1.1", "10.4.1.2", 0.001 * n, nats) for n, nats in enumerate([3.0, 7.0, 5.0] * 50)])
    one = of(entities, "10.4.1.1")
    assert one.evidence == pytest.approx(7.0, abs=0.02)
    assert one.findings == 150


@given(st.lists(st.tuples(st.integers(0, 60), st.floats(0, 40)), min_size=1, max_size=80))
@settings(max_examples=60)
def test_any_number_of_findings_is_worth_less_than_three_times_the_strongest(moves):
    entities = made([("10.4.1.1", f"10.4.2.{n}", 0.0, nats) for n, nats in moves])
    strongest = max(nats for _, nats in moves)
    assert strongest - 1e-3 <= of(entities, "10.4.1.1").evidence <= 2.62 * strongest + 1e-3


def test_evidence_fades_by_half_in_a_half_life_of_event_time():
    entities = made([("10.4.1.1", "10.4.1.2", 0.0, 8.0)])
    days = HALF_LIFE_US / DAY_US
    assert of(entities, "10.4.1.1", days=days).evidence == pytest.approx(4.0)
    assert of(entities, "10.4.1.1", days=3 * days).evidence == pytest.approx(1.0)


def test_a_record_from_the_future_does_not_grow():
    entities = made([("10.4.1.1", "10.4.1.2", 400.0, 8.0)])
    assert of(entities, "10.4.1.1", days=0.0).evidence == pytest.approx(8.0)


def test_what_is_not_above_the_cut_says_nothing_but_is_counted():
    entities = made([("10.4.1.1", "10.4.1.2", 0.0, -5.0)])
    one = of(entities, "10.4.1.1")
    assert (one.evidence, one.score, one.findings) == (0.0, 0.0, 1)


def test_the_pieces_kept_are_the_strongest_ones_as_they_have_faded():
    entities = made([("10.4.1.1", f"10.4.2.{n}", 0.0, 10.0) for n in range(MAX_PIECES)])
    add(entities, "10.4.1.1", "10.4.3.1", 30.0, 5.0)  # six half-lives later the others are worth 0.16
    assert of(entities, "10.4.1.1", days=30.0).reasons[0].endswith("to 10.4.3.1")
    assert len(entities.state()["hosts"][0][1]["pieces"]) == MAX_PIECES


# --- what is told ---


def test_a_host_tells_what_it_did():
    entities = Entities()
    add(entities, "10.4.1.1", "10.4.1.2", 0.0, 3.0, techniques=["T1021.002"], reason="weak")
    add(entities, "10.4.1.1", "10.4.1.3", 1.0, 9.0, techniques=["T1021.002", "T1570"], reason="strong")
    alerts = [finding("10.4.1.1", "10.4.1.3", START), finding("10.4.9.9", "10.4.1.1", START)]
    incidents = [incident("i2", "10.4.1.1", "10.4.1.3"), incident("i1", "10.4.1.2", "10.4.1.1")]
    one = of(entities, "10.4.1.1", days=1.0, alerts=alerts, incidents=incidents)
    assert (one.findings, one.alerts, one.incident_ids) == (2, 2, ("i2", "i1"))
    assert one.techniques == ("T1021.002", "T1570")
    assert one.reasons == ("strong", "weak")
    assert (one.first_ts, one.last_ts) == (iso(START), iso(START + DAY_US))
    assert one.zone == "office"
    assert of(entities, "10.4.1.2", incidents=incidents).incident_ids == ("i1",)


def test_an_alert_of_a_host_to_itself_is_one_alert():
    entities = made([("10.4.1.1", "10.4.1.1", 0.0, 4.0)])
    one = of(entities, "10.4.1.1", alerts=[finding("10.4.1.1", "10.4.1.1", START)])
    assert (one.alerts, one.findings) == (1, 1)


def test_the_score_is_evidence_times_importance_and_orders_hosts():
    entities = made([("10.4.1.1", "10.1.0.5", 0.0, 6.0), ("10.4.1.7", "10.4.1.8", 0.0, 7.0)])
    hosts = ranked(entities)
    assert [one.host for one in hosts] == ["10.1.0.5", "10.4.1.7", "10.4.1.1", "10.4.1.8"]
    assert [one.score for one in hosts] == pytest.approx([3.0 * 4, 7.0, 6.0, 3.5])


def test_equal_scores_are_ordered_by_address():
    moves = [("10.4.1.9", "10.4.1.3", 0.0, 6.0), ("10.4.1.1", "10.4.1.2", 0.0, 6.0)]
    order = [one.host for one in ranked(made(moves))]
    assert order == ["10.4.1.1", "10.4.1.9", "10.4.1.2", "10.4.1.3"]
    assert order == [one.host for one in ranked(made(moves[::-1]))]


# --- importance ---


@pytest.mark.parametrize(
    ("host", "importance", "words"),
    [
        ("10.4.0.2", 4, "declared in domain_controllers"),
        ("10.3.0.9", 4, "declared in jump_hosts; Purdue level 3.5: between office and plant"),
        ("10.4.0.3", 3, "declared in print"),
        ("10.1.0.5", 4, "Purdue level 1: controllers"),
        ("10.2.0.5", 3, "Purdue level 2: stations of the plant"),
        ("10.3.0.5", 2, "Purdue level 3.5: between office and plant"),
        ("10.4.0.5", 1, "nothing sets it apart"),
        ("192.168.7.7", 1, "nothing sets it apart"),
        ("8.8.8.8", 1, "nothing sets it apart"),
    ],
)
def test_importance_follows_what_is_declared(host, importance, words):
    one = of(made([(host, "10.4.9.9", 0.0, 5.0)]), host)
    assert (one.importance, one.why) == (importance, words)
    assert one.score == pytest.approx(5.0 * importance)


def test_importance_follows_the_clients_that_connect_to_it():
    entities = Entities()
    add(entities, "10.4.1.1", "10.4.1.2", 0.0, 5.0, clients=12.0)
    assert of(entities, "10.4.1.2").importance == 2
    add(entities, "10.4.1.1", "10.4.1.2", 0.0, 5.0, clients=1234.4)
    add(entities, "10.4.1.1", "10.4.1.2", 0.0, 5.0, clients=0.0)  # a repeat within the hour says nothing
    one = of(entities, "10.4.1.2")
    assert (one.importance, one.why) == (3, "serves about 1,234 pairs of client and service")
    assert of(entities, "10.4.1.1").importance == 1, "clients are the target's"
    add(entities, "10.4.1.1", "10.4.1.3", 0.0, 5.0, clients=500.0, kind=2)
    assert of(entities, "10.4.1.3").importance == 1, "pairs of client and operation are something else"


def test_the_highest_ground_counts_and_is_named_first():
    importance, why = importance_of(["print", "backup"], 2.0, 20.0)
    assert importance == 4
    assert why.split("; ")[:2] == ["declared in backup", "declared in print"]
    assert why.endswith("serves about 20 pairs of client and service")


# --- bounds and state ---


def test_a_flood_of_new_hosts_with_weak_findings_drives_out_its_own_kind(monkeypatch):
    monkeypatch.setattr(module, "MAX_HOSTS", 40)
    entities = made([("10.4.1.1", "10.4.1.2", 0.0, 15.0)])
    for number in range(500):
        add(entities, f"10.9.{number // 250}.{number % 250}", "10.4.1.2", 0.1, 1.0)
    hosts = ranked(entities)
    assert hosts[0].host == "10.4.1.1"
    assert len(hosts) <= 40
    assert entities.forgotten == 502 - len(hosts)


moves = st.tuples(st.integers(0, 9), st.integers(0, 9), st.floats(0, 20), st.floats(0, 30))


@given(st.lists(moves, max_size=60), st.integers(0, 60))
@settings(max_examples=60)
def test_a_snapshot_goes_on_as_if_nothing_had_happened(listed, cut):
    listed = [(f"10.4.1.{src}", f"10.4.1.{dst}", days, nats) for src, dst, days, nats in listed]
    whole, again = made(listed), Entities()
    again.load_state(json.loads(json.dumps(made(listed[:cut]).state())))
    for move in listed[cut:]:
        add(again, *move)
    assert ranked(again, days=21.0) == ranked(whole, days=21.0)
    assert json.dumps(again.state()) == json.dumps(whole.state())
