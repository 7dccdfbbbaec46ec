"""F27: a service that breaks a rule must break an invariant, or the other tests prove nothing."""

from contextlib import ExitStack
from itertools import count
from unittest.mock import patch

import pytest

from detector.alerts import explain
from detector.score.scorer import Scorer
from detector.sinks.outbox import Outbox
from detector.state import stores
from detector.state.checkpoints import Checkpoints
from tests.faults.harness import broken


def outbox_never_synced():
    """(a) A checkpoint before what it covers is on the disk."""

    def sync(self):
        self.durable = self.end

    return [patch.object(Outbox, "sync", sync)]


def written_in_place():
    """(b) Neither fsync nor rename."""

    def write(path, content):
        path.write_bytes(content)

    return [patch.object(stores, "write_whole", write)]


def ids_of_the_wall_clock():
    """(c) An id that another run does not make again."""
    clock, real = count(), explain.content_id
    return [patch.object(explain, "content_id", lambda *parts: real(*parts, next(clock)))]


def learns_before_it_scores():
    """(d) Rows are known before they are judged."""
    real = Scorer.score

    def score(self, units):
        real(self, units)
        return real(self, units)

    return [patch.object(Scorer, "score", score)]


def forgets_the_outbox():
    """What is told again is appended again."""
    return [patch.object(Outbox, "rewind", lambda self, sequence: None)]


def offsets_ahead_of_the_state():
    """A checkpoint that says more was read than its state knows."""
    real = Checkpoints.write

    def write(self, checkpoint):
        ahead = {topic: {at: end + 25 for at, end in each.items()} for topic, each in checkpoint.offsets.items()}
        object.__setattr__(checkpoint, "offsets", ahead)
        real(self, checkpoint)

    return [patch.object(Checkpoints, "write", write)]


QUICK = [outbox_never_synced, written_in_place, learns_before_it_scores]
LONG = [ids_of_the_wall_clock, forgets_the_outbox, offsets_ahead_of_the_state]
MUTATIONS = QUICK + [pytest.param(each, marks=pytest.mark.faults) for each in LONG]


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_broken_rule_is_seen(mutation, golden, trial, results):
    subject = trial(5)
    with ExitStack() as stack:
        for each in mutation():
            stack.enter_context(each)
        subject.run(crash="committed:4")
        found = list(subject.broken)
        try:
            subject.run()
            found += subject.broken + broken(golden, subject.outcome())
        except Exception as problem:  # noqa: BLE001 - not to come up again is seen too
            found.append(f"I4: {type(problem).__name__}: {problem}")
    results(fault=f"F27 {mutation.__name__}", kills=subject.kills, mismatches=len(found), duplicates=0, wanted=True)
    assert found
