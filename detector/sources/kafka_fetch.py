"""kafka-python's consumer, with the record batches of a partition as they come instead of an object a record.

kafka-python makes one `Fetcher.PartitionRecords` of each partition's part of a fetch response, and takes records from
it. `_Part` stands in its place and gives one `Fetched` instead. Connections, metadata, leaders, errors and positions
stay kafka-python's. What is relied on that it does not promise is all here, and a test compares it with what it was.
"""

from collections.abc import Collection
from struct import Struct
from typing import Any, Final, NamedTuple

from kafka import KafkaConsumer
from kafka import errors as kafka_errors
from kafka.consumer.fetcher import Fetcher
from kafka.protocol.consumer import IsolationLevel
from kafka.record import MemoryRecords

from detector.errors import UnreadableBatch
from detector.sources.record_batches import Records, read_records

_HEAD: Final = Struct(">q15xi")  # first offset and how much larger the last is, of a batch of magic 2

ENOUGH: Final = 1 << 30
"""More parts than a poll can give: kafka-python counts them as records."""


class Fetched(NamedTuple):
    """What one request got of one partition.

    ``records`` is what was read, or ``problem`` why nothing was; then ``beyond`` is where to go on if that batch is
    given up, as far as its header can be believed. ``end`` is where the log ended: what is behind it is
    not there yet, or belongs to transactions that are still open. ``asked`` is when the request was sent, in
    `time.monotonic` seconds.
    """

    offset: int
    records: Records | None
    problem: UnreadableBatch | None
    beyond: int
    end: int
    asked: float


class _Part(Fetcher.PartitionRecords):  # type: ignore[misc]
    """One partition's part of a response; it gives its records at once."""

    def __init__(self, fetch_offset: int, tp: Any, records: MemoryRecords, **how: Any) -> None:
        super().__init__(fetch_offset, tp, records, **how)
        self.fetch_offset: int = fetch_offset
        self.response = records._buffer
        self.transactions = how["aborted_transactions"]
        self.end: int = -1
        self.asked = 0.0

    def take(self, n: int | None = None) -> list[Fetched]:
        """The one thing that is in it. The position moves behind it, or stays before a batch that cannot be read."""
        self.drain()
        try:
            records = read_records(self.response, self.fetch_offset, self.transactions)
        except UnreadableBatch as problem:
            return [Fetched(self.fetch_offset, None, problem, self._beyond(problem), self.end, self.asked)]
        self.next_fetch_offset = records.next_offset
        if records.leader_epoch >= 0:
            self.leader_epoch = records.leader_epoch
        return [Fetched(self.fetch_offset, records, None, records.next_offset, self.end, self.asked)]

    def _beyond(self, problem: UnreadableBatch) -> int:
        """Behind the batch if its header may be right, else behind the offset alone: then the next fetch tells more."""
        guess = problem.next_offset
        if guess is None and len(self.response) >= _HEAD.size:
            base, delta = _HEAD.unpack_from(self.response)
            guess = base + delta + 1
        if guess is None or not self.fetch_offset < guess <= self.end:
            return self.fetch_offset + 1
        return int(guess)


class _RawFetcher(Fetcher):  # type: ignore[misc]
    PartitionRecords = _Part

    def __init__(self, *args: Any, **configs: Any) -> None:
        super().__init__(*args, **configs)
        self._sent: dict[Any, float] = {}

    def _handle_fetch_response(self, node_id: Any, fetch_offsets: Any, send_time: float, response: Any) -> None:
        for tp in fetch_offsets:
            self._sent[tp] = send_time
        super()._handle_fetch_response(node_id, fetch_offsets, send_time, response)

    def _parse_fetched_data(self, completed_fetch: Any) -> _Part | None:
        tp, data = completed_fetch.topic_partition, completed_fetch.partition_data
        try:
            part: _Part | None = super()._parse_fetched_data(completed_fetch)
        except kafka_errors.KafkaError as problem:
            if type(problem) is not kafka_errors.KafkaError:
                raise
            # Not one whole batch: its length is damaged, so it is read here, where that has a name.
            part = self._part(completed_fetch)
        if part is not None:
            committed = self._isolation_level == IsolationLevel.READ_COMMITTED
            part.end = data.last_stable_offset if committed else data.high_watermark
            part.asked = self._sent[tp]
            # kafka-python forgets the epoch where nothing came, and with it to notice a truncated log.
            part.leader_epoch = self._subscriptions.assignment[tp].position.leader_epoch
        return part

    def _part(self, completed_fetch: Any) -> _Part:
        data = completed_fetch.partition_data
        part = _Part(
            completed_fetch.fetched_offset, completed_fetch.topic_partition, MemoryRecords(b""),
            aborted_transactions=data.aborted_transactions,
        )  # fmt: skip
        part.response = data.records
        return part


class RawConsumer(KafkaConsumer):  # type: ignore[misc]
    """A consumer whose `poll` gives {partition: [`Fetched`]}, also of partitions that had nothing."""

    def __init__(self, **configs: Any) -> None:
        # In a fetch session brokers leave out partitions where nothing changed: then nothing tells that they ended.
        configs |= {"enable_incremental_fetch_sessions": False, "metrics_enabled": False}
        configs |= {"max_poll_records": ENOUGH, "enable_auto_commit": False}
        super().__init__(**configs)
        self._fetcher = _RawFetcher(self._client, self._subscription, **self.config)

    def learn(self, topics: Collection[str] | None, seconds: float) -> None:
        """Get the metadata of these topics, or of all, now; from then on it is refreshed in the background.

        Raises:
            kafka.errors.KafkaError: it did not come within ``seconds``, or the only topic is not there.
        """
        self._cluster.need_all_topic_metadata = topics is None
        self._cluster.set_topics(topics or ())
        self._net.run(self._manager.wait_for, self._cluster.request_update(), 1000 * seconds)

    def known(self) -> dict[str, set[int]]:
        """{topic: its partitions} as far as the metadata tells, without Kafka's own topics."""
        return {topic: self._cluster.partitions_for_topic(topic) or set() for topic in self._cluster.topics()}

    def topic_id(self, topic: str) -> str:
        """Its UUID: a topic that is deleted and made anew has another; empty before Kafka 2.8."""
        return str(self._cluster.topic_id(topic) or "")

    def cluster_id(self) -> str:
        """Empty before Kafka 0.10.1."""
        return self._cluster.cluster_id or ""
