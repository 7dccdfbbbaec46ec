"""F1, F2: a process that ends anywhere, on a disk that keeps only what was synced, loses and changes nothing."""

import os
import random

import pytest

from tests.faults.harness import broken, duplicates

POINTS = ("polled", "decoded", "appended", "synced", "captured", "packed", "checkpointed", "committed")
KILLS = int(os.environ.get("EASTWEST_FAULT_KILLS") or 3)


def assert_unharmed(golden, trial, results, fault):
    outcome = trial.outcome()
    problems = broken(golden, outcome) + trial.broken
    results(fault=fault, kills=trial.kills, mismatches=len(problems), duplicates=duplicates(outcome))
    assert problems == []


LONG = pytest.mark.faults


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=LONG), pytest.param(3, marks=LONG)])
def test_power_lost_at_every_point(seed, golden, trial, results):
    """A trial dies at each point in turn, each time at a later pass than the last; when it comes to its end before,
    another goes on."""
    subject, fault = trial(seed), "F1 power lost at every point"
    order = list(POINTS)
    random.Random(seed).shuffle(order)
    for place, name in enumerate(order):
        if not subject.run(crash=f"{name}:{1 + place % 3}"):
            assert_unharmed(golden, subject, results, fault)
            subject = trial(100 * seed + place)
            assert subject.run(crash=f"{name}:1")
    assert not subject.run()
    assert_unharmed(golden, subject, results, fault)


def test_power_lost_at_any_fsync(golden, trial, results):
    """As many trials as it takes: one has come to its end after some ten crashes."""
    kills, seed = 0, 7
    while kills < KILLS:
        subject, chance = trial(seed), random.Random(seed)
        while kills + subject.kills < KILLS and subject.run(at_sync=chance.randint(1, 60)):
            pass
        assert not subject.run()
        assert_unharmed(golden, subject, results, "F2 power lost at random fsyncs")
        kills, seed = kills + subject.kills, seed + 1
