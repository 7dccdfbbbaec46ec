"""An outbox to deliver from, sinks that do as told, and the real Kafka of the tests of `detector.sinks.kafka`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from detector.alerts.model import Alert, Told, told_json
from detector.sinks.messages import Message
from detector.sinks.outbox import Outbox
from tests.kafka.fixtures import kafka, kafka_bootstrap, kafka_cluster

__all__ = ["kafka", "kafka_bootstrap", "kafka_cluster"]


def payload(number: int) -> bytes:
    return b'{"alert_id":"id-%d","revision":0}' % number


def message(number: int, name: str | None = None, revision: int = 0, content: bytes | None = None) -> Message:
    """An alert as sinks get it: told about ``name``, with a small payload in place of a rendered one."""
    name = name or f"id-{number}"
    told = Told("alert", name, revision, None)
    if content is None:
        content = b'{"alert_id":"%s","revision":%d}' % (name.encode(), revision)
    return Message(number, "alert", content, told)


def told_alert(number: int, **fields: object) -> Told:
    """An alert with all that it must have."""
    alert = Alert(
        **{
            "alert_id": f"id-{number}", "ts": "2026-03-02T07:00:00.000000Z", "src": "10.1.2.3", "dst": "10.9.0.7",
            "service": "smb", "operation": None, "kind": "connection", "score": 6.5, "p_value": 3e-7,
            "severity": "high", "techniques": ("T1021.002",), "reasons": ("a new edge",), "incident_id": None,
            "evidence": ("conn.log:1",), "src_zone": "office", "dst_zone": "cell", "user": None,
        }
        | fields
    )  # fmt: skip
    return Told("alert", alert.alert_id, 0, alert)


def alert_line(number: int, **fields: object) -> bytes:
    """The same as the outbox has it."""
    return told_json(told_alert(number, **fields))


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with Outbox(tmp_path / "outbox") as box:
        yield box


@pytest.fixture
def fill(outbox: Outbox) -> Callable[[int], None]:
    """Call it to have so many more alerts in the outbox, durable."""

    def more(count: int) -> None:
        for _ in range(count):
            outbox.append("alert", payload(outbox.next))
        outbox.sync()

    return more
