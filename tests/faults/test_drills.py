"""Disaster drills: what is lost is put back from a copy, or begun anew, as docs/operations.md says."""

import shutil
from collections import Counter

import pytest

from detector.errors import ForeignCheckpoint
from tests.faults import harness
from tests.faults.fed import Expected, on
from tests.faults.harness import broken, duplicates

STATE, OUTBOX = "state", "outbox"


def put_back(here, copy, *what):
    """In place of what was lost; nothing when there is no copy of it."""
    for name in what:
        shutil.rmtree(here / name)
        if (copy / name).exists():
            shutil.copytree(copy / name, here / name)


@pytest.fixture
def struck(trial, rows, tmp_path):
    """A service that was stopped in the middle and copied, went on, and lost its power; with the copy."""
    subject = trial(of=rows[: len(rows) // 2])
    assert not subject.run()
    copy = shutil.copytree(subject.here, tmp_path / "copy")
    subject.rows = rows
    assert subject.run(crash="committed:1")
    subject.promised = 0  # checkpoints after the copy are to be lost
    return subject, copy


@pytest.mark.faults
def test_state_from_a_copy_tells_nothing_twice(struck, golden, results):
    subject, copy = struck
    put_back(subject.here, copy, STATE)
    assert not subject.run()
    outcome = subject.outcome()
    problems = broken(golden, outcome)
    results(fault="D1 state from a copy", kills=1, mismatches=len(problems), duplicates=duplicates(outcome))
    assert problems == []
    assert outcome.metrics["eastwest_replay_skipped_total"] > 0  # lines were made again, and known


@pytest.mark.parametrize("saved", [True, pytest.param(False, marks=pytest.mark.faults)])
def test_state_and_outbox_from_a_copy_or_anew_lose_nothing(saved, struck, golden, results):
    """What the sink had since the copy it gets once more, the same to the byte; without a copy, all."""
    subject, copy = struck
    before = [*(subject.here / "alerts.ndjson").read_bytes().splitlines()]
    put_back(subject.here, copy if saved else copy / "none", STATE, OUTBOX)
    assert not subject.run()
    outcome = subject.outcome()
    problems = broken(golden, outcome)
    twice = duplicates(outcome)
    name = "D2 state and outbox from a copy" if saved else "D3 state and outbox anew"
    results(fault=name, kills=1, mismatches=len(problems), duplicates=twice)
    assert problems == []
    assert 0 < twice <= len(before)
    assert saved == (twice < len(before))


@pytest.mark.faults
def test_a_lost_outbox_costs_only_what_no_sink_had(struck, golden, results, caplog):
    """The state goes on; what was told before its checkpoint is gone from the outbox, and the log says how much."""
    subject, copy = struck
    put_back(subject.here, copy / "none", OUTBOX)
    assert not subject.run()
    outcome = subject.outcome()
    assert outcome.told
    assert outcome.told == golden.told[-len(outcome.told) :]
    [lost] = [record.fields["records"] for record in caplog.records if "the outbox lacks records" in record.message]
    assert lost + len(outcome.told) == len(golden.told)
    gone = {line for _, line in golden.told} - {*outcome.lines}
    assert gone <= {line for _, line in golden.told[:lost]}
    results(fault="D4 outbox lost", kills=1, mismatches=0, duplicates=duplicates(outcome))
    assert outcome.checkpoint.state == golden.checkpoint.state


@pytest.mark.kafka
@pytest.mark.faults
@pytest.mark.parametrize("what", [(STATE,), (STATE, OUTBOX)])
def test_a_restore_with_processes_and_a_real_broker(what, rows, world, kafka, tmp_path, results):
    with on(kafka, rows, world, tmp_path, share=0.5) as subject:
        expected = Expected(subject.rows, world, tmp_path)
        subject.start()
        subject.wait(subject.through)
        assert subject.stop()[0] == 0
        copy = shutil.copytree(subject.folder, tmp_path / "copy")
        subject.start()
        subject.wait(subject.running)
        subject.publish_until(0.8)
        subject.wait(subject.through)
        subject.kill()
        put_back(subject.folder, copy, *what)
        heal = subject.start().finish()
        assert "goes on from a checkpoint" in subject.log
        expected.check(subject, results, f"D{len(what)} with processes and a broker", 1, heal)


def anew(rows):
    """The rows as another cluster has them: offsets begin with 0."""
    ends = Counter()
    out = []
    for row in rows:
        out.append(row._replace(offset=ends[row.partition]))
        ends[row.partition] += 1
    return out


def test_what_was_learned_outlives_its_kafka(trial, rows, golden, results, monkeypatch):
    """The cluster is gone, and another goes on where it stopped: refused by name until it is allowed, for one start."""
    half = len(rows) // 2
    subject = trial(of=rows[:half])
    assert not subject.run()
    monkeypatch.setattr(harness, "CLUSTER", "another cluster")
    subject.rows = anew(rows[half:])
    with pytest.raises(ForeignCheckpoint, match="the cluster was"):
        subject.run()
    subject.state = {"allow_new_topics": True}
    assert subject.run(crash="decoded:2")
    subject.state = {}
    assert not subject.run()
    outcome = subject.outcome()
    differ = (outcome.told != golden.told) + ([*dict.fromkeys(outcome.lines)] != golden.lines)
    differ += len(outcome.letters) != len(golden.letters)  # they name offsets
    differ += outcome.checkpoint.counters != golden.checkpoint.counters
    results(fault="D5 another Kafka", kills=1, mismatches=differ, duplicates=duplicates(outcome))
    assert differ == 0
    assert subject.broken == []
