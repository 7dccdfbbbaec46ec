"""Topics of Kafka as one sequence of records.

All partitions of the topics are read by one consumer, assigned by hand. Where reading goes on is the caller's to keep
(`KafkaSource.positions`); offsets committed to Kafka serve those who watch the lag. An offset that is no longer there
is a gap, told with its size, never a silent jump. A consumer that stops giving records is asked again, then replaced,
then an error.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from kafka import KafkaAdminClient, TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.structs import OffsetAndMetadata

from detector.errors import DetectorError, UnreadableInput
from detector.sources.kafka_events import (
    Event,
    Failed,
    Gap,
    NewPartition,
    NotAppendTime,
    OutOfOrder,
    Stalled,
    Tombstones,
    Truncated,
    Unreadable,
)
from detector.sources.kafka_fetch import Fetched, RawConsumer
from detector.sources.kafka_merge import Arrival, Damaged, Merge, Partition
from detector.sources.record_batches import NO_TIMESTAMP, Records

FETCH_WAIT_MS: Final = 100
"""How long a broker waits for records before it says that there are none; at low load a record may wait so long for
another partition to say that."""

METADATA_MS: Final = 30_000
"""How old metadata may be: new partitions are found within that time (kafka-python: five minutes)."""

ANSWER_SECONDS: Final = 10.0
"""For a question other than for records: metadata, ends of logs."""

_STEP_SECONDS: Final = 0.25  # of waiting, between looks at everything else
_DISCOVER_SECONDS: Final = 1.0
_APPEND_TIME: Final = "LogAppendTime"
_TIMESTAMP_TYPE: Final = "message.timestamp.type"


class PartitionStalled(DetectorError):
    """A partition has records that do not come, whatever was tried: start the process anew."""


@dataclass(frozen=True, kw_only=True)
class KafkaSettings:
    """What to read, and how.

    Args:
        bootstrap_servers: host:port of some brokers.
        topics: their names; none if there is a ``pattern``, a regular expression for the whole name.
        group_id: under which offsets are committed.
        security: kafka-python's options ``security_protocol``, ``ssl_*`` and ``sasl_*``.
        fetch_bytes: of one response; ``partition_bytes`` of one partition in it. A larger batch comes whole.
        held_bytes: that may wait for other partitions, of one partition, roughly.
        isolation_level: read_committed leaves out what transactions took back.
        merge_wait: seconds that a partition without records holds the others back when it does not answer.
        stall_seconds: without a record although there are some, until something is done; also how long a partition
            that has records and does not answer holds the others back.
        start: where to begin without a position.
    """

    bootstrap_servers: tuple[str, ...]
    topics: tuple[str, ...] = ()
    pattern: str = ""
    client_id: str = "eastwest"
    group_id: str = "eastwest"
    security: Mapping[str, Any] = field(default_factory=dict, repr=False)
    fetch_bytes: int = 50 << 20
    partition_bytes: int = 4 << 20
    held_bytes: int = 64 << 20
    isolation_level: Literal["read_committed", "read_uncommitted"] = "read_committed"
    merge_wait: float = 1.0
    stall_seconds: float = 30.0
    start: Literal["earliest", "latest"] = "earliest"


class Lag(NamedTuple):
    """How far behind a partition is: records in offsets, and seconds since the last one handed over reached the broker
    (0 if there is no more; None if nothing was handed over yet)."""

    rows: int
    seconds: float | None


@dataclass(slots=True)
class _Reading:
    """How the fetching of a partition goes."""

    next: int  # offset to fetch
    moved: float  # when it last moved or had nothing more, monotonic seconds
    end: int = 0
    strikes: int = 0
    damaged: int = -1  # offset where a batch came damaged, perhaps only on its way


class KafkaSource:
    """The records of topics, in the order of `kafka_merge`.

    It is connected, and knows its topics, when it is made; `begin` says where to read.

    Raises:
        UnreadableInput: Kafka does not answer, or a topic is not there.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._events: list[Event] = []
        self._merge = self._merged()
        self._readings: dict[Partition, _Reading] = {}
        self._full: set[Partition] = set()
        self._paused = False
        self._admin: KafkaAdminClient | None = None
        self._left = time.monotonic()
        self._discovered = 0.0
        self._consumer = self._connected()
        try:
            topics = self._topics()
            self._require(topics)
            self._ids = {topic: self._consumer.topic_id(topic) for topic in topics}
        except (kafka_errors.KafkaError, DetectorError) as problem:
            self.close()
            raise UnreadableInput(str(problem)) from None

    # --- what the caller asks for ---

    def begin(
        self, positions: Mapping[Partition, int] | None = None, clocks: Mapping[Partition, int] | None = None
    ) -> None:
        """Say where to read; called once, before `poll`.

        Args:
            positions: next offset by partition, as `positions` gave them. A partition that is not among them is new and
                read from its start; without any, ``settings.start`` says where.
            clocks: as `clocks` gave them, together with the positions; without, the order may differ where a broker's
                clock ran back.

        Raises:
            UnreadableInput: Kafka does not answer, or a partition with a position is not there.
        """
        try:
            self._begin(dict(positions or {}), clocks or {})
        except kafka_errors.KafkaError as problem:
            raise UnreadableInput(str(problem)) from None

    def poll(self, seconds: float) -> list[Arrival]:
        """The next records, waiting at most ``seconds`` for some.

        Raises:
            PartitionStalled: nothing that was tried made a partition give its records.
            UnreadableInput: a topic was made anew or may not be read, or Kafka refuses something else for good.
            MissingLibrary: a batch is compressed with something that is not installed.
        """
        now = time.monotonic()
        end = now + seconds
        self._merge.away(now - self._left)
        while True:
            self._discover(now)
            self._balance(now)
            self._fetch(min(max(end - now, 0.0), _STEP_SECONDS))
            now = time.monotonic()
            self._watch(now)
            arrivals = [] if self._paused else self._merge.take(now)
            if arrivals or now >= end:
                self._left = now
                return self._told(arrivals)

    def events(self) -> list[Event]:
        """What happened since the last call."""
        events, self._events = self._events, []
        return events

    def positions(self) -> dict[Partition, int]:
        """The next offset of each partition, after what `poll` handed over."""
        return self._merge.positions()

    def clocks(self) -> dict[Partition, int]:
        """The latest broker time of each partition that `poll` handed over, ms; -1 if there was none."""
        return self._merge.clocks()

    def lag(self) -> dict[Partition, Lag]:
        """How far behind each partition is, as far as the last answers tell."""
        clocks, positions, now = self._merge.clocks(), self._merge.positions(), time.time()
        lags = {}
        for partition, reading in self._readings.items():
            rows = max(reading.end - positions[partition], 0)
            clock = clocks[partition]
            behind = None if clock == NO_TIMESTAMP else max(now - clock / 1000, 0.0)
            lags[partition] = Lag(rows, behind if rows else 0.0)
        return lags

    def silent(self) -> dict[Partition, float]:
        """For how many seconds another process that should have has said nothing of a partition. Brokers speak for
        themselves."""
        return {}

    def pause(self) -> None:
        """Hand over and fetch nothing more; `poll` is to be called on."""
        self._paused = True
        self._consumer.pause(*map(_theirs, self._readings))

    def resume(self) -> None:
        """Go on after `pause`."""
        self._paused = False
        self._consumer.resume(*map(_theirs, self._readings.keys() - self._full))

    def commit(self, positions: Mapping[Partition, int]) -> bool:
        """Commit positions, for those who watch the lag; False, and an event, if that did not work."""
        group = self._settings.group_id
        offsets = {_theirs(at): OffsetAndMetadata(offset, "", -1) for at, offset in positions.items()}
        answers = self._aside("commit", lambda: self._client().alter_group_offsets(group, offsets))
        if answers is None:
            return False
        refused = sorted({error.__name__ for error in answers.values() if error is not kafka_errors.NoError})
        self._events += [Failed("commit", name) for name in refused]
        return not refused

    def cluster_id(self) -> str:
        """The cluster's own name for itself."""
        return self._consumer.cluster_id()

    def topic_ids(self) -> dict[str, str]:
        """The UUID of each topic."""
        return dict(self._ids)

    def close(self) -> None:
        """End all connections."""
        self._consumer.close(timeout_ms=1000)
        if self._admin:
            self._admin.close()

    # --- connections ---

    def _options(self) -> dict[str, Any]:
        servers = list(self._settings.bootstrap_servers)
        return {**self._settings.security, "bootstrap_servers": servers, "client_id": self._settings.client_id}

    def _connected(self) -> RawConsumer:
        settings = self._settings
        try:
            consumer = RawConsumer(
                **self._options(), auto_offset_reset="none", isolation_level=settings.isolation_level,
                fetch_max_wait_ms=FETCH_WAIT_MS, fetch_max_bytes=settings.fetch_bytes,
                max_partition_fetch_bytes=settings.partition_bytes, metadata_max_age_ms=METADATA_MS,
                allow_auto_create_topics=False, request_timeout_ms=int(1000 * ANSWER_SECONDS),
            )  # fmt: skip
        except kafka_errors.KafkaError as problem:
            raise UnreadableInput(f"Kafka at {', '.join(settings.bootstrap_servers)}: {problem}") from None
        try:
            consumer.learn(self._names() or None, ANSWER_SECONDS)
        except kafka_errors.UnknownTopicOrPartitionError:
            pass  # told by what is missing
        except kafka_errors.KafkaError as problem:
            consumer.close(timeout_ms=1000)
            raise UnreadableInput(f"Kafka at {', '.join(settings.bootstrap_servers)}: {problem}") from None
        return consumer

    def _client(self) -> KafkaAdminClient:
        if self._admin is None:
            self._admin = KafkaAdminClient(**self._options(), request_timeout_ms=int(1000 * ANSWER_SECONDS))
        return self._admin

    def _aside(self, what: str, do: Callable[[], Any]) -> Any:
        """The result of something that reading does not depend on; None, and an event, if it fails."""
        try:
            return do()
        except kafka_errors.KafkaError as problem:
            self._events.append(Failed(what, str(problem) or type(problem).__name__))
            return None

    # --- partitions ---

    def _merged(self) -> Merge:
        """What puts records in order."""
        return Merge(self._settings.merge_wait, self._settings.stall_seconds)

    def _names(self) -> Sequence[str]:
        """The topics to learn of; none: all."""
        return self._settings.topics

    def _topics(self) -> dict[str, set[int]]:
        """The partitions of each topic that is to be read."""
        return self._wanted(self._consumer.known())

    def _wanted(self, known: Mapping[str, set[int]]) -> dict[str, set[int]]:
        """Of all topics those of the settings."""
        settings = self._settings
        if settings.topics:
            return {topic: known.get(topic, set()) for topic in settings.topics}
        return {topic: numbers for topic, numbers in known.items() if re.fullmatch(settings.pattern, topic)}

    def _require(self, topics: Mapping[str, set[int]]) -> None:
        if missing := [topic for topic, numbers in topics.items() if not numbers]:
            raise UnreadableInput(f"Kafka has no topic {', '.join(sorted(missing))}, or no right to it was given")
        if not topics:
            raise UnreadableInput(f"Kafka has no topic that matches {self._settings.pattern}")

    def _begin(self, positions: dict[Partition, int], clocks: Mapping[Partition, int]) -> None:
        topics = self._topics()
        there = {Partition(topic, number) for topic, numbers in topics.items() for number in numbers}
        if gone := sorted(positions.keys() - there):
            raise UnreadableInput(f"{gone[0].topic} has no partition {gone[0].partition} any more")
        self._check_time(topics)
        new = sorted(there - positions.keys())
        if positions:
            self._events += map(NewPartition, new)
        self._open(positions | self._start_of(new, "earliest" if positions else self._settings.start), clocks)

    def _check_time(self, topics: Iterable[str]) -> None:
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in sorted(topics)]
        ask = lambda: self._client().describe_configs(resources, config_filter="all")  # noqa: E731
        found = self._aside("describe configs", ask) or {}
        for topic, configs in sorted(found.get("topic", {}).items()):
            kind = configs.get(_TIMESTAMP_TYPE, {}).get("value", "unknown")
            if kind != _APPEND_TIME:
                self._events.append(NotAppendTime(topic, kind))

    def _start_of(self, partitions: Iterable[Partition], where: str) -> dict[Partition, int]:
        ask = self._consumer.beginning_offsets if where == "earliest" else self._consumer.end_offsets
        theirs = [_theirs(partition) for partition in partitions]
        return {_ours(at): offset for at, offset in ask(theirs).items()} if theirs else {}

    def _open(self, positions: Mapping[Partition, int], clocks: Mapping[Partition, int]) -> None:
        now = time.monotonic()
        for partition, offset in positions.items():
            self._merge.open(partition, offset, now, clocks.get(partition, NO_TIMESTAMP))
            self._readings[partition] = _Reading(offset, now)
        self._assign(positions)

    def _assign(self, partitions: Iterable[Partition]) -> None:
        """Have the consumer read all partitions, these from where we are."""
        self._consumer.assign([_theirs(partition) for partition in self._readings])
        for partition in partitions:
            self._consumer.seek(_theirs(partition), self._readings[partition].next)
        if self._paused:
            self.pause()

    def _discover(self, now: float) -> None:
        if now - self._discovered < _DISCOVER_SECONDS:
            return
        self._discovered = now
        topics = self._topics()
        for topic in topics:
            uuid = self._consumer.topic_id(topic)
            if uuid and self._ids.setdefault(topic, uuid) != uuid:
                raise UnreadableInput(f"topic {topic} was deleted and made anew: its positions mean nothing any more")
        self._open_new({Partition(topic, number) for topic, numbers in topics.items() for number in numbers})

    def _open_new(self, there: set[Partition]) -> None:
        """Read partitions that were not there before."""
        if new := sorted(there - self._readings.keys()):
            positions = self._aside("new partitions", lambda: self._start_of(new, "earliest"))
            if positions:
                self._check_time({partition.topic for partition in new} - {at.topic for at in self._readings})
                self._events += map(NewPartition, new)
                self._open(positions, {})

    # --- fetching ---

    def _fetch(self, seconds: float) -> None:
        """Take what came, and put right what kafka-python cannot."""
        try:
            got = self._consumer.poll(timeout_ms=int(1000 * seconds))
        except kafka_errors.OffsetOutOfRangeError as problem:
            for at, offset in problem.args[0].items():
                self._out_of_range(_ours(at), offset)
        except kafka_errors.LogTruncationError as problem:
            for at, cut in problem.divergent_offsets.items():
                partition = _ours(at)
                self._cut(partition, self._readings[partition].next, cut.offset if cut else None)
        except kafka_errors.RetriableError:
            pass  # the watch tells when it lasts
        except kafka_errors.KafkaError as problem:
            raise UnreadableInput(f"Kafka: {problem}") from None
        else:
            now = time.monotonic()
            for at, parts in got.items():
                for part in parts:
                    self._accept(_ours(at), part, now)

    def _accept(self, partition: Partition, got: Fetched, now: float) -> None:
        reading = self._readings[partition]
        reading.end = got.end
        if got.records is None:
            self._merge.answered(partition, now, got.asked, more=True)
            self._unreadable(partition, got)
            return
        if got.records.next_offset > got.offset:
            self._merge.add(partition, got.records, now)
            reading.next = got.records.next_offset
        more = reading.next < got.end
        self._merge.answered(partition, now, got.asked, more)
        if reading.next > got.offset or not more:
            reading.moved, reading.strikes = now, 0

    def _unreadable(self, partition: Partition, got: Fetched) -> None:
        """Give up a batch; if its header cannot be believed only when it comes damaged twice."""
        reading = self._readings[partition]
        problem = got.problem
        assert problem  # noqa: S101 - there are no records
        if problem.next_offset is None and reading.damaged != got.offset:
            reading.damaged = got.offset
            return
        first = problem.offset if got.offset < problem.offset < got.beyond else got.offset  # offsets may have gaps
        self._events.append(Unreadable(partition, first, got.beyond, problem.problem))
        self._merge.give_up(partition, Damaged(first, got.beyond, problem.problem))
        self._seek(partition, got.beyond)

    def _out_of_range(self, partition: Partition, wanted: int) -> None:
        try:
            [first] = self._start_of([partition], "earliest").values()
            [end] = self._start_of([partition], "latest").values()
        except kafka_errors.KafkaError:
            return  # asked again with the next poll
        if wanted < first:
            self._events.append(Gap(partition, wanted, first, first - wanted))
            self._go_to(partition, first)
        elif wanted > end:
            self._cut(partition, wanted, end)

    def _cut(self, partition: Partition, wanted: int, resumed: int | None) -> None:
        """The log does not hold what was read last. A topic made anew looks the same, and is an error."""
        self._aside("metadata", lambda: self._consumer.learn(self._names() or None, ANSWER_SECONDS))
        self._discovered = 0.0
        self._discover(time.monotonic())
        if resumed is None:
            return  # nobody knows where they part; what is out of range tells that with the next poll
        self._events.append(Truncated(partition, wanted, resumed))
        self._go_to(partition, resumed)

    def _go_to(self, partition: Partition, offset: int) -> None:
        none = np.empty(0, np.int64)
        self._merge.add(partition, Records(b"", none, none, none, none, offset, -1), time.monotonic())
        self._seek(partition, offset)

    def _seek(self, partition: Partition, offset: int) -> None:
        self._readings[partition].next = offset
        self._consumer.seek(_theirs(partition), offset)

    def _balance(self, now: float) -> None:
        """Stop fetching where too much waits for other partitions."""
        for partition, reading in self._readings.items():
            held = self._merge.held(partition)
            if partition not in self._full and held > self._settings.held_bytes:
                self._full.add(partition)
                self._consumer.pause(_theirs(partition))
            elif partition in self._full and held <= self._settings.held_bytes // 2:
                self._full.remove(partition)
                if not self._paused:
                    self._consumer.resume(_theirs(partition))
            if self._paused or partition in self._full:
                self._merge.excuse(partition, now)
                reading.moved = now

    # --- stalls ---

    def _watch(self, now: float) -> None:
        """Do something about partitions that have records and give none (kafka-python had such errors)."""
        silent = [at for at, reading in self._readings.items() if now - reading.moved > self._settings.stall_seconds]
        if not silent:
            return
        ends = self._aside("ends", lambda: self._start_of(silent, "latest")) or {}
        for partition in silent:
            reading = self._readings[partition]
            reading.moved = now
            if ends.get(partition, 0) > reading.next:
                reading.strikes += 1
                self._help(partition, reading)

    def _help(self, partition: Partition, reading: _Reading) -> None:
        if reading.strikes == 1:
            self._events.append(Stalled(partition, "asked again"))
            self._consumer.seek(_theirs(partition), reading.next)
        elif reading.strikes == 2:
            self._events.append(Stalled(partition, "connected anew"))
            self._consumer.close(timeout_ms=1000)
            self._consumer = self._connected()
            self._full.clear()
            self._assign(self._readings)
        else:
            raise PartitionStalled(
                f"{partition.topic}:{partition.partition} has records from offset {reading.next} on that do not come"
            )

    def _told(self, arrivals: list[Arrival]) -> list[Arrival]:
        tombstones, late = Counter[Partition](), Counter[Partition]()
        for arrival in arrivals:
            tombstones[arrival.partition] += len(arrival.records.nulls)
            late[arrival.partition] += arrival.late * len(arrival.records)
        self._events += [Tombstones(*each) for each in tombstones.items() if each[1]]
        self._events += [OutOfOrder(*each) for each in late.items() if each[1]]
        return arrivals


def _theirs(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.partition)


def _ours(partition: TopicPartition) -> Partition:
    return Partition(partition.topic, partition.partition)
