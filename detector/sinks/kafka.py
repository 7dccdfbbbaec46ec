"""Records as records of a topic."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import orjson

from detector.sinks.delivery import Refused, Retry
from detector.sinks.segments import BODY_LIMIT, Record

_KEYS: Final = {"alert": "alert_id", "incident": "incident_id"}
_CONTENT: Final = ("content-type", b"application/json")
_OVERHEAD: Final = 64 << 10  # key, headers and framing of a record
_ANSWER_SECONDS: Final = 10.0  # that a call waits for the brokers
_CLOSE_SECONDS: Final = 5.0
_KEPT_MS: Final = 24 * 3600 * 1000
"""How long the producer itself tries. While it does, it tells brokers which of its batches are the same; sent by a new
producer they would be new. So it is asked again, not replaced, when brokers are away for a night."""


class KafkaSink:
    """A topic, which must be there. The key is the id of the alert or incident: a compacted topic keeps the last
    revision of each. Headers tell the kind and the type of the content.

    Records go through an idempotent producer and count when all replicas in sync have them. They come once and in
    order within a partition, unless this process ends or the producer fails for good: then the last ones come again.

    Args:
        topic: its name.
        connection: options of kafka-python that every client takes: brokers, name, encryption, authentication.
        seconds: longest wait for an answer.
    """

    def __init__(self, topic: str, connection: Mapping[str, Any], seconds: float = _ANSWER_SECONDS) -> None:
        self._topic, self._connection, self._seconds = topic, dict(connection), seconds
        self._producer: Any = None
        self._handed: dict[int, Any] = {}  # by number: what the producer has, until it is known what became of it

    def send(self, records: Sequence[Record]) -> None:
        """See `Sink`."""
        from kafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError  # noqa: PLC0415

        deadline = time.monotonic() + self._seconds
        self._forget_before(records[0].sequence)
        taken = 0
        try:
            self._hand_over(records)
            for record in records:
                self._await(record.sequence, deadline)
                taken += 1
        except (MessageSizeTooLargeError, RecordListTooLargeError) as problem:
            raise Refused(taken, f"Kafka: {problem}") from problem
        except TimeoutError as problem:
            raise Retry(str(problem), taken=taken) from problem
        except KafkaError as problem:
            self.close()
            raise Retry(f"Kafka: {problem}", taken=taken) from problem
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """See `Sink`. What the brokers have not acknowledged by now is given up."""
        producer, self._producer = self._producer, None
        self._handed.clear()
        if producer is not None:
            _end(producer)

    def _hand_over(self, records: Sequence[Record]) -> None:
        """Give the producer what it does not have yet."""
        from kafka.errors import MessageSizeTooLargeError  # noqa: PLC0415

        if self._producer is None:
            self._producer = _producer(self._connection, self._seconds)
        for record in records:
            if record.sequence not in self._handed:
                headers = [_CONTENT, ("kind", record.kind.encode())]
                try:
                    handed = self._producer.send(self._topic, record.payload, key_of(record), headers)
                except MessageSizeTooLargeError as problem:  # told when it is its turn
                    handed = problem
                self._handed[record.sequence] = handed

    def _await(self, sequence: int, deadline: float) -> None:
        handed = self._handed[sequence]
        if isinstance(handed, Exception):
            raise handed
        try:
            handed.get(timeout=max(deadline - time.monotonic(), 0))
        except Exception:
            if not handed.is_done:
                raise TimeoutError(f"Kafka: topic {self._topic} gave no answer for {self._seconds:g} s") from None
            raise

    def _forget_before(self, sequence: int) -> None:
        self._handed = {number: handed for number, handed in self._handed.items() if number >= sequence}


def key_of(record: Record) -> bytes | None:
    """The id of an alert or incident; None for what has none, which goes to any partition."""
    name = _KEYS.get(record.kind)
    return None if name is None else str(orjson.loads(record.payload)[name]).encode()


def _producer(connection: Mapping[str, Any], seconds: float) -> Any:
    from kafka import KafkaProducer  # noqa: PLC0415

    return KafkaProducer(
        **connection,
        acks="all",
        enable_idempotence=True,
        delivery_timeout_ms=_KEPT_MS,
        request_timeout_ms=round(seconds * 1000),
        bootstrap_timeout_ms=round(seconds * 1000),
        max_block_ms=round(seconds * 1000),
        max_request_size=BODY_LIMIT + _OVERHEAD,  # what is too large is for the topic to say
        allow_auto_create_topics=False,
        metrics_enabled=False,
    )


def _end(producer: Any) -> None:
    """`KafkaProducer.close` raises, and leaves its thread to send for ever, when something is not acknowledged."""
    from kafka.errors import KafkaError  # noqa: PLC0415

    with suppress(KafkaError):
        producer.close(timeout=_CLOSE_SECONDS)
        return
    producer._sender.force_close()
