"""Bytes into records: lines, or the objects of a JSON array, each with the line it begins on."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detector.records import Lines
from detector.state.wide import places

RECORD_LIMIT: Final = (1 << 20) + 1
"""Bytes of a record that are kept: one more than the decoder accepts, so that it says "too long"."""

Record = tuple[int, bytes]
"""Line number (from 1) and bytes, without the line feed at the end."""


_FEED: Final = ord("\n")


def lines(chunks: Iterable[bytes], most: int) -> Iterator[Lines]:
    """The lines of a stream, ``most`` at a time and the rest at last; an overlong one is cut, its rest is passed over.

    What is kept of the stream is a block, and of a line that goes on no more than `RECORD_LIMIT`.
    """
    block = _Block()
    for chunk in chunks:
        block.add(chunk)
        while block.complete >= most:
            yield block.take(most)
    if block.complete:
        yield block.take(block.complete)
    if block.open:
        yield block.rest()


@dataclass(slots=True)
class _Block:
    """Bytes that were not given yet.

    Args:
        complete: lines.
        open: bytes of the line behind them.
        parts: all bytes.
        feeds: where lines end, from the first byte of all parts on.
        size: of all parts.
    """

    complete: int = 0
    open: int = 0
    parts: list[bytes] = field(default_factory=list)
    feeds: list[NDArray[np.int64]] = field(default_factory=list)
    size: int = 0

    def add(self, chunk: bytes) -> None:
        """The next bytes of the stream."""
        feeds = places(chunk, _FEED)
        first = int(feeds[0]) if len(feeds) else len(chunk)
        too_many = min(max(self.open + first - RECORD_LIMIT, 0), first)
        if too_many:
            chunk, feeds = chunk[: first - too_many] + chunk[first:], feeds - too_many
        if chunk:
            self.parts.append(chunk)
            self.feeds.append(feeds + self.size)
        self.complete += len(feeds)
        self.size += len(chunk)
        self.open = len(chunk) - 1 - int(feeds[-1]) if len(feeds) else self.open + len(chunk)

    def take(self, count: int) -> Lines:
        """The first lines, which are complete."""
        buffer, ends = b"".join(self.parts), np.concatenate(self.feeds)
        taken, left = ends[:count], ends[count:]
        after = int(taken[-1]) + 1
        self.parts, self.feeds, self.size = [buffer[after:]], [left - after], len(buffer) - after
        self.complete -= count
        return Lines(buffer, np.array([np.append(0, taken[:-1] + 1), taken]))

    def rest(self) -> Lines:
        """The line that no line feed ended."""
        return Lines.of([b"".join(self.parts)[:RECORD_LIMIT]])


_MARKS: Final = re.compile(rb'["\\{}\n]')


class Objects:
    """A brace scanner: objects over several lines, in an array, joined by commas, or one after the other.

    What stands between objects and is neither white space, comma nor bracket becomes a record of its own, for
    the decoder to reject. A line that starts like the first object's first line begins a new object even when
    a brace is missing before it: a broken record does not swallow those behind it.
    """

    def __init__(self) -> None:
        self._line = 1  # of the next byte
        self._start = 0  # line the open record began on
        self._record = bytearray()
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self._column = bytearray()  # the current line up to the mark, as far as it is white space
        self._indent: bytes | None = None  # white space before the first object that starts a line

    def feed(self, chunk: bytes) -> list[Record]:
        """The records that end in this chunk."""
        found: list[Record] = []
        done = 0
        for mark in _MARKS.finditer(chunk):
            at = mark.start()
            self._plain(chunk[done:at])
            done = at + 1
            self._mark(chunk[at:done], found)
        self._plain(chunk[done:])
        return found

    def close(self) -> list[Record]:
        """What is left at the end of the stream: a record that was cut off, or rubbish."""
        found: list[Record] = []
        self._emit(found)
        return found

    def _plain(self, text: bytes) -> None:
        if not text:
            return
        if self._escaped:
            self._escaped = False
        if self._column is not None:
            self._column += text[:64]
        self._add(text)

    def _add(self, text: bytes) -> None:
        if not self._record:
            text = text.lstrip(b" \t\r\n,[]") if self._depth == 0 else text
            if not text:
                return
            self._start = self._line
        if len(self._record) < RECORD_LIMIT:
            self._record += text

    def _mark(self, mark: bytes, found: list[Record]) -> None:
        if mark == b"\n":
            self._newline(found)
            return
        starts_line = not self._column.strip()
        indent = bytes(self._column)
        self._column += mark
        if mark == b"{" and starts_line and self._depth and indent == self._indent:
            self._emit(found)
        if self._escaped:
            self._escaped = False
            self._add(mark)
        elif self._quoted:
            self._escaped = mark == b"\\"
            self._quoted = mark != b'"'
            self._add(mark)
        elif mark == b'"':
            self._quoted = self._depth > 0
            self._add(mark)
        elif mark == b"{":
            self._open(indent if starts_line else None, found)
        elif mark == b"}":
            self._shut(found)
        else:
            self._add(mark)

    def _open(self, indent: bytes | None, found: list[Record]) -> None:
        if self._depth == 0:
            self._emit(found)
            if self._indent is None:
                self._indent = indent
        self._depth += 1
        self._add(b"{")

    def _shut(self, found: list[Record]) -> None:
        self._add(b"}")
        if self._depth:
            self._depth -= 1
            if self._depth == 0:
                self._emit(found)

    def _newline(self, found: list[Record]) -> None:
        if self._depth == 0:
            self._emit(found)
        elif self._record:
            self._add(b"\n")
        self._line += 1
        self._column = bytearray()
        self._escaped = False

    def _emit(self, found: list[Record]) -> None:
        record = bytes(self._record).strip(b" \t\r\n,[]" if self._depth == 0 else b" \t\r\n,")
        if record:
            found.append((self._start, record))
        self._record = bytearray()
        self._depth = 0
        self._quoted = self._escaped = False


def objects(chunks: Iterable[bytes]) -> Iterator[list[Record]]:
    """The JSON objects of a stream, a list for each chunk."""
    scanner = Objects()
    for chunk in chunks:
        yield scanner.feed(chunk)
    yield scanner.close()


def looks_like_objects(head: bytes) -> bool:
    """Whether a stream is JSON that is not one object a line: an array, indented, or comma-joined."""
    first = head.lstrip()[:RECORD_LIMIT].partition(b"\n")[0].strip()
    return first[:1] == b"[" or first == b"{" or (first[:1] == b"{" and first[-2:] == b"},")
