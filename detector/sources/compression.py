"""What producers compress a Kafka record batch with, undone by the libraries kafka-python uses, up to a bound."""

import struct
import zlib
from collections.abc import Callable
from functools import cached_property
from typing import Final

import numpy as np
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


class Unpacked:
    """Bytes that come one behind the other, in memory that grows. ``size`` of them are there.

    Args:
        room: that there is from the first; memory that is not written is not had.
    """

    def __init__(self, room: int = 0) -> None:
        self.memory = np.empty(room, dtype=np.uint8)
        self.size = 0

    @cached_property
    def zstd(self) -> zstandard.ZstdDecompressor:
        """For all frames: its tables are large, and a new one's are in no cache."""
        return zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX)

    def free(self, least: int) -> memoryview:
        """Where the next bytes go: room for so many, perhaps for more. Who writes there adds to ``size``."""
        if self.size + least > len(self.memory):
            grown = np.empty(max(self.size + least, len(self.memory) * 3 // 2), dtype=np.uint8)
            grown[: self.size] = self.memory[: self.size]
            self.memory = grown
        return memoryview(self.memory)[self.size :]  # type: ignore[arg-type]

    def add(self, part: bytes | memoryview) -> None:
        """The next bytes."""
        self.free(len(part))[: len(part)] = part
        self.size += len(part)

    def view(self, room: int) -> memoryview:
        """All of them, and ``room`` zeros behind them."""
        self.free(room)[:room] = bytes(room)
        return memoryview(self.memory)[: self.size + room].toreadonly()  # type: ignore[arg-type]


def unpack(code: int, payload: bytes, room: int, out: Unpacked) -> None:
    """Add the records of a compressed batch, at most ``room`` bytes.

    Raises:
        MissingLibrary: says what to install.
        ValueError: damaged, of an unknown code, or more than ``room`` bytes come out. What came then is taken back.
    """
    if code not in _UNDO:
        raise ValueError(f"compression {code} is not known")
    name, library, undo = _UNDO[code]
    if library is not None and getattr(libraries, library) is None:
        raise MissingLibrary(f"a topic is compressed with {name}: pip install 'kafka-python[{name}]'")
    before = out.size
    try:
        undo(payload, room + 1, out)
        if out.size - before > room:
            raise ValueError(f"becomes more than {room} bytes, too many")
    except (EOFError, RuntimeError, ValueError, struct.error, zlib.error, zstandard.ZstdError) as problem:
        out.size = before
        raise ValueError(f"{name} data: {problem}") from None


def plain(code: int, payload: bytes, room: int) -> bytes:
    """What `unpack` adds."""
    out = Unpacked()
    unpack(code, payload, room, out)
    return bytes(out.view(0))


def _gunzip(payload: bytes, most: int, out: Unpacked) -> None:
    """gzip may hold several members, with zeros between them."""
    end = out.size + most
    while payload and out.size < end:
        decoder = zlib.decompressobj(wbits=31)
        out.add(decoder.decompress(payload, end - out.size))
        if not decoder.eof and out.size < end:
            raise EOFError("cut off")
        payload = decoder.unused_data.lstrip(b"\x00")


def _unlz4(payload: bytes, most: int, out: Unpacked) -> None:
    decoder = libraries.lz4.LZ4FrameDecompressor()
    step, end = max(len(payload) * _STEP_RATIO, _STEP_MIN), out.size + most
    while out.size < end and not decoder.eof:
        part = decoder.decompress(payload, max_length=min(step, end - out.size))
        if not part and not decoder.eof:
            raise EOFError("cut off")
        out.add(part)
        payload = b""


def _unzstd(payload: bytes, most: int, out: Unpacked) -> None:
    """A frame that is cut off gives what there is of it; its records do not fill the batch then."""
    step, end = max(len(payload) * _STEP_RATIO, _STEP_MIN), out.size + most
    with out.zstd.stream_reader(payload, read_across_frames=True) as reader:
        while out.size < end:
            left = min(step, end - out.size)
            came = reader.readinto(out.free(left)[:left])
            if not came:
                break
            out.size += came


def _unsnappy(payload: bytes, most: int, out: Unpacked) -> None:
    """A block says how long it becomes, so a bomb is known before it goes off."""
    blocks = _xerial_blocks(payload) if payload.startswith(_XERIAL) else [payload]
    promised = sum(_snappy_length(block) for block in blocks)
    if promised >= most:
        raise ValueError(f"becomes {promised} bytes, too many")
    try:
        for block in blocks:
            out.add(libraries.snappy.decompress(block))
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


_UNDO: Final[dict[int, tuple[str, str | None, Callable[[bytes, int, Unpacked], None]]]] = {
    GZIP: ("gzip", None, _gunzip),
    SNAPPY: ("snappy", "snappy", _unsnappy),
    LZ4: ("lz4", "lz4", _unlz4),
    ZSTD: ("zstd", "zstd", _unzstd),
}
