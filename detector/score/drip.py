"""Drip: has this host's week grown away from the weeks before, too slowly for anything else to notice?

Every other model learns as it goes, so an intruder who adds one percent a day is the yardstick of tomorrow. Here days
are kept as they were: per originator and day, for 90 days, connections, distinct hosts, acts and kilobytes sent. Once a
week a host's last seven days are compared with its days before them, which end a week ago (embargo), so what is new
does not judge itself::

    level = median over active days of the week of log2(1 + count)
    spread = max(1.4826 MAD(past), log2(e) / sqrt(usual count)) / sqrt(active days of the week) + FLOOR
    score = max over counts of (level - median(past)) / spread

so a count that is small is also uncertain. Medians and the MAD do not follow a few extreme days, as a mean would
(ANTIDOTE: Rubinstein et al., IMC 2009). A week holds each weekday once, so weekends need no model of their own. The
score is calibrated among all hosts' weeks, in one stratum that never fades, since they are few: growth that everybody
shares is soon not strange. A host is asked on its own day of the week, on the first row of that day that is judged; it
must be known for two weeks.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.score.columns import Columns
from detector.score.memory import Memory
from detector.score.model import Said
from detector.score.table import keys_of
from detector.score.tally import columns_of, first_in, judge, slot_of
from detector.state.compiled import kernel
from detector.state.counts import AHEAD, Counts, soon
from detector.state.counts import walk as walk_all

FEATURES: Final = ("connections", "hosts", "acts", "kilobytes")
KEPT_DAYS: Final = 90  # reliability.md: a slow baseline of a quarter beside the fast ones
WEEK: Final = 7  # days judged, days of the embargo, days between two looks at a host
KNOWN_DAYS: Final = 14  # before this there is no week to compare with
MIN_DAYS: Final = 3  # active days a median needs
FLOOR: Final = 0.05  # doublings: 3.5 % more is nobody's alert, however regular the host
MAX_HOSTS: Final = 50_000  # 1.8 kB each
_POISSON: Final = 1 / math.log(2)  # doublings: the spread of log2 of a Poisson count times the root of its mean
_MAD: Final = 1.4826  # of a normal distribution's standard deviation
STRETCH: Final = 3.0  # nats a unit of score: 21 units fill the histogram of `calibration`
_DAY_US: Final = 86_400_000_000
_BYTES: Final = 1000.0
_NEVER: Final = -KEPT_DAYS  # of no day that counts
_FIRST_ROOM: Final = 64
_EVICT_SHARE: Final = 4  # a quarter, as in `state.counts`
_MET: Final = np.uint64(88)
_TODAY, _UNASKED, _COUNTS = range(3)
"""Cells of a host: its day, whether it is yet to be asked since that began, and from the third on its counts."""
_HOST_SHARE: Final = 4  # as in `windows`


@kernel
def walk(
    columns: Any, met: Any, hosts: Any, known: Any, most: Any, marks: Any, marked: Any, most_marks: Any, start: Any,
    stop: Any, closed: Any, look: Any, out: Any,
) -> Any:  # fmt: skip
    """Count rows ``start`` to ``stop``. ``closed`` <- the host's day that a row ended (0 = none) with its counts in
    ``out``; ``look`` <- first judged rows after that. ``met``: keys of responders as originators met them. Returns the
    row at which a table is full, or ``stop``."""
    orig, _, _, _, flow, _, act, _, judged, sent, times = columns
    for row in range(start, stop):
        if known[0] >= most or marked[0] >= most_marks:
            return row
        near = min(row + AHEAD, stop - 1)
        soon(hosts[0], orig[near])
        soon(marks[0], met[near])
        who, now = orig[row], times[row]
        host = hosts[1][slot_of(hosts, known, who, now)]
        today, day = now // _DAY_US, np.int64(host[_TODAY])
        closed[row] = 0
        if today > day:
            if day > 0:
                closed[row] = day
                host[_UNASKED] = 1.0
            host[_TODAY] = today
            for feature in range(len(FEATURES)):
                out[row, feature] = host[_COUNTS + feature]
                host[_COUNTS + feature] = 0.0
        look[row] = judged[row] and host[_UNASKED] > 0.0
        if look[row]:
            host[_UNASKED] = 0.0
        host[_COUNTS] += 1.0 if flow[row] else 0.0
        host[_COUNTS + 1] += first_in(marks, marked, met[row], host[_TODAY], now)
        host[_COUNTS + 2] += 1.0 if act[row] else 0.0
        host[_COUNTS + 3] += sent[row] / _BYTES
    return stop


class Days:
    """The days of hosts, a row a host: which day each place of the ring holds, its counts as log2(1 + count).

    Bounded: beyond ``max_hosts`` the quarter whose last day is longest ago goes and is counted in ``forgotten``.
    """

    def __init__(self, max_hosts: int = MAX_HOSTS) -> None:
        self.max_hosts = max_hosts
        self.forgotten = 0
        self._place: dict[int, int] = {}
        self._allocate(_FIRST_ROOM)

    def _allocate(self, room: int) -> None:
        self._days = np.full((room, KEPT_DAYS), _NEVER, dtype=np.int32)
        self._levels = np.zeros((room, KEPT_DAYS, len(FEATURES)), dtype=np.float32)
        self._next = np.zeros(room, dtype=np.int64)  # the day of the next look

    def add(self, host: int, day: int, counts: NDArray[np.float64]) -> None:
        """A day is over."""
        place = self._place.get(host)
        if place is None:
            place = self._settle(host, day)
        self._days[place, day % KEPT_DAYS] = day
        self._levels[place, day % KEPT_DAYS] = np.log2(1.0 + counts)

    def ask(self, host: int, today: int) -> tuple[float, int, float] | None:
        """Score, leading count and how many times the past it is, once a week; None when it is not the day or too
        little is known."""
        place = self._place.get(host)
        if place is None or today < self._next[place]:
            return None
        self._next[place] = today + WEEK
        age = today - self._days[place]
        week = self._levels[place, age <= WEEK].astype(np.float64)
        past = self._levels[place, (age > WEEK) & (age <= KEPT_DAYS)].astype(np.float64)
        if min(len(week), len(past)) < MIN_DAYS:
            return None
        centre = np.median(past, axis=0)
        spread = np.maximum(_MAD * np.median(np.abs(past - centre), axis=0), _POISSON / np.sqrt(2.0**centre))
        spread = spread / math.sqrt(len(week)) + FLOOR
        growth = np.median(week, axis=0) - centre
        lead = int(np.argmax(growth / spread))
        return float(growth[lead] / spread[lead]), lead, float(2.0 ** growth[lead])

    def _settle(self, host: int, day: int) -> int:
        if len(self._place) >= self.max_hosts:
            self._evict()
        place = len(self._place)
        if place == len(self._next):
            old = self._days, self._levels, self._next
            self._allocate(2 * place)
            self._days[:place], self._levels[:place], self._next[:place] = old
        self._days[place], self._levels[place] = _NEVER, 0.0
        self._next[place] = day + KNOWN_DAYS + host % WEEK
        self._place[host] = place
        return place

    def _evict(self) -> None:
        latest = self._days[: len(self._place)].max(axis=1)
        order = sorted(self._place, key=lambda host: (int(latest[self._place[host]]), host))
        gone = len(order) // _EVICT_SHARE + 1
        self.forgotten += gone
        kept = self.arrays()
        stays = np.isin(kept["hosts"], np.array(order[gone:], dtype=np.uint64))
        self.load({name: array[stays] if name != "forgotten" else array for name, array in kept.items()})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Content in order of host keys."""
        hosts = sorted(self._place)
        places = np.array([self._place[host] for host in hosts], dtype=np.int64)
        return {
            "hosts": np.array(hosts, dtype=np.uint64),
            "days": self._days[places],
            "levels": self._levels[places],
            "next": self._next[places],
            "forgotten": np.array([self.forgotten], dtype=np.int64),
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace the content by what `arrays` returned."""
        hosts = arrays["hosts"].tolist()
        self._place = {host: place for place, host in enumerate(hosts)}
        self._allocate(max(_FIRST_ROOM, 1 << len(hosts).bit_length()))
        count = len(hosts)
        self._days[:count], self._levels[:count], self._next[:count] = arrays["days"], arrays["levels"], arrays["next"]
        self.forgotten = int(arrays["forgotten"][0])


class Drip:
    """The model with its state.

    Args:
        max_entries: bound of the hosts met in a day (36 bytes each) and, a quarter of it, of running days (68 bytes).
        half_life_days: as for other models; days are kept unfaded.
    """

    name: Final = "drip"

    def __init__(self, max_entries: int, half_life_days: float) -> None:
        self.memory = Memory(1, max_entries, half_life_days, 1)
        self.hosts = Counts(max(max_entries // _HOST_SHARE, 1), width=_COUNTS + len(FEATURES))
        self.days = Days()

    def score(self, units: Columns) -> Said:
        """``p_drip``; ``drip`` (spreads above the past), ``drip_feature`` (index of `FEATURES`) and ``drip_times`` (the
        week's level over the past's)."""
        columns, hosts, marks = units.once(columns_of), self.hosts, self.memory.counts
        closed, look = np.empty(units.height, dtype=np.int64), np.empty(units.height, dtype=np.bool_)
        day_counts, met = np.empty((units.height, len(FEATURES))), keys_of(_MET, columns[0], columns[1], columns[0])
        walk_all(
            units.height,
            [(hosts, 1), (marks, 1)],
            lambda start, stop: walk(
                columns, met, hosts.table, hosts.used, hosts.max_entries, marks.table, marks.used, marks.max_entries,
                start, stop, closed, look, day_counts,
            ),
        )  # fmt: skip
        p, told = np.ones(units.height), np.zeros((3, units.height))
        origs, times = columns[0], columns[-1]
        for row in np.flatnonzero((closed > 0) | look):
            host = int(origs[row])
            if closed[row]:
                self.days.add(host, int(closed[row]), day_counts[row])
            found = self.days.ask(host, int(times[row] // _DAY_US)) if look[row] else None
            if found is not None:
                told[:, row] = found
                p[row] = judge(self.memory.calibrated, 0, max(found[0], 0.0) * STRETCH)
        return {"p_drip": p, "drip": told[0], "drip_feature": told[1], "drip_times": told[2]}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        parts = {"hosts": self.hosts.arrays(), "days": self.days.arrays()}
        flat = {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}
        return self.memory.arrays() | flat

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        self.memory.load(arrays)
        for part, owner in (("hosts.", self.hosts), ("days.", self.days)):
            owner.load({name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)})
