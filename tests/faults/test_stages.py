"""F2, F16: processes that normalize are killed, stopped, and come and go; what is told is what one process tells."""

import os
import random
import signal
import threading
import time
from contextlib import ExitStack

import pytest

from tests.faults.process import SECONDS, Service, create, named_for, publish
from tests.faults.test_processes import Expected
from tests.service.test_stages import Members, Told, count, expected, reader, send, settings_of

pytestmark = [pytest.mark.kafka, pytest.mark.faults]
STORM_SECONDS = float(os.environ.get("EASTWEST_FAULT_STORM") or 30)
NORMALIZE, SCORE = {"EASTWEST_STAGES": "normalize"}, {"EASTWEST_STAGES": "score,correlate"}


class Staged:
    """Two services that normalize in front of one that scores."""

    def __init__(self, kafka, rows, world, folder, stack, *, named: bool) -> None:
        self.rows = named_for(rows, kafka.prefix)
        create(kafka, self.rows)
        topics = sorted({row.partition.topic for row in self.rows})
        group = {"group_id": kafka.prefix, "stall_seconds": 120}  # a busy machine is slow to start anew

        def made(name, **about):
            how = {"kafka": {**group, **about}, "rows": {"prefix": f"{kafka.prefix}.rows."}}
            return stack.enter_context(Service(folder / name, kafka.bootstrap, topics, world.plant, **how))

        self.normalizers = [made(name, **({"group_instance_id": name} if named else {})) for name in ("one", "two")]
        self.scorer = made("scorer")

    def start(self) -> None:
        for each in self.normalizers:
            each.start(**NORMALIZE)
            each.wait(each.running)  # the first makes the topics of rows
        self.scorer.start(**SCORE)
        self.scorer.wait(self.scorer.running)

    def finish(self) -> float:
        """Seconds until all was through."""
        seconds = self.scorer.wait(self.scorer.done(len(self.rows)))
        for each in [self.scorer, *self.normalizers]:
            each.wait(each.running)  # one that was killed last may only begin
            assert each.stop()[0] == 0
        return round(seconds, 1)

    def check(self, world, folder, results, fault, kills, heal) -> None:
        known = Expected(self.rows, world, folder)
        raw = {row.partition.topic for row in self.rows}
        outcome = self.scorer.outcome()
        found = outcome.checkpoint
        offsets = {topic: each for topic, each in found.offsets.items() if topic in raw}
        # In one process decoders are part of the state; here they are with the offsets of the others.
        same = {"offsets": offsets, "state": known.outcome.checkpoint.state}
        outcome.checkpoint = type(found)(**{name: getattr(found, name) for name in found.__slots__} | same)
        known.check(type("Outcome", (), {"outcome": staticmethod(lambda: outcome)}), results, fault, kills, heal)
        assert sum(each.metrics().get("eastwest_gaps_total", 0) for each in self.normalizers) == 0


@pytest.fixture
def staged(kafka, rows, world, tmp_path):
    with ExitStack() as stack:
        yield lambda **how: Staged(kafka, rows, world, tmp_path, stack, **how)


@pytest.mark.parametrize("named", [True, False])
def test_killed_while_they_normalize(staged, kafka, world, tmp_path, results, named):
    """Each dies twice, before and behind a transaction; with a name it is back at once, without another takes over."""
    subject = staged(named=named)
    subject.start()
    kills = 0
    for part, place in ((0, "decoded:2"), (1, "committed:2"), (1, "decoded:3"), (0, "committed:1")):
        victim = subject.normalizers[part]
        victim.kill()
        victim.start(**NORMALIZE, EASTWEST_CRASH=place)
        if kills == 0:
            publish(kafka, subject.rows)
        assert victim.process.wait(SECONDS) == -signal.SIGKILL
        kills += 1
        victim.start(**NORMALIZE)
    subject.check(world, tmp_path, results, f"F2 normalizers killed, {'with' if named else 'without'} names", kills,
                  subject.finish())  # fmt: skip


def test_one_that_only_slept_says_nothing_that_counts(staged, kafka, world, tmp_path, results):
    """Stopped in the middle for longer than its session; when it wakes its partitions are the other's."""
    subject = staged(named=False)
    subject.start()
    half = len(subject.rows) // 2
    publish(kafka, subject.rows[:half])
    sleeper = subject.normalizers[0]
    sleeper.wait(lambda: sleeper.metrics().get("eastwest_normalized_rows_total", 0) > 0)
    os.kill(sleeper.process.pid, signal.SIGSTOP)
    publish(kafka, subject.rows[half:])
    time.sleep(20)
    os.kill(sleeper.process.pid, signal.SIGCONT)
    subject.check(world, tmp_path, results, "F2 SIGSTOP of a normalizer, SIGCONT", 0, subject.finish())


def test_members_that_come_and_go_all_the_time(kafka, tmp_path, results):
    """F16: four of them, one joins or leaves every two seconds, while it is written."""
    topics = [kafka.topic(4), kafka.topic(1)]
    settings = settings_of(kafka, topics, tmp_path, stall_seconds=120)
    source, chance, stop, sent = reader(settings), random.Random(16), threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            send(kafka, topics, range(len(sent), len(sent) + 50))
            sent.extend(range(50))

    told = Told()
    with Members(settings) as members:
        for name in "abcd":
            members.join(name)
        writer = threading.Thread(target=write)
        writer.start()
        turns, ends = 0, time.monotonic() + STORM_SECONDS
        while time.monotonic() < ends:
            name = chance.choice("abcd")
            (members.leave if name in members.running else members.join)(name)
            turns += 1
            told.read_for(source, 2.0)
        stop.set()
        writer.join()
        if not members.running:
            members.join("a")
        begin = time.monotonic()
        told.read(source, count(len(sent)))
        heal = round(time.monotonic() - begin, 1)
    source.close()
    alone = expected(settings, len(sent))
    mismatches = (told.places != alone.places) + (told.rows() != alone.rows())
    results(fault=f"F16 {turns} times a member came or went", kills=0, mismatches=mismatches, duplicates=0, heal=heal)
    assert mismatches == 0
    assert told.events == alone.events
