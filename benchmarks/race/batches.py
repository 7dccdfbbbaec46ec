"""Kafka record batches of one flow a message: made by kafka-python, read by it and by eastwest.

kafka-python goes from batch to batch, checks the sum, and makes an object a record; its consumer makes another one of
each, which is left out here. eastwest makes lines of them in blocks, which is what its decoder takes.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatchBuilder

from detector.sources.record_batches import read_records

from .folder import BATCH, Text
from .laps import Contestant, Pass

CODECS: Final = {"none": 0, "lz4": 3, "zstd": 4}
"""Compression, and its code in the attributes of a batch."""
KAFKA_PYTHON: Final = "kafka-python"
OURS: Final = "eastwest"
RECORDS: Final = 100
"""Of a batch: what comes in the 5 ms that librdkafka waits by default, at 20,000 flows a second."""
_MOST: Final = 100_000  # records that are read in a pass
_ROOM: Final = 1 << 30  # bytes of a batch, more than it needs
_OFFSET: Final = struct.Struct(">q")  # what a batch begins with


@dataclass(frozen=True, slots=True)
class Response:
    """What a broker sends of one partition: whole batches, the first record at ``offset``."""

    offset: int
    batches: bytes


def responses(rows: list[bytes], codec: str, size: int = BATCH) -> list[Response]:
    """The rows, ``size`` in a response; compressed, 10,000 make about the 1 MiB that a consumer asks for."""
    return [_response(at, rows[at : at + size], CODECS[codec]) for at in range(0, len(rows), size)]


def _response(offset: int, rows: list[bytes], code: int) -> Response:
    starts = range(0, len(rows), RECORDS)
    return Response(offset, b"".join(_batch(offset + at, rows[at : at + RECORDS], code) for at in starts))


def _batch(offset: int, rows: list[bytes], code: int) -> bytes:
    """A batch as the broker hands it out: it alone knows the first offset."""
    builder = DefaultRecordBatchBuilder(2, code, False, -1, -1, -1, _ROOM)
    for delta, row in enumerate(rows):
        builder.append(delta, 0, None, row, [])
    made = builder.build()
    _OFFSET.pack_into(made, 0, offset)
    return bytes(made)


def name(codec: str, who: str) -> str:
    """Of a contestant."""
    return f"batches, {codec}: {who}"


def contestants(text: Text) -> list[Contestant]:
    """Both, for every compression."""
    rows = text.rows[:_MOST]
    readers = {KAFKA_PYTHON: _kafka_python, OURS: _ours}
    made = {codec: responses(rows, codec) for codec in CODECS}
    return [
        Contestant(name(codec, who), len(rows), partial(_pass, read, sent))
        for codec, sent in made.items()
        for who, read in readers.items()
    ]


def _pass(read: Callable[[Response], int], sent: list[Response]) -> Pass:
    return lambda: sum(map(read, sent))


def _kafka_python(response: Response) -> int:
    """Records, each with its value."""
    records, found = MemoryRecords(response.batches), 0
    while (batch := records.next_batch()) is not None:
        if batch.validate_crc():
            found += sum(record.value is not None for record in batch)
    return found


def _ours(response: Response) -> int:
    records = read_records(response.batches, response.offset)
    return sum(len(block.lines) for block in records.blocks("flows:0"))
