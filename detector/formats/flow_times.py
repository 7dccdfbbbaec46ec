"""One time policy for all flow records: exporters' clocks are wrong in many ways, scoring needs an order."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from detector.formats.fields import BadValue, Fields, micros, shown
from detector.formats.flow_values import Column, Names, mended

LATE_LIMIT: Final = 86_400_000_000
"""µs a flow may have ended before it was received. Active timeouts are minutes, collectors buffer for minutes
to hours; more than a day is an exporter with a wrong clock (or a replayed capture), and would open windows
that closed long ago."""

CLOCK_SLACK: Final = 1_000_000
"""µs a flow may end after its receive time: v5 and v9 headers carry the export time in whole seconds."""

UNSET_BEFORE: Final = 2 * 86_400_000_000
"""µs since the epoch below which a time means "not set". A zero printed as local text
(``1970-01-01 01:00:00``) lies up to 14 h off the epoch; two days leave a margin, and no flow is that old."""

_UNSET_TEXT: Final = ("0000-", "1969-12-31", "1969/12/31", "1970-01-01", "1970/01/01")
_TO_SECOND: Final = len("2025-10-09 08:53:20")
_SECOND: Final = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d", re.ASCII)
_FRACTION: Final = re.compile(r"\.[0-9]{1,6}")
SPAN_MAX: Final = 1e9  # s; a longer duration is rubbish
NS_FROM: Final = 10**17  # numbers from here on are nanoseconds, see `fields.micros`
_NS_TO: Final = 253_402_300_800 * 10**9  # year 10000


def clock(fields: Fields, names: Names, zone: str, relative: bool = False) -> Column:
    """Times in µs; None where a time is absent or an exporter's way to print "not set"."""
    if not names:
        return [None] * len(fields)
    values = fields.raw(*names)
    here = ZoneInfo(zone)
    local = _Local(here).micros

    def convert(value: Any) -> int | None:
        if isinstance(value, str):
            if not value or (not relative and value.startswith(_UNSET_TEXT)):
                return None
            value = value.partition("[")[0]  # RFC 9557 puts the zone's name in brackets after the offset
            time = local(value)
        else:
            time = micros(value, here)
        return time if relative or time >= UNSET_BEFORE else None

    times = [value // 1_000 if type(value) is int and NS_FROM <= value < _NS_TO else None for value in values]
    odd = [index for index, time in enumerate(times) if time is None and values[index] is not None]
    for index in odd:
        times[index] = values[index]
    return mended(fields, names, times, odd, convert)


class _Local:
    """`fields.micros` for local text times of one column: neighbours mostly share their second."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._second, self._micros = "", 0

    def micros(self, text: str) -> int:
        second, rest = text[:_TO_SECOND], text[_TO_SECOND:]
        if second != self._second:
            if _SECOND.fullmatch(second) is None:  # epoch seconds, or another spelling
                return micros(text, self._zone)
            self._micros = micros(second, self._zone)
            self._second = second
        if rest and not _FRACTION.fullmatch(rest):
            return micros(text, self._zone)
        return self._micros + (int(rest[1:].ljust(6, "0")) if rest else 0)


def seconds_of(value: Any) -> float | None:
    """A duration, or None when it cannot be one: nfdump prints 18446744073709540.000 for a reversed flow."""
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        raise BadValue("not a duration", shown(str(value))) from None
    return seconds if 0 <= seconds <= SPAN_MAX else None


def settled(
    fields: Fields,
    starts: Sequence[int | None],
    ends: Sequence[int | None],
    received: Sequence[int | None],
    told: Sequence[float | None],
) -> tuple[dict[str, Column], Counter[tuple[str, str]]]:
    """Start, end and duration that can be trusted, and how often something had to be mended.

    Args:
        fields: where rows without any usable time are rejected.
        starts: flow start, µs.
        ends: flow end, µs.
        received: receive or export time, µs.
        told: duration as the record tells it, s; 0 to `SPAN_MAX`.
    """
    notes: Counter[tuple[str, str]] = Counter()
    columns: dict[str, Column] = {"ts": [], "obs_ts": [], "duration": []}
    add_start, add_end, add_duration = (values.append for values in columns.values())
    for index, (start, end, arrival, seconds) in enumerate(zip(starts, ends, received, told, strict=True)):
        if (
            start is not None
            and end is not None
            and start <= end
            and (arrival is None or -CLOCK_SLACK <= arrival - end <= LATE_LIMIT)
        ):
            add_start(start)
            add_end(end)
            add_duration((end - start) / 1e6 if seconds is None else seconds)
            continue
        *mended, note = _mended(start, end, arrival, seconds)
        for values, value in zip(columns.values(), mended, strict=True):
            values.append(value)
        if mended[0] is None:
            fields.reject(index, BadValue(note))
        elif index not in fields.bad:
            notes[fields.batch.log, note] += 1
    return columns, notes


def _mended(
    start: int | None, end: int | None, arrival: int | None, seconds: float | None
) -> tuple[int | None, int | None, float | None, str]:
    """(start, end, duration, note) of a record whose times are incomplete or cannot be true."""
    span: int | None = None if seconds is None else round(seconds * 1e6)
    if span is None and start is not None and end is not None and end >= start:
        span = end - start
    if arrival is not None and end is not None and not -CLOCK_SLACK <= arrival - end <= LATE_LIMIT:
        note = "end after receipt: receive time used" if end > arrival else "end too old: receive time used"
        return arrival - (span or 0), arrival, None if span is None else span / 1e6, note
    if end is None and start is not None and span is not None and arrival is None:
        return start, start + span, seconds, "end missing: start and duration used"
    if end is None:
        return _without_end(start, arrival, seconds)
    if start is not None and start > end:
        return end, end, None, "start after end: start set to end"
    return end - (span or 0), end, seconds, "start missing: end used"


def _without_end(
    start: int | None, arrival: int | None, seconds: float | None
) -> tuple[int | None, int | None, float | None, str]:
    if arrival is None:
        return start, start, seconds, "no usable time" if start is None else "end missing: start used"
    if start is None or not 0 <= arrival - start <= LATE_LIMIT:
        return arrival, arrival, None, "end missing: receive time used"
    return start, arrival, None, "end missing: receive time used"
