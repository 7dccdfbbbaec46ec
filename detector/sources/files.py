"""Files and folders as a source: every log in them, plain, gzip or zstd, line by line with line numbers."""

import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

import zstandard

from detector.errors import StorageFailed, UnreadableInput
from detector.records import Block, Reject
from detector.sources import framing
from detector.sources.kinds import HEAD, PARQUET, kind
from detector.sources.messages import looks_like_messages, messages
from detector.sources.objects import Object, is_url
from detector.sources.objects import walk as objects

CHUNK: Final = 1 << 18
"""Bytes read or decompressed at once; bounds what a decompression bomb can make of us."""
DRILL_MARKER: Final = "EASTWEST-DRILL.txt"
"""A folder with this file in it holds attacks that were made up; who reads a folder above it does not read them."""
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_WINDOW_MAX: Final = 1 << 27  # bytes of history a frame may ask for (zstd's own default limit)
_ZSTD_PIECE: Final = 1 << 10  # bytes; a block of 128 KiB may be coded in four, so at most 32 MiB come of it
BLOCK_LINES: Final = 8192
"""Lines of a block; larger blocks decode little faster and hold more memory."""

File = Path | Object
"""Of this host, or of a store."""


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that is no log, and what to do about it."""

    path: str
    reason: str


class Files:
    """The logs under some paths, in sorted order, as blocks of lines.

    Args:
        paths: files, or folders that are walked; hidden files, and drills within them, are passed over. URLs name
            objects, see `sources.objects`.
        block_lines: records of a block.

    While the blocks are iterated, ``skipped`` and ``problems`` fill (a damaged compressed file: one reject
    each) and ``bytes_read`` of ``bytes_total`` (as stored on disk) tells the progress. ``parquet`` lists the
    Parquet files among the skipped ones, for a reader that takes whole files.

    Raises:
        UnreadableInput: a path does not exist.
    """

    def __init__(self, paths: Sequence[str | File], block_lines: int = BLOCK_LINES) -> None:
        self.block_lines = block_lines
        self.files = [file for path in paths for file in walk(path)]
        self.skipped: list[SkippedFile] = []
        self.parquet: list[File] = []
        self.problems: list[Reject] = []
        self.bytes_read = 0
        self.bytes_total = sum(size_of(file) for file in self.files)

    @property
    def paths(self) -> list[Path]:
        """Those of the files that are on this host."""
        return [file for file in self.files if isinstance(file, Path)]

    def __iter__(self) -> Iterator[Block]:
        """The blocks of all files, one file after the other; a block's source is the path as given."""
        for file in self.files:
            yield from self.blocks(file)

    def blocks(self, file: File) -> Iterator[Block]:
        """The blocks of one file.

        Raises:
            StorageFailed: the store of an object does not answer.
        """
        reason = _irregular(file)
        if reason is not None:
            self.skipped.append(SkippedFile(str(file), reason))
            return
        before = self.bytes_read
        try:
            with file.open("rb") as opened:
                yield from self._opened(file, opened)
        except OSError as problem:
            if isinstance(file, Object):
                raise StorageFailed(f"cannot read {file}: {problem.strerror or problem}") from problem
            self.skipped.append(SkippedFile(str(file), f"cannot be read: {problem.strerror or problem}"))
        self.bytes_read = before + size_of(file)

    def _opened(self, file: File, opened: BinaryIO) -> Iterator[Block]:
        source, damage = str(file), _Damage()
        chunks = _decompressed(self._counted(opened), damage)
        head = b""
        for chunk in chunks:
            head += chunk
            if len(head) >= HEAD:
                break
        reason = kind(source, head) if head else ("empty file" if damage.reason is None else None)
        if reason is not None:
            self.skipped.append(SkippedFile(source, reason))
            if head.startswith(PARQUET):
                self.parquet.append(file)
            return
        last = 0
        for block in self._framed(source, head, chain([head], chunks)):
            yield block
            last = int(block.positions[-1]) if block.positions else block.first_position + len(block.lines) - 1
        if damage.reason is not None:
            self.problems.append(Reject(source, last + 1, damage.reason))

    def _framed(self, source: str, head: bytes, chunks: Iterator[bytes]) -> Iterator[Block]:
        if looks_like_messages(head):
            yield from self._blocked(source, messages(chunks))
        elif framing.looks_like_objects(head):
            yield from self._blocked(source, framing.objects(chunks))
        else:
            number = 1
            for lines in framing.lines(chunks, self.block_lines):
                yield Block(source, number, lines)
                number += len(lines)

    def _counted(self, opened: BinaryIO) -> Iterator[bytes]:
        while chunk := opened.read(CHUNK):
            self.bytes_read += len(chunk)
            yield chunk

    def _blocked(self, source: str, groups: Iterator[list[framing.Record]]) -> Iterator[Block]:
        waiting: list[framing.Record] = []
        for records in groups:
            waiting += records
            while len(waiting) >= self.block_lines:
                yield _block(source, waiting[: self.block_lines])
                waiting = waiting[self.block_lines :]
        if waiting:
            yield _block(source, waiting)


def _block(source: str, records: list[framing.Record]) -> Block:
    first, last = records[0][0], records[-1][0]
    lines = [line for _, line in records]
    consecutive = last - first == len(records) - 1 and all(
        number == at for at, (number, _) in enumerate(records, first)
    )
    return Block(source, first, lines, None if consecutive else [number for number, _ in records])


# --- walking ---


def walk(place: str | File) -> Iterator[File]:
    """The files of a path, or the objects of a URL, in an order that does not depend on the file system.

    Raises:
        UnreadableInput: there is nothing.
    """
    if isinstance(place, Object) or is_url(str(place)):
        yield from [place] if isinstance(place, Object) else objects(str(place))
        return
    path = Path(place)
    if path.is_dir():
        for folder, folders, names in os.walk(path):
            if DRILL_MARKER in names and Path(folder) != path:
                folders[:] = []
                continue
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))
    elif path.exists():
        yield path
    else:
        raise UnreadableInput(f"{path}: no such file or folder")


def chunks(file: Path, begin: int, end: int) -> Iterator[bytes]:
    """The bytes of a stretch of a file.

    Raises:
        StorageFailed: it cannot be read, or is shorter now.
    """
    try:
        with file.open("rb") as opened:
            opened.seek(begin)
            while (left := end - opened.tell()) > 0:
                if not (chunk := opened.read(min(left, CHUNK))):
                    raise StorageFailed(f"cannot read {file}: it was longer when this began")
                yield chunk
    except OSError as problem:
        raise StorageFailed(f"cannot read {file}: {problem.strerror or problem}") from problem


def size_of(file: File) -> int:
    """Bytes; 0 when it is gone."""
    try:
        return file.size if isinstance(file, Object) else file.stat().st_size
    except OSError:
        return 0


def _irregular(file: File) -> str | None:
    if isinstance(file, Object):
        return None
    try:
        mode = file.stat().st_mode
    except OSError as problem:
        return f"cannot be read: {problem.strerror or problem}"
    return None if stat.S_ISREG(mode) else "not a regular file"


# --- decompression ---


@dataclass(slots=True)
class _Damage:
    """What is wrong with a compressed stream, once that is known."""

    reason: str | None = None


def _decompressed(chunks: Iterator[bytes], damage: _Damage) -> Iterator[bytes]:
    """The plain bytes of a stream, by its first bytes and not by its name."""
    first = next(chunks, b"")
    stream = chain([first], chunks)
    if first.startswith(_GZIP):
        return _gunzipped(stream, damage)
    if first.startswith(_ZSTD):
        return _unzstd(stream, damage)
    return iter(stream) if first else iter(())


def _gunzipped(chunks: Iterator[bytes], damage: _Damage) -> Iterator[bytes]:
    """A gzip file may hold several members, one after the other (rotated files joined with cat)."""
    decoder = zlib.decompressobj(wbits=31)
    ended = False
    for chunk in chunks:
        data = chunk
        while data:
            if ended:
                data = data.lstrip(b"\x00")  # padding of tapes and of some writers
                if not data:
                    break
                decoder, ended = zlib.decompressobj(wbits=31), False
            try:
                plain = decoder.decompress(data, CHUNK)
            except zlib.error as problem:
                damage.reason = f"damaged gzip file, read up to here: {problem}"
                return
            if plain:
                yield plain
            ended = decoder.eof
            data = decoder.unused_data if ended else decoder.unconsumed_tail
    if not ended:
        yield decoder.flush()
        damage.reason = "gzip file is cut off, read up to here"


def _unzstd(chunks: Iterator[bytes], damage: _Damage) -> Iterator[bytes]:
    """A zstd file may hold several frames; small pieces bound what a bomb can make of one of them."""
    decoder = _frame_decoder()
    ended = False
    for chunk in chunks:
        data = chunk
        while data:
            if ended:
                decoder, ended = _frame_decoder(), False
            piece, data = data[:_ZSTD_PIECE], data[_ZSTD_PIECE:]
            try:
                plain = decoder.decompress(piece)
            except zstandard.ZstdError as problem:
                damage.reason = f"damaged zstd file, read up to here: {problem}"
                return
            if plain:
                yield plain
            ended = decoder.eof
            data = decoder.unused_data + data if ended else data
    if not ended:
        damage.reason = "zstd file is cut off, read up to here"


def _frame_decoder() -> "zstandard.ZstdDecompressionObj":
    return zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX).decompressobj()
