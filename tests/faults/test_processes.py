"""F1, F2, F4: processes that are killed or stopped, and a broker that goes away."""

import os
import random
import signal
import time

import pytest

from detector.sources.kafka_merge import TICK_MS
from tests.faults.harness import Trial, broken, duplicates
from tests.faults.process import Service, create, named_for, publish
from tests.faults.test_crashes import POINTS
from tests.kafka.fixtures import broker_for

pytestmark = pytest.mark.kafka
KILLS = int(os.environ.get("EASTWEST_FAULT_KILLS") or 3)
HEAL_SECONDS = 60.0  # twice what the table asks for: the machine of a test may be busy


@pytest.fixture
def service(rows, world, kafka, tmp_path):
    """A service whose topics hold all rows, and what it must tell."""
    with on(kafka, rows, world, tmp_path) as made:
        yield made, Expected(made.rows, world, tmp_path)


class Fed(Service):
    """A service, the rows of its topics, and a way to send them."""

    def __init__(self, kafka, rows, *about, **changes) -> None:
        super().__init__(*about, **changes)
        self.kafka, self.rows = kafka, rows

    def publish_until(self, begin, end) -> int:
        """Send rows from one to before another, and those that belong into the same step of the merge."""
        while 0 < end < len(self.rows) and self.rows[end].time // TICK_MS == self.rows[end - 1].time // TICK_MS:
            end += 1
        publish(self.kafka, self.rows[begin:end])
        return max(begin, end)


def on(kafka, rows, world, folder, published=None, **changes) -> Fed:
    """A service on topics that hold the rows, or so many of them."""
    mine = named_for(rows, kafka.prefix)
    create(kafka, mine)
    topics = sorted({row.partition.topic for row in mine})
    made = Fed(kafka, mine, folder / "service", kafka.bootstrap, topics, world.plant, **changes)
    made.publish_until(0, len(mine) if published is None else published)
    return made


class Expected:
    """What a run in this process tells of the same rows."""

    def __init__(self, rows, world, folder) -> None:
        self._trial = Trial(folder / "golden", rows, world.plant)
        assert not self._trial.run()
        self.outcome = self._trial.outcome()

    def check(self, service, results, fault, kills, heal=None) -> None:
        outcome = service.outcome()
        problems = broken(self.outcome, outcome)
        results(fault=fault, kills=kills, mismatches=len(problems), duplicates=duplicates(outcome), heal=heal)
        assert problems == []


def finish(service) -> float:
    """Run to the end; seconds until all was through."""
    service.start()
    seconds = service.wait(service.done(len(service.rows)))
    assert service.stop()[0] == 0
    return round(seconds, 1)


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
    heal = finish(subject)
    assert kills >= 6
    expected.check(subject, results, "F1 SIGKILL at every point", kills, heal)


@pytest.mark.faults
@pytest.mark.timeout(300 + 60 * KILLS)
def test_killed_at_random(rows, world, kafka, tmp_path, results):
    """F2: each life finds a part of the rows; most die while they read, some while they start."""
    with on(kafka, rows, world, tmp_path, published=0) as subject:
        expected = Expected(subject.rows, world, tmp_path)
        chance, sent = random.Random(2), 0
        for life in range(KILLS):
            sent = subject.publish_until(sent, len(rows) * (life + 1) // (KILLS + 1))
            subject.start()
            if chance.random() < 0.9:
                subject.wait(subject.running)
                time.sleep(chance.choice((0.02, 0.3, 2)) * chance.random())
            else:
                time.sleep(2 * chance.random())
            subject.kill()
        subject.publish_until(sent, len(rows))
        heal = finish(subject)
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
    subject.wait(subject.done(len(subject.rows)))
    assert subject.stop()[0] == 0
    expected.check(subject, results, "F2 SIGSTOP, another process, SIGCONT", 0)


@pytest.mark.faults
def test_a_broker_that_dies_and_comes_back(rows, world, kafka_cluster, tmp_path, results):
    """F4: reading goes on by itself."""
    cluster = kafka_cluster(1)
    kafka = broker_for(cluster.bootstrap, "broker_dies")
    with on(kafka, rows, world, tmp_path) as subject:
        expected = Expected(subject.rows, world, tmp_path)
        subject.start()
        subject.wait(subject.running)
        cluster.nodes[0].kill()
        time.sleep(5)
        cluster.nodes[0].restart()
        heal = round(subject.wait(subject.done(len(subject.rows))), 1)
        assert subject.stop()[0] == 0
        expected.check(subject, results, "F4 broker dies and comes back", 0, heal)
        assert heal < HEAL_SECONDS
