"""Chains: what chance makes of them is what is promised, time only runs forward, and all state has its bound."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from detector.alerts.model import Alert, content_id, iso
from detector.correlate import chains as module
from detector.correlate.chains import DAY_US, HOUR_US, REACH_US, Background, Chains, erlang_tail
from detector.correlate.incidents import chained, incidents

START = 1_767_225_600_000_000
CALM = Background(findings_per_day=100.0, hosts=300.0)


def finding(src, dst, ts, p=1e-5, **fields):
    """An alert that says what the chains look at; ``fields`` replace the rest."""
    plain = {
        "alert_id": content_id(src, dst, ts), "ts": iso(ts), "src": src, "dst": dst, "service": "smb",
        "operation": None, "kind": "connection", "score": 5.0, "p_value": p, "severity": "low", "techniques": (),
        "reasons": (), "incident_id": None, "evidence": (f"C{ts}",), "src_zone": "it", "dst_zone": "it", "user": None,
    }  # fmt: skip
    return Alert(**(plain | fields))


def made(moves, false_per_day=0.05, background=CALM):
    """Chains of (src, dst, hours, findings a day as strange), added in the order given."""
    chains = Chains(false_per_day)
    for src, dst, hours, per_day in moves:
        ts = START + round(hours * HOUR_US)
        chains.add(finding(src, dst, ts), ts, per_day, background)
    return chains


def paths(chains):
    """Incidents as sets of moves."""
    return sorted(sorted((step.src, step.dst, step.ts) for step in one.path) for one in incidents(chains))


CAMPAIGN = [("a", "b", 100.0, 0.01), ("b", "c", 101.0, 0.02), ("c", "d", 103.0, 0.01), ("d", "e", 104.0, 0.05)]


@given(st.floats(0, 200), st.integers(1, 11))
def test_erlang_tail_is_the_gamma_tail(x, shape):
    assert erlang_tail(x, shape) == pytest.approx(stats.gamma.sf(x, shape), rel=1e-9, abs=1e-300)


def test_the_evidence_of_a_chain_is_the_documented_sum():
    """E = L a W P(Erlang(3) >= S) for two hops, S = ln(L/r1) + ln(L/r2) + ln(W/gap); a = findings a host gets."""
    chains = made([("x", "y", 0.0, 90.0), ("a", "b", 480.0, 0.2), ("b", "c", 486.0, 0.5)])
    hop = chains.hops[2]
    evidence = np.log(100 / 0.2) + np.log(100 / 0.5) + np.log(7 * 24 / 6)
    expected = 100 * (100 / 300 * 7) * stats.gamma.sf(evidence, 3)
    assert hop.by_chance(2) == pytest.approx(expected, rel=1e-9)
    busy = made([("x", "y", 0.0, 90.0), *((f"s{n}", "b", 300.0 + 2 * n, 90.0) for n in range(60)),
                 ("a", "b", 480.0, 0.2), ("b", "c", 486.0, 0.5)])  # fmt: skip
    a = 60 / 14  # others that arrived, over the days that are kept
    assert busy.hops[62].by_chance(2) == pytest.approx(100 * a * 7 * stats.gamma.sf(evidence, 3), rel=1e-9)


def chance_incidents(hosts, skew, seed, days=28, asked=0.1, per_day=100.0):
    """Incidents that appear when findings are scattered over hosts and time; hosts draw by 1 / rank ** skew."""
    rng = np.random.default_rng(seed)
    chains, seen = Chains(asked), set()
    count = rng.poisson(per_day * days)
    share = (np.arange(hosts) + 1.0) ** -skew
    src, dst = rng.choice(hosts, (2, count), p=share / share.sum())
    times = START + np.sort(rng.integers(0, days * DAY_US, count))
    strange = rng.uniform(0, per_day, count)
    for s, d, ts, rate in zip(src.tolist(), dst.tolist(), times.tolist(), strange.tolist(), strict=True):
        if s != d:
            chains.add(finding(f"h{s}", f"h{d}", ts), ts, rate, Background(per_day, hosts))
            seen.update(chains.ids)
    return len(seen)


@pytest.mark.parametrize(("hosts", "skew"), [(50, 0.0), (300, 1.0), (1000, 0.0), (5000, 0.0), (5000, 1.0)])
def test_chance_makes_about_as_many_incidents_as_are_allowed(hosts, skew):
    """Every length of two to six hops is allowed the rate, so five times it is the promise's upper end."""
    asked, days, seeds = 0.1, 28, range(4)
    rate = sum(chance_incidents(hosts, skew, seed, days, asked) for seed in seeds) / (days * len(seeds))
    assert rate <= 4 * asked, f"{hosts} hosts, skew {skew}: {rate:.3f} incidents a day by chance, {asked} allowed"


def test_a_strong_chain_of_four_is_one_incident_in_order():
    chains = made([("x", "y", 0.0, 50.0), *CAMPAIGN, ("z", "w", 104.5, 60.0)])
    (incident,) = incidents(chains)
    assert [(step.src, step.dst) for step in incident.path] == [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e")]
    assert incident.hosts == ("a", "b", "c", "d", "e")
    assert incident.p_value < 0.001
    assert incident.first_ts < incident.last_ts


@pytest.mark.parametrize(("commoner", "severity"), [(1, "critical"), (300, "high"), (1000, "medium")])
def test_an_incident_is_as_severe_as_it_is_rare_by_chance(commoner, severity):
    """Its findings are low alone. One in three years by chance, in three weeks, oftener."""
    moves = [(src, dst, at, rate * commoner) for src, dst, at, rate in CAMPAIGN]
    (incident,) = incidents(made([("x", "y", 0.0, 50.0), *moves], false_per_day=1.0))
    assert incident.severity == severity
    assert {"critical": 0.0, "high": 0.001, "medium": 0.05}[severity] < incident.p_value


def test_what_else_left_a_host_of_the_intruder_belongs_if_chance_would_hardly_have_put_it_there():
    """A look around from the foothold, in either order with the chain; not what comes often."""
    look, common = ("a", "f", 100.5, 0.01), ("a", "g", 160.0, 90.0)
    for place in (0, len(CAMPAIGN)):
        moves = [*CAMPAIGN[:place], look, *CAMPAIGN[place:], common]
        (incident,) = incidents(made([("x", "y", 0.0, 50.0), *moves]))
        edges = {(step.src, step.dst) for step in incident.path}
        assert ("a", "f") in edges
        assert ("a", "g") not in edges


AROUND = [("v", "j", 102.0, 20.0), ("j", "c", 102.5, 20.0), ("j", "y", 102.7, 20.0)]
"""What hangs on `CAMPAIGN` only because it ends there just before the intruder goes on; the last hangs on the first."""
SECOND = [("j", "k", 110.0, 0.01), ("k", "z", 110.5, 20.0), ("k", "l", 111.0, 0.01), ("l", "m", 112.0, 0.01)]


def edges(chains):
    """Incidents as sets of pairs of hosts."""
    return sorted(sorted({(step.src, step.dst) for step in one.path}) for one in incidents(chains))


def test_a_hop_only_around_one_incident_leaves_it_for_its_own_chain_with_what_hangs_on_it():
    quiet, pairs = [("x", "y", 0.0, 50.0)], lambda moves: sorted(move[:2] for move in moves)
    first = sorted(CAMPAIGN + AROUND, key=lambda move: move[2])
    assert edges(made(quiet + first)) == [pairs(CAMPAIGN + AROUND)]
    assert edges(made(quiet + first + SECOND)) == [pairs([*CAMPAIGN, AROUND[1]]), pairs([*AROUND[::2], *SECOND])]


def test_the_cost_of_a_finding_does_not_grow_with_the_incident_it_joins(monkeypatch):
    """A flood of strange moves from a host of an intruder, each of which joins the incident."""
    asked = 0

    def counted(*args):
        nonlocal asked
        asked += 1
        return expected(*args)

    expected = Chains._expected
    monkeypatch.setattr(Chains, "_expected", counted)
    flood = [("b", f"t{n}", 105.0 + n / 1000, 20.0) for n in range(400)]
    (incident,) = incidents(made([("x", "y", 0.0, 50.0), *CAMPAIGN, *flood]))
    assert len(incident.path) == 404
    assert asked < 4 * module.MAX_PREDECESSORS * 404


def test_hops_that_do_not_follow_each_other_are_no_chain():
    backwards = [(src, dst, 210.0 - hours, rate) for src, dst, hours, rate in CAMPAIGN]
    assert incidents(made([("x", "y", 0.0, 50.0), *sorted(backwards, key=lambda move: move[2])])) == []
    slow = [(src, dst, hours + 24 * 8 * n, rate) for n, (src, dst, hours, rate) in enumerate(CAMPAIGN)]
    assert incidents(made([("x", "y", 0.0, 50.0), *slow])) == []


moves = st.lists(
    st.tuples(
        st.sampled_from("abcdef"), st.sampled_from("abcdef"), st.floats(0, 400), st.sampled_from([0.001, 0.1, 5.0])
    ).filter(lambda move: move[0] != move[1]),
    max_size=40,
)


@given(moves)
@settings(max_examples=100)
def test_a_chain_never_goes_back_in_time(found):
    chains = made(found)
    for hop in chains.hops.values():
        for length in range(2, len(hop.best) + 1):
            before = chains.hops.get(hop.best[length - 1].before)
            if before is None:  # forgotten: more than two weeks before the newest
                continue
            assert hop.ts - REACH_US - HOUR_US <= before.ts < hop.ts
            assert before.dst == hop.src
            assert before.src != hop.dst
        trail = chains.path(hop)
        assert [one.ts for one in trail] == sorted({one.ts for one in trail})
        assert all(left.dst == right.src for left, right in itertools.pairwise(trail))


@given(moves)
@settings(max_examples=100)
def test_every_hop_is_where_its_incident_says(found):
    chains = made(found, false_per_day=1.0)
    members = {number: name for name, hops in chains.incidents.items() for number in hops}
    assert members == {hop.number: hop.incident for hop in chains.hops.values() if hop.incident >= 0}
    assert set(chains.incidents) == set(chains.ids)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_records_that_come_late_make_the_same_incident(order):
    """A session's record comes when it ends; the chain is judged by when it began."""
    in_order = made([("x", "y", 0.0, 50.0), *CAMPAIGN])
    late = made([("x", "y", 0.0, 50.0), *(CAMPAIGN[place] for place in order)])
    assert paths(late) == paths(in_order)
    assert len(paths(late)) == 1


def test_a_late_beginning_of_a_known_hop_links_what_had_no_predecessor():
    """a -> b was seen at 10:30, after b -> c at 10:00; its earlier half, 9:45, arrives last and joins the two."""
    before = [("x", "y", 0.0, 50.0), ("b", "c", 100.0, 0.01), ("c", "d", 100.2, 0.01), ("a", "b", 100.5, 0.01)]
    chains = made([*before, ("a", "b", 99.75, 0.01)])
    in_order = made(sorted([*before, ("a", "b", 99.75, 0.01)], key=lambda move: move[2]))
    assert paths(chains) == paths(in_order)
    hops = {(hop.src, hop.dst): hop for hop in chains.hops.values()}
    assert hops["b", "c"].best[1].before == hops["a", "b"].number
    assert hops["c", "d"].best[2].before == hops["b", "c"].number


def test_a_late_record_does_not_split_the_hop_that_is_open():
    chains = made([("a", "b", 50.0, 1.0), ("a", "b", 10.0, 1.0), ("a", "b", 50.5, 1.0), ("a", "b", 10.5, 1.0)])
    assert sorted((hop.ts - START, len(hop.findings)) for hop in chains.hops.values()) == [
        (10 * HOUR_US, 2),
        (50 * HOUR_US, 2),
    ]


def test_findings_of_one_pair_within_the_hour_are_one_hop_as_strange_as_the_strangest():
    chains = made([("a", "b", 0.0, 3.0), ("a", "b", 0.5, 0.2), ("a", "b", 1.0, 9.0), ("a", "b", 1.1, 9.0)])
    assert [(len(hop.findings), hop.per_day) for hop in chains.hops.values()] == [(3, 0.2), (1, 9.0)]


def test_two_campaigns_without_a_common_host_stay_apart():
    other = [(src.upper(), dst.upper(), hours + 0.5, rate) for src, dst, hours, rate in CAMPAIGN]
    both = made([("x", "y", 0.0, 50.0), *sorted(CAMPAIGN + other, key=lambda move: move[2])])
    assert sorted(incident.hosts[0] for incident in incidents(both)) == ["A", "a"]


def test_incidents_that_meet_become_one_under_the_older_name():
    """Two chains; then a hop from the end of the one to the start of the other's last move."""
    second = [("p", "q", 101.0, 0.01), ("q", "r", 102.0, 0.01), ("r", "s", 120.0, 0.01)]
    apart = sorted(CAMPAIGN + second, key=lambda move: move[2])
    chains = made([("x", "y", 0.0, 50.0), *apart])
    assert len(incidents(chains)) == 2
    oldest = chains.ids[min(chains.ids)]
    ts = START + 110 * HOUR_US
    chains.add(finding("e", "r", ts), ts, 0.01, CALM)
    assert [(incident.incident_id, len(incident.hosts)) for incident in incidents(chains)] == [(oldest, 9)]


def test_a_hop_that_hangs_on_without_adding_evidence_is_no_part():
    chains = made([("x", "y", 0.0, 50.0), *CAMPAIGN, ("e", "f", 150.0, 99.0)])
    (incident,) = incidents(chains)
    assert "f" not in incident.hosts


def test_old_hops_are_forgotten_and_incidents_kept():
    chains = made([("x", "y", 0.0, 50.0), *CAMPAIGN, ("z", "w", 104.0 + 24 * 15, 50.0)])
    assert chains.forgotten == 1
    assert len(incidents(chains)) == 1
    assert chains._arrivals.keys() == chains._departures.keys() ^ {"z", "w"} == {"w"}
    assert len(chains._pairs) == 1


def test_open_hops_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "MAX_HOPS", 50)
    chains = made([(f"h{n}", f"h{n + 1000}", n * 0.01, 50.0) for n in range(300)])
    assert len(chains.hops) == len(chains._open) == 50
    assert chains.forgotten == 250
    assert min(chains.hops) == 250


def test_findings_of_a_hop_are_bounded_and_the_strangest_stay():
    chains = Chains(0.05)
    for n in range(100):
        chains.add(finding("a", "b", START + n, p=(n % 50 + 1) / 1000), START + n, 5.0, CALM)
    (hop,) = chains.hops.values()
    assert len(hop.findings) == module.MAX_FINDINGS
    assert sorted(found.p_value for found in hop.findings) == [n / 1000 for n in range(1, 9) for _ in range(2)]


def test_incidents_are_bounded_and_what_is_left_of_old_ones_does_no_harm(monkeypatch):
    monkeypatch.setattr(module, "MAX_INCIDENTS", 3)
    campaigns = [(f"{src}{n}", f"{dst}{n}", hours + n, rate) for n in range(8) for src, dst, hours, rate in CAMPAIGN]
    again = [(f"e{n}", f"f{n}", 120.0, 0.01) for n in range(8)]
    chains = made([("x", "y", 0.0, 50.0), *sorted(campaigns, key=lambda move: move[2]), *again])
    assert len(chains.incidents) == len(chains.ids) == len(incidents(chains)) == 3
    assert all(hop.incident in {-1, *chains.incidents} for hop in chains.hops.values())
    assert set(chains.hops) == set(chains._open)
    assert all(hop.incident >= 0 or (not hop.sure and hop.holder == -1) for hop in chains.hops.values())


@given(moves, st.integers(0, 40))
@settings(max_examples=50)
def test_state_goes_through_json_and_changes_nothing(found, cut):
    straight, restored = made(found, false_per_day=1.0), Chains(1.0)
    restored.load_state(json.loads(json.dumps(made(found[:cut], false_per_day=1.0).state())))
    for src, dst, hours, per_day in found[cut:]:
        ts = START + round(hours * HOUR_US)
        restored.add(finding(src, dst, ts), ts, per_day, CALM)
    assert restored.state() == straight.state()
    assert incidents(restored) == incidents(straight)


def test_an_alert_of_an_incident_says_so_and_is_more_severe():
    alone = finding("a", "b", START)
    assert chained(alone, None) == alone
    assert (chained(alone, "x").incident_id, chained(alone, "x").severity) == ("x", "medium")
    assert chained(finding("a", "b", START, severity="critical"), "x").severity == "critical"


def test_an_incident_tells_its_steps_with_their_strongest_finding():
    chains = Chains(0.05)
    chains.add(finding("x", "y", START), START, 50.0, CALM)
    for src, dst, hours, rate in CAMPAIGN:
        for p, service, technique in ((1e-3, "epmap", "T1021.003"), (1e-6, "smb", "T1021.002")):
            ts = START + round(hours * HOUR_US) + round(p * 1e7)
            said = {"service": service, "techniques": (technique,), "user": f"{src}-admin", "dst_zone": dst}
            chains.add(finding(src, dst, ts, p, **said), ts, rate, CALM)
    (incident,) = incidents(chains)
    assert [step.p_value for step in incident.path] == [1e-6] * 4
    assert {step.services for step in incident.path} == {("smb", "epmap")}
    assert incident.techniques == ("T1021.002", "T1021.003")
    assert incident.path[0].users == ("a-admin",)
    assert "4 unlikely moves in time order through 5 zones (it, b, c, d, e): a -> b (smb); b -> c" in incident.summary
    assert "T1021.002 SMB/Windows Admin Shares" in incident.summary
