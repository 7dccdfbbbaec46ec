"""Time windows of agreements: weekly ones, and recurrences as calendars write them (RFC 5545).

A weekly window is what the clock on the wall shows; in the night the clocks go back it holds for both hours of the same
name. A recurrence starts when the clock on the wall shows its time and lasts: days of its duration are days of the
calendar, hours are hours (RFC 5545, 3.3.6). Neither depends on the rows that are asked about.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache, partial
from itertools import takewhile
from typing import Annotated, Any, Final, Literal, cast

import numpy as np
from dateutil.rrule import rrule, rrulestr
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from detector.assets.local import DAY_US, instant, wall, weekday
from detector.assets.section import Moment, Section, has_offset, is_day, local_us, read_moment, utc_us

Bools = NDArray[np.bool_]
Numbers = NDArray[np.int64]

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTE_US: Final = 60_000_000
_DAY_MINUTES: Final = 24 * 60
_WEEK_MINUTES: Final = 7 * _DAY_MINUTES

_MOST_EXCEPTIONS: Final = 1_000  # dates that a recurrence leaves out
_MOST_COUNT: Final = 10_000  # 27 years of days
_MOST_A_DAY: Final = 48  # occurrences: every half hour
_MOST_INTERVAL: Final = 1_000
_LONGEST_DAYS: Final = 366
_LONGEST_RULE: Final = 500  # characters

_CYCLES: Final = 19 * 146_097
"""Days. The Gregorian calendar repeats every 400 years, weekdays included. Rules are worked out 7,600 years ahead, near
the last year that Python knows: there a search for what never happens ends soon."""
_LATEST_US: Final = 400 * 365 * DAY_US
"""Of 1970: what comes back for ever does so until 2369."""
_STRETCH_US: Final = 400 * DAY_US  # is worked out at once
_STRETCHES: Final = 64  # are kept

_NUMBER: Final = r"[+-]?[1-9]\d{0,2}"
_RULE: Final = {
    "FREQ": r"DAILY|WEEKLY|MONTHLY|YEARLY",
    "UNTIL": r"\d{8}(T\d{6}Z?)?",
    "COUNT": r"[1-9]\d{0,5}",
    "INTERVAL": r"[1-9]\d{0,3}",
    "BYSECOND": r"[0-5]?\d",
    "BYMINUTE": r"[0-5]?\d",
    "BYHOUR": r"[01]?\d|2[0-3]",
    "BYDAY": r"([+-]?([1-4]?\d|5[0-3]))?(MO|TU|WE|TH|FR|SA|SU)",
    "BYMONTHDAY": r"[+-]?([1-9]|[12]\d|3[01])",
    "BYYEARDAY": _NUMBER,
    "BYWEEKNO": r"[+-]?([1-9]|[1-4]\d|5[0-3])",
    "BYMONTH": r"[1-9]|1[0-2]",
    "BYSETPOS": _NUMBER,
    "WKST": r"MO|TU|WE|TH|FR|SA|SU",
}
"""Parts of a rule (RFC 5545, 3.3.10) and what each of their values looks like. A window that comes back within a day is
written with BYHOUR."""
_DURATION: Final = re.compile(
    r"P(?:(?P<weeks>\d{1,3})W|(?=\d|T\d)(?:(?P<days>\d{1,3})D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d{1,4})H)?(?:(?P<minutes>\d{1,5})M)?(?:(?P<seconds>\d{1,6})S)?)?)"
)


def _clock(value: Any) -> Any:
    """YAML 1.1 reads an unquoted 11:00 as the number 660."""
    return f"{value // 60:02d}:{value % 60:02d}" if isinstance(value, int) else value


Clock = Annotated[str, BeforeValidator(_clock), Field(pattern=r"^\d{1,2}:\d\d$")]


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


class Window(Section):
    """A window in the plant's time zone: weekly (``day``, ``from``, ``to``; an end before the start lies on the next
    day; without a day it is every day), or from ``dtstart`` for a ``duration``, again and again by ``rrule``."""

    day: Weekday | None = None
    start: Clock | None = Field(default=None, alias="from")
    end: Clock | None = Field(default=None, alias="to")
    dtstart: Moment | None = None
    duration: str | None = None
    rrule: str | None = None
    exdate: Annotated[tuple[Moment, ...], BeforeValidator(_listed), Field(max_length=_MOST_EXCEPTIONS)] = ()

    @field_validator("dtstart")
    @classmethod
    def _known_clock(cls, dtstart: date | None) -> date | None:
        if isinstance(dtstart, datetime) and dtstart.utcoffset():
            raise ValueError(
                "is local time of the plant, or UTC with a Z; an offset does not say which clock it follows"
            )
        return dtstart

    @field_validator("duration")
    @classmethod
    def _readable(cls, duration: str | None) -> str | None:
        if duration is not None:
            days, exact = _length(duration)
            if not 0 < days * DAY_US + exact <= _LONGEST_DAYS * DAY_US:
                raise ValueError(f"is longer than nothing and at most {_LONGEST_DAYS} days")
        return duration

    @field_validator("rrule")
    @classmethod
    def _bounded(cls, rule: str | None, info: ValidationInfo) -> str | None:
        start = info.data.get("dtstart")
        if rule is not None and start is not None:
            rule = _checked(rule)
            if next(iter(_rule(rule, local_us(start), "UTC")), None) is None:
                raise ValueError("never happens")
        return rule

    @model_validator(mode="after")
    def _one_kind(self) -> "Window":
        recurs = self.dtstart is not None or bool(self.duration or self.rrule or self.exdate)
        if recurs and (self.day or self.start or self.end):
            raise ValueError("has day, from or to, or else dtstart, duration, rrule and exdate; not both")
        if recurs and self.dtstart is None:
            raise ValueError("needs dtstart: when it is for the first time")
        if recurs and self.duration is None and not is_day(self.dtstart or date.min):
            raise ValueError("needs duration, such as PT3H")
        return self

    @property
    def recurs(self) -> bool:
        """Whether it is of the kind of RFC 5545."""
        return self.dtstart is not None


class Windows:
    """Some windows of one agreement: a time is within when it is in any of them.

    Args:
        windows: at least one.
        zone: IANA name of the plant's time zone.
    """

    def __init__(self, windows: Sequence[Window], zone: str) -> None:
        self._zone = zone
        self._week = np.zeros(_WEEK_MINUTES, dtype=np.bool_)
        for window in windows:
            if not window.recurs:
                self._week |= _weekly(window)
        self._recurring = [_Recurring(window, zone) for window in windows if window.recurs]

    def within(self, times: Numbers) -> Bools:
        """Whether times (µs UTC, any order) are in a window, shape (n,)."""
        within: Bools = self._week[_week_minute(times, self._zone)]
        for window in self._recurring:
            within |= window.within(times)
        return within

    def spans(self, begin: int, end: int) -> Numbers:
        """When a window is open from ``begin`` to ``end`` (µs UTC): starts and ends, shape (spans, 2), disjoint and in
        order. Worked out from minute to minute for weekly windows: ask for months, not for centuries."""
        parts = [window.spans(begin, end) for window in self._recurring]
        if self._week.any() and begin < end:
            minutes = np.arange(begin // _MINUTE_US, -(-end // _MINUTE_US)) * _MINUTE_US
            open_ = np.concatenate([[False], self._week[_week_minute(minutes, self._zone)], [False]])
            edges = np.flatnonzero(open_[1:] != open_[:-1]).reshape(-1, 2)
            parts.append(begin // _MINUTE_US * _MINUTE_US + edges * _MINUTE_US)
        return np.clip(_joined(np.concatenate([*parts, np.empty((0, 2), np.int64)])), begin, end)


def _week_minute(times: Numbers, zone: str) -> Numbers:
    """Minute of the week, local time."""
    local = wall(times, zone)
    return weekday(local) * _DAY_MINUTES + local // _MINUTE_US % _DAY_MINUTES


def _weekly(window: Window) -> Bools:
    """By minute of the week from Monday, whether a weekly window is open."""
    begin, end = _minutes(window.start or "00:00"), _minutes(window.end or "24:00")
    length, minute = (end - begin) % _DAY_MINUTES or _DAY_MINUTES, np.arange(_WEEK_MINUTES)
    if window.day is None:
        return (minute - begin) % _DAY_MINUTES < length
    return (minute - _DAYS.index(window.day) * _DAY_MINUTES - begin) % _WEEK_MINUTES < length


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


class _Recurring:
    """A window of RFC 5545. What it is in a stretch of time is worked out once."""

    def __init__(self, window: Window, zone: str) -> None:
        start = window.dtstart
        if start is None:
            raise ValueError("a weekly window does not recur by a rule")
        self._zone = "UTC" if has_offset(start) else zone
        self._start, self._text = start, window.rrule
        self._days, self._exact = _length(window.duration) if window.duration else (1, 0)
        self._left_out = {_local(moment, self._zone) for moment in window.exdate if not is_day(moment)}
        self._days_out = {local_us(moment) // DAY_US for moment in window.exdate if is_day(moment)}
        self._stretch = lru_cache(_STRETCHES)(self._work_out)

    def within(self, times: Numbers) -> Bools:
        """As `Windows.within`."""
        stretches, of = np.unique(times // _STRETCH_US, return_inverse=True)
        within = np.zeros(times.size, dtype=np.bool_)
        for place, stretch in enumerate(stretches.tolist()):
            rows, spans = np.flatnonzero(of == place), self._stretch(stretch)
            if spans.size:
                span = np.searchsorted(spans[:, 0], times[rows], side="right") - 1
                within[rows] = (span >= 0) & (times[rows] < spans[span, 1])
        return within

    def spans(self, begin: int, end: int) -> Numbers:
        """Those that touch a stretch of time, in full, in no order."""
        parts = [self._stretch(stretch) for stretch in range(begin // _STRETCH_US, -(-end // _STRETCH_US))]
        spans = np.concatenate([*parts, np.empty((0, 2), np.int64)])
        return spans[(spans[:, 1] > begin) & (spans[:, 0] < end)]

    def _work_out(self, stretch: int) -> Numbers:
        begin, end = stretch * _STRETCH_US, (stretch + 1) * _STRETCH_US
        slack = 2 * DAY_US  # more than clocks differ and change
        starts = self._starts(begin - self._days * DAY_US - self._exact - slack, end + slack)
        ends = instant(starts + self._days * DAY_US, self._zone) + self._exact
        spans = _joined(np.stack([instant(starts, self._zone), ends], axis=1))
        return spans[(spans[:, 1] > begin) & (spans[:, 0] < end)]

    def _starts(self, begin: int, end: int) -> Numbers:
        """Local times from ``begin`` to ``end`` at which it starts, µs."""
        found = [] if self._text is None else [*self._occurrences(self._text, begin, end)]
        if self._text is None and begin <= _local(self._start, self._zone) < end:
            found = [_local(self._start, self._zone)]
        kept = [us for us in found if us not in self._left_out and us // DAY_US not in self._days_out]
        return np.array(kept, dtype=np.int64)

    def _occurrences(self, text: str, begin: int, end: int) -> Iterator[int]:
        first = _near(text, local_us(self._start), begin)
        if first > _LATEST_US:
            return iter(())
        told = (local_us(occurrence) - _CYCLES * DAY_US for occurrence in _rule(text, first, self._zone))
        return (us for us in takewhile(partial(_before, end), told) if us >= begin)


def _before(end: int, time: int) -> bool:
    return time < end


def _local(moment: date, zone: str) -> int:
    """What the clock on the wall shows at a moment, µs."""
    return int(wall(np.array([utc_us(moment, zone)]), zone)[0]) if has_offset(moment) else local_us(moment)


def _joined(spans: Numbers) -> Numbers:
    """Spans in order, those that overlap or touch made one."""
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    ends = np.maximum.accumulate(spans[:, 1]) if spans.size else spans[:, 1]
    first = np.concatenate([[True], spans[1:, 0] > ends[:-1]])[: len(spans)]
    return np.stack([spans[first, 0], ends[np.concatenate([first[1:], [True]])[: len(spans)]]], axis=1)


def _length(text: str) -> tuple[int, int]:
    """Whole days of the calendar, and exact µs."""
    found = _DURATION.fullmatch(text.strip().upper())
    if found is None:
        raise ValueError(f"{text!r} is no duration such as PT3H, P1D or P1DT12H")
    part = {name: int(value) for name, value in found.groupdict(default="0").items()}
    exact = timedelta(hours=part["hours"], minutes=part["minutes"], seconds=part["seconds"])
    return part["weeks"] * 7 + part["days"], exact // timedelta(microseconds=1)


def _checked(text: str) -> str:
    """A rule in capitals whose parts are those of RFC 5545 and whose work is bounded.

    Raises:
        ValueError: it is not one of those.
    """
    rule = text.strip().upper().removeprefix("RRULE:")
    if len(rule) > _LONGEST_RULE:
        raise ValueError(f"has more than {_LONGEST_RULE} characters")
    parts: dict[str, list[str]] = {}
    for part in rule.rstrip(";").split(";"):
        name, _, value = part.partition("=")
        if name not in _RULE or name in parts:
            raise ValueError(f"{part!r} is twice in the rule, or no part of a rule of RFC 5545")
        parts[name] = value.split(",") if name.startswith("BY") else [value]
        for one in parts[name]:
            if not re.fullmatch(_RULE[name], one):
                raise ValueError(f"{name} cannot be {one!r}{_WHY.get(name, '')}")
    _refuse(parts)
    return rule.rstrip(";")


_WHY: Final = {"FREQ": "; it is DAILY, WEEKLY, MONTHLY or YEARLY, and hours of a day are listed in BYHOUR"}


def _refuse(parts: dict[str, list[str]]) -> None:
    frequency = parts.get("FREQ", [""])[0]
    numbered = any(day[:-2] for day in parts.get("BYDAY", ()))
    a_day = np.prod([len(parts.get(name, "x")) for name in ("BYHOUR", "BYMINUTE", "BYSECOND")])
    wrong = {
        "needs FREQ": not frequency,
        "has COUNT or UNTIL, not both": "COUNT" in parts and "UNTIL" in parts,
        f"COUNT is at most {_MOST_COUNT}": int(parts.get("COUNT", ["1"])[0]) > _MOST_COUNT,
        f"INTERVAL is at most {_MOST_INTERVAL}": int(parts.get("INTERVAL", ["1"])[0]) > _MOST_INTERVAL,
        f"happens more than {_MOST_A_DAY} times a day": a_day > _MOST_A_DAY,
        "numbered days in BYDAY need MONTHLY or YEARLY": numbered and frequency not in {"MONTHLY", "YEARLY"},
        "BYWEEKNO needs YEARLY": "BYWEEKNO" in parts and frequency != "YEARLY",
        "BYYEARDAY needs YEARLY": "BYYEARDAY" in parts and frequency != "YEARLY",
        "BYMONTHDAY does not go with WEEKLY": "BYMONTHDAY" in parts and frequency == "WEEKLY",
        "BYSETPOS needs another part that begins with BY": "BYSETPOS" in parts
        and not any(name.startswith("BY") and name != "BYSETPOS" for name in parts),
    }
    for reason, holds in wrong.items():
        if holds:
            raise ValueError(reason)


def _rule(text: str, first: int, zone: str) -> rrule:
    """A checked rule from a local time (µs) on, `_CYCLES` days ahead."""
    parts = [part for part in text.split(";") if not part.startswith("UNTIL=")]
    try:
        rule = cast("rrule", rrulestr(";".join(parts), dtstart=_ahead(first)))
    except (ValueError, IndexError) as problem:
        raise ValueError(f"cannot be worked out: {problem}") from problem
    until = next((part[6:] for part in text.split(";") if part.startswith("UNTIL=")), None)
    return rule if until is None else rule.replace(until=_ahead(_until(until, zone)))


def _until(text: str, zone: str) -> int:
    """The last local time, µs; of a day without a time its end."""
    moment = read_moment(text)
    return local_us(moment) + DAY_US - 1 if is_day(moment) else _local(moment, zone)


def _ahead(local: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(days=_CYCLES, microseconds=local)  # noqa: DTZ001


def _near(text: str, first: int, begin: int) -> int:
    """From when on a rule is worked out: whole intervals of days or weeks after ``first``, so that years of occurrences
    are not gone through to get to the ones from ``begin`` on."""
    parts = dict(part.split("=") for part in text.split(";"))
    step = {"DAILY": 1, "WEEKLY": 7}.get(parts["FREQ"], 0) * int(parts.get("INTERVAL", 1)) * DAY_US
    if not step or "COUNT" in parts:
        return first
    return first + max((begin - first) // step - 1, 0) * step
