"""Decoded records on their way from the processes that normalize to the one that scores: one record of Kafka a run.

A run is what became of records of one raw partition that stand one after the other. As bytes it is a line of JSON that
says what it is of, and behind it Arrow record batches, each an encapsulated message of the IPC format without its
schema (https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format), for both sides know it.

Bytes of a topic are believed no further than they were checked: the line against its model, the schemas by their
fingerprint, arrays by Arrow's own full validation, their sizes by being parts of the message. A compressed batch could
hold far more than its bytes and is refused; the topic's own compression has its bound (`record_batches.LIMIT`).
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from struct import Struct, error
from typing import Annotated, Any, Final

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from detector.records import FLOW, OPERATION, Decoded, Reject
from detector.sources.kafka_merge import Damaged, Partition

FORMAT: Final = 1
_HEAD_LIMIT: Final = 1 << 20  # bytes of the line of JSON; counts have a bounded number of keys
_RECORD: Final[dict[str, pl.DataType]] = {"offset": pl.Int64(), "timestamp": pl.Int64()}
_REJECT: Final[dict[str, pl.DataType]] = {"position": pl.Int64(), "reason": pl.String(), "letter": pl.Binary()}


def _sent(schema: dict[str, pl.DataType]) -> dict[str, pl.DataType]:
    """Without what the head says of all."""
    return {name: kind for name, kind in schema.items() if name != "source"}


_PARTS: Final = (_RECORD, _sent(FLOW), _sent(OPERATION), _REJECT)
_OLDEST: Final = pl.CompatLevel.oldest()  # plain strings, which every Arrow has
_SCHEMAS: Final = tuple(pl.DataFrame(schema=part).to_arrow(compat_level=_OLDEST).schema for part in _PARTS)
_FINGERPRINT: Final = hashlib.sha256("\n".join(map(str, _SCHEMAS)).encode()).hexdigest()[:16]
_NEEDED: Final = ("ts", "obs_ts", "log")  # of a row; the position is looked at closer


class NotARun(Exception):
    """Bytes that are no run of rows, or none that is wanted here; the message says why."""


_Offset = Annotated[int, Field(ge=0, lt=(1 << 63) - 1)]
_Time = Annotated[int, Field(ge=-1, lt=1 << 53)]  # ms; times of records are int64 anyway
_Count = Annotated[int, Field(ge=0, lt=1 << 40)]


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    rows: int  # the format
    schemas: str
    topic: str
    partition: _Offset
    first: _Offset
    after: _Offset
    cut: bool
    frontier: _Time | None
    damaged: tuple[_Offset, _Offset, str, _Count] | None
    sizes: Annotated[list[_Count], Field(min_length=len(_PARTS), max_length=len(_PARTS))]
    filtered: list[tuple[str, str, _Count]]
    notes: list[tuple[str, str, _Count]]


@dataclass(frozen=True, slots=True)
class Run:
    """What became of the records of a partition from offset ``first`` to before ``next_offset``.

    Args:
        offsets: of the records that are there, int64 of shape (records,), ascending.
        timestamps: their broker times, ms since the epoch, int64 of shape (records,).
        decoded: rows and rejects at these offsets, ascending; what it counts is counted with the first record.
            Rejects are there to be counted and have the dead letter of their record, but nothing else of it.
        damaged: what stands before the first record and could not be read.
        cut: the log lost its end, and this stands where something else was told before.
        frontier: time of a broker, ms, at which nothing stood behind the run; None when that is not known.
        at: offset in the topic of rows, for who reads it there.
    """

    partition: Partition
    first: int
    next_offset: int
    offsets: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    decoded: Decoded = field(default_factory=Decoded)
    damaged: Damaged | None = None
    cut: bool = False
    frontier: int | None = None
    at: int = -1

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def nulls(self) -> NDArray[np.int64]:
        """None: records without a value are counted already."""
        return np.empty(0, np.int64)

    @property
    def size(self) -> int:
        """Bytes of memory, roughly."""
        frames = self.decoded.flows.estimated_size() + self.decoded.operations.estimated_size()
        return int(frames) + self.offsets.nbytes + self.timestamps.nbytes

    def part(self, start: int, stop: int) -> "Run":
        """The records ``start`` to before ``stop``, by number, with what became of them."""
        if start == 0 and stop == len(self):
            return self
        first = self.first if start == 0 else int(self.offsets[start])
        after = self.next_offset if stop == len(self) else int(self.offsets[stop - 1]) + 1
        known = self.decoded
        decoded = Decoded(
            _between(known.flows, first, after),
            _between(known.operations, first, after),
            [reject for reject in known.rejects if first <= reject.position < after],
        )
        if start == 0:
            decoded.filtered, decoded.notes = known.filtered, known.notes
        return replace(
            self,
            first=first,
            next_offset=after,
            offsets=self.offsets[start:stop],
            timestamps=self.timestamps[start:stop],
            decoded=decoded,
            damaged=self.damaged if start == 0 else None,
        )

    def beyond(self, offset: int) -> "Run":
        """Without what stands before an offset."""
        start = int(self.offsets.searchsorted(offset))
        if start == len(self):
            nothing = np.empty(0, np.int64)
            return Run(self.partition, offset, self.next_offset, nothing, nothing, frontier=self.frontier, at=self.at)
        return replace(self.part(start, len(self)), first=max(offset, self.first))


def _between(rows: pl.DataFrame, first: int, after: int) -> pl.DataFrame:
    begin, end = rows["position"].to_numpy().searchsorted([first, after]).tolist()
    return rows[begin:end]


# --- to bytes ---


def encode(run: Run) -> bytes:
    """As bytes: the same for the same run."""
    decoded = run.decoded
    rejects = [(reject.position, reject.reason, reject.letter) for reject in sorted(decoded.rejects, key=_place)]
    frames = (
        pl.DataFrame({"offset": run.offsets, "timestamp": run.timestamps}, schema=_RECORD),
        decoded.flows.drop("source"),
        decoded.operations.drop("source"),
        pl.DataFrame(rejects, schema=_REJECT, orient="row"),
    )
    messages = [_message(frame) for frame in frames]
    head = {
        "rows": FORMAT,
        "schemas": _FINGERPRINT,
        "topic": run.partition.topic,
        "partition": run.partition.partition,
        "first": run.first,
        "after": run.next_offset,
        "cut": run.cut,
        "frontier": run.frontier,
        "damaged": run.damaged and astuple(run.damaged),
        "sizes": [len(message) for message in messages],
        "filtered": _listed(decoded.filtered),
        "notes": _listed(decoded.notes),
    }
    return b"\n".join([orjson.dumps(head), b"".join(messages)])


def _place(reject: Reject) -> int:
    return reject.position


def _listed(counts: Counter[tuple[str, str]]) -> list[list[Any]]:
    return [[*key, count] for key, count in sorted(counts.items())]


def _message(frame: pl.DataFrame) -> bytes:
    """Nothing for nothing."""
    if frame.is_empty():
        return b""
    [batch] = frame.to_arrow(compat_level=_OLDEST).combine_chunks().to_batches()
    return bytes(batch.serialize())


# --- from bytes ---


def decode(content: bytes, partition: Partition) -> Run:
    """The run of a raw partition that these bytes are.

    Raises:
        NotARun: they are none, or one of another version or partition.
    """
    line = content[:_HEAD_LIMIT].partition(b"\n")[0]
    body = content[len(line) + 1 :]
    try:
        head = _Head.model_validate_json(line)
        _check(head, partition, body)
        return _run(head, partition, _messages(head, body))
    except (ValidationError, pa.ArrowException, OSError, error) as problem:  # pyarrow raises OSError, too
        raise NotARun(_shown(problem)) from None


def _shown(problem: Exception) -> str:
    if isinstance(problem, ValidationError):
        return str(problem.errors()[0]["msg"])
    return str(problem).partition("\n")[0][:200]


def _check(head: _Head, partition: Partition, body: bytes) -> None:
    if (head.rows, head.schemas) != (FORMAT, _FINGERPRINT):
        raise NotARun("rows of another version of eastwest; run the same everywhere")
    if Partition(head.topic, head.partition) != partition:
        raise NotARun(f"rows of {head.topic}:{head.partition} where those of another partition belong")
    if head.after < head.first or sum(head.sizes) != len(body):
        raise NotARun("sizes do not fit")


def _messages(head: _Head, body: bytes) -> list[pl.DataFrame]:
    frames, begin = [], 0
    for size, schema, part in zip(head.sizes, _SCHEMAS, _PARTS, strict=True):
        frames.append(_frame(body[begin : begin + size], schema) if size else pl.DataFrame(schema=part))
        begin += size
    return frames


def _frame(message: bytes, schema: pa.Schema) -> pl.DataFrame:
    read = pa.ipc.read_message(message)
    if read.type != "record batch" or _compressed(read.metadata.to_pybytes()):
        raise NotARun("a message that is none, or compressed")
    batch = pa.ipc.read_record_batch(read, schema)
    batch.validate(full=True)
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - of a batch
    return frame


_U16: Final = Struct("<H")
_I32: Final = Struct("<i")
_U32: Final = Struct("<I")
_HEADER_SLOT: Final = 2  # Message.header
_COMPRESSION_SLOT: Final = 3  # RecordBatch.compression


def _compressed(metadata: bytes) -> bool:
    """Whether a record batch message has compressed buffers, which pyarrow does not tell. A FlatBuffers table begins
    with the way back to its vtable: two sizes, then where each field is (flatbuffers.dev/internals; the tables are
    those of Arrow's Message.fbs)."""
    table = _U32.unpack_from(metadata)[0]
    at = _slot(metadata, table, _HEADER_SLOT)
    return at is None or _slot(metadata, at + _U32.unpack_from(metadata, at)[0], _COMPRESSION_SLOT) is not None


def _slot(metadata: bytes, table: int, number: int) -> int | None:
    vtable = table - _I32.unpack_from(metadata, table)[0]
    place = 4 + 2 * number
    if place >= _U16.unpack_from(metadata, vtable)[0]:
        return None
    offset = _U16.unpack_from(metadata, vtable + place)[0]
    return table + offset if offset else None


def _run(head: _Head, partition: Partition, frames: Sequence[pl.DataFrame]) -> Run:
    records, flows, operations, rejects = frames
    offsets = _ascending(records["offset"], head, strictly=True)
    for rows in (flows, operations, rejects):
        _among(_ascending(rows["position"], head), offsets)
    complete = [records, rejects, flows.select(_NEEDED), operations.select(_NEEDED)]
    if any(sum(frame.null_count().row(0)) for frame in complete):
        raise NotARun("a value is missing")
    source = f"{partition.topic}:{partition.partition}"
    decoded = Decoded(
        flows.with_columns(source=pl.lit(source)).select(list(FLOW)),
        operations.with_columns(source=pl.lit(source)).select(list(OPERATION)),
        [Reject(source, position, reason, letter=letter) for position, reason, letter in rejects.iter_rows()],
        _counted(head.filtered),
        _counted(head.notes),
    )
    return Run(
        partition, head.first, head.after, offsets, records["timestamp"].to_numpy(), decoded,
        head.damaged and Damaged(*head.damaged), head.cut, head.frontier,
    )  # fmt: skip


def _counted(listed: Sequence[tuple[str, str, int]]) -> Counter[tuple[str, str]]:
    return Counter({(log, what): count for log, what, count in listed})


def _ascending(positions: pl.Series, head: _Head, strictly: bool = False) -> NDArray[np.int64]:
    if positions.null_count():
        raise NotARun("a row without a place")
    values: NDArray[np.int64] = positions.to_numpy()
    if len(values) and (values[0] < head.first or values[-1] >= head.after or (np.diff(values) < int(strictly)).any()):
        raise NotARun("rows out of place")
    return values


def _among(positions: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
    if len(positions) and not np.isin(positions, offsets).all():
        raise NotARun("rows of no record")
