"""Who is in today, at whose desk, from when to when."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from .draw import Box, Ints, Purpose, below, box, chance, pick, some, stream, weighted
from .plant import Plant, Role
from .rhythm import HOUR, MINUTE, OFFICE, Day, clock_times, within

_PRESENT: Final = (920, 60)  # of 1,000 people, on a working day and on a weekend

# When people come and how long they stay, minutes: day workers, and the early and late shifts' clerks and foremen.
_COME: Final[tuple[Box, ...]] = (
    (370, 450, 500, 545, 680),
    (330, 340, 350, 358, 375),
    (800, 815, 825, 835, 860),
)
_STAY: Final[tuple[Box, ...]] = ((300, 495, 520, 555, 660), (470, 480, 485, 495, 540), (470, 480, 485, 495, 540))
_WORKERS: Final = (88, 6, 6)  # of 100
_EARLIER: Final = 20 * MINUTE  # than usual at most, and
_SPREAD: Final = 50 * MINUTE  # from the earliest to the latest on ordinary days
_OVERTIME: Final = 4  # of 100 days somebody stays up to three hours longer
_WEEKEND: Final = 5 * HOUR  # at most, on a weekend

_GUESTS: Final = 25  # of 1,000 desks in use have somebody else at them, and of 100 of these
_REGULARS: Final = 60  # the one who often sits there


@dataclass(frozen=True, slots=True)
class Crew:
    """The desks in use on one day.

    Args:
        desks: positions in `Plant.hosts`, ascending.
        arrive, leave: for each of them, local µs after midnight.
        person: for each host of the plant, the desk whose owner sits there; itself for almost all.
    """

    desks: Ints
    arrive: Ints
    leave: Ints
    person: Ints

    def of(self, hosts: Ints) -> Ints:
        """Those of ``hosts`` that are in use."""
        return hosts[np.isin(hosts, self.desks)]

    def hours(self, rng: np.random.Generator, desks: Ints) -> Ints:
        """A local clock time for each of ``desks``, all in use, while somebody is there."""
        rows = np.searchsorted(self.desks, desks)
        return within(clock_times(rng, OFFICE, len(desks)), self.arrive[rows], self.leave[rows])


class Staff:
    """The people of the plant and their habits; each comes and goes at hours of their own.

    Args:
        hired: for each host the first day on which it is switched on.
    """

    def __init__(self, plant: Plant, hired: Ints, seed: int) -> None:
        rng, n = stream(seed, Purpose.HOURS), len(plant.hosts)
        self._desks, self._hired = plant.of(Role.WORKSTATION, Role.ADMIN), hired
        self._guests = plant.of(Role.WORKSTATION)
        shift = weighted(rng, _WORKERS, n)
        self._come = np.choose(shift, [box(rng, knots, n) for knots in _COME]) * MINUTE
        self._stay = np.choose(shift, [box(rng, knots, n) for knots in _STAY]) * MINUTE

    def crew(self, day: Day, rng: np.random.Generator) -> Crew:
        """Who is in on ``day``."""
        desks = np.sort(some(rng, self._desks[self._hired[self._desks] <= day.number], _PRESENT[not day.working]))
        n = len(desks)
        arrive = self._come[desks] - _EARLIER + below(rng, _SPREAD, n)
        stay = self._stay[desks] - _EARLIER + below(rng, _SPREAD, n)
        stay += chance(rng, _OVERTIME, n) * below(rng, 3 * HOUR, n)
        if not day.working:
            stay = np.minimum(stay, HOUR + below(rng, _WEEKEND - HOUR, n))
        return Crew(desks, arrive, arrive + stay, self._seats(desks, rng))

    def _seats(self, desks: Ints, rng: np.random.Generator) -> Ints:
        """Hot desks, stand-ins, a borrowed screen: some sit where they usually do not."""
        person = np.arange(len(self._come), dtype=np.int64)
        seats = some(rng, desks[np.isin(desks, self._guests)], _GUESTS)
        regular = self._guests[(seats * 7 + 3) % len(self._guests)]
        anyone = pick(rng, self._guests, len(seats))
        guest = np.where(chance(rng, _REGULARS, len(seats)), regular, anyone)
        person[seats] = np.where(self._hired[guest] == 0, guest, seats)
        return person
