"""Whole weeks: a quiet one that must stay quiet, and the demo's, in which both intruders must be found."""

from scipy.stats import poisson

from detector import cli, judge
from detector.backtest.labels import load_labels, parse_time
from detector.config import Settings
from tests.scenarios.world import plant_of, run, simulated

DAY_US = 86_400_000_000


def test_a_quiet_week_stays_quiet(tmp_path_factory, tmp_path):
    """Seven days in which nobody attacks; the first half teaches. Chance may make `false_incidents_per_day`: more than
    a Poisson number exceeds once in 1,000 such weeks is wrong."""
    world = simulated(tmp_path_factory, days=7, hosts=60, seed=5, campaigns=False)
    end = parse_time(world.end)
    until = (parse_time(world.start) + end) // 2
    days = (end - until) / DAY_US
    result = run([world.zeek_dir], tmp_path / "out", plant=plant_of(world), train_until=until)

    assert days == 3.5
    assert 0 < len(result.alerts) / days <= Settings().alerts_per_day * 1.2
    hours = [alert.ts[:13] for alert in result.alerts]
    assert max(hours.count(hour) for hour in set(hours)) <= Settings().alerts_per_day, "no hour takes all attention"

    allowed = poisson.ppf(0.999, Settings().false_incidents_per_day * days)
    assert allowed == 4
    assert len(result.incidents) <= allowed
    assert not [incident for incident in result.incidents if incident.p_value < 1e-4], "none that looks sure"

    rows = result.summary["rows"]
    assert rows["in"] == rows["scored"] + rows["filtered"] > 300_000
    assert (rows["rejected"], rows["duplicate"], rows["late"]) == (0, 0, 0)


def test_a_first_night_without_history_makes_few_chains(tmp_path_factory, tmp_path, monkeypatch):
    """All is new then, and daily habits look like moves; what a young history tells counts less."""
    world = simulated(tmp_path_factory, days=1.5, hosts=60, seed=32, campaigns=False)
    young = run([world.zeek_dir], tmp_path / "young")
    monkeypatch.setattr(judge, "YOUNG_DAYS", 0.0)
    taken_at_its_word = run([world.zeek_dir], tmp_path / "word")
    hops = [sum(len(incident.path) for incident in result.incidents) for result in (young, taken_at_its_word)]
    assert hops[0] < hops[1] / 2
    assert len(young.incidents) <= 3
    assert young.alerts, "alerts are not held back"


def test_the_demo_finds_both_intruders(tmp_path_factory, tmp_path):
    """What `eastwest demo` shows: the phish as one incident with five or six of its hops in order, the supplier too."""
    world = simulated(tmp_path_factory, days=cli.DEMO_DAYS, hosts=cli.DEMO_HOSTS, seed=cli.DEMO_SEED)
    labels = load_labels(world.labels)
    result = run(
        [world.zeek_dir],
        tmp_path / "out",
        plant=plant_of(world),
        labels=labels,
        train_until=parse_time(world.train_until),
    )
    measured = result.summary["labels"]
    assert [campaign["found"] for campaign in measured["campaigns"]] == [True, True]
    assert measured["hops_found"] >= 8
    assert measured["false_alerts_per_day"] <= Settings().alerts_per_day
    assert measured["false_incidents"] <= 1

    hops = [label for label in labels if label.campaign == "phish"]
    assert len(hops) == 6
    held = [
        [
            number
            for step in incident.path
            for number, hop in enumerate(hops)
            if hop.covers(parse_time(step.ts), step.src, step.dst)
        ]
        for incident in result.incidents
    ]
    assert len(set(held[0])) >= 5, "in the strongest"
    assert held[0] == sorted(held[0])
    assert not any(held[1:]), "one incident, not several"
    assert result.incidents[0].severity in {"high", "critical"}
