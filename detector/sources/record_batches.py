"""Kafka record batches into the values of their records, without a Python object a record.

What a fetch response holds of one partition is whole batches one after the other, the last one perhaps cut off
(https://kafka.apache.org/documentation/#recordbatch). Here their bytes become one buffer and, in NumPy arrays, where in
it each value stands. Which records count follows kafka-python's consumer: control batches and aborted transactions are
left out, records below the offset that was asked for too, and the position moves past all of them.

Only the body of a batch is under its checksum. An offset changed on the way is not seen unless it runs backwards.
"""

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from kafka.record.legacy_records import LegacyRecord
from kafka.record.util import calc_crc32c
from numpy.typing import NDArray

from detector.errors import MissingLibrary, UnreadableBatch
from detector.records import Block, Lines
from detector.sources.compression import Unpacked, plain, unpack
from detector.sources.files import BLOCK_LINES
from detector.state.compiled import kernel

LIMIT: Final = 1 << 28
"""Bytes that the records of one response may take in memory: 256 times Kafka's largest batch by default (1 MiB)."""

NO_TIMESTAMP: Final = -1
"""Of a record written before Kafka 0.10, as in Kafka's own Java."""

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_PREFIX: Final = struct.Struct(">qi")  # offset and length, of every batch format
_EPOCH: Final = struct.Struct(">i")  # behind the prefix
_MAGIC_AT: Final = 16
_ATTRIBUTES_AT: Final = 21  # the checksum covers all from here
_CODEC: Final = 0x07  # bits of the attributes
_APPEND_TIME: Final = 0x08
_TRANSACTIONAL: Final = 0x10
_CONTROL: Final = 0x20
_RECORD_MIN: Final = 7  # bytes: seven varints, of which the attributes are one byte anyway
_GROWTH: Final = 8  # flow logs become five to eight times as many bytes
_ROW_BYTES: Final = 32  # of a record in the arrays
_OFFSET_MAX: Final = (1 << 63) - 2  # the next one is an int64 still
_OLD_MIN: Final = (14, 22)  # bytes behind the prefix of an empty message, by magic
_OLD_KEY_AT: Final = (18, 26)
_OLD_CODEC_AT: Final = 17


class AbortedTransaction(Protocol):
    """An entry of a fetch response's ``aborted_transactions``."""

    producer_id: int
    first_offset: int


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a response, by ascending offset.

    Record ``i`` is ``buffer[starts[i] : starts[i] + lengths[i]]``; ``lengths[i]`` is -1 for null and 0 for empty. The
    arrays are int64, of shape (records,). ``timestamps`` are milliseconds since the Unix epoch, or `NO_TIMESTAMP`.
    ``next_offset`` is where to fetch next, ``leader_epoch`` that of the last batch (-1: none).
    """

    buffer: bytes | memoryview
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    next_offset: int
    leader_epoch: int

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def nulls(self) -> NDArray[np.int64]:
        """Offsets of the records without a value, which become no lines."""
        return self.offsets[self.lengths < 0]

    @property
    def size(self) -> int:
        """Bytes of memory, roughly."""
        return len(self.buffer) + _ROW_BYTES * len(self)

    def value(self, index: int) -> bytes:
        """Of a record that is not null."""
        start = int(self.starts[index])
        return bytes(self.buffer[start : start + int(self.lengths[index])])

    def part(self, start: int, stop: int) -> "Records":
        """The records ``start`` to before ``stop``, by number, on the same buffer. ``next_offset`` is behind the last
        of them, or that of the whole where it ends with the whole."""
        cut = slice(start, stop)
        next_offset = self.next_offset if stop >= len(self) else int(self.offsets[stop - 1]) + 1
        columns = self.starts[cut], self.lengths[cut], self.offsets[cut], self.timestamps[cut]
        return Records(self.buffer, *columns, next_offset, self.leader_epoch)

    def lines(self) -> tuple[Lines, NDArray[np.int64]]:
        """The values that are there as lines, where they lie, and the offset of each."""
        there = np.flatnonzero(self.lengths >= 0)
        starts = self.starts[there]
        return Lines(self.buffer, np.array([starts, starts + self.lengths[there]])), self.offsets[there]

    def blocks(self, source: str) -> Iterator[Block]:
        """The same, at most `BLOCK_LINES` in a block."""
        lines, offsets = self.lines()
        for first in range(0, len(lines), BLOCK_LINES):
            there = offsets[first : first + BLOCK_LINES]
            gapless = there[-1] - there[0] == len(there) - 1
            part = lines[first : first + BLOCK_LINES]
            yield Block(source, int(there[0]), part, None if gapless else there.tolist())


def read_records(
    response: bytes, offset: int, aborted: Iterable[AbortedTransaction] | None = None, limit: int = LIMIT
) -> Records:
    """The records of one partition's part of a fetch response, from ``offset`` on.

    Where a batch cannot be read, or would take more than is left of ``limit``, the records end before it, and it is
    the first of the next fetch. So an error names the first batch and nothing readable is lost.

    Args:
        response: whole batches of magic 0, 1 and 2, the last perhaps cut off.
        offset: that was asked for; a batch is sent whole if one of its records is wanted.
        aborted: the response's aborted transactions, for isolation level read_committed.
        limit: bytes that the records may take in memory.

    Raises:
        UnreadableBatch: the first batch is damaged, malformed, larger than ``limit``, or not whole.
        MissingLibrary: it is compressed, and the library for that is not installed.
    """
    walk = _Batches(bytes(response), offset, limit, _Transactions(aborted or ()))
    try:
        walk.run()
    except (UnreadableBatch, MissingLibrary):
        if walk.next_offset == offset:
            raise
    return walk.records()


# --- batches ---


class _Header(NamedTuple):
    """The fields of a batch of magic 2 before its records."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_delta: int
    first_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    records: int

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_delta


class _Transactions:
    """Which batches belong to aborted transactions, told as the batches pass by in order."""

    def __init__(self, aborted: Iterable[AbortedTransaction]) -> None:
        self._waiting = deque(sorted(aborted, key=attrgetter("first_offset")))
        self._open: set[int] = set()

    def drop(self, header: _Header, batch: memoryview) -> bool:
        """Whether no record of the batch counts: it is of an aborted transaction, or a control batch."""
        control = bool(header.attributes & _CONTROL)
        if header.producer_id >= 0:
            while self._waiting and self._waiting[0].first_offset <= header.last_offset:
                self._open.add(self._waiting.popleft().producer_id)
            if control and header.producer_id in self._open and _is_abort(header, batch):
                self._open.discard(header.producer_id)
        return control or bool(header.attributes & _TRANSACTIONAL and header.producer_id in self._open)


def _is_abort(header: _Header, batch: memoryview) -> bool:
    """Whether a control batch ends a transaction by taking it back. Compaction may have emptied it."""
    return header.records > 0 and bool(next(DefaultRecordBatch(batch)).abort)


class _Batches:
    """The walk from batch to batch. Each is taken at once, while its bytes are in the processor's cache."""

    def __init__(self, response: bytes, offset: int, limit: int, transactions: _Transactions) -> None:
        self.next_offset = offset
        self._response = response
        self._offset = offset
        self._room = limit
        self._transactions = transactions
        self._taken = 0  # bytes of the response
        self._epoch = -1
        self._last_offset = -1  # of the batch before
        self._parts: list[NDArray[np.int64]] = []
        self._moved: Unpacked | None = None  # the buffer, once it is not the response

    def run(self) -> None:
        """Take all whole batches.

        Raises:
            UnreadableBatch: of the first that cannot be taken; those before it are.
        """
        for start, end in _slices(self._response):
            self._take(start, end)
            self._taken = end
        if self._response and not self._taken:
            raise UnreadableBatch(self._offset, f"not whole in the {len(self._response)} bytes that were fetched")

    def _take(self, start: int, end: int) -> None:
        base_offset, _ = _PREFIX.unpack_from(self._response, start)
        magic = self._response[start + _MAGIC_AT]
        data = self._response
        if magic > 2:
            raise UnreadableBatch(base_offset, f"format {magic} is not known")
        if magic < 2:
            data = _modernised(data[start:end], magic, self._room)
            start, end = 0, len(data)
        batch = memoryview(data)[start:end]
        header = _checked(batch)
        if header.base_offset <= self._last_offset:
            raise UnreadableBatch(header.base_offset, f"stands behind offset {self._last_offset}")
        if not self._dropped(header, batch) and header.last_offset >= self._offset:
            self._parts.append(self._rows(header, data, start + _HEADER.size, end))
        self._last_offset, self._epoch = header.last_offset, header.leader_epoch
        self.next_offset = max(self.next_offset, header.last_offset + 1)

    def _dropped(self, header: _Header, batch: memoryview) -> bool:
        try:
            return self._transactions.drop(header, batch)
        except Exception as problem:  # noqa: BLE001 - whatever kafka-python's reader trips over
            raise _malformed(header, f"control record: {problem!r}") from None

    def _rows(self, header: _Header, data: bytes | memoryview, start: int, end: int) -> NDArray[np.int64]:
        """(starts, lengths, offsets, timestamps) of the records in this part of ``data``."""
        codec = header.attributes & _CODEC
        if codec:
            moved = self._buffer()
            first = moved.size
            try:
                unpack(codec, bytes(data[start:end]), self._room, moved)
            except ValueError as problem:
                raise _malformed(header, str(problem)) from None
            data, start, end = moved.view(0), first, moved.size
        if not 0 <= header.records <= (end - start) // _RECORD_MIN:
            raise _malformed(header, f"{header.records} records in {end - start} bytes")
        needed = end - start + header.records * _ROW_BYTES
        if needed > self._room:
            raise _malformed(header, f"takes {needed} bytes in memory, {self._room} are left")
        self._room -= needed
        rows = np.empty((4, header.records), np.int64)
        time = (header.max_timestamp, 0) if header.attributes & _APPEND_TIME else (header.first_timestamp, 1)
        offsets = header.base_offset, header.last_delta, self._offset
        found = _walk(np.frombuffer(data, np.uint8), start, end, header.records, offsets, time, rows)
        if found < 0:
            raise _malformed(header, "a record is malformed")
        if isinstance(data, bytes):
            rows[0] += self._moved_by(data, start, end)
        return rows[:, :found]

    def _moved_by(self, data: bytes, start: int, end: int) -> int:
        """How far records that are not compressed move to their place in the buffer. That is the response itself until
        something else comes."""
        if self._moved is None and data is self._response:
            return 0
        moved = self._buffer()
        place = moved.size
        moved.add(memoryview(data)[start:end])
        return place - start

    def _buffer(self) -> Unpacked:
        """The buffer when it is not the response: so much of that is copied as was taken, and earlier records stay
        where they are."""
        if self._moved is None:
            self._moved = Unpacked(min(_GROWTH * len(self._response), self._room))
            self._moved.add(memoryview(self._response)[: self._taken])
        return self._moved

    def records(self) -> Records:
        """What the taken batches hold."""
        buffer = self._response if self._moved is None else self._moved.view(Lines.ROOM)
        starts, lengths, offsets, timestamps = np.concatenate([np.empty((4, 0), np.int64), *self._parts], axis=1)
        return Records(buffer, starts, lengths, offsets, timestamps, self.next_offset, self._epoch)


def _slices(response: bytes) -> Iterator[tuple[int, int]]:
    """(start, end) of each whole batch."""
    at = 0
    while len(response) - at >= _PREFIX.size:
        offset, length = _PREFIX.unpack_from(response, at)
        if length < min(_OLD_MIN):
            raise UnreadableBatch(offset, f"length {length}")
        end = at + _PREFIX.size + length
        if end > len(response):
            return
        yield at, end
        at = end


def _checked(batch: memoryview) -> _Header:
    """The header of a batch of magic 2 that is as it was written."""
    if len(batch) < _HEADER.size:
        raise UnreadableBatch(_PREFIX.unpack_from(batch)[0], f"{len(batch)} bytes are less than a header")
    header = _Header._make(_HEADER.unpack_from(batch))
    if calc_crc32c(batch[_ATTRIBUTES_AT:]) != header.crc:
        raise UnreadableBatch(header.base_offset, "checksum does not match, damaged")
    if header.base_offset < 0 or header.last_delta < 0 or header.last_offset > _OFFSET_MAX:
        raise UnreadableBatch(header.base_offset, f"ends at offset {header.last_offset}")
    return header


def _malformed(header: _Header, problem: str) -> UnreadableBatch:
    return UnreadableBatch(header.base_offset, problem, header.last_offset + 1)


# --- magic 0 and 1 ---


def _modernised(batch: bytes, magic: int, room: int) -> bytes:
    """A message of an older format, or a compressed set of them, read by kafka-python and written as magic 2.

    Slow; no broker since 0.11 writes them. Without the library xxhash, which brokers before 0.10 need for lz4, those
    are an error.
    """
    offset, _ = _PREFIX.unpack_from(batch)
    try:
        _guard(batch, magic, room)
        old = MemoryRecords(batch).next_batch()
        whole = old.validate_crc()
        messages = list(old)
        if not (whole and all(message.validate_crc() for message in messages)):
            raise ValueError("checksum does not match, damaged")
        return _written(messages, room)
    except MissingLibrary:
        raise
    except Exception as problem:  # noqa: BLE001 - whatever kafka-python trips over
        raise UnreadableBatch(offset, f"format {magic}: {problem!r}") from None


def _written(messages: list[LegacyRecord], room: int) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, room)
    first = messages[0].offset
    for message in messages:
        timestamp = NO_TIMESTAMP if message.timestamp is None else message.timestamp
        if builder.append(message.offset - first, timestamp, None, message.value, []) is None:
            raise ValueError(f"more than {room} bytes, too many")
    batch = builder.build()
    _PREFIX.pack_into(batch, 0, first, len(batch) - _PREFIX.size)
    _EPOCH.pack_into(batch, _PREFIX.size, -1)
    return bytes(batch)


def _guard(batch: bytes, magic: int, room: int) -> None:
    """kafka-python has no bound on what it decompresses, and goes in circles where a length is negative."""
    codec = batch[_OLD_CODEC_AT] & _CODEC
    if not codec:
        return
    at = _OLD_KEY_AT[magic]
    for _ in ("key", "value"):
        (size,) = struct.unpack_from(">i", batch, at)
        start, at = at + 4, at + 4 + max(size, 0)
    inner = plain(codec, batch[start:at], room)
    at = 0
    while at < len(inner):
        _, length = _PREFIX.unpack_from(inner, at)
        if length < _OLD_MIN[magic]:
            raise ValueError(f"length {length} of a message")
        at += _PREFIX.size + length


# --- records ---

_LENGTH, _TIME, _DELTA, _KEY, _VALUE, _HEADERS, _NAMES = range(7)  # of a record; then names and values in turn
_SEVEN: Final = np.uint64(0x7F)  # bits of a number that a byte holds; the eighth says that more follow
_SHIFT_MAX: Final = np.uint64(63)  # of the last bit of 64, in a tenth byte


@kernel
def _walk(  # noqa: C901, PLR0911, PLR0912 - with functions for its parts, each given the bytes, it is 7 times slower
    data: Any, at: Any, end: Any, records: Any, offset: Any, time: Any, rows: Any
) -> Any:
    """Fill the rows (starts, lengths, offsets, timestamps) with the records that were asked for.

    A record is numbers (zigzag varints of at most 64 bits), some of them lengths of bytes that follow; see `_LENGTH`
    and below. A negative length of key or value means null.

    Args:
        offset: (of the batch, largest delta, asked for).
        time: (timestamp, scale): records add their own delta (1), or the broker's time stands for all (0).

    Returns:
        How many there are; -1 if a record is malformed or they do not end with the batch.
    """
    base, last, asked = offset
    first_time, scale = time
    row, before = 0, -1
    for _ in range(records):
        delta = timestamp = start = size = 0
        field, fields, stop = _LENGTH, _NAMES, end
        while field < fields:
            bits, shift = np.uint64(0), np.uint64(0)
            while True:
                if at >= stop or shift > _SHIFT_MAX:
                    return -1
                byte = np.uint64(data[at])
                at += 1
                bits |= (byte & _SEVEN) << shift
                if byte <= _SEVEN:
                    break
                shift += np.uint64(7)
            if shift == _SHIFT_MAX and byte > 1:
                return -1
            number: Any = np.int64(bits >> np.uint64(1)) ^ -np.int64(bits & np.uint64(1))
            if field == _LENGTH:
                if number < 1 or number > stop - at:
                    return -1
                stop = at + number
                at += 1  # the attributes, which mean nothing yet
            elif field == _TIME:
                timestamp = first_time + scale * number
                if scale * ((first_time ^ timestamp) & (number ^ timestamp)) < 0:  # beyond 64 bits
                    return -1
            elif field == _DELTA:
                if number <= before or number > last:
                    return -1
                delta = before = number
            elif number > stop - at:
                return -1
            elif field == _HEADERS:
                if number < 0:
                    return -1
                fields += 2 * number
            else:
                if field == _VALUE:
                    start, size = at, max(number, -1)
                elif number < 0 and field >= _NAMES and (field - _NAMES) % 2 == 0:
                    return -1
                at += max(number, 0)
            field += 1
        if at != stop:
            return -1
        if base + delta >= asked:
            rows[0, row], rows[1, row], rows[2, row], rows[3, row] = start, size, base + delta, timestamp
            row += 1
    return row if at == end else -1
