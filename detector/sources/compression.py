"""What producers compress a Kafka record batch with, undone by the libraries kafka-python uses, up to a bound."""

import struct
import zlib
from collections.abc import Callable
from typing import Final

import zstandard
from kafka import codec as libraries

from detector.errors import MissingLibrary

GZIP, SNAPPY, LZ4, ZSTD = range(1, 5)
"""Codes of the batch attributes (KIP-98, KIP-110); 0 is none."""

_STEP_RATIO: Final = 16  # flow logs shrink less than that: they come out in one step, a bomb in many
_STEP_MIN: Final = 1 << 16  # bytes
_ZSTD_WINDOW_MAX: Final = 1 << 27  # bytes of history a frame may ask for (zstd's own default limit)
_XERIAL: Final = b"\x82SNAPPY\x00"  # Java's framing of snappy blocks: this, two versions, then (length, block) pairs
_XERIAL_HEADER: Final = 16  # bytes
_LENGTH: Final = struct.Struct(">i")
_SNAPPY_LENGTH_BYTES: Final = 5  # of the varint a snappy block begins with


def plain(code: int, payload: bytes, room: int) -> bytes:
    """The records of a compressed batch, at most ``room`` bytes.

    Raises:
        MissingLibrary: says what to install.
        ValueError: damaged, of an unknown code, or more than ``room`` bytes come out.
    """
    if code not in _UNDO:
        raise ValueError(f"compression {code} is not known")
    name, library, undo = _UNDO[code]
    if library is not None and getattr(libraries, library) is None:
        raise MissingLibrary(f"a topic is compressed with {name}: pip install 'kafka-python[{name}]'")
    try:
        found = undo(payload, room + 1)
    except (EOFError, RuntimeError, ValueError, struct.error, zlib.error, zstandard.ZstdError) as problem:
        raise ValueError(f"{name} data: {problem}") from None
    if len(found) > room:
        raise ValueError(f"{name} data: becomes more than {room} bytes, too many")
    return found


def _gunzipped(payload: bytes, most: int) -> bytes:
    """gzip may hold several members, with zeros between them."""
    parts, size = [], 0
    while payload and size < most:
        decoder = zlib.decompressobj(wbits=31)
        parts.append(decoder.decompress(payload, most - size))
        size += len(parts[-1])
        if not decoder.eof and size < most:
            raise EOFError("cut off")
        payload = decoder.unused_data.lstrip(b"\x00")
    return b"".join(parts)


def _unlz4(payload: bytes, most: int) -> bytes:
    decoder = libraries.lz4.LZ4FrameDecompressor()
    step = max(len(payload) * _STEP_RATIO, _STEP_MIN)
    parts, size = [], 0
    while size < most and not decoder.eof:
        parts.append(decoder.decompress(payload, max_length=min(step, most - size)))
        if not parts[-1] and not decoder.eof:
            raise EOFError("cut off")
        payload, size = b"", size + len(parts[-1])
    return b"".join(parts)


def _unzstd(payload: bytes, most: int) -> bytes:
    """A frame that is cut off gives what there is of it; its records do not fill the batch then."""
    decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX)
    step = max(len(payload) * _STEP_RATIO, _STEP_MIN)
    parts, size = [], 0
    with decoder.stream_reader(payload, read_across_frames=True) as reader:
        while size < most and (part := reader.read(min(step, most - size))):
            parts.append(part)
            size += len(part)
    return b"".join(parts)


def _unsnappy(payload: bytes, most: int) -> bytes:
    """A block says how long it becomes, so a bomb is known before it goes off."""
    blocks = _xerial_blocks(payload) if payload.startswith(_XERIAL) else [payload]
    promised = sum(_snappy_length(block) for block in blocks)
    if promised >= most:
        raise ValueError(f"becomes {promised} bytes, too many")
    try:
        return b"".join(libraries.snappy.decompress(block) for block in blocks)
    except libraries.snappy.UncompressError:
        raise ValueError("not snappy") from None


def _xerial_blocks(payload: bytes) -> list[bytes]:
    blocks, at = [], _XERIAL_HEADER
    while at < len(payload):
        (length,) = _LENGTH.unpack_from(payload, at)
        at += _LENGTH.size
        if not 0 <= length <= len(payload) - at:
            raise ValueError("a block does not fit")
        blocks.append(payload[at : at + length])
        at += length
    return blocks


def _snappy_length(block: bytes) -> int:
    value = 0
    for index, byte in enumerate(block[:_SNAPPY_LENGTH_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:  # the last one
            return value
    raise ValueError("a block without length")


_UNDO: Final[dict[int, tuple[str, str | None, Callable[[bytes, int], bytes]]]] = {
    GZIP: ("gzip", None, _gunzipped),
    SNAPPY: ("snappy", "snappy", _unsnappy),
    LZ4: ("lz4", "lz4", _unlz4),
    ZSTD: ("zstd", "zstd", _unzstd),
}
