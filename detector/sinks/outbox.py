"""What the engine tells, as a durable sequence of numbered records; every sink reads it at its own pace.

The engine's output is a pure function of its input. So after a crash, going on from a checkpoint makes the same
records again: the outbox compares them with what it has and keeps what it has (`rewind`). A sink hears of a record
only when it is on the disk (`sync`), and says how far it got in a `Cursor`; what all have is let go (`release`).

Records lie in segments, files that are named after their first record. When the outbox is opened, the beginning of a
record that a crash left at the end is cut off. Damage anywhere else ends the sequence there: what stands behind it is
moved to ``aside``, for people to look at, and is made again by going on from a checkpoint before the damage.
"""

import fcntl
import os
import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from detector.errors import FolderInUse, StorageFailed
from detector.sinks.cursors import cursors
from detector.sinks.segments import HEADER, Record, frame, records, torn
from detector.state.stores import FILE_MODE, make_folder, storage, sweep, sync_folder, write_whole

SEGMENT_BYTES: Final = 16 << 20  # a segment is let go as a whole
LIMIT_BYTES: Final = 2 << 30  # a day of 1,500 alerts of 1 kB a minute
READ_BYTES: Final = 8 << 20  # payloads handed over at once, a record at least
_MARK_EVERY: Final = 256  # records; a reader begins at the mark before what it wants
_MISMATCHES: Final = 16  # kept to be shown
_SEGMENT: Final = re.compile(r"\d{20}\.segment")


class Mismatch(NamedTuple):
    """A record that was made again and is not the same: what is stored, which stays, and what was made."""

    stored: Record
    made: Record


@dataclass(slots=True)
class Counts:
    """What happened since the outbox was opened."""

    appended: int = 0
    repeated: int = 0  # made again after a crash, the same
    mismatched: int = 0  # made again, and not the same
    unknown: int = 0  # made again, and no longer stored, so that there is nothing to compare with
    torn_bytes: int = 0  # cut off at the end
    damaged_bytes: int = 0  # moved aside
    lost: int = 0  # numbers that `rewind` left out, since what stood there is gone


@dataclass(slots=True)
class _Segment:
    path: Path
    first: int
    end: int  # number behind its last record
    size: int = len(HEADER)
    marks: list[int] = field(default_factory=list)  # offset of each `_MARK_EVERY`th record

    def add(self, size: int) -> None:
        """A frame of that size stands behind the others."""
        if (self.end - self.first) % _MARK_EVERY == 0:
            self.marks.append(self.size)
        self.size += size
        self.end += 1

    def read(self, sequence: int, stop: int) -> Iterator[Record]:
        """Records from ``sequence`` to before ``stop``, both within the segment.

        Raises:
            StorageFailed: one is no longer what was written.
        """
        mark, last = (sequence - self.first) // _MARK_EVERY, (stop - self.first) // _MARK_EVERY + 1
        begin = self.marks[mark]
        until = self.marks[last] if last < len(self.marks) else self.size
        with storage(f"cannot read {self.path}"), self.path.open("rb") as file:
            file.seek(begin)
            content = file.read(until - begin)
        number = self.first + mark * _MARK_EVERY
        for record, _ in records(content, 0, number):
            if record.sequence == stop:
                return
            number += 1
            if record.sequence >= sequence:
                yield record
        if number < stop:
            raise StorageFailed(f"{self.path}: record {number} is damaged; start again to move it aside")


class Outbox:
    """A sequence of records on disk. One process has it; one thread of it appends, others may read.

    Args:
        folder: for this outbox alone; made when it is missing.
        segment_bytes: a segment that has so many is ended.
        limit_bytes: what `fill` is a share of. The service pauses when it is full; what is told still finds a place.

    Raises:
        FolderInUse: another process has it.
        StorageFailed: the folder cannot be used.
    """

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder, self.segment_bytes, self.limit_bytes = folder, segment_bytes, limit_bytes
        self.counts = Counts()
        self.mismatches: deque[Mismatch] = deque(maxlen=_MISMATCHES)
        self._guard = threading.RLock()
        self._segments: list[_Segment] = []
        self._stored: Iterator[Record] = iter(())  # to compare with what is made again
        self._peeked: Record | None = None
        self._file = -1  # the last segment
        self._dirty = False  # an fsync failed; what it was to bring to the disk may be nowhere but in memory
        with storage(f"cannot use the outbox {folder}"):
            make_folder(folder)
            self._lock = _locked(folder)
            try:
                sweep(folder)
                self._recover()
            except BaseException:
                self.close()
                raise
        self.next = self.durable = self.end

    next: int  #: number of the record that is told next
    durable: int  #: records before this number are on the disk

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the folder to others. What was not synced is as after a crash."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    @property
    def first(self) -> int:
        """Number of the oldest record that is stored."""
        return self._segments[0].first if self._segments else 0

    @property
    def end(self) -> int:
        """Number behind the newest record that is stored."""
        return self._segments[-1].end if self._segments else 0

    @property
    def fill(self) -> float:
        """Bytes on disk as a share of the limit."""
        with self._guard:
            return sum(segment.size for segment in self._segments) / self.limit_bytes

    # --- writing ---

    def append(self, kind: str, payload: bytes) -> int:
        """Store the next record, or compare it when it is stored already; returns its number.

        Raises:
            StorageFailed: it is not stored, and the same call may succeed later.
            ValueError: see `segments.frame`.
        """
        record = Record(self.next, kind, payload)
        content = frame(record)
        with self._guard:
            if record.sequence < self.end:
                self._compare(record)
            else:
                self._store(content)
            self.next += 1
        return record.sequence

    def sync(self) -> None:
        """Bring all that was appended to the disk; only then `read` gives it.

        Raises:
            StorageFailed: it may not be there; call it again.
        """
        with self._guard, storage(f"cannot write the outbox {self.folder}"):
            if self.durable < self.end:
                self._sync_file()
                self.durable = self.end

    def rewind(self, sequence: int) -> None:
        """Records from this number on will be made again. A number behind the end begins a gap, counted as lost.

        Raises:
            StorageFailed: a gap could not be written.
        """
        with self._guard:
            if sequence > self.end:
                gap = sequence - self.end
                with storage(f"cannot write the outbox {self.folder}"):
                    self._begin(sequence)
                self.counts.lost += gap
                self.durable = sequence
            self.next = sequence
            self._stored = self._from(sequence, self.end)
            self._peeked = next(self._stored, None)

    def release(self, floor: int) -> None:
        """Remove whole segments that nobody needs: those that all readers with a cursor are done with, and whose
        records will not be made again.

        Args:
            floor: `Checkpoints.outbox_floor`.

        Raises:
            StorageFailed: some are left.
        """
        needed = min([floor, self.next, *cursors(self.folder).values()])
        with self._guard, storage(f"cannot remove from the outbox {self.folder}"):
            while len(self._segments) > 1 and self._segments[0].end <= needed:  # the last one tells the number
                self._segments[0].path.unlink(missing_ok=True)
                del self._segments[0]

    def _store(self, content: bytes) -> None:
        with storage(f"cannot write the outbox {self.folder}"):
            if not self._segments or self._full(self._segments[-1]):
                self._begin(self.end)
            segment = self._segments[-1]
            try:
                _write_at(self._file, content, segment.size)
            except OSError:
                with suppress(OSError):  # then the next record goes over it
                    os.ftruncate(self._file, segment.size)
                raise
            segment.add(len(content))
        self.counts.appended += 1

    def _full(self, segment: _Segment) -> bool:
        return segment.end > segment.first and segment.size >= self.segment_bytes

    def _begin(self, first: int) -> None:
        """A new segment, from which on nothing before it is written."""
        if self._segments:
            self._sync_file()
            self.durable = self.end
        segment = _Segment(self.folder / f"{first:020d}.segment", first, first)
        write_whole(segment.path, HEADER)
        file = os.open(segment.path, os.O_RDWR)
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        self._segments.append(segment)

    def _sync_file(self) -> None:
        """fsync(2), which tells of an error once and takes the pages for written then: after one they are written
        again (wiki.postgresql.org/wiki/Fsync_Errors)."""
        segment = self._segments[-1]
        try:
            if self._dirty:
                _write_at(self._file, os.pread(self._file, segment.size, 0), 0)
            os.fsync(self._file)
        except OSError:
            self._dirty = True
            raise
        self._dirty = False

    def _compare(self, record: Record) -> None:
        stored = self._peeked
        if stored is None or stored.sequence > record.sequence:
            self.counts.unknown += 1
            return
        if stored == record:
            self.counts.repeated += 1
        else:
            self.counts.mismatched += 1
            self.mismatches.append(Mismatch(stored, record))
        self._peeked = next(self._stored, None)

    # --- reading ---

    def read(self, sequence: int, limit: int) -> list[Record]:
        """Durable records from a number on, as many as the limit and `READ_BYTES` allow. Numbers that are no longer
        stored are left out, so look at the records' own.

        Raises:
            StorageFailed: the disk, or a record on it, is damaged.
        """
        found: list[Record] = []
        size = 0
        for record in self._from(sequence, self.durable, limit):
            size += len(record.payload)
            if found and size > READ_BYTES:
                break
            found.append(record)
            if len(found) == limit:
                break
        return found

    def _from(self, sequence: int, stop: int, limit: int | None = None) -> Iterator[Record]:
        """Records between two numbers. No more than the limit are read from a segment."""
        with self._guard:
            segments = [segment for segment in self._segments if segment.end > sequence and segment.first < stop]
        for segment in segments:
            begin = max(sequence, segment.first)
            until = min(segment.end, stop, stop if limit is None else begin + limit)
            if begin < until:
                yield from segment.read(begin, until)

    # --- opening ---

    def _recover(self) -> None:
        paths = sorted(path for path in self.folder.iterdir() if _SEGMENT.fullmatch(path.name))
        for index, path in enumerate(paths):
            if int(path.stem) < self.end:
                self._move_aside(paths[index:])  # no name that was given here
                break
            content = path.read_bytes()
            segment = _scanned(path, content)
            self._segments.append(segment)
            whole = segment.size if content.startswith(HEADER) else 0
            if 0 < whole == len(content):
                continue
            if path == paths[-1] and torn(content, whole):
                self.counts.torn_bytes += len(content) - whole
                _cut(segment, whole)
            else:
                self._move_aside(paths[index + 1 :])
                self._copy_aside(segment, content[whole:])
                _cut(segment, whole)
                break
        if self._segments:
            self._file = os.open(self._segments[-1].path, os.O_RDWR)
            os.fsync(self._file)  # a process that was killed may not have

    def _move_aside(self, paths: list[Path]) -> None:
        """The last one first: after a crash in between, the rest is found again."""
        for path in reversed(paths):
            self.counts.damaged_bytes += path.stat().st_size
            path.rename(self._free(path.name))
        sync_folder(self.folder)

    def _copy_aside(self, segment: _Segment, rest: bytes) -> None:
        self.counts.damaged_bytes += len(rest)
        write_whole(self._free(f"{segment.end:020d}.rest"), rest)

    def _free(self, name: str) -> Path:
        """A path in ``aside`` that nothing has."""
        folder = self.folder / "aside"
        make_folder(folder)
        number = 0
        while (path := folder / (f"{name}.{number}" if number else name)).exists():
            number += 1
        return path


def _scanned(path: Path, content: bytes) -> _Segment:
    """A segment as far as it is sound."""
    segment = _Segment(path, int(path.stem), int(path.stem))
    if content.startswith(HEADER):
        for _, end in records(content, segment.size, segment.first):
            segment.add(end - segment.size)
    return segment


def _cut(segment: _Segment, whole: int) -> None:
    """End a file behind its sound part; one without its first line becomes an empty segment."""
    if not whole:
        write_whole(segment.path, HEADER)
        return
    with segment.path.open("rb+") as file:
        file.truncate(whole)
        os.fsync(file.fileno())


def _locked(folder: Path) -> int:
    """A descriptor that has the folder to itself (flock(2)) until it is closed, by whatever end of this process."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise FolderInUse(f"another process writes to {folder}; end it, or name another folder") from None
    return descriptor


def _write_at(descriptor: int, content: bytes, offset: int) -> None:
    """Write all of it: a single pwrite(2) may take less."""
    rest = memoryview(content)
    while rest:
        taken = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[taken:], offset + taken
