"""The hours in which something is usually done, or never."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .rhythm import DAY, HOUR, Day

_MONDAY: Final = 3  # the epoch was a Thursday; this day number of it begins the week
_WEEK: Final = 7
_AHEAD: Final = 8 * 24  # hours: the same hour next week is the furthest


@dataclass(frozen=True, slots=True)
class Clock:
    """Weekdays (0 = Monday) and local hours."""

    weekdays: tuple[int, ...]
    hours: tuple[int, ...]

    def has(self, local: int) -> bool:
        """Whether a local time (µs) is within it."""
        weekday = (local // DAY + _MONDAY) % _WEEK
        return weekday in self.weekdays and local % DAY // HOUR in self.hours

    def meet(self, moment: int, days: Sequence[Day], luck: int) -> int:
        """``moment`` (µs) if within, else a time in the next stretch of hours that is; ``luck`` says where in it."""
        day = days[min(max((moment - days[0].midnight) // DAY, 0), len(days) - 1)]
        within = [self.has(moment + ahead * HOUR + day.offset) for ahead in range(_AHEAD)]
        if within[0] or not any(within):
            return moment
        first = within.index(True)
        stretch = next((i for i, inside in enumerate(within[first:]) if not inside), 1)
        return moment + (first + luck % stretch) * HOUR


_ALL: Final = tuple(range(_WEEK))
_WORKING: Final = _ALL[:5]
ANY: Final = Clock(_ALL, tuple(range(24)))
WORK: Final = Clock(_WORKING, tuple(range(9, 17)))
NIGHT: Final = Clock(_ALL, (23, 0, 1, 2, 3, 4))
WEEKEND: Final = Clock(_ALL[5:], tuple(range(8, 20)))
FRINGE: Final = Clock(_WORKING, (7,))
"""The edge of the working day, when few others are on the jump host or at a station."""

BACKUP: Final = Clock(_ALL, (1, 2, 3, 4))
PATCH: Final = Clock((1,), (19, 20))
VISITS: Final = (11, 12, 13)
"""The hours of the suppliers' windows, on weekdays of their own."""
