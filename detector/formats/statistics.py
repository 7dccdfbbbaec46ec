"""What the footer of a Parquet file tells of its row groups: how many rows, and when they were observed."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from detector.errors import UnreadableInput
from detector.formats.batch import Context
from detector.formats.columns import LAYOUT, renames
from detector.formats.fields import BadValue, micros
from detector.formats.flow_times import UNSET_BEFORE

_UTC: Final = ZoneInfo("UTC")
_NUMBERS: Final = ("INT32", "INT64", "FLOAT", "DOUBLE")
_UNITS: Final = {"milliseconds": (1_000, 1), "microseconds": (1, 1), "nanoseconds": (1, 1_000)}
"""Of a TIMESTAMP (parquet-format, LogicalTypes.md): to µs, times the first and by the second."""
_ONE_UNIT: Final = 100  # times as large, at most: two times of one unit are no further apart, those of two are
_DURATION_MAX: Final = 10**8  # s; a duration that is none, such as a reversed flow's, says nothing about the end


class Group(NamedTuple):
    """A row group.

    Args:
        rows: how many.
        begin: place of its first byte in the file.
        end: behind its last.
        lower: no row was observed before, µs; None = not known.
        upper: nor after.
    """

    rows: int
    begin: int
    end: int
    lower: int | None
    upper: int | None


def groups(file: pa.NativeFile, path: str, context: Context) -> list[Group]:
    """The row groups of a Parquet file; the times of their statistics where these are sure.

    Raises:
        UnreadableInput: it has no footer that can be read.
    """
    try:
        footer = pq.ParquetFile(file).metadata
        places = (
            {footer.row_group(0).column(at).path_in_schema: at for at in range(footer.num_columns)}
            if (footer.num_row_groups)
            else {}
        )
        known = renames(list(places), context) or {}
        ours = {name: places[column] for column, name in known.items()}
        return [_group(footer.row_group(number), ours) for number in range(footer.num_row_groups)]
    except (pa.ArrowException, OSError) as problem:
        raise UnreadableInput(f"{path}: not a readable Parquet file: {problem}") from None


def _group(group: Any, ours: Mapping[str, int]) -> Group:
    columns = [group.column(at) for at in range(group.num_columns)]
    begins = [column.dictionary_page_offset or column.data_page_offset for column in columns]
    ends = [begin + column.total_compressed_size for begin, column in zip(begins, columns, strict=True)]
    started = _range(group, ours, LAYOUT.start)
    ended = _range(group, ours, LAYOUT.end)
    lower = upper = None
    if started and any(name in ours for name in LAYOUT.end):
        if ended:
            lower, upper = min(started[0], ended[0]), max(started[1], ended[1])
    elif started:
        lower, upper = started[0], _implied(group, ours, started[1])
    return Group(group.num_rows, min(begins, default=0), max(ends, default=0), lower, upper)


def _implied(group: Any, ours: Mapping[str, int], latest: int) -> int | None:
    """The latest start and the longest duration."""
    names = [name for name in LAYOUT.duration if name in ours]
    if not names:
        return latest
    found = group.column(ours[names[0]]).statistics
    if found is None or not found.has_min_max:
        return latest if found is not None and found.null_count == group.num_rows else None
    longest = found.max.total_seconds() if isinstance(found.max, timedelta) else found.max
    plain = isinstance(longest, int | float) and 0 <= longest < _DURATION_MAX
    return latest + round(longest * 1e6) + 1 if plain else None


def _range(group: Any, ours: Mapping[str, int], names: tuple[str, ...]) -> tuple[int, int] | None:
    """First and last time of a column, µs; None where some row has none, or they are not sure."""
    there = [ours[name] for name in names if name in ours]
    if len(there) != 1:
        return None
    found = group.column(there[0]).statistics
    if found is None or not found.has_min_max or not found.has_null_count or found.null_count:
        return None
    unit = _UNITS.get(orjson.loads(found.logical_type.to_json()).get("timeUnit"))
    if unit:
        times = found.min_raw * unit[0] // unit[1], found.max_raw * unit[0] // unit[1]
    elif found.physical_type in _NUMBERS and 0 < found.min <= found.max <= found.min * _ONE_UNIT:
        try:
            times = micros(found.min, _UTC), micros(found.max, _UTC)
        except BadValue:
            return None
    else:
        return None
    return times if UNSET_BEFORE <= times[0] <= times[1] else None
