"""When things happen: the day, the week and the shifts, in the plant's local time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from .draw import Ints, below, weighted

TIMEZONE: Final = "Europe/London"
SECOND: Final = 1_000_000  # all times are µs
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
_FRIDAY: Final = 4
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

# Relative activity by local hour. Our own shape: a working day with a lunch dip; three plant shifts changing
# at 6, 14 and 22 o'clock.
OFFICE: Final = (1, 1, 1, 1, 1, 2, 8, 30, 80, 100, 100, 90, 60, 80, 95, 90, 80, 50, 15, 6, 4, 3, 2, 1)
SHIFTS: Final = (
    30,
    30,
    30,
    30,
    30,
    50,
    90,
    80,
    80,
    80,
    70,
    80,
    70,
    90,
    90,
    80,
    80,
    80,
    70,
    70,
    60,
    60,
    50,
    30,
)
FLAT: Final = (1,) * 24


@dataclass(frozen=True, slots=True)
class Day:
    """One UTC day of the simulation.

    Args:
        number: 0 is the first day.
        midnight: its first instant, µs since the epoch, UTC.
        weekday: 0 is Monday, by the local date at noon.
        of_month: 1 is the first of the month.
        offset: local time minus UTC, µs (an hour in summer).
    """

    number: int
    midnight: int
    weekday: int
    of_month: int
    offset: int

    @property
    def working(self) -> bool:
        """Monday to Friday."""
        return self.weekday <= _FRIDAY

    def at(self, local: Ints) -> Ints:
        """The instants of this UTC day at which local clocks show ``local`` (µs after midnight)."""
        return self.midnight + (local - self.offset) % DAY

    def clock(self, hour: int, minute: int = 0) -> int:
        """The instant at which local clocks show this time."""
        return int(self.at(np.array([hour * HOUR + minute * MINUTE], dtype=np.int64))[0])


def day_of(start: datetime, number: int) -> Day:
    """Day ``number`` counted from the UTC date of ``start``."""
    midnight = datetime(start.year, start.month, start.day, tzinfo=UTC) + timedelta(days=number)
    noon = (midnight + timedelta(hours=12)).astimezone(ZoneInfo(TIMEZONE))
    offset = noon.utcoffset() or timedelta()
    return Day(number, micros(midnight), noon.weekday(), noon.day, offset // timedelta(microseconds=1))


def micros(moment: datetime) -> int:
    """A moment as µs since the epoch."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def iso(moment: int) -> str:
    """µs since the epoch as ISO 8601 UTC with six decimals."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def date(moment: int) -> str:
    """The UTC date of a moment, as used in file names."""
    return iso(moment)[:10]


def clock_times(rng: np.random.Generator, shape: tuple[int, ...], n: int) -> Ints:
    """``n`` local clock times (µs after midnight) spread as ``shape`` says, 24 weights."""
    return weighted(rng, shape, n) * HOUR + below(rng, HOUR, n)


def within(times: Ints, first: Ints, last: Ints) -> Ints:
    """Clock times folded into [first, last): what would fall outside lands evenly inside."""
    inside = (times >= first) & (times < last)
    return np.where(inside, times, first + times % (last - first))


def every(rng: np.random.Generator, day: Day, period: int, jitter: int, phase: int = -1) -> Ints:
    """The instants of a timer with ``period`` µs through one day, each late by up to ``jitter`` µs.

    ``phase`` fixes where in its period the day begins, for timers that run through midnight; -1 = anywhere.
    """
    first = int(below(rng, period, 1)[0]) if phase < 0 else phase
    ticks = day.midnight + np.arange(first, DAY, period, dtype=np.int64)
    return ticks + below(rng, jitter, len(ticks))
