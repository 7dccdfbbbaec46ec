"""F1, F2: processes that are killed or stopped."""

import os
import random
import signal
import time

import pytest

from tests.faults.fed import Expected, on
from tests.faults.test_crashes import POINTS

pytestmark = pytest.mark.kafka
KILLS = int(os.environ.get("EASTWEST_FAULT_KILLS") or 3)


@pytest.fixture
def service(rows, world, kafka, tmp_path):
    """A service whose topics hold all rows, and what it must tell."""
    with on(kafka, rows, world, tmp_path) as made:
        yield made, Expected(made.rows, world, tmp_path)


@pytest.mark.faults
def test_killed_at_every_point(service, results):
    """F1 with SIGKILL: each point at its first and at its third pass."""
    subject, expected = service
    kills = 0
    for number in (1, 3):
        for name in POINTS:
            subject.start(EASTWEST_CRASH=f"{name}:{number}")
            end = time.monotonic() + 40
            while subject.process.poll() is None and time.monotonic() < end:
                if subject.metrics().get("eastwest_lag_rows") == 0 and subject.running():
                    time.sleep(3)  # no further pass will come, or it comes now
                    break
                time.sleep(0.1)
            kills += subject.process.poll() == -signal.SIGKILL
            subject.kill()
    heal = subject.start().finish()
    assert kills >= 6
    expected.check(subject, results, "F1 SIGKILL at every point", kills, heal)


@pytest.mark.faults
@pytest.mark.timeout(300 + 60 * KILLS)
def test_killed_at_random(rows, world, kafka, tmp_path, results):
    """F2: each life finds a part of the rows; most die while they read, some while they start."""
    with on(kafka, rows, world, tmp_path, share=0) as subject:
        expected = Expected(subject.rows, world, tmp_path)
        chance = random.Random(2)
        for life in range(KILLS):
            subject.publish_until((life + 1) / (KILLS + 1))
            subject.start()
            if chance.random() < 0.9:
                subject.wait(subject.running)
                time.sleep(chance.choice((0.02, 0.3, 2)) * chance.random())
            else:
                time.sleep(2 * chance.random())
            subject.kill()
        heal = subject.start().finish()
        expected.check(subject, results, "F2 SIGKILL at random", KILLS, heal)


@pytest.mark.faults
def test_a_process_that_only_slept_keeps_others_out(service, results):
    """F2: while one is stopped (SIGSTOP) another cannot take its folder; woken, it goes on."""
    subject, expected = service
    first = subject.start().process
    subject.wait(subject.running)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        second = subject.start().process
        assert second.wait(60) == 2
        assert "another process writes to" in subject.log
    finally:
        os.kill(first.pid, signal.SIGCONT)
    subject.process = first
    subject.finish()
    expected.check(subject, results, "F2 SIGSTOP, another process, SIGCONT")
