"""A file of numbered records that can be read after any crash.

A segment is a line that names the format, then frames: four bytes that mark a beginning, length of the body, CRC-32
(zlib.crc32, RFC 1952 section 8) over length, number and body, number, body. All integers are little-endian. The body
is the record's kind, a line feed, and its bytes. The number is in the checksum, so a frame counts only where it
belongs.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

HEADER: Final = b"eastwest outbox, format 1\n"
BODY_LIMIT: Final = 16 << 20  # bytes; what is longer is no alert, and a length beyond it is damage
_FRAME: Final = struct.Struct("<4sIIQ")  # mark, length, checksum, number
_MARK: Final = b"\xe5\xf7\x0b\xd1"  # no UTF-8: text never looks like a beginning
_SUMMED: Final = struct.Struct("<IQ")


class Record(NamedTuple):
    """A record of the outbox: its number, what it is (``alert``, ``dead_letter``, ...), and its bytes."""

    sequence: int
    kind: str
    payload: bytes


def frame(record: Record) -> bytes:
    """A record as it is stored.

    Raises:
        ValueError: it is longer than `BODY_LIMIT`, or its kind is no word.
    """
    if not (record.kind.isascii() and record.kind.isidentifier()):
        raise ValueError(f"no kind of a record: {record.kind!r}")
    body = record.kind.encode() + b"\n" + record.payload
    if len(body) > BODY_LIMIT:
        raise ValueError(f"a record of {len(body)} bytes is longer than {BODY_LIMIT}")
    return _FRAME.pack(_MARK, len(body), _checksum(record.sequence, body), record.sequence) + body


def records(content: bytes, offset: int, sequence: int) -> Iterator[tuple[Record, int]]:
    """Records from an offset on, the first of which has the number ``sequence``, each with the offset behind it; as
    far as they are what was written."""
    while body := _body(content, offset, sequence):
        offset += _FRAME.size + len(body)
        kind, _, payload = body.partition(b"\n")
        yield Record(sequence, kind.decode(), payload), offset
        sequence += 1


def torn(content: bytes, offset: int) -> bool:
    """Whether what stands at the offset, where no record can be read, is what a killed writer leaves: the beginning
    of a record, or of the segment, or the zeros of a file that got its length before its content. Otherwise it is
    damage."""
    rest = content[offset:]
    if not rest.strip(b"\0"):
        return True
    if offset < len(HEADER):
        return HEADER.startswith(rest)
    if any(_believable(rest, at) for at in _marks(rest)):
        return False
    if len(rest) < _FRAME.size:
        return rest.startswith(_MARK[: len(rest)])
    mark, length, _, _ = _FRAME.unpack_from(rest)
    return bool(mark == _MARK and len(rest) - _FRAME.size < length <= BODY_LIMIT)


def _marks(rest: bytes) -> Iterator[int]:
    at = rest.find(_MARK, 1)
    while at >= 0:
        yield at
        at = rest.find(_MARK, at + 1)


def _believable(content: bytes, offset: int) -> bool:
    """Whether a whole record stands there, whatever its number."""
    if len(content) < offset + _FRAME.size:
        return False
    return _body(content, offset, _FRAME.unpack_from(content, offset)[3]) is not None


def _body(content: bytes, offset: int, sequence: int) -> bytes | None:
    if len(content) < offset + _FRAME.size:
        return None
    mark, length, checksum, number = _FRAME.unpack_from(content, offset)
    if mark != _MARK or number != sequence or length > BODY_LIMIT:
        return None
    body = content[offset + _FRAME.size : offset + _FRAME.size + length]
    return body if len(body) == length and _checksum(sequence, body) == checksum else None


def _checksum(sequence: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(_SUMMED.pack(len(body), sequence)))
