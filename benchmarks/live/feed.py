"""What the topics hold: flows of a stated shape as Zeek JSON, one line a record or many."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import polars as pl
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from race import lines
from race.batches import RECORDS

CODEC: Final = "lz4"
MANY: Final = RECORDS
"""Lines of a record, where a shipper puts several into one; so a record batch holds as many either way."""
BATCH_BYTES: Final = 32_768  # of a record batch before it is compressed: about `RECORDS` lines
_LINGER_MS: Final = 5  # as librdkafka waits


@dataclass(frozen=True, slots=True)
class Stretch:
    """Records of the one partition of a topic, from offset ``begin`` on."""

    topic: str
    begin: int
    records: int
    rows: int
    size: int  # bytes of all values


def make_topics(bootstrap: Sequence[str], *names: str) -> None:
    """Topics of one partition that carry the broker's time."""
    admin = KafkaAdminClient(bootstrap_servers=list(bootstrap))
    try:
        wish = {"num_partitions": 1, "configs": {"message.timestamp.type": "LogAppendTime"}}
        admin.create_topics(dict.fromkeys(names, wish), wait_for_metadata=True)
    finally:
        admin.close()


@contextmanager
def producer(bootstrap: Sequence[str]) -> Iterator[KafkaProducer]:
    """A producer that has sent everything when it is left."""
    client = KafkaProducer(
        bootstrap_servers=list(bootstrap), compression_type=CODEC, linger_ms=_LINGER_MS, batch_size=BATCH_BYTES,
    )  # fmt: skip
    try:
        yield client
        client.flush()
    finally:
        client.close()


def fill(bootstrap: Sequence[str], topic: str, pieces: Iterable[pl.DataFrame], many: int) -> Stretch:
    """Append flows to a topic, ``many`` lines a record; returns where they are.

    Raises:
        kafka.errors.KafkaError: a record was not taken.
    """
    begin, records, rows, size, last = None, 0, 0, 0, None
    with producer(bootstrap) as client:
        for piece in pieces:
            made = lines.zeek_json(piece)
            rows += len(made)
            for at in range(0, len(made), many):
                value = b"\n".join(made[at : at + many])
                last = client.send(topic, value, partition=0)
                begin = begin or last
                records, size = records + 1, size + len(value)
    assert begin is not None
    assert last is not None
    first = begin.get().offset
    assert last.get().offset == first + records - 1, "another producer writes to this topic"
    return Stretch(topic, first, records, rows, size)
