"""Records as records of a topic."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from detector.sinks.delivery import Refused, Retry
from detector.sinks.messages import Message
from detector.sinks.segments import BODY_LIMIT

_OVERHEAD: Final = 64 << 10  # key, headers and framing of a record
_ANSWER_SECONDS: Final = 10.0  # that a call waits for the brokers
_CLOSE_SECONDS: Final = 5.0
_RECONNECT_MS: Final = 2000  # longest pause before a broker is called again; kafka-python's 30 s are long for an alert
_KEPT_MS: Final = 24 * 3600 * 1000
"""How long the producer itself tries. While it does, it tells brokers which of its batches are the same; sent by a new
producer they would be new. So it is asked again, not replaced, when brokers are away for a night."""


class _Handed(NamedTuple):
    """What the producer was given: the key, and what will tell what became of it."""

    key: bytes | None
    future: Any


class KafkaSink:
    """A topic, which must be there. The key is the id of the alert or incident: a compacted topic keeps the last
    revision of each. Headers tell the kind, the type of the content, and the schema it follows.

    Records go through an idempotent producer and count when all replicas in sync have them. They come once and in
    order within a partition, unless this process ends or the producer fails for good, as it does when a record is too
    large: then what was under way may come again, and none behind a later one of the same key for the last time.

    Args:
        topic: its name.
        connection: options of kafka-python that every client takes: brokers, name, encryption, authentication.
        seconds: longest wait for an answer.
    """

    def __init__(self, topic: str, connection: Mapping[str, Any], seconds: float = _ANSWER_SECONDS) -> None:
        self._topic, self._connection, self._seconds = topic, dict(connection), seconds
        self._producer: Any = None
        self._handed: dict[int, _Handed] = {}  # by number

    def send(self, records: Sequence[Message]) -> None:
        """See `Sink`."""
        deadline = time.monotonic() + self._seconds
        first = records[0].sequence
        self._handed = {number: handed for number, handed in self._handed.items() if number >= first}
        taken = self._take(records, 0, len(records), deadline)
        while taken < len(records):  # kafka-python fails all that it has for one that is too large
            if self._take(records, taken, taken + 1, deadline) == taken:
                raise Refused(taken, f"Kafka: larger than topic {self._topic} takes")
            taken += 1

    def close(self) -> None:
        """See `Sink`. What the brokers have not acknowledged by now is given up."""
        self._handed.clear()
        self._give_up()

    def _take(self, records: Sequence[Message], taken: int, end: int, deadline: float) -> int:
        """Send some; the index of the first that the producer says is too large, or the end."""
        from kafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError  # noqa: PLC0415

        try:
            self._hand_over(records[taken:end])
            while taken < end:
                self._await(self._handed[records[taken].sequence].future, deadline)
                taken += 1
        except (MessageSizeTooLargeError, RecordListTooLargeError):
            self._give_up()
        except TimeoutError as problem:
            raise Retry(str(problem), taken=taken) from problem
        except KafkaError as problem:
            self._give_up()
            raise Retry(f"Kafka: {problem}", taken=taken) from problem
        except BaseException:
            self._give_up()
            raise
        return taken

    def _hand_over(self, records: Sequence[Message]) -> None:
        """Give the producer what it does not have yet."""
        if self._producer is None:
            self._producer = _producer(self._connection, self._seconds)
        for record in records:
            if record.sequence not in self._handed:
                key = key_of(record)
                future = self._producer.send(self._topic, record.payload, key, _headers(record))
                self._handed[record.sequence] = _Handed(key, future)

    def _await(self, future: Any, deadline: float) -> None:
        try:
            future.get(timeout=max(deadline - time.monotonic(), 0))
        except Exception:
            if not future.is_done:
                raise TimeoutError(f"Kafka: topic {self._topic} gave no answer for {self._seconds:g} s") from None
            raise

    def _give_up(self) -> None:
        """End the producer, and keep in mind what arrived: it is not sent again, unless something older of the same
        key has to be."""
        producer, self._producer = self._producer, None
        if producer is not None:
            _end(producer)
        arrived: dict[int, _Handed] = {}
        missing: set[bytes] = set()
        for number, handed in sorted(self._handed.items()):
            if handed.future.succeeded() and handed.key not in missing:
                arrived[number] = handed
            elif handed.key is not None:
                missing.add(handed.key)
        self._handed = arrived


def _end(producer: Any) -> None:
    """`KafkaProducer.close` alone raises when something is not acknowledged, and its thread goes on sending."""
    from kafka.errors import KafkaError  # noqa: PLC0415

    producer._sender.force_close()
    with suppress(KafkaError):  # its thread is busy, and ends later
        producer.close(timeout=_CLOSE_SECONDS)


def key_of(record: Message) -> bytes | None:
    """The id of an alert or incident; None for what has none, which goes to any partition."""
    return None if record.told is None else record.told.id.encode()


def _headers(record: Message) -> list[tuple[str, bytes]]:
    told = {"content-type": record.content.type, "schema-version": record.content.schema, "kind": record.kind}
    return [(name, value.encode()) for name, value in told.items()]


def _producer(connection: Mapping[str, Any], seconds: float) -> Any:
    from kafka import KafkaProducer  # noqa: PLC0415

    clients: list[Any] = []

    def client(**options: Any) -> Any:
        clients.append(KafkaProducer.DEFAULT_CONFIG["kafka_client"](**options))
        return clients[-1]

    try:
        return KafkaProducer(
            **connection,
            acks="all",
            enable_idempotence=True,
            delivery_timeout_ms=_KEPT_MS,
            request_timeout_ms=round(seconds * 1000),
            bootstrap_timeout_ms=round(seconds * 1000),
            max_block_ms=round(seconds * 1000),
            reconnect_backoff_max_ms=_RECONNECT_MS,
            max_request_size=BODY_LIMIT + _OVERHEAD,  # what is too large is for the topic to say
            allow_auto_create_topics=False,
            metrics_enabled=False,
            kafka_client=client,
        )
    except BaseException:  # a producer that does not come to be leaves its sockets open
        for each in clients:
            each.close()
        raise
