"""The alert budget: about as many alerts a day as people asked for, never a flood, and state that survives."""

import json

import numpy as np
import pytest

from detector.score.budget import P_CUT, Budget

HOUR = 3_600_000_000
DAY = 24 * HOUR
START = 1_767_225_600_000_000
ROWS = 100_000.0  # a day


def alerts(budget, days, seed=1, lie=1.0, rows=ROWS):
    """Days of every alert of a null stream; p-values are ``lie`` times smaller than they should be.

    Only rows with a p-value up to 1e-2 are made: the rest cannot be alerts at any threshold in reach.
    """
    rng = np.random.default_rng(seed)
    count = rng.poisson(rows * days * 1e-2)
    times = np.sort(rng.integers(0, round(days * DAY), count)) + START
    p = rng.uniform(0, 1e-2, count) / lie
    return np.array(
        [t - START for t, one in zip(times.tolist(), p.tolist(), strict=True) if budget.alerts(one * rows, rows, t)]
    )


@pytest.mark.parametrize("lie", [0.5, 1.0, 3.0, 30.0])
@pytest.mark.parametrize("asked", [5.0, 25.0, 200.0])
def test_alerts_a_day_are_those_asked_for(asked, lie):
    """Four weeks, without the first three days; even if the p-values are half or 30 times too strange."""
    found = alerts(Budget(asked), days=28, lie=lie)
    rate = np.sum(found > 3 * DAY) / 25
    assert rate == pytest.approx(asked, rel=0.2), f"{rate:.1f} alerts a day, {asked} asked for"


@pytest.mark.parametrize("asked", [0.1, 0.5, 1.0])
def test_less_than_one_alert_a_day_can_be_asked_for(asked):
    days = 60 / asked
    rate = alerts(Budget(asked), days=days, rows=2_000.0).size / days
    assert 0.6 * asked <= rate <= 1.1 * asked, f"{rate:.2f} alerts a day, {asked} asked for"


def test_a_storm_is_capped_at_a_day_of_alerts():
    budget = Budget(25.0)
    stormed = [budget.alerts(1e-12, ROWS, START + second * 1_000_000) for second in range(3600)]
    assert 25 <= sum(stormed) <= 27
    assert all(stormed[:25])
    later = [budget.alerts(1e-12, ROWS, START + 12 * HOUR + second) for second in range(100)]
    assert 11 <= sum(later) <= 13


def test_a_common_row_is_no_alert_however_few_rows_there_are():
    budget = Budget(1000.0)
    assert not any(budget.alerts(P_CUT * 1.01 * rows, rows, START) for rows in (1.0, 10.0, 1e6))
    assert budget.alerts(P_CUT * 0.99, 1.0, START)


def test_a_quiet_network_gives_no_alerts_to_fill_the_budget():
    budget = Budget(25.0)
    assert not any(budget.alerts(500.0, 1000.0, START + hour * HOUR) for hour in range(24 * 30))


def test_the_threshold_stays_within_a_factor_of_the_honest_one():
    """However long nothing happened, what comes far more often a day than was asked for is no alert; the other way
    round too."""
    idle, busy = Budget(25.0), Budget(25.0)
    for hour in range(500):
        idle.alerts(ROWS, ROWS, START + hour * HOUR)
        for second in range(5):
            busy.alerts(0.0, ROWS, START + hour * HOUR + second)
    assert not idle.alerts(25.0 * 11, ROWS, START + 501 * HOUR)
    assert busy.alerts(25.0 / 11, ROWS, START + 1000 * HOUR)


def test_state_goes_through_json_and_back():
    budget, restored = Budget(25.0), Budget(25.0)
    alerts(budget, days=5)
    restored.load(json.loads(json.dumps(budget.state())))
    rng = np.random.default_rng(4)
    for time in np.sort(rng.integers(5 * DAY, 9 * DAY, 3000)).tolist():
        p = float(rng.uniform(0, 1e-2))
        assert budget.alerts(p * ROWS, ROWS, START + time) == restored.alerts(p * ROWS, ROWS, START + time)
    assert budget.state() == restored.state()


def test_late_rows_turn_no_clock_back():
    budget = Budget(25.0)
    budget.alerts(0.0, ROWS, START + DAY)
    before = budget.state()
    budget.alerts(ROWS, ROWS, START)
    assert budget.state() == before
