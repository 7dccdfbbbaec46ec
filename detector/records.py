"""The two frames every stage shares, and the small types around them.

Names are Zeek's. Times are integer microseconds since the Unix epoch, UTC. ``None`` means "not in the record";
a zero is a measured zero.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, overload

import numpy as np
import polars as pl
from numpy.typing import NDArray

FLOW: Final[dict[str, pl.DataType]] = {
    "ts": pl.Int64(),  # start of the conversation, µs
    "obs_ts": pl.Int64(),  # when the record was complete: flow end, µs; scoring order
    "uid": pl.String(),  # Zeek connection id, or None
    "orig_h": pl.String(),  # canonical address text, see `formats.address`
    "orig_p": pl.Int32(),
    "resp_h": pl.String(),
    "resp_p": pl.Int32(),
    "proto": pl.String(),  # lower case IANA name: tcp, udp, icmp, ...
    "service": pl.String(),  # application as the sensor named it, or None
    "conn_state": pl.String(),  # Zeek's S0, SF, REJ, ...; None for NetFlow
    "duration": pl.Float64(),  # seconds
    "orig_bytes": pl.Int64(),
    "resp_bytes": pl.Int64(),
    "orig_pkts": pl.Int64(),
    "resp_pkts": pl.Int64(),
    "orig_flags": pl.Int32(),  # OR of the originator's TCP flags (RFC 9293 bit values), or None
    "resp_flags": pl.Int32(),
    "oriented": pl.Boolean(),  # the sensor knew who originated; False = one direction as seen on the wire
    "exporter": pl.String(),  # who saw it: address of the NetFlow exporter, name of the Zeek sensor, or None
    "sampling": pl.Int64(),  # 1 of N packets was seen; 1 = all
    "log": pl.String(),  # zeek.conn, netflow.goflow2, ...
    "source": pl.String(),  # file, or topic:partition
    "position": pl.Int64(),  # line, or offset, in the source
}
"""One row a conversation, originator to responder (or one direction of it, ``oriented`` False)."""

OPERATION: Final[dict[str, pl.DataType]] = {
    "ts": pl.Int64(),
    "obs_ts": pl.Int64(),
    "uid": pl.String(),
    "orig_h": pl.String(),
    "orig_p": pl.Int32(),
    "resp_h": pl.String(),
    "resp_p": pl.Int32(),
    "protocol": pl.String(),  # dce_rpc, smb, ntlm, kerberos, rdp, ssh, http, dns, modbus, dnp3, s7comm, cip, ...
    "operation": pl.String(),  # one token of a bounded vocabulary, e.g. svcctl::CreateServiceW
    "object": pl.String(),  # share, file, query name, register ...; free text, for people only
    "outcome": pl.String(),  # ok, failed, or None when the log does not tell
    "user": pl.String(),  # account as seen on the wire, or None
    "exporter": pl.String(),  # name of the sensor that saw it, or None
    "log": pl.String(),
    "source": pl.String(),
    "position": pl.Int64(),
}
"""One row a protocol act: who did what to whom. One table for every protocol, IT and OT."""

_NO_FLOWS: Final = pl.DataFrame(schema=FLOW)
_NO_OPERATIONS: Final = pl.DataFrame(schema=OPERATION)


class Lines(Sequence[bytes]):
    """Lines that lie in one buffer, as `sources` found them: none is an object before somebody asks for it.

    Args:
        buffer: holds them all, in any order, with anything between.
        spans: int64 of shape (2, lines): where each begins, and where it ends, exclusive.

    Behind the last byte of each line `ROOM` more can be read; where they are missing the buffer is copied.
    """

    ROOM: Final = 256  # what a reader may look at before it sees that it left the line: a key and the parts of a number
    __slots__ = ("buffer", "spans")

    def __init__(self, buffer: bytes | memoryview, spans: NDArray[np.int64]) -> None:
        if spans.size:
            if not 0 <= spans.min() <= spans.max() <= len(buffer) or (spans[0] > spans[1]).any():
                raise ValueError("spans reach beyond the buffer")
            if spans.max() + self.ROOM > len(buffer):
                buffer = b"".join([buffer, bytes(self.ROOM)])
        self.buffer, self.spans = buffer, spans

    @classmethod
    def of(cls, lines: Sequence[bytes]) -> "Lines":
        """The same lines, in a buffer if they are not yet."""
        if isinstance(lines, cls):
            return lines
        ends = np.cumsum(np.fromiter(map(len, lines), dtype=np.int64, count=len(lines)) + 1) - 1
        begins = np.append(0, ends[:-1] + 1)[: len(ends)]
        return cls(b"\n".join([*lines, bytes(cls.ROOM)]), np.array([begins, ends]))

    @classmethod
    def joined(cls, parts: "Sequence[Lines]") -> "Lines":
        """All lines in one buffer; of one part it is the part itself."""
        if len(parts) == 1:
            return parts[0]
        starts = np.cumsum([0, *(len(part.buffer) for part in parts)])
        spans = [part.spans + start for part, start in zip(parts, starts.tolist(), strict=False)]
        return cls(b"".join(part.buffer for part in parts), np.concatenate([np.empty((2, 0), np.int64), *spans], 1))

    def __len__(self) -> int:
        return int(self.spans.shape[1])

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: "slice | NDArray[np.int64]") -> "Lines": ...
    def __getitem__(self, index: "int | slice | NDArray[np.int64]") -> "bytes | Lines":
        """A line, or some of them in the same buffer."""
        if isinstance(index, int):
            begin, end = self.spans[:, index].tolist()
            return bytes(self.buffer[begin:end])
        return Lines(self.buffer, self.spans[:, index])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Block:
    """Undecoded records of one source, in source order.

    ``lines[i]`` stands at ``positions[i]``, or at ``first_position + i`` when no positions are given: a line number
    from 1, or a topic offset. A record may hold line feeds (an object written over several lines). `Lines` are read
    where they lie; a list of lines is copied into one buffer first.
    """

    source: str
    first_position: int
    lines: Sequence[bytes]
    positions: Sequence[int] | NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that could not be used: where it stands, why, and its first bytes as evidence.

    ``reason`` is one of a fixed set, for all records are counted by it. What is the record's own is in ``detail``. A
    record of several lines may have several of these; its dead letter (`sinks.dead_letters`), where one was made, is
    the first one's ``letter``.
    """

    source: str
    position: int
    reason: str
    raw: bytes = b""
    detail: str = ""
    letter: bytes = b""


@dataclass(frozen=True, slots=True)
class Arrived:
    """When the records of one partition came: int64 arrays of shape (records,), all ascending.

    ``times`` (µs) is the latest broker time up to each record, ``positions`` its offset, and ``turns`` its place among
    the records of all partitions.
    """

    positions: NDArray[np.int64]
    times: NDArray[np.int64]
    turns: NDArray[np.int64]

    def of(self, values: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of ``times`` or ``turns``, those of the records at ``positions``."""
        found: NDArray[np.int64] = values[self.positions.searchsorted(positions)]
        return found


@dataclass(slots=True)
class Decoded:
    """What one block of records became. Every record of the block is in exactly one place.

    ``filtered`` counts records that are valid but carry nothing to score, by (log, reason). ``notes`` counts values
    that were mended in records that were kept, by (log, what was done); it is no part of the sum. ``arrived`` is there
    when it is known in which order rows came; else they came in order of observation time.
    """

    flows: pl.DataFrame = field(default_factory=_NO_FLOWS.clone)
    operations: pl.DataFrame = field(default_factory=_NO_OPERATIONS.clone)
    rejects: list[Reject] = field(default_factory=list)
    filtered: Counter[tuple[str, str]] = field(default_factory=Counter)
    notes: Counter[tuple[str, str]] = field(default_factory=Counter)
    arrived: Arrived | None = None

    @property
    def rows(self) -> int:
        """Records accounted for."""
        return self.flows.height + self.operations.height + len(self.rejects) + self.filtered.total()


def merge(parts: Iterable[Decoded]) -> Decoded:
    """The parts as one, in order; when each arrived is lost."""
    parts = list(parts)
    if len(parts) == 1:
        return parts[0]
    merged = Decoded()
    if parts:
        merged.flows = pl.concat([merged.flows, *(part.flows for part in parts)])
        merged.operations = pl.concat([merged.operations, *(part.operations for part in parts)])
    for part in parts:
        merged.rejects += part.rejects
        merged.filtered += part.filtered
        merged.notes += part.notes
    return merged
