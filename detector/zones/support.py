"""What speaks for a way, and why it is not proposed.

History holds whoever was in the network then. An intruder's ways differ from those of work in that they are gone on
few days, by few hosts, since lately, and that findings tell of them. So a way is proposed that was gone on several days
by the same two hosts, or by several hosts, since the first half of the time it is learned from. What lacks that is left
to people, and so are acts that stop or program controllers, however often they were seen: those need a window.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from detector.zones.ways import DAY, Gone, Key, hours_in

DAYS: Final = 3  # on which a way was gone before it is proposed; of shorter histories all whole days
HOURS: Final = 3  # different ones, for histories of which days say nothing
SOURCES: Final = 3  # hosts that begin it, from which on no two of them have to be steady
WINDOWED: Final = frozenset({"mode", "program"})
"""Classes of acts that nobody permits around the clock (NIST SP 800-82r3: changes of logic are planned)."""
CHANGING: Final = frozenset({"write", "control"})
"""Classes of acts that change the process: one day of them is no habit."""

Alerted = Mapping[tuple[str, str], Collection[int]]
"""Two hosts -> days since 1970 on which a finding told of them."""


@dataclass(frozen=True, slots=True)
class Learning:
    """The time conduits are learned from: hours since 1970, ``cut`` is the first one after it."""

    begin: int
    cut: int

    @property
    def days(self) -> int:
        """How many days a way has to be gone on."""
        return min(max((self.cut - self.begin) // DAY, 1), DAYS)

    @property
    def hours(self) -> int:
        """And in how many hours."""
        return min(HOURS, self.cut - self.begin)


def doubt(key: Key, way: Gone, learning: Learning, alerted: Alerted) -> str | None:
    """Why a way is not proposed, None = it is."""
    hours = hours_in(way, learning.begin, learning.cut)
    if not hours:
        return "new since"
    return _by_act(key[3], learning) or _by_times(way, hours, learning, alerted)


def _by_act(act: str, learning: Learning) -> str | None:
    if act in WINDOWED:
        return "programs controllers: permit it with a window"
    if act in CHANGING and learning.days == 1:
        return "changes the process: needs a longer history"
    return None


def _by_times(way: Gone, hours: list[int], learning: Learning, alerted: Alerted) -> str | None:
    trusted = _days_of(way, learning, alerted)
    if not _carries(trusted, learning) and _carries(_days_of(way, learning, {}), learning):
        return "findings tell of it"
    if len(hours) < learning.hours or not _carries(trusted, learning):
        return "seen once" if len(hours) == 1 else "seen seldom"
    if learning.days == DAYS and hours[0] >= (learning.begin + learning.cut) / 2:
        return "began lately"
    return None


def _days_of(way: Gone, learning: Learning, alerted: Alerted) -> dict[tuple[str, str], set[int]]:
    """Two hosts -> days on which they went the way, but for those on which a finding tells of them."""
    found = {}
    for pair, firsts in way.pairs.items():
        told = alerted.get(pair, ())
        days = {day for day in firsts if day * DAY < learning.cut and day not in told}
        if days:
            found[pair] = days
    return found


def _carries(days_of: Mapping[tuple[str, str], set[int]], learning: Learning) -> bool:
    """Whether the days are many, and those of the same two hosts, or of several who begin."""
    days = set().union(*days_of.values())
    steady = any(len(one) >= learning.days for one in days_of.values())
    return len(days) >= learning.days and (steady or len({orig for orig, _ in days_of}) >= SOURCES)
