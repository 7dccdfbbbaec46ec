"""The turns of the service: what happens while reading is counted and told, and a full outbox holds reading."""

import logging
from unittest.mock import patch

import pytest

from detector.errors import StorageFailed
from detector.service import loop
from detector.service.health import Health
from detector.service.portions import PORTION, portions
from detector.sinks.outbox import Outbox
from detector.sources.kafka_events import Gap, OutOfOrder, Stalled, Truncated, Unreadable
from detector.sources.kafka_merge import Partition
from tests.faults.harness import Rows, Trial, newest
from tests.faults.stream import Row, in_partitions, trailing

TIME = 1_772_409_600_000  # ms
AT = Partition("conn", 0)


@pytest.fixture
def trial(tmp_path):
    """A service on some dozen rows."""
    plant = tmp_path / "plant.yaml"
    plant.write_text("{}")
    rows = in_partitions((TIME + 1000 * number, "conn", trailing(TIME + 1000 * number)) for number in range(50))
    return Trial(tmp_path / "trial", rows, plant)


def test_arrivals_are_handled_in_portions():
    class Some:
        def __init__(self, size):
            self.records = range(size)

    sizes = [PORTION - 1, 1, PORTION, 7]
    made = portions([Some(size) for size in sizes])
    assert [[len(some.records) for some in portion] for portion in made] == [sizes[:2], sizes[2:3], sizes[3:]]
    assert list(portions([])) == []


def test_what_happens_while_reading_is_loud(trial):
    news = [
        Gap(AT, 5, 25, 20),
        Truncated(AT, 30, 28),
        Unreadable(AT, 100, 120, "checksum"),
        Stalled(AT, "asked again"),
        OutOfOrder(AT, 9),
    ]
    with patch.object(Rows, "events", lambda _: [news.pop() for _ in range(len(news))]):
        assert not trial.run()
    counted = trial.counted
    assert counted["eastwest_gaps_total"] == 2
    assert counted["eastwest_gap_rows_total"] == 20
    assert counted["eastwest_unreadable_batches_total"] == 1
    assert counted["eastwest_stalls_total"] == 1
    assert counted["eastwest_out_of_order_rows_total"] == 9
    assert newest(trial.here / "state").counters["rejected"] == 0  # until a record behind it tells its place


def test_a_full_outbox_pauses_reading_until_there_is_room(trial):
    fills, calls = iter([0.0] * 2 + [1.0] * 4 + [0.95] * 2 + [0.5] * 1000), []
    with (
        patch.object(Outbox, "fill", property(lambda _: next(fills))),
        patch.object(Rows, "pause", lambda _: calls.append("pause")),
        patch.object(Rows, "resume", lambda _: calls.append("resume")),
        patch.object(Rows, "poll", _one_by_one(Rows.poll)),
    ):
        assert not trial.run()
    assert calls == ["pause", "resume"]


def test_raw_partitions_that_nobody_normalizes_are_loud(trial, caplog):
    """For longer than a stall they make the service not ready; it is again when somebody does."""
    caplog.set_level(logging.INFO)
    seconds, seen, healths = iter([0.0, 29.0, 31.0, 75.0, 2.0]), [], []

    def silent(_):
        shown = trial.metrics.registry.get_sample_value("eastwest_normalizers_silent_seconds")
        seen.append((shown, healths[0].ready()[1]["missing"]))
        return {AT: next(seconds, 0.0), Partition("conn", 1): 0.0}

    def watched(*about):
        healths.append(Health(*about))
        return healths[0]

    with (
        patch.object(loop, "Health", watched),
        patch.object(loop, "_SHOW_SECONDS", 0.0),
        patch.object(Rows, "silent", silent),
        patch.object(Rows, "poll", _one_by_one(Rows.poll)),
    ):
        assert not trial.run()
    missing = {"assigned": "nobody normalizes 1 partitions, conn:0 for one"}
    assert seen[1:6] == [(0.0, {}), (29.0, {}), (31.0, missing), (75.0, missing), (2.0, {})]
    told = [record.getMessage() for record in caplog.records if "normalize" in record.getMessage()]
    assert told == ["nobody normalizes", "all is normalized again"]


def _one_by_one(real):
    """Portions of a row, so that there are turns enough."""

    def poll(self, seconds):
        self.chance = type("One", (), {"choice": staticmethod(lambda _: 1)})
        return real(self, seconds)

    return poll


def test_sinks_are_woken_for_dead_letters_and_after_a_full_disk(trial):
    """A rejected record, and nobody to alert; the first fsync finds no room."""
    real, calls, woken = Outbox.sync, iter([True]), []

    def sync(box):
        if box.durable < box.end and next(calls, False):
            raise StorageFailed("no room")
        real(box)

    trial.rows = [Row(TIME, AT, 0, b"{")]
    with (
        patch.object(Outbox, "sync", sync),
        patch.object(loop, "_RETRY_SECONDS", 0.01),
        patch.object(loop.Deliveries, "wake", lambda _: woken.append(1)),
    ):
        assert not trial.run()
    assert woken
