"""F11, F20: a sink that is away for long, and more alerts than anybody reads."""

import threading
import time
from unittest.mock import patch

import orjson
import pytest
from kafka import KafkaConsumer

from detector.service import deliveries
from detector.sinks import delivery
from detector.sinks.delivery import Delivery, Retry
from detector.sinks.file import FileSink
from detector.sinks.outbox import Outbox
from tests.faults.fed import Expected, on
from tests.faults.harness import broken

STORM = 100_000  # alerts a minute
STORM_SECONDS = 60.0
URGENT_SECONDS = 5.0


class Away:
    """A sink that takes nothing for its first calls."""

    def __init__(self, sink, calls):
        self.sink, self.calls, self.tries = sink, calls, 0

    def send(self, records):
        self.tries += 1
        if self.tries <= self.calls:
            raise Retry("503 for an hour")
        self.sink.send(records)

    def close(self):
        self.sink.close()


@pytest.mark.parametrize("calls", [3, pytest.param(40, marks=pytest.mark.faults)])
def test_a_sink_that_is_away_gets_all_in_order(calls, golden, trial, results):
    """F11: pauses are shortened. What it missed waits in the outbox; who reads on is not held up."""
    real = deliveries.sink_of
    with (
        patch.object(deliveries, "sink_of", lambda *about: Away(real(*about), calls)),
        patch.object(delivery, "FIRST_SECONDS", 0.001),
        patch.object(delivery, "MOST_SECONDS", 0.005),
    ):
        subject = trial()
        assert not subject.run()
    assert subject.counted["eastwest_sink_retries_total"] >= calls
    problems = broken(golden, subject.outcome())
    results(fault="F11 a sink is away, then back", kills=0, mismatches=len(problems), duplicates=0)
    assert problems == []


@pytest.mark.kafka
@pytest.mark.faults
def test_a_topic_of_alerts_that_is_made_later_has_all_in_order(rows, world, kafka, tmp_path, results):
    """F11: the Kafka sink cannot send for a while; a full outbox pauses reading, and Kafka keeps the rest."""
    topic = f"{kafka.prefix}-told"
    sinks = {"sinks": [{"type": "file", "path": str(tmp_path / "service" / "alerts.ndjson")},
                       {"type": "kafka", "topic": topic}]}  # fmt: skip
    with on(kafka, rows, world, tmp_path, alerts=sinks) as service:
        expected = Expected(service.rows, world, tmp_path)
        service.start()
        service.wait(lambda: service.metrics().get("eastwest_sink_retries_total", 0) > 0)
        service.wait(lambda: service.metrics()["eastwest_lag_rows"] == 0)
        assert service.metrics()["eastwest_sink_waiting"] > 50
        with kafka.admin() as admin:
            admin.create_topics({topic: {"num_partitions": 1}}, wait_for_metadata=True)
        heal = service.finish()
        expected.check(service, results, "F11 the topic of alerts is missing, then made", heal=heal)
        consumer = KafkaConsumer(
            topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=3000
        )
        assert [record.value for record in consumer] == expected.outcome.lines
        consumer.close()


@pytest.mark.faults
def test_a_storm_of_alerts_is_stored_and_told_in_time(tmp_path, results):
    """F20: as many in a minute as a person reads in a year; none is lost, and none is late by more than seconds. How
    many become alerts at all is for the budget (tests/test_judge.py)."""
    payload = {"alert_id": "0" * 26, "severity": "critical", "why": "x" * 900}
    done = threading.Event()
    with Outbox(tmp_path / "outbox") as outbox:
        sink = Delivery("file", FileSink(tmp_path / "alerts.ndjson"), outbox, lambda *_: None)
        sink.start()
        begin, slowest = time.monotonic(), 0.0
        for number in range(STORM):
            outbox.append("alert", orjson.dumps(payload | {"n": number}))
            if number % 200 == 199:
                outbox.sync()
                sink.wake()
                slowest = max(slowest, sink.progress.waiting)
        while sink.progress.waiting and not done.wait(0.01):
            assert time.monotonic() - begin < STORM_SECONDS
        seconds = time.monotonic() - begin
        sink.stop(URGENT_SECONDS)
    lines = (tmp_path / "alerts.ndjson").read_bytes().splitlines()
    assert [orjson.loads(line)["n"] for line in lines] == list(range(STORM))
    waited = slowest / (STORM / seconds)
    results(fault="F20 100,000 alerts in a minute", kills=0, mismatches=0, duplicates=0, heal=round(waited, 1))
    assert seconds < STORM_SECONDS
    assert waited < URGENT_SECONDS
