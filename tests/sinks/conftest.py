"""An outbox to deliver from, sinks that do as told, and the real Kafka of the tests of `detector.sinks.kafka`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from detector.sinks.outbox import Outbox
from tests.kafka.fixtures import kafka, kafka_bootstrap, kafka_cluster

__all__ = ["kafka", "kafka_bootstrap", "kafka_cluster"]


def payload(number: int) -> bytes:
    return b'{"alert_id":"id-%d","revision":0}' % number


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
