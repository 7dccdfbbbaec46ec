"""Records of Kafka into rows: one decoder a partition. What comes out of a partition follows from its records alone."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Final

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.records import Block, Decoded, Lines, Reject, merge
from detector.service.settings import ServiceSettings
from detector.sinks.dead_letters import dead_letter
from detector.sources.files import BLOCK_LINES
from detector.sources.kafka_merge import Damaged, Partition
from detector.sources.record_batches import Records
from detector.sources.runs import Run
from detector.state.wide import places

LINES_MAX: Final = 10_000
"""Lines of one record; a million short ones fit into the largest record that Kafka takes by default. Shippers batch
some hundreds."""

_TOO_LONG: Final = f"the record has more than {LINES_MAX} lines"
TOO_LARGE: Final = "the rows of the record are larger than their topic takes"
_DAMAGED: Final = "record batches cannot be read"
_KAFKA: Final = "kafka"  # the log of what is no row of any log
_SPACE: Final = 0x20  # the first character that is printed
_ASCII_END: Final = 0x80
_LINE_FEED: Final = ord("\n")


class Decoders:
    """The decoders of all partitions that came so far."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._topics = settings.kafka.topics
        self._context = Context(settings.engine.timezone, settings.engine.columns)
        self._decoders: dict[Partition, Decoder] = {}

    def decode(self, partition: Partition, contents: Iterable[Records]) -> list[Decoded]:
        """The next records of a partition; each has its offset as position, and each is accounted for.

        Whatever is wrong with a record, the first of its rejects has one dead letter for all.
        """
        source, contents = source_of(partition), list(contents)
        lines, offsets, too_long = _lines(contents)
        parts = [Decoded(rejects=[Reject(source, offset, _TOO_LONG) for offset in too_long])] if too_long else []
        for begin in range(0, len(lines), BLOCK_LINES):
            block = Block(source, 0, lines[begin : begin + BLOCK_LINES])
            decoded = self._of(partition).decode(block)
            _to_offsets(decoded, offsets[begin : begin + BLOCK_LINES])
            parts += [decoded, *_counted("header or blank", len(block.lines) - decoded.rows)]
        _write_letters(parts, contents)
        parts += _counted("tombstone", sum(len(records.nulls) for records in contents))
        return [merge(parts)] if parts else []  # each costs the engine much, however few rows it has

    def state(self, partition: Partition) -> dict[str, Any]:
        """What the decoder of a partition keeps from record to record, JSON types only."""
        return self._of(partition).state()

    def states(self) -> dict[Partition, dict[str, Any]]:
        """`state` of all, in the order of partitions."""
        return {partition: self.state(partition) for partition in sorted(self._decoders)}

    def load_state(self, partition: Partition, state: Mapping[str, Any]) -> None:
        """Go on with a partition where another decoder of it was when it gave its `state`."""
        self.forget(partition)
        self._of(partition).load_state(state)

    def forget(self, partition: Partition) -> None:
        """A partition begins anew, or is no longer ours."""
        self._decoders.pop(partition, None)

    def _of(self, partition: Partition) -> Decoder:
        if partition not in self._decoders:
            topic = next(topic for topic in self._topics if topic.matches(partition.topic))
            self._decoders[partition] = Decoder(
                source_of(partition), self._context, partition.topic, format=topic.format
            )
        return self._decoders[partition]


def source_of(partition: Partition) -> str:
    """As it stands in the frames."""
    return f"{partition.topic}:{partition.partition}"


def rejected(partition: Partition, damaged: Damaged) -> Decoded:
    """Records that could not even be taken apart; they count as one."""
    batches = f"{damaged.batches} batches, the first: {damaged.reason}"
    detail = f"offsets {damaged.first} to {damaged.next - 1} in {batches}"
    reject = Reject(source_of(partition), damaged.first, _DAMAGED, detail=detail)
    return Decoded(rejects=[replace(reject, letter=dead_letter(reject))])


def too_large(run: Run, record: bytes) -> Decoded:
    """A run of one record whose rows cannot be passed on: they are one reject. What is only counted stays."""
    known, source = run.decoded, source_of(run.partition)
    rows = known.rows - known.filtered.total()
    reject = Reject(source, int(run.offsets[0]), TOO_LARGE, detail=f"{rows} rows")
    letter = dead_letter(reject, record, rows)
    return Decoded(rejects=[replace(reject, letter=letter)], filtered=known.filtered, notes=known.notes)


def _write_letters(parts: Sequence[Decoded], contents: Sequence[Records]) -> None:
    """Give the first reject of each record its dead letter, in place of the evidence of all of them."""
    lines = Counter(reject.position for part in parts for reject in part.rejects)
    if not lines:
        return
    offsets = np.concatenate([records.offsets for records in contents])
    ends = np.cumsum([len(records) for records in contents])
    unwritten = set(lines)
    for part in parts:
        for number, reject in enumerate(part.rejects):
            letter = b""
            if reject.position in unwritten:
                unwritten.remove(reject.position)
                place = offsets.searchsorted(reject.position)
                run = int(ends.searchsorted(place, "right"))
                value = contents[run].value(int(place - ends[run]))  # counted from its end
                letter = dead_letter(reject, value, lines[reject.position])
            part.rejects[number] = replace(reject, raw=b"", letter=letter)


def _counted(what: str, records: int) -> list[Decoded]:
    return [Decoded(filtered=Counter({(_KAFKA, what): records}))] if records else []


def _to_offsets(decoded: Decoded, offsets: NDArray[np.int64]) -> None:
    """What stands at a line of a block stands at the offset of its record. Decoded it is by line: those of one record
    share its offset, and decoders are quick only where each line has a place of its own."""
    decoded.flows, decoded.operations = (
        frame.with_columns(position=pl.Series(offsets[frame["position"].to_numpy()], dtype=pl.Int64))
        for frame in (decoded.flows, decoded.operations)
    )
    decoded.rejects = [replace(reject, position=int(offsets[reject.position])) for reject in decoded.rejects]


def _lines(contents: Sequence[Records]) -> tuple[Sequence[bytes], NDArray[np.int64], list[int]]:
    """Lines and their offsets, and offsets of records that have too many. A record that holds several lines becomes as
    many, all at its offset: pmacct sends several objects at once, and so do shippers that batch. One object written
    over several lines stays one."""
    found = [records.lines() for records in contents]
    lines = Lines.joined([part for part, _ in found])
    offsets = np.concatenate([np.empty(0, np.int64), *(each for _, each in found)])
    several = _with_feeds(lines)
    if not several.any():
        return lines, offsets, []
    parts = [_split(line) if feeds else [line] for line, feeds in zip(lines, several.tolist(), strict=True)]
    counts = np.array([len(part) for part in parts])
    return [*chain(*parts)], np.repeat(offsets, counts), offsets[counts == 0].tolist()


def _with_feeds(lines: Lines) -> NDArray[np.bool_]:
    """Which lines have a line feed in them."""
    feeds = places(lines.buffer, _LINE_FEED)
    begins, ends = feeds.searchsorted(lines.spans)
    return np.asarray(begins < ends)


def _split(record: bytes) -> list[bytes]:
    """The lines of a record; none if there are more than `LINES_MAX`."""
    text = record.rstrip(b"\r\n")
    feeds = text.count(b"\n")
    if not feeds or _is_binary(record):
        return [record]
    try:
        orjson.loads(record)
    except orjson.JSONDecodeError:
        return text.split(b"\n") if feeds < LINES_MAX else []
    return [record]


def _is_binary(record: bytes) -> bool:
    """Whether it is a protobuf message, with or without its length in front: its line feeds are bytes as any other, of
    each address 10.0.0.0/8 for one. Text begins with a letter, a brace or white space."""
    first, second = record[0], record[1]
    return (first not in b"\t\n\r" and not _SPACE <= first < _ASCII_END) or (
        first == len(record) - 1 and second < _SPACE
    )
