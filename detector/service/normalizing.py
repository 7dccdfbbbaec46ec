"""`eastwest run` with ``stages: [normalize]``: raw topics in, topics of rows out, as one of several processes.

A turn is one transaction: the rows of some records, the offsets behind them, and with each offset what its decoder
keeps. So wherever a partition goes, its next owner goes on exactly there, and what was told of it is told once. When a
turn fails nothing of it counts, and reading begins again where the last one ended.
"""

import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillBusy
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from itertools import chain, pairwise
from typing import Final

import numpy as np

import detector
from detector.errors import StorageFailed
from detector.metrics import Metrics
from detector.records import merge
from detector.service import logs
from detector.service.decoding import TOO_LARGE, Decoders, source_of, too_large
from detector.service.faults import point
from detector.service.health import Health, HealthServer
from detector.service.kafka_options import connection_options, source_settings
from detector.service.notes import Notes
from detector.service.portions import portions
from detector.service.settings import ServiceSettings
from detector.service.warm import warm_decoders
from detector.sinks.kafka_turns import Row, TooLarge, Turns
from detector.sources.kafka_events import Gap, Stalled, Tombstones, Truncated, Unreadable
from detector.sources.kafka_group import Committed, Member, NotYet, ShareSource
from detector.sources.kafka_merge import Arrival, Partition
from detector.sources.record_batches import Records
from detector.sources.runs import Run, encode
from detector.state.snapshot import fingerprint

SHOWN_DIGITS: Final = 12
"""Of the settings' fingerprint; enough to see that they changed."""

_POLL_SECONDS: Final = 0.1  # longest wait for records
_GLANCE_SECONDS: Final = 0.02  # for the group, each turn; a wait of nothing gets no answer from it
_JOIN_SECONDS: Final = 0.2  # wait for the group while it sorts itself out
_MARK_SECONDS: Final = 0.25  # between two words about partitions that have nothing; records elsewhere wait for them
_SHOW_SECONDS: Final = 1.0  # between two looks at lag
_RETRY_SECONDS: Final = 1.0  # after a turn that failed
_BEAT_SECONDS: Final = 1.0
_GIVE_UP_SECONDS: Final = 20.0  # that the last turn may take
_RUN_RECORDS: Final = 5000  # of a run
_RUN_BYTES: Final = 1 << 19  # of its records; what becomes of them is of that size, and a topic takes 1 MiB at least
_NOTHING: Final = np.empty(0, np.int64)


def normalize(settings: ServiceSettings, stop: threading.Event) -> None:
    """Decode a share of the raw topics until ``stop``.

    Raises:
        ConfigError: a key, or the address of metrics cannot be used.
        UnreadableInput: Kafka does not answer or lacks a topic, or another process has our name.
        StateMismatch: what a decoder knew is not where it was put.
        PartitionStalled: a partition gives nothing, whatever was tried.
    """
    log, health = logs.get("service"), Health()
    metrics = Metrics(detector.__version__, fingerprint(settings.model_dump(mode="json"))[:SHOWN_DIGITS])
    with HealthServer(settings.http.host, settings.http.port, health, metrics.exposition):
        warm_decoders()
        health.done("warm")
        normalizer = Normalizer(settings, metrics, health)
        log.info("running", stages=settings.stages, version=detector.__version__)
        normalizer.go(stop)
        log.info("stopped")


class Normalizer:
    """One of the processes that decode.

    Args:
        settings: of the service.
        metrics: of all this.
        health: is told that it goes round.

    Raises:
        UnreadableInput: Kafka does not answer, or lacks a topic.
    """

    def __init__(self, settings: ServiceSettings, metrics: Metrics, health: Health) -> None:
        self._metrics, self._health = metrics, health
        self._log = logs.get("normalize")
        self._decoders, self._notes = Decoders(settings), Notes(settings)
        self._next: dict[Partition, int] = {}  # raw offset that the next run begins at
        self._gaps: dict[Partition, Gap] = {}
        self._marked: dict[Partition, float] = {}  # when a partition was asked that we last spoke of
        self._clock: tuple[int, float] | None = None  # a time of the brokers, ms, and when it was, monotonic
        self._spoke = self._shown_at = time.monotonic()
        connection, instance = connection_options(settings.kafka), settings.kafka.group_instance_id
        kafka = source_settings(settings.kafka, settings.rows.prefix)
        with ExitStack() as stack:
            self._source = ShareSource(kafka, settings.rows.prefix, settings.rows.create)
            stack.callback(self._source.close)
            self._member = Member(kafka, connection, instance)
            stack.callback(self._member.close)
            self._turns = Turns(connection, f"{kafka.group_id}-{instance or secrets.token_hex(8)}")
            stack.callback(self._turns.close)
            self._worker = ThreadPoolExecutor(1, "turns")
            self._close = stack.pop_all()

    def go(self, stop: threading.Event) -> None:
        """Turn after turn until ``stop``."""
        with self._close, self._worker:
            while not stop.is_set():
                self._health.beat()
                self._share()
                self._turn(stop)
                self._show()

    # --- whose partitions are whose ---

    def _share(self) -> None:
        """Let go what is no longer ours, and go on with what is."""
        ours, lost = self._member.share(_GLANCE_SECONDS if self._member.stable else _JOIN_SECONDS)
        gone = {at for at in self._next if at not in ours or at in lost}
        if gone:
            self._let_go(gone)
            self._metrics.count("rebalances")
            self._log.info("partitions are taken from us", partitions=[*map(source_of, sorted(gone))])
        if new := sorted(ours - self._next.keys()):
            self._take_over(new)
        if self._member.stable:
            self._health.done("assigned")
            self._health.done("restored")

    def _let_go(self, partitions: set[Partition]) -> None:
        self._source.release(partitions)
        for at in sorted(partitions):
            self._decoders.forget(at)
            self._metrics.forget(*at)
            for known in (self._next, self._gaps, self._marked):
                known.pop(at, None)

    def _take_over(self, partitions: list[Partition]) -> None:
        """Go on where the last owner's last turn ended."""
        try:
            self._source.provide()
            starts = {at: self._start(at, known) for at, known in self._member.committed(partitions).items()}
        except NotYet as problem:
            self._log.warning("partitions cannot be taken over yet", problem=str(problem))
            return
        self._source.hold(starts)
        self._next |= starts
        self._log.info("partitions are ours", partitions=[*map(source_of, partitions)])

    def _start(self, at: Partition, known: Committed | None) -> int:
        if known is None:
            return self._source.start(at)
        state = self._notes.read(known.note, self._source.topic_ids()[at.topic])
        if state is None:  # of one process, which keeps decoders elsewhere, or of a topic that had this name
            return self._source.start(at, "earliest")
        self._decoders.load_state(at, state)
        return known.offset

    # --- turns ---

    def _turn(self, stop: threading.Event) -> None:
        with self._metrics.stage("poll"):
            arrivals = self._source.poll(_POLL_SECONDS)
        self._heed()
        for some in portions(arrivals):
            with self._metrics.stage("decode"):
                runs = [run for arrival in some for run in self._runs(arrival)]
            if not self._send(runs, some, stop):
                return
        if time.monotonic() - self._spoke >= _MARK_SECONDS and (marks := [*self._marks()]):
            self._send(marks, [], stop)

    def _runs(self, arrival: Arrival) -> Iterator[Run]:
        at, records = arrival.partition, arrival.records
        first = int(records.offsets[0])
        gap = self._gaps.get(at)
        if gap is not None and first >= gap.earliest:
            self._next[at] = self._gaps.pop(at).earliest
        if first < self._next[at]:
            yield self._cut(at, first)
        damaged = arrival.damaged
        for part in _parts(records):
            decoded = merge(self._decoders.decode(at, [part]))
            begin, self._next[at] = self._next[at], part.next_offset
            yield Run(at, begin, part.next_offset, part.offsets, part.timestamps, decoded, damaged)
            damaged = None

    def _cut(self, at: Partition, offset: int) -> Run:
        """The log was cut at an offset; what comes next stands where something else was told."""
        self._next[at] = offset
        return Run(at, offset, offset, _NOTHING, _NOTHING, cut=True)

    def _marks(self) -> Iterator[Run]:
        """Of partitions that have nothing more: at which time that was so. Records elsewhere wait for that."""
        self._spoke = time.monotonic()
        positions = self._source.positions()
        for at, asked in self._source.idle().items():
            if asked <= self._marked.get(at, 0.0):
                continue
            self._marked[at] = asked
            if positions[at] < self._next[at]:
                yield self._cut(at, positions[at])
            begin, self._next[at] = self._next[at], positions[at]
            yield Run(at, begin, positions[at], _NOTHING, _NOTHING, frontier=self._broker_time(asked))

    def _broker_time(self, moment: float) -> int | None:
        """The brokers' time at a monotonic one, or earlier."""
        if self._clock is None:
            return None
        known, seen = self._clock
        return known + int(1000 * (moment - seen))

    def _send(self, runs: list[Run], arrivals: list[Arrival], stop: threading.Event) -> bool:
        """One turn; False if it failed and all begins again where the last one ended.

        Args:
            arrivals: what the runs were made of.
        """
        point("decoded")
        try:
            with self._metrics.stage("outbox"):
                told = self._told(runs, arrivals, stop)
        except StorageFailed as problem:
            self._metrics.count("turns_failed")
            self._log.warning("a turn failed; reading begins again where the last one ended", problem=str(problem))
            self._let_go(set(self._next))
            stop.wait(_RETRY_SECONDS)
            return False
        point("committed")
        if told >= 0:
            self._clock = told, time.monotonic()
        self._metrics.count("normalized_rows", sum(map(len, runs)))
        return True

    def _told(self, runs: list[Run], arrivals: list[Arrival], stop: threading.Event) -> int:
        """`Turns.take`, in smaller pieces of what is too large for its topic. A record becomes a dead letter only when
        it is certain that it is the one."""
        offsets = {(*at,): self._standing(at) for at in {run.partition: None for run in runs}}
        singly = False
        while True:
            rows = [Row(*self._source.rows_of(run.partition), encode(run)) for run in runs]
            take = partial(self._turns.take, rows, offsets, self._member.metadata(), singly=singly)
            try:
                turn = self._worker.submit(take)
                return self._await(turn, stop)
            except TooLarge as problem:
                if not singly and any(len(runs[place]) == 1 for place in problem.places):
                    singly = True
                    continue
                pieces = [self._smaller(run, arrivals) if place in problem.places else [run]
                          for place, run in enumerate(runs)]  # fmt: skip
                runs = [*chain(*pieces)]

    def _smaller(self, run: Run, arrivals: list[Arrival]) -> list[Run]:
        """The halves of a run; one record alone becomes a dead letter.

        Raises:
            StorageFailed: the topic does not even take that.
        """
        if len(run) > 1:
            return [run.part(0, len(run) // 2), run.part(len(run) // 2, len(run))]
        if not len(run) or [reject.reason for reject in run.decoded.rejects] == [TOO_LARGE]:
            raise StorageFailed(f"the topic of rows of {source_of(run.partition)} takes no dead letter")
        self._log.error("a record becomes more than the topic of rows takes, and a dead letter",
                        partition=source_of(run.partition), offset=run.first)  # fmt: skip
        return [replace(run, decoded=too_large(run, _value(arrivals, run)))]

    def _await(self, turn: "Future[int]", stop: threading.Event) -> int:
        """Its result. The loop goes round meanwhile, for all that others see; a turn that hangs holds up no end."""
        ends: float | None = None
        while True:
            with suppress(StillBusy):
                return turn.result(_BEAT_SECONDS)
            self._health.beat()
            now = time.monotonic()
            if stop.is_set() and (ends := ends or now + _GIVE_UP_SECONDS) < now:
                self._turns.close()
                ends = None

    def _standing(self, at: Partition) -> tuple[int, str]:
        """The next offset of a partition, and what is noted with it."""
        topic_id = self._source.topic_ids()[at.topic]
        return self._next[at], self._notes.written(self._decoders.state(at), topic_id)

    # --- what happens and is shown ---

    def _heed(self) -> None:
        for event in self._source.events():
            match event:
                case Gap(partition, wanted, earliest, lost):
                    self._gaps[partition] = event
                    self._metrics.count("gaps")
                    self._metrics.count("gap_rows", lost)
                    self._log.error("records were deleted before they were read", partition=source_of(partition),
                                    wanted=wanted, earliest=earliest, lost=lost)  # fmt: skip
                case Truncated(partition, wanted, resumed):
                    self._metrics.count("gaps")
                    self._log.error("the brokers lost the end of a log", partition=source_of(partition),
                                    wanted=wanted, resumed=resumed)  # fmt: skip
                case Unreadable(partition, first, after, reason):
                    self._metrics.count("unreadable_batches")
                    self._log.error("a record batch cannot be read", partition=source_of(partition),
                                    first=first, after=after, reason=reason)  # fmt: skip
                case Stalled(partition, action):
                    self._metrics.count("stalls")
                    self._log.error("a partition stalls", partition=source_of(partition), action=action)
                case Tombstones():
                    pass  # counted as rows
                case _:
                    self._log.warning(type(event).__name__, event=str(event))

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._shown_at < _SHOW_SECONDS:
            return
        self._shown_at = now
        for partition, lag in self._source.lag().items():
            self._metrics.partition(*partition, lag.rows, lag.seconds or 0.0)


def _value(arrivals: list[Arrival], run: Run) -> bytes:
    """The raw record of a run of one."""
    offset = run.offsets[0]
    for arrival in arrivals:
        offsets = arrival.records.offsets
        if arrival.partition == run.partition and offset in offsets:
            value: bytes = arrival.records.value(int(offsets.searchsorted(offset)))
            return value
    raise LookupError(f"{source_of(run.partition)} offset {offset} is in no arrival")


def _parts(records: Records) -> Iterator[Records]:
    """Pieces that become runs of some size."""
    size = np.cumsum(np.maximum(records.lengths, 0)) // _RUN_BYTES + np.arange(len(records)) // _RUN_RECORDS
    bounds = [0, *(np.flatnonzero(np.diff(size)) + 1).tolist(), len(records)]
    for start, stop in pairwise(bounds):
        yield records.part(start, stop)
