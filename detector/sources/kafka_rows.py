"""Topics of rows as one sequence, the same that one process makes of the raw topics.

Each raw topic has a topic of rows, with a prefix before its name and as many partitions. So what several processes
decoded comes back a raw partition at a time, and the same merge puts it in the same order: by the raw broker times that
runs carry. Whether an idle raw partition can still bring something earlier only who reads it knows. It says now and
then up to which time of a broker there is nothing more, and that counts as an answer to a question of that time; a run
was there when its record got its broker's time. Both are times of brokers, so no other clock has a say.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import numpy as np
from kafka import KafkaAdminClient
from kafka import errors as kafka_errors

from detector.errors import UnreadableInput
from detector.sources.kafka import ANSWER_SECONDS, KafkaSettings, KafkaSource
from detector.sources.kafka_events import Event, Gap, Unreadable
from detector.sources.kafka_fetch import RawConsumer
from detector.sources.kafka_merge import Content, Damaged, Merge, Partition
from detector.sources.record_batches import NO_TIMESTAMP, Records
from detector.sources.runs import NotARun, Run, decode

_SCORER: Final = "-score"  # behind the group's name: offsets of the raw topics are the normalizers' to commit
_RUN_BYTES: Final = 8 << 20  # of the largest record of a topic that we make; runs are cut far below
_CONFIGS: Final = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(_RUN_BYTES)}
_MS: Final = 1000  # in a second


class StagedSource(KafkaSource):
    """Where raw topics and topics of rows belong together.

    Args:
        settings: of the raw topics.
        prefix: before the names of raw topics.
        create: make topics of rows, or partitions of them, that are missing.

    Raises:
        UnreadableInput: Kafka does not answer, or a topic is not there.
    """

    def __init__(self, settings: KafkaSettings, prefix: str, create: bool) -> None:
        self._prefix, self._create = prefix, create
        super().__init__(settings)

    def rows_of(self, partition: Partition) -> Partition:
        """Where the rows of a raw partition are."""
        return partition._replace(topic=self._prefix + partition.topic)

    def provide(self) -> None:
        """See that all raw partitions of the moment have their rows.

        Raises:
            UnreadableInput: a topic is missing and is not to be made, or cannot be.
        """
        self._provide(self._consumer)

    def _connected(self) -> RawConsumer:
        consumer = super()._connected()
        try:
            self._provide(consumer)
        except BaseException:
            consumer.close(timeout_ms=1000)
            raise
        return consumer

    def _names(self) -> Sequence[str]:
        names = self._settings.topics
        return [*names, *(self._prefix + name for name in names)]

    def _provide(self, consumer: RawConsumer) -> None:
        known = consumer.known()
        lacking = {
            self._prefix + topic: len(numbers)
            for topic, numbers in self._wanted(known).items()
            if len(known.get(self._prefix + topic, ())) < len(numbers)
        }
        if not lacking:
            return
        wish = ", ".join(f"{topic} ({count} partitions)" for topic, count in sorted(lacking.items()))
        if not self._create:
            raise UnreadableInput(f"Kafka lacks topics of rows: {wish}; make them, with LogAppendTime")
        try:
            _make(self._client(), known, lacking)
            end = time.monotonic() + ANSWER_SECONDS
            while any(len(consumer.known().get(topic, ())) < count for topic, count in lacking.items()):
                if time.monotonic() > end:
                    raise UnreadableInput(f"topics of rows were made and do not come: {wish}")
                consumer.learn(self._names() or None, ANSWER_SECONDS)
        except kafka_errors.KafkaError as problem:
            raise UnreadableInput(f"topics of rows cannot be made: {wish}: {problem}") from None


def _make(admin: KafkaAdminClient, known: Mapping[str, set[int]], lacking: Mapping[str, int]) -> None:
    new = {name: {"num_partitions": count, "configs": _CONFIGS} for name, count in lacking.items() if name not in known}
    larger = {name: count for name, count in lacking.items() if name in known}
    # Another process may be at it at the same time.
    with suppress(kafka_errors.TopicAlreadyExistsError):
        if new:
            admin.create_topics(new)
    with suppress(kafka_errors.InvalidPartitionsError):
        if larger:
            admin.create_partitions(larger)


class RowsSource(StagedSource):
    """The rows of raw topics, in the order of `kafka_merge`; arrivals hold a `runs.Run` each.

    Positions are those of raw partitions, which tell what was taken, and those of topics of rows, which tell where to
    read. A raw partition that nobody says anything of for ``settings.stall_seconds`` holds the others back no longer.
    """

    def __init__(self, settings: KafkaSettings, prefix: str, create: bool) -> None:
        how: dict[str, Any] = {"isolation_level": "read_committed", "start": "earliest"}
        super().__init__(replace(settings, group_id=settings.group_id + _SCORER, **how), prefix, create)
        self._ids |= {topic: self._consumer.topic_id(topic) for topic in self._wanted(self._consumer.known())}

    def begin(
        self, positions: Mapping[Partition, int] | None = None, clocks: Mapping[Partition, int] | None = None
    ) -> None:
        """See `KafkaSource`. Positions of raw partitions alone, as one process has them, will do."""
        known = positions or {}
        self._lanes.expected = {at: offset for at, offset in known.items() if not self._is_rows(at)}
        times = {at if self._is_rows(at) else self.rows_of(at): clock for at, clock in (clocks or {}).items()}
        super().begin({at: offset for at, offset in known.items() if self._is_rows(at)}, times)

    def positions(self) -> dict[Partition, int]:
        """The next offset of each raw partition, and where to read on in each partition of rows."""
        return super().positions() | self._lanes.raw_positions()

    def silent(self) -> dict[Partition, float]:
        """See `KafkaSource`."""
        return self._lanes.silent()

    def commit(self, positions: Mapping[Partition, int]) -> bool:
        """See `KafkaSource`."""
        return super().commit({at: offset for at, offset in positions.items() if self._is_rows(at)})

    def _is_rows(self, partition: Partition) -> bool:
        return partition.topic.startswith(self._prefix)

    def _merged(self) -> Merge:
        self._lanes = _Lanes(self._prefix, self._settings.stall_seconds, self._tell)
        return self._lanes

    def _tell(self, event: Event) -> None:
        self._events.append(event)

    def _topics(self) -> dict[str, set[int]]:
        known = self._consumer.known()
        return {self._prefix + topic: known.get(self._prefix + topic, set()) for topic in self._wanted(known)}


class _Lanes(Merge):
    """Raw partitions side by side, fed with what partitions of rows hold, and asked by the names of these.

    Args:
        patience: seconds that a raw partition holds the others back when nobody says anything of it.
        tell: takes what happens.
    """

    def __init__(self, prefix: str, patience: float, tell: Callable[[Event], None]) -> None:
        super().__init__(patience, patience)
        self._prefix, self._tell = prefix, tell
        self._next: dict[Partition, int] = {}  # of rows
        self.expected: dict[Partition, int] = {}  # next raw offset
        self._empty: dict[Partition, float] = {}  # raw: when a broker last said that there are no more rows

    def _raw(self, rows: Partition) -> Partition:
        return Partition(rows.topic.removeprefix(self._prefix), rows.partition)

    def open(self, partition: Partition, offset: int, now: float, clock: int = NO_TIMESTAMP) -> None:
        """See `Merge`."""
        raw = self._raw(partition)
        super().open(raw, self.expected.get(raw, 0), now, clock)
        self._next[partition] = offset

    def add(self, partition: Partition, records: Content, now: float, came: float | None = None) -> None:
        """See `Merge`; each record is a run."""
        assert isinstance(records, Records)  # noqa: S101 - of a topic
        for index in np.flatnonzero(records.lengths >= 0).tolist():
            at = int(records.offsets[index])
            try:
                run = replace(decode(records.value(index), self._raw(partition)), at=at)
            except NotARun as problem:
                self._tell(Unreadable(partition, at, at + 1, str(problem)))
            else:
                self._take(run, now, int(records.timestamps[index]) / _MS)
        self._next[partition] = records.next_offset

    def _take(self, run: Run, now: float, came: float) -> None:
        """Whatever came twice is taken once, and whatever never came is told."""
        raw = run.partition
        if run.cut or raw not in self.expected:
            self.expected[raw] = run.first
            super().add(raw, _up_to(run.first, run), now, came)
        expected = self.expected[raw]
        if run.first > expected:
            self._tell(Gap(raw, expected, run.first, run.first - expected))
        elif run.first < expected:
            run = run.beyond(min(expected, run.next_offset))
        if run.damaged:
            super().give_up(raw, run.damaged)
        if run.next_offset > run.first:
            super().add(raw, run, now, came)
            self.expected[raw] = run.next_offset
        super().excuse(raw, now)
        if run.frontier is not None:
            super().answered(raw, now, run.frontier / _MS, more=False)

    def answered(self, partition: Partition, now: float, asked: float, more: bool) -> None:
        """See `Merge`. That there are no more rows does not tell that there will be none of earlier records."""
        if more:
            self.excuse(partition, now)
        else:
            self._empty[self._raw(partition)] = now

    def silent(self) -> dict[Partition, float]:
        """For how many seconds nobody has said anything of each raw partition, as far as brokers answered."""
        return {raw: max(self._empty.get(raw, lane.heard) - lane.heard, 0.0) for raw, lane in self._lanes.items()}

    def give_up(self, partition: Partition, damaged: Damaged) -> None:
        """See `Merge`. What was in it is missed when the next run comes."""
        self._next[partition] = damaged.next

    def excuse(self, partition: Partition, now: float) -> None:
        """See `Merge`."""
        super().excuse(self._raw(partition), now)

    def held(self, partition: Partition) -> int:
        """See `Merge`."""
        return super().held(self._raw(partition))

    def positions(self) -> dict[Partition, int]:
        """Where to read on in each partition of rows: at the first run that is not wholly handed over."""
        waiting = {at: self.waiting(self._raw(at)) for at in self._next}
        return {at: run.at if isinstance(run := waiting[at], Run) else offset for at, offset in self._next.items()}

    def raw_positions(self) -> dict[Partition, int]:
        """The next offset of each raw partition of which something is known."""
        return {raw: offset for raw, offset in super().positions().items() if raw in self.expected}

    def clocks(self) -> dict[Partition, int]:
        """The latest raw broker time that was handed over, by partition of rows."""
        clocks = super().clocks()
        return {at: clocks[self._raw(at)] for at in self._next}


def _up_to(offset: int, run: Run) -> Run:
    """Nothing, at an offset."""
    none = np.empty(0, np.int64)
    return Run(run.partition, offset, offset, none, none, at=run.at)
