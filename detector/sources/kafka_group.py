"""A share of the raw partitions: which of them are ours the group's coordinator says, what is in them we read.

Two consumers do that. One is a member of the group and fetches nothing; the other is assigned by hand and is in no
group, so that a rebalance touches nothing that is being fetched (kafka-python had partitions that gave nothing more
after one), and gaps, damage and stalls are handled as in one process.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.structs import MemberState

from detector.errors import UnreadableInput
from detector.sources.kafka import ANSWER_SECONDS, METADATA_MS, KafkaSettings
from detector.sources.kafka_merge import Apart, Merge, Partition
from detector.sources.kafka_rows import StagedSource

SESSION_MS: Final = 10_000
"""After so long without a heartbeat a member is gone. Shorter than a scorer waits for word of a partition, so that an
end of a normalizer costs time and not the order."""

_HEARTBEAT_MS: Final = 1_000  # also how soon a member hears that partitions move
_LITTLE: Final = 1024  # bytes that the member may fetch before it learns that it is to fetch nothing


class NotYet(Exception):
    """Kafka does not tell now; to be asked again."""


class Committed(NamedTuple):
    """Where the last owner of a partition stood, and what it noted."""

    offset: int
    note: str


class Member:
    """One of the processes that share the partitions of topics.

    Args:
        settings: what is read; its ``group_id`` is the group.
        instance: name of this process, if it has one that outlives it (KIP-345): started anew within `SESSION_MS` it
            has its partitions as before, and nothing is moved.

    Raises:
        UnreadableInput: Kafka does not answer.
    """

    def __init__(self, settings: KafkaSettings, connection: Mapping[str, Any], instance: str | None) -> None:
        self._lost: set[Partition] = set()
        try:
            self._consumer = KafkaConsumer(
                **connection, group_id=settings.group_id, group_instance_id=instance, enable_auto_commit=False,
                auto_offset_reset="earliest", isolation_level="read_committed", metrics_enabled=False,
                partition_assignment_strategy=[CooperativeStickyAssignor], session_timeout_ms=SESSION_MS,
                heartbeat_interval_ms=_HEARTBEAT_MS, metadata_max_age_ms=METADATA_MS, allow_auto_create_topics=False,
                max_partition_fetch_bytes=_LITTLE, fetch_max_bytes=_LITTLE,
                request_timeout_ms=int(1000 * ANSWER_SECONDS),
            )  # fmt: skip
        except kafka_errors.KafkaError as problem:
            raise UnreadableInput(f"Kafka: {problem}") from None
        listener = _Listener(self._consumer, self._lost)
        if settings.topics:
            self._consumer.subscribe(list(settings.topics), listener=listener)
        else:
            self._consumer.subscribe(pattern=f"(?:{settings.pattern})$", listener=listener)

    def share(self, seconds: float) -> tuple[set[Partition], set[Partition]]:
        """Our partitions, and those that were taken from us since the last call, which may be ours again.

        Raises:
            UnreadableInput: another process has our instance's name, or Kafka does not want us.
        """
        try:
            self._consumer.poll(timeout_ms=round(1000 * seconds))
        except kafka_errors.FencedInstanceIdError:
            raise UnreadableInput("another process of the group has the same kafka.group_instance_id") from None
        except kafka_errors.RetriableError:
            pass
        except kafka_errors.KafkaError as problem:
            raise UnreadableInput(f"Kafka: {problem}") from None
        if not self.stable:
            # kafka-python 3.0.12 begins to join for new metadata, gives the wait up after our seconds, and then no
            # longer sees why it should: the group's answer is never taken, and nothing is ours for ever.
            self._consumer._coordinator.request_rejoin()
        lost = set(self._lost)
        self._lost.clear()
        return {Partition(at.topic, at.partition) for at in self._consumer.assignment()}, lost

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, Committed | None]:
        """Where to go on in partitions; None where nobody was before. Waits for transactions that are under way.

        Raises:
            NotYet: not all of it is known in time.
        """
        found = {}
        for at in partitions:
            try:
                known = self._consumer.committed(TopicPartition(*at), metadata=True, timeout_ms=1000 * ANSWER_SECONDS)
            except kafka_errors.KafkaError as problem:
                raise NotYet(str(problem)) from None
            found[at] = None if known is None or known.offset < 0 else Committed(known.offset, known.metadata or "")
        return found

    @property
    def stable(self) -> bool:
        """Whether the group has settled who has what, as far as we know."""
        return self.metadata().state is MemberState.STABLE

    def metadata(self) -> Any:
        """Who we are to the group, for a transaction that commits offsets."""
        return self._consumer.group_metadata()

    def close(self) -> None:
        """Leave; a process with a name of its own stays a member until its session ends."""
        self._consumer.close(autocommit=False, timeout_ms=5000)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Called while `Member.share` polls, by another thread. Waits for nothing."""

    def __init__(self, consumer: Any, lost: set[Partition]) -> None:
        self._consumer, self._lost = consumer, lost

    def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        self._consumer.pause(*assigned)

    def on_partitions_revoked(self, revoked: Collection[Any]) -> None:
        self._lost |= {Partition(at.topic, at.partition) for at in revoked}

    def on_partitions_lost(self, lost: Collection[Any]) -> None:
        self.on_partitions_revoked(lost)


class ShareSource(StagedSource):
    """The records of the raw partitions that it is told to read, each in its order; in none among each other."""

    def hold(self, positions: Mapping[Partition, int]) -> None:
        """Read further partitions, each from an offset."""
        self._open(positions, {})

    def release(self, partitions: Collection[Partition]) -> None:
        """Read these no more."""
        for partition in partitions:
            self._merge.close(partition)
            del self._readings[partition]
            self._full.discard(partition)
        self._assign([])

    def start(self, partition: Partition, where: str = "") -> int:
        """Where a partition begins that nobody has read; ``where`` is earliest, or what the settings say.

        Raises:
            NotYet: Kafka does not tell.
        """
        try:
            return self._start_of([partition], where or self._settings.start)[partition]
        except kafka_errors.KafkaError as problem:
            raise NotYet(str(problem)) from None

    def idle(self) -> dict[Partition, float]:
        """When partitions were asked that had nothing more, monotonic seconds; all they had is handed over."""
        return self._apart.idle()

    def _merged(self) -> Merge:
        self._apart = Apart()
        return self._apart

    def _open_new(self, there: set[Partition]) -> None:
        """That is for the group to do."""
