"""Records and committed offsets as one: either both are there or neither is (KIP-98, KIP-447).

Who reads with ``isolation.level=read_committed`` sees what one owner of a partition after the other told, without a
gap, a repetition or the last words of a process that is no owner any more: the group's coordinator takes offsets only
from who is a member now.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from detector.errors import StorageFailed

_TIMEOUT_MS: Final = 10_000
"""After so long brokers end a transaction whose process is gone; readers wait for it meanwhile."""

_ANSWER_MS: Final = 10_000
_DELIVERY_MS: Final = 20_000
_LARGEST: Final = 8 << 20  # bytes of a record before compression; behind it, what is too large is for the topic to say
_AROUND: Final = 1 << 10  # bytes that kafka-python counts on top of a record
_LINGER_MS: Final = 0
_CLOSE_SECONDS: Final = 5.0


class Row(NamedTuple):
    """A record: where it belongs, and what it is."""

    topic: str
    partition: int
    value: bytes


class TooLarge(StorageFailed):
    """Records that their topics do not take. Nothing of the turn came to be; without them it may be taken again.

    Args:
        places: which of the turn's; perhaps not all of them, and unless it was taken ``singly`` perhaps others, too:
            kafka-python ends what it has not sent yet with the same error.
    """

    def __init__(self, places: Sequence[int]) -> None:
        super().__init__(f"Kafka: {len(places)} records of a turn are larger than their topics take")
        self.places = places


class Turns:
    """A producer that does things by turns.

    Args:
        connection: options of kafka-python that every client takes.
        name: the transactional id; a second process of that name ends the turns of the first.
    """

    def __init__(self, connection: Mapping[str, Any], name: str) -> None:
        self._connection, self._name = dict(connection), name
        self._producer: Any = None

    def take(
        self,
        rows: Sequence[Row],
        offsets: Mapping[tuple[str, int], tuple[int, str]],
        member: Any,
        *,
        singly: bool = False,
    ) -> int:
        """One turn; returns a time of the brokers, ms since the epoch, at which it was not over yet; -1 without rows.

        Args:
            rows: in order, for each partition.
            offsets: next offset, and what to note with it, of each partition that was read.
            member: who we are to the group.
            singly: wait for each record's answer before the next is sent, so that it is known whose it is.

        Raises:
            TooLarge: of some records; of one when taken singly.
            StorageFailed: it did not come to be, or we are no member any more: what came since the last turn is to be
                read again.
        """
        from kafka import TopicPartition  # noqa: PLC0415 - no sink loads kafka-python unless it is used
        from kafka.errors import KafkaError  # noqa: PLC0415
        from kafka.structs import OffsetAndMetadata  # noqa: PLC0415

        if beyond := [place for place, row in enumerate(rows) if len(row.value) > _LARGEST]:
            raise TooLarge(beyond)
        sent: list[Any] = []
        try:
            producer = self._ready()
            producer.begin_transaction()
            for row in rows:
                sent.append(producer.send(row.topic, row.value, partition=row.partition))
                if singly:
                    sent[-1].get(_DELIVERY_MS / 1000)
            wish = {TopicPartition(*at): OffsetAndMetadata(offset, note, -1) for at, (offset, note) in offsets.items()}
            producer.send_offsets_to_transaction(wish, member)
            # Before the commit: kafka-python does not tell it of a record that it never sent.
            times = [future.get(_DELIVERY_MS / 1000).timestamp for future in sent]
            producer.commit_transaction()
            return min(times, default=-1)
        except KafkaError as problem:
            if refused := [place for place, future in enumerate(sent) if _is_too_large(future)]:
                self.close()  # kafka-python 3.0 would go on with a sequence number that brokers do not expect
                raise TooLarge(refused) from problem
            self._undo()
            raise StorageFailed(f"Kafka: {problem}") from problem

    def close(self) -> None:
        """End; what is under way is given up. May be called by another thread, to end a turn that hangs."""
        producer, self._producer = self._producer, None
        if producer is not None:
            _end(producer)

    def _ready(self) -> Any:
        if self._producer is None:
            from kafka import KafkaProducer  # noqa: PLC0415

            self._producer = KafkaProducer(
                **self._connection, transactional_id=self._name, transaction_timeout_ms=_TIMEOUT_MS, acks="all",
                compression_type="lz4", linger_ms=_LINGER_MS, delivery_timeout_ms=_DELIVERY_MS,
                request_timeout_ms=_ANSWER_MS, max_block_ms=_ANSWER_MS, max_request_size=_LARGEST + _AROUND,
                allow_auto_create_topics=False, metrics_enabled=False,
            )  # fmt: skip
            self._producer.init_transactions()
        return self._producer

    def _undo(self) -> None:
        """Take the turn back; where that does not work begin with a new producer, which does it."""
        from kafka.errors import KafkaError  # noqa: PLC0415

        try:
            if self._producer is not None:
                self._producer.abort_transaction()
        except KafkaError:
            self.close()


def _is_too_large(future: Any) -> bool:
    from kafka.errors import MessageSizeTooLargeError, RecordListTooLargeError  # noqa: PLC0415

    return isinstance(future.exception, (MessageSizeTooLargeError, RecordListTooLargeError))


def _end(producer: Any) -> None:
    """`KafkaProducer.close` alone waits for what is not acknowledged."""
    from kafka.errors import KafkaError  # noqa: PLC0415

    producer._sender.force_close()
    with suppress(KafkaError):  # its thread is busy, and ends later
        producer.close(timeout=_CLOSE_SECONDS)
