"""Recall at a budget, how early, what live alerts and incidents are worth: on cases small enough to count."""

import polars as pl
import pytest
from contest import eastwest
from contest.outcome import fate, ranking, worst_week
from contest.truth import DAY_US, attack_units, campaigns_of
from contest.units import is_attack, merged, ranked_by_day, units_of

from detector.alerts.model import Alert, Incident, Step, iso
from detector.backtest.labels import Label

MINUTE = 60_000_000
HOUR = 60 * MINUTE


def hop(campaign, at, src, dst, technique="T1021.002"):
    return Label(campaign, at, at + MINUTE, src, dst, technique)


LABELS = [
    hop("new-01-ot", HOUR, "a", "b"),
    hop("new-01-ot", 2 * HOUR, "b", "c"),
    hop("new-01-ot", DAY_US + HOUR, "c", "plc", "T0843"),
    hop("quiet-02-credential-supplier", 5 * HOUR, "x", "y"),
]


def acts(*told):
    """Operations by (when, source, target, protocol, operation)."""
    names = {"ts": pl.Int64, "orig_h": pl.String, "resp_h": pl.String, "protocol": pl.String, "operation": pl.String}
    return pl.DataFrame(told, schema=names, orient="row")


READ = (HOUR, "c", "other", "s7comm", "Read Variable")
WRITE = (HOUR, "c", "other", "s7comm", "Write Variable")
DOWNLOAD = (DAY_US + HOUR, "c", "plc", "s7comm", "Request Download")
CAMPAIGNS = campaigns_of(LABELS, acts(READ, WRITE, DOWNLOAD))


@pytest.mark.parametrize(
    ("told", "firsts"),
    [
        ([DOWNLOAD], {2}),
        ([READ, WRITE, DOWNLOAD], {2}),  # of its class
        ([(HOUR, "c", "other", "s7comm", "Request Download"), DOWNLOAD], set()),
        ([(HOUR, "d", "plc", "s7comm", "Request Download"), DOWNLOAD], {2}),  # somebody else's
        ([(DAY_US + HOUR, "c", "plc", "s7comm", "Read Variable")], set()),
        ([], set()),
    ],
)
def test_a_first_act_is_of_a_class_that_its_source_never_did(told, firsts):
    assert campaigns_of(LABELS, acts(*told))[0].firsts == firsts


def test_campaigns_are_read_from_their_names():
    one, two = CAMPAIGNS
    assert (one.kind, one.detail, one.supplier, one.ot) == ("new", "", False, True)
    assert (two.kind, two.detail, two.supplier, two.ot) == ("quiet", "credential", True, False)
    assert [move.src for move in one.hops] == ["a", "b", "c"]
    assert one.start == HOUR


def test_a_hop_over_midnight_is_two_units():
    late = Label("new-01", DAY_US - MINUTE, DAY_US + MINUTE, "a", "b", None)
    assert attack_units(campaigns_of([late]))["day"].to_list() == [0, 1]


def test_a_unit_has_its_highest_score_and_when_that_came_first():
    rows = pl.DataFrame({"ts": [5, 6, 7, DAY_US], "src": "a", "dst": "b", "score": [1.0, 3.0, 3.0, 2.0]})
    units = units_of(rows, 0).sort("day")
    assert units.select("day", "score", "at").rows() == [(0, 3.0, 6), (1, 2.0, DAY_US)]
    assert units_of(rows, 7).sort("day")["at"].to_list() == [7, DAY_US]
    assert merged(pl.concat([units, units])).height == 2


UNITS = {"src": pl.String, "dst": pl.String, "day": pl.Int64, "score": pl.Float64, "at": pl.Int64}


def units(*rows):
    return pl.DataFrame(rows, schema=UNITS, orient="row")


def noise(day, count, score):
    return [(f"n{number}", "m", day, score, day * DAY_US) for number in range(count)]


def test_recall_counts_the_first_units_of_every_day():
    ranked = ranking(
        units(
            ("a", "b", 0, 5.0, HOUR),  # rank 1 of its day
            ("b", "c", 0, 1.0, 2 * HOUR),  # rank 10
            ("x", "y", 0, 0.5, 5 * HOUR),  # rank 31
            ("c", "plc", 1, 2.0, DAY_US + HOUR),  # rank 25
            *noise(0, 8, 3.0),
            *[(f"o{number}", "m", 0, 0.7, 0) for number in range(20)],
            *noise(1, 24, 3.0),
        ),
        CAMPAIGNS,
        attack_units(CAMPAIGNS),
    )
    assert ranked.edges == 4
    assert ranked.edges_found == {10: 2, 25: 3, 50: 4}
    found = {budget: [one.found for one in fates] for budget, fates in ranked.fates.items()}
    assert found == {10: [True, False], 25: [True, False], 50: [True, True]}
    first = ranked.fates[10][0]
    assert (first.minutes, first.early, first.hops_found, first.hops) == (0.0, True, 2, 3)
    assert first.hops_before == 0
    assert (first.acts, first.acts_found, ranked.fates[25][0].acts_found) == (1, 0, 1)


def test_equal_scores_get_what_chance_gives_them():
    many = units(("a", "b", 0, 1.0, 0), *noise(0, 999, 1.0))
    ranks = ranked_by_day(many).filter(pl.col("src") == "a")["rank"].to_list()
    assert ranks == ranked_by_day(many.reverse()).filter(pl.col("src") == "a")["rank"].to_list()
    assert sorted(ranked_by_day(many)["rank"]) == list(range(1, 1001))
    assert is_attack(many, attack_units(CAMPAIGNS)).tolist() == [True] + [False] * 999


@pytest.mark.parametrize(("at", "early"), [(HOUR, True), (DAY_US, True), (DAY_US + HOUR, False)])
def test_early_is_before_the_third_hop(at, early):
    seen = fate(CAMPAIGNS[0], [(at, CAMPAIGNS[0].hops[0])])
    assert seen.early == early
    assert seen.hops_before == (0 if at == HOUR else 2)


def test_a_campaign_nobody_saw():
    lost = fate(CAMPAIGNS[0], [])
    assert (lost.found, lost.early, lost.minutes, lost.hops_before, lost.hops_found) == (False, False, None, None, 0)


def test_the_worst_week_is_any_seven_days():
    assert worst_week([10] * 7, 10) == 0
    assert worst_week([10] * 7 + [24], 10) == pytest.approx(0.2)
    assert worst_week([0] * 7 + [10] * 7, 10) == 1
    assert worst_week([5], 10) == pytest.approx(0.5)


class Sent:
    """What a judge would have sent."""

    def __init__(self, alerts, incidents):
        self.final_alerts, self.incidents = lambda: alerts, lambda: incidents


def alert(at, src, dst):
    strangeness = 5.0, 1e-5, "low"
    return Alert(
        f"{src}{dst}{at}", iso(at), src, dst, "smb", None, "connection", *strangeness, (), (), None, (), "", "", None
    )


def step(at, src, dst):
    return Step(iso(at), src, dst, "smb", ("smb",), (), (), 1e-5, "", "", (), (), (), ())


def incident(*moves):
    path = tuple(step(*move) for move in moves)
    return Incident("i", path[0].ts, path[-1].ts, 5.0, 1e-5, "low", (), path, (), "")


def test_what_was_sent_beside_what_happened():
    alerts = [alert(HOUR, "a", "b"), alert(HOUR, "q", "r"), alert(DAY_US + 3 * HOUR, "c", "plc")]
    incidents = [
        incident((HOUR, "a", "b"), (2 * HOUR, "b", "c"), (3 * HOUR, "c", "z")),
        incident((5 * HOUR, "p", "q"), (6 * HOUR, "q", "r")),
    ]
    sent = eastwest.live(Sent(alerts, incidents), CAMPAIGNS, 10, range(2))
    assert sent.daily == [2, 1]
    assert sent.false_daily == [1, 1]  # the last came two hours after its hop
    one, two = sent.fates
    assert (one.found, one.hops_found, one.listed, one.gathered) == (True, 1, True, pytest.approx(2 / 3))
    assert (two.found, two.listed) == (False, False)
    assert sent.purity == [pytest.approx(2 / 3)]
    assert sent.shared == [1]
    assert sent.false_incidents == 0.5
    assert sent.worst_week == pytest.approx(0.85)
