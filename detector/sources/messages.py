"""A stream of length-delimited protobuf messages, as goflow2 writes it to a file with ``-format=bin``."""

from collections.abc import Iterable, Iterator
from typing import Final

from detector.sources.framing import RECORD_LIMIT, Record

MESSAGE_LIMIT: Final = 1_000_000
"""Bytes of one message; goflow2 and Kafka stop there by default. A longer length means lost boundaries."""

_LENGTH_BYTES: Final = 3  # of a varint up to MESSAGE_LIMIT
_MORE: Final = 0x80  # the continuation bit of a varint
_TYPE_FIELD: Final = 0x08  # tag of goflow2's first field, the kind of exporter
_TYPES: Final = range(1, 5)


def messages(chunks: Iterable[bytes]) -> Iterator[list[Record]]:
    """The messages of a stream, numbered from 1, a list for each chunk.

    Nothing marks where a message begins: after a length that cannot be one, the next bytes become a last
    record, for the decoder to reject. So does a message that the end of the stream cuts off.
    """
    number, rest = 1, b""
    for chunk in chunks:
        rest += chunk
        found, used, lost = _cut(rest)
        rest = rest[used:]
        yield list(enumerate(found, number))
        number += len(found)
        if lost:
            break
    if rest:
        yield [(number, rest[:RECORD_LIMIT])]


def _cut(piece: bytes) -> tuple[list[bytes], int, bool]:
    """(whole messages, bytes they took with their lengths, whether no further message can be found)."""
    found: list[bytes] = []
    used = 0
    while used < len(piece):
        length, start = _length(piece, used)
        if length is None:
            return found, used, len(piece) - used >= _LENGTH_BYTES
        if not 0 < length <= MESSAGE_LIMIT:
            return found, used, True
        if start + length > len(piece):
            break
        found.append(piece[start : start + length])
        used = start + length
    return found, used, False


def _length(piece: bytes, start: int) -> tuple[int | None, int]:
    """(varint at ``start``, where it ends); None when it is longer than a length, or cut off."""
    value = 0
    for index in range(start, min(start + _LENGTH_BYTES, len(piece))):
        value |= (piece[index] & ~_MORE) << 7 * (index - start)
        if piece[index] < _MORE:
            return value, index + 1
    return None, start


def looks_like_messages(head: bytes) -> bool:
    """Whether a file starts with a message of goflow2: a length, then the kind of exporter as first field."""
    found, _, _ = _cut(head)
    return bool(found) and len(found[0]) > 1 and found[0][0] == _TYPE_FIELD and found[0][1] in _TYPES
