"""F8, F9: a disk that is full, and checkpoints that are damaged."""

import errno
import os
from pathlib import Path
from unittest.mock import patch

import pytest

from detector.errors import NoValidCheckpoint
from detector.service import loop
from detector.sinks import outbox
from detector.state import stores
from tests.faults.harness import broken

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Full:
    """A function of the disk that fails at some of its calls."""

    def __init__(self, real, failing):
        self.real, self.failing, self.calls, self.failed = real, failing, 0, 0

    def __call__(self, *args):
        self.calls += 1
        if self.calls in self.failing:
            self.failed += 1
            raise FULL
        return self.real(*args)


def test_a_full_disk_holds_reading_until_there_is_room(golden, trial, results):
    """F8, outbox: what could not be written is written later, nothing in between is lost."""
    writing = Full(outbox._write_at, {*range(5, 9), 40, *range(100, 103)})
    subject = trial()
    assert not subject.run(patch.object(outbox, "_write_at", writing), patch.object(loop, "_RETRY_SECONDS", 0.01))
    assert writing.failed == 8
    outcome = subject.outcome()
    assert broken(golden, outcome) == []
    results(fault="F8 disk full, outbox", kills=0, mismatches=0, duplicates=0)


@pytest.mark.faults
def test_a_checkpoint_that_finds_no_room_is_written_later(golden, trial, results):
    """F8, checkpoints: the old ones stay whole, the metric says so, and a crash then costs only more work."""

    def put(store, name, content, real=stores.FolderStore.put):
        if subject.kills == 0 and counted() > 4:
            raise stores.StorageFailed(f"cannot write {name}: {FULL.strerror}")
        real(store, name, content)

    calls = iter(range(1, 1 << 20))

    def counted():
        return next(calls)

    subject = trial()
    assert subject.run(patch.object(stores.FolderStore, "put", put), crash="decoded:20")
    assert subject.counted["eastwest_checkpoint_failures_total"] >= 1
    assert not subject.run()
    outcome = subject.outcome()
    problems = broken(golden, outcome) + subject.broken
    results(fault="F8 disk full, checkpoints", kills=1, mismatches=len(problems), duplicates=0)
    assert problems == []


def _flip(place):
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(place * (len(content) - 1))] ^= 0x20
        path.write_bytes(content)

    return damage


DAMAGE = {
    "first byte": _flip(0.0),
    "middle": _flip(0.5),
    "last byte": _flip(1.0),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "another's": lambda path: path.write_bytes(min(path.parent.glob("*" + path.suffix)).read_bytes()),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize(
    ("what", "ways"),
    [
        pytest.param("manifest", DAMAGE, marks=pytest.mark.faults),
        pytest.param("state", DAMAGE, marks=pytest.mark.faults),
        ("state", ("middle", "gone")),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(what, ways, golden, trial, results):
    """F9: the one before is used, loudly; after each restart the newest is damaged in another way."""
    subject = trial()
    assert subject.run(crash="committed:3")
    for how in ways:
        damage = DAMAGE[how]
        newest = max((subject.here / "state" / "service").glob("*." + what))
        damage(newest)
        subject.promised, before = 0, subject.counted.get("eastwest_checkpoint_corrupt_total", 0)
        assert subject.run(crash="committed:1"), how
        loud = subject.counted["eastwest_checkpoint_corrupt_total"] - before
        assert loud >= ((what, how) != ("manifest", "gone")), how  # those before may still lie there
    assert not subject.run()
    problems = broken(golden, subject.outcome())
    results(fault=f"F9 damaged checkpoint, {what}", kills=subject.kills, mismatches=len(problems), duplicates=0)
    assert problems == []


def test_when_all_checkpoints_are_damaged_it_says_so_and_ends(trial):
    subject = trial()
    assert subject.run(crash="committed:2")
    for path in (subject.here / "state" / "service").glob("*.manifest"):
        _flip(0.7)(path)
    subject.promised = 0
    with pytest.raises(NoValidCheckpoint, match="allow a cold start"):
        subject.run()
