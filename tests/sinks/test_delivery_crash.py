"""Killed anywhere between the outbox and the other side: nothing is lost, and what comes twice is the same."""

import os
import signal
import time
from pathlib import Path
from unittest.mock import patch

import pytest

from detector.sinks.delivery import Delivery
from detector.sinks.file import FileSink
from detector.sinks.outbox import Outbox
from tests.sinks.conftest import payload
from tests.state.killed import die, dies_at, killed

COUNT, BATCH = 60, 10


@pytest.fixture
def stored(tmp_path) -> Path:
    with Outbox(tmp_path / "outbox") as box:
        for number in range(COUNT):
            box.append("alert", payload(number))
        box.sync()
    return tmp_path


def untold(name: str, reason: str) -> None:
    raise AssertionError(f"{name}: {reason}")


def deliver(folder: Path) -> None:
    with Outbox(folder / "outbox") as box:
        delivery = Delivery("siem", FileSink(folder / "alerts.ndjson"), box, untold, batch=BATCH)
        while delivery.step() is not None:
            pass


def half() -> object:
    """A batch is written by half, the last line by a part, then the process dies."""

    def write(descriptor, content):
        os.write(descriptor, content[: len(content) // 2 + 7])
        die()

    return patch("detector.sinks.lines.write_all", write)


def once(lines: list[bytes]) -> list[bytes]:
    return list(dict.fromkeys(lines))


@pytest.mark.parametrize("call", [1, 3])
@pytest.mark.parametrize(
    "place",
    [
        "detector.sinks.lines.write_all",
        "detector.sinks.lines.os.fsync",
        "detector.sinks.delivery.Delivery._took",
        "detector.sinks.delivery.Cursor.advance",
        "detector.sinks.cursors.write_whole",
    ],
)
def test_a_kill_loses_nothing_and_repeats_one_batch_at_most(stored, place, call):
    assert killed(lambda: deliver(stored), dies_at(place, call))
    deliver(stored)
    lines = (stored / "alerts.ndjson").read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert once(lines) == [payload(number) for number in range(COUNT)]
    assert len(lines) - COUNT in (0, BATCH)


def test_a_line_that_was_cut_by_the_kill_is_written_anew(stored):
    assert killed(lambda: deliver(stored), half())
    torn = (stored / "alerts.ndjson").read_bytes()
    assert not torn.endswith(b"\n")
    deliver(stored)
    lines = (stored / "alerts.ndjson").read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert once(lines) == [payload(number) for number in range(COUNT)]
    assert len(lines) - COUNT == torn.count(b"\n")


def test_kills_at_any_moment_of_the_thread(stored):
    alerts = stored / "alerts.ndjson"
    kills = 0
    for goal in range(5, 50, 9):  # lines that are there when the kill comes
        child = os.fork()
        if child == 0:
            try:
                with Outbox(stored / "outbox") as box:
                    delivery = Delivery("siem", FileSink(alerts), box, untold, batch=3)
                    delivery.start()
                    time.sleep(60)
            finally:
                os._exit(1)
        end = time.monotonic() + 20
        while not alerts.exists() or len(once(alerts.read_bytes().split(b"\n"))) <= goal:
            assert time.monotonic() < end
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        kills += os.WIFSIGNALED(status)
    deliver(stored)
    lines = alerts.read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert once(lines) == [payload(number) for number in range(COUNT)]
    assert len(lines) - COUNT <= 3 * kills
    assert kills == 5
