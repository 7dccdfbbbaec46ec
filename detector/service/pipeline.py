"""Records of Kafka through the engine into the outboxes. No clock, no network: what comes out is a function of what
went in, whatever runs it was handed over in."""

import sys
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import itemgetter
from typing import Any, Final

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from detector.alerts.model import Alert, Told, told_json
from detector.assets.plant import Plant
from detector.engine import Engine
from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.metrics import Metrics
from detector.records import Arrived, Block, Decoded, Reject
from detector.service.settings import ServiceSettings
from detector.sinks.dead_letters import dead_letter
from detector.sinks.outbox import Outbox
from detector.sources.files import BLOCK_LINES
from detector.sources.kafka_merge import Arrival, Partition
from detector.state.snapshot import Capture

DEAD_LETTER: Final = "dead_letter"
_KAFKA: Final = "kafka"  # the log of what is no row of any log
_REMEMBERED: Final = 4096  # runs of records whose broker times are kept, to tell how long an alert took
_SPACE: Final = 0x20  # the first character that is printed
_ASCII_END: Final = 0x80


@dataclass(frozen=True, slots=True)
class Taken:
    """State at one moment, and where it stands in both outboxes."""

    capture: Capture
    position: int
    alerts: int
    counters: dict[str, int]
    watermark: int | None


class Pipeline:
    """One engine, its decoders, and what it tells.

    Args:
        settings: of the service.
        plant: what is declared of the network.
        alerts: takes alerts and incidents, in the order in which they are told.
        dead_letters: takes records that could not be used, in the order in which they came.
        metrics: counts.
    """

    def __init__(
        self, settings: ServiceSettings, plant: Plant | None, alerts: Outbox, dead_letters: Outbox, metrics: Metrics
    ) -> None:
        self.engine = Engine(settings.engine, plant, settings.train_until_us)
        self.engine.judge.keep_all = False
        self.engine.release_rows = sys.maxsize  # `settle` says when: until all partitions of a portion are pushed
        self._topics = settings.kafka.topics
        self._context = Context(settings.engine.timezone, settings.engine.columns)
        self._alerts, self._dead_letters, self._metrics = alerts, dead_letters, metrics
        self._decoders: dict[Partition, Decoder] = {}
        self._clocks: deque[tuple[str, Arrived]] = deque(maxlen=_REMEMBERED)
        self._told: deque[Told] = deque()  # not stored yet
        self._letters: deque[bytes] = deque()

    # --- records in, alerts out ---

    def take(self, arrivals: Sequence[Arrival]) -> None:
        """Decode records and push them into the engine; `settle` tells what came of it.

        What came in many short runs of several partitions is decoded a partition at a time, which is quicker, and put
        back in turn by the engine.
        """
        first = 0
        runs: dict[Partition, list[tuple[Arrival, int]]] = {}
        for arrival in arrivals:
            runs.setdefault(arrival.partition, []).append((arrival, first))
            first += len(arrival.records)
        letters = [letter for partition, mine in runs.items() for letter in self._take_partition(partition, mine)]
        letters.sort(key=itemgetter(0))  # as records came: what else is in the portion must not show in the outbox
        self._letters.extend(letter for _, letter in letters)

    def _take_partition(self, partition: Partition, runs: list[tuple[Arrival, int]]) -> list[tuple[int, bytes]]:
        """Returns dead letters, each with the turn of its record."""
        letters: list[tuple[int, bytes]] = []
        source = source_of(partition)
        arrived = Arrived(
            np.concatenate([arrival.records.offsets for arrival, _ in runs]),
            np.concatenate([arrival.times for arrival, _ in runs]),
            np.concatenate([np.arange(first, first + len(arrival.records)) for arrival, first in runs]),
        )
        self._clocks.append((source, arrived))
        lines, positions = _lines([block for arrival, _ in runs for block in arrival.records.blocks(source)])
        for begin in range(0, len(lines), BLOCK_LINES):
            block = Block(source, 0, lines[begin : begin + BLOCK_LINES])
            with self._metrics.stage("decode"):
                decoded = self._decoder(partition).decode(block)
            _to_offsets(decoded, np.array(positions[begin : begin + BLOCK_LINES], dtype=np.int64))
            decoded.arrived = arrived
            offsets = np.array([reject.position for reject in decoded.rejects], dtype=np.int64)
            turns = arrived.of(arrived.turns, offsets).tolist()
            letters += zip(turns, map(dead_letter, decoded.rejects), strict=True)
            self._count("header or blank", len(block.lines) - decoded.rows)
            self.engine.push(decoded)
        self._count("tombstone", sum(len(arrival.records.nulls) for arrival, _ in runs))
        return letters

    def reject(self, partition: Partition, first: int, after: int, reason: str) -> None:
        """Records from an offset to before another could not even be taken apart; they count as one."""
        reject = Reject(source_of(partition), first, f"{reason}; offsets {first} to {after - 1}")
        self._letters.append(dead_letter(reject))
        self.engine.count(Decoded(rejects=[reject]))

    def settle(self, now: Callable[[], float] | None = None) -> bool:
        """Tell what came of the records; True when people are to know.

        Args:
            now: seconds since the epoch, to measure how long an alert took.

        Raises:
            StorageFailed: not all is stored; the same call goes on where it stopped.
        """
        with self._metrics.stage("score"):
            self.engine.settle()
        self._told.extend(self.engine.judge.told())
        news = bool(self._told)
        with self._metrics.stage("outbox"):
            while self._told:
                self._alerts.append(self._told[0].kind, told_json(self._told[0]))
                self._measure(self._told.popleft(), now)
            while self._letters:
                self._dead_letters.append(DEAD_LETTER, self._letters[0])
                self._letters.popleft()
        return news

    # --- state ---

    def capture(self, clocks: Mapping[Partition, int]) -> Taken:
        """Everything up to now.

        Args:
            clocks: latest broker time of each partition.
        """
        self.settle()
        beside = {
            "decoders": [[*partition, decoder.state()] for partition, decoder in sorted(self._decoders.items())],
            "clocks": [[*partition, time] for partition, time in sorted(clocks.items())],
            "dead_letters": self._dead_letters.next,
        }
        account = self.engine.accounting
        return Taken(
            self.engine.capture(beside),
            account.rows,
            self._alerts.next,
            self.outcomes(),
            self.engine.order.watermark if account.rows else None,
        )

    def restore(self, state: bytes) -> dict[Partition, int]:
        """Go on from a captured state; returns the broker times of `capture`.

        Raises:
            StateMismatch: see `Engine.restore`.
            StorageFailed: of the outbox.
        """
        beside: dict[str, Any] = self.engine.restore(state)
        for topic, partition, known in beside["decoders"]:
            self._decoder(Partition(topic, partition)).load_state(known)
        self._dead_letters.rewind(beside["dead_letters"])
        return {Partition(topic, partition): time for topic, partition, time in beside["clocks"]}

    def outcomes(self) -> dict[str, int]:
        """Records by what became of them."""
        account = self.engine.accounting
        return {
            "scored": account.scored,
            "rejected": account.rejected.total(),
            "duplicate": account.duplicate,
            "late": account.late,
            "filtered": account.filtered.total(),
        }

    # --- inside ---

    def _decoder(self, partition: Partition) -> Decoder:
        if partition not in self._decoders:
            topic = next(topic for topic in self._topics if topic.matches(partition.topic))
            self._decoders[partition] = Decoder(
                source_of(partition), self._context, partition.topic, format=topic.format
            )
        return self._decoders[partition]

    def _count(self, what: str, records: int) -> None:
        if records:
            self.engine.count(Decoded(filtered=Counter({(_KAFKA, what): records})))

    def _measure(self, told: Told, now: Callable[[], float] | None) -> None:
        if now is None or told.revision or not isinstance(told.record, Alert) or told.made_by is None:
            return
        came = self._came(*told.made_by)
        if came is not None:
            self._metrics.alert(told.record.severity, now() - came / 1e6)

    def _came(self, source: str, offset: int) -> int | None:
        """The broker's time of a record, µs; None when that is long ago."""
        for known, arrived in reversed(self._clocks):
            offsets = arrived.positions
            if known == source and offsets.size and offsets[0] <= offset <= offsets[-1]:
                return int(arrived.times[offsets.searchsorted(offset)])
        return None


def source_of(partition: Partition) -> str:
    """As it stands in the frames."""
    return f"{partition.topic}:{partition.partition}"


def _to_offsets(decoded: Decoded, offsets: NDArray[np.int64]) -> None:
    """What stands at a line of a block stands at the offset of its record. Decoded it is by line: those of one record
    share its offset, and decoders are quick only where each line has a place of its own."""
    decoded.flows, decoded.operations = (
        frame.with_columns(position=pl.Series(offsets[frame["position"].to_numpy()], dtype=pl.Int64))
        for frame in (decoded.flows, decoded.operations)
    )
    decoded.rejects = [replace(reject, position=int(offsets[reject.position])) for reject in decoded.rejects]


def _lines(blocks: Sequence[Block]) -> tuple[list[bytes], list[int]]:
    """Lines and their offsets. A record that holds several lines becomes as many, all at its offset: pmacct sends
    several objects at once, and so do shippers that batch. One object written over several lines stays one."""
    lines = [line for block in blocks for line in block.lines]
    offsets = [
        position
        for block in blocks
        for position in block.positions or range(block.first_position, block.first_position + len(block.lines))
    ]
    if not any(b"\n" in line for line in lines):
        return lines, offsets
    parts = [_split(line) for line in lines]
    spread = [[offset] * len(part) for offset, part in zip(offsets, parts, strict=True)]
    return [*chain(*parts)], [*chain(*spread)]


def _split(record: bytes) -> list[bytes]:
    lines = record.rstrip(b"\r\n").split(b"\n")
    if len(lines) == 1 or _is_binary(record):
        return [record]
    try:
        orjson.loads(record)
    except orjson.JSONDecodeError:
        return lines
    return [record]


def _is_binary(record: bytes) -> bool:
    """Whether it is a protobuf message, with or without its length in front: its line feeds are bytes as any other, of
    each address 10.0.0.0/8 for one. Text begins with a letter, a brace or white space."""
    first, second = record[0], record[1]
    return (first not in b"\t\n\r" and not _SPACE <= first < _ASCII_END) or (
        first == len(record) - 1 and second < _SPACE
    )
