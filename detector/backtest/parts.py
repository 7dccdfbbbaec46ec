"""What a backtest reads, in parts: each is read by one worker, and gives the same rows whoever does it.

A part is some small logs, a stretch of a large one, or some row groups of a Parquet file. Where names of folders or the
statistics of row groups say that nothing in them was observed in the time that is asked for, they are passed over
unread.
"""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from detector.backtest.cuts import cuts
from detector.errors import UnreadableInput
from detector.formats.batch import Context
from detector.formats.statistics import Group, groups
from detector.normalize.spool import SPILL_ROWS
from detector.reading import Stretch
from detector.sources.files import File, size_of, walk
from detector.sources.kinds import PARQUET
from detector.sources.objects import Object

PART_BYTES: Final = 8 << 20  # of small logs that are read together
PART_ROWS: Final = SPILL_ROWS  # of row groups: as many as become one sorted file
_FOOTERS: Final = 16  # read at once; of objects each takes some round trips
_DAY: Final = timedelta(days=1)
_YEARS: Final = (1971, 9997)
_DAY_FOLDER: Final = re.compile(r"(?:[A-Za-z_]+=)?(\d{4})-(\d{2})-(\d{2})")
_PIECE_FOLDER: Final = re.compile(r"(year|month|day)=(\d{1,4})")


@dataclass(frozen=True, slots=True)
class Between:
    """Rows observed from ``first`` on and before ``stop``, µs; None = no bound."""

    first: int | None = None
    stop: int | None = None

    def outside(self, lower: int | None, upper: int | None) -> bool:
        """Whether nothing that was observed in a stretch of time (None = who knows) counts."""
        late = self.stop is not None and lower is not None and lower >= self.stop
        return late or (self.first is not None and upper is not None and upper < self.first)


ALWAYS: Final = Between()


@dataclass(frozen=True, slots=True)
class Part:
    """What is read at once.

    Args:
        number: its place among the parts.
        files: all of each is read, when there is neither ``stretch`` nor ``rows``.
        stretch: of one large log, the lines.
        rows: of one Parquet file, the first row and the one to stop before.
        place: where they are in the file, bytes.
        lower: none of its rows was observed before, µs; None = that is not known.
        size: bytes.
    """

    number: int
    files: tuple[File, ...]
    stretch: Stretch | None = None
    rows: tuple[int, int] | None = None
    place: tuple[int, int] | None = None
    lower: int | None = None
    size: int = 0


@dataclass(slots=True)
class Plan:
    """Parts in the order of the files, and what is passed over.

    Args:
        files: all that are not passed over by the names of their folders.
        passed_files: those that are; how many records they have is not known.
        passed_groups: row groups that are, by their statistics.
        passed_rows: records of these.
    """

    parts: list[Part] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    passed_files: int = 0
    passed_groups: int = 0
    passed_rows: int = 0

    def identity(self) -> list[Any]:
        """What must be the same where work on the parts goes on (JSON types)."""
        return [[str(file), size_of(file), changed(file)] for file in self.files]

    def at_once(self) -> "Plan":
        """The same, when all rows must be known before the first is handed on."""
        return replace(self, parts=[replace(part, lower=None) for part in self.parts])


def plan(paths: Sequence[str | Path], context: Context, between: Between) -> Plan:
    """The parts of all files under the paths.

    Raises:
        UnreadableInput: a path is missing, or a store does not answer.
    """
    made = Plan()
    for file in (file for path in paths for file in walk(path)):
        if between.outside(*_told_by_folders(file)):
            made.passed_files += 1
        else:
            made.files.append(file)
    with ThreadPoolExecutor(_FOOTERS) as threads:
        found = list(threads.map(lambda file: _groups(file, context), made.files))
        cut = list(threads.map(_stretches, made.files))
    waiting: list[File] = []
    for file, row_groups, stretches in zip(made.files, found, cut, strict=True):
        if stretches:
            _add_logs(made, waiting)
            for one in stretches:
                made.parts.append(Part(len(made.parts), (file,), one, size=one.end - one.begin))
        elif row_groups is None:
            if sum(map(size_of, [*waiting, file])) > PART_BYTES:
                _add_logs(made, waiting)
            waiting.append(file)
        else:
            _add_logs(made, waiting)
            _add_groups(made, file, row_groups, between)
    _add_logs(made, waiting)
    return made


def _add_logs(made: Plan, files: list[File]) -> None:
    """One part of them, after which none waits."""
    if files:
        made.parts.append(Part(len(made.parts), tuple(files), size=sum(map(size_of, files))))
        files.clear()


def _add_groups(made: Plan, file: File, row_groups: list[Group], between: Between) -> None:
    """Parts of neighbours that count."""
    first = 0
    counted: list[tuple[int, Group]] = []
    for group in row_groups:
        out = between.outside(group.lower, group.upper)
        if out:
            made.passed_groups += 1
            made.passed_rows += group.rows
        if counted and (out or sum(one.rows for _, one in counted) + group.rows > PART_ROWS):
            _add_rows(made, file, counted)
            counted = []
        if not out:
            counted.append((first, group))
        first += group.rows
    if counted or not row_groups:
        _add_rows(made, file, counted)


def _add_rows(made: Plan, file: File, counted: list[tuple[int, Group]]) -> None:
    lowers = [group.lower for _, group in counted]
    known = [lower for lower in lowers if lower is not None]
    made.parts.append(
        Part(
            len(made.parts),
            (file,),
            None,
            (counted[0][0], counted[-1][0] + counted[-1][1].rows) if counted else (0, 0),
            (min(group.begin for _, group in counted), max(group.end for _, group in counted)) if counted else (0, 0),
            min(known) if len(known) == len(lowers) and known else None,
            sum(group.end - group.begin for _, group in counted),
        )
    )


def _groups(file: File, context: Context) -> list[Group] | None:
    """The row groups of a Parquet file; None when it is none, or one of which the reader has to say what is wrong."""
    try:
        if isinstance(file, Object):
            if not file.name.endswith(".parquet"):
                return None
            with file.random_access() as opened:
                return groups(opened, str(file), context)
        if not file.is_file():
            return None
        with file.open("rb") as head:
            if head.read(len(PARQUET)) != PARQUET:
                return None
        with pa.OSFile(str(file)) as opened:
            return groups(opened, str(file), context)
    except (UnreadableInput, OSError):
        return None


def _stretches(file: File) -> list[Stretch]:
    """Those of a large log of this host."""
    try:
        large = not isinstance(file, Object) and file.is_file() and size_of(file) > 2 * PART_BYTES
        return cuts(Path(str(file))) if large else []
    except OSError:
        return []


def changed(file: File) -> int:
    """When it was written, ns; 0 where that cannot be known."""
    try:
        return file.changed if isinstance(file, Object) else file.stat().st_mtime_ns
    except OSError:
        return 0


# --- what the names of folders tell ---


def _told_by_folders(file: File) -> tuple[int | None, int | None]:
    """When the rows of a file were observed, µs, with a day to spare on both sides: a day may be one of another time
    zone, and that of the start of a conversation that ended later. (None, None) where no folder names a day."""
    folders = str(file).split("/")[:-1]
    whole = [tuple(map(int, found.groups())) for name in folders if (found := _DAY_FOLDER.fullmatch(name))]
    named = {found[1]: int(found[2]) for name in folders if (found := _PIECE_FOLDER.fullmatch(name))}
    days = (
        whole[-1] if whole else tuple(named[unit] for unit in ("year", "month", "day")[: len(named)] if unit in named)
    )
    if not days or (not whole and len(days) < len(named)):
        return None, None
    try:
        begin, end = _stretch(*days)
    except ValueError:  # such as the 31st of February
        return None, None
    return _micros(begin - _DAY), _micros(end + _DAY)


def _stretch(year: int, month: int = 0, day: int = 0) -> tuple[date, date]:
    """First day of a year, of a month of it, or the day; and the day behind."""
    if not _YEARS[0] <= year <= _YEARS[1]:
        raise ValueError("not a year of logs")
    begin = date(year, month or 1, day or 1)
    if day:
        return begin, begin + _DAY
    return begin, date(year + month // 12, month % 12 + 1, 1) if month else date(year + 1, 1, 1)


def _micros(day: date) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1e6)
