"""What keeps a plant from standing still: new hosts, moved addresses, a migration, first meetings, oddities.

About one in fifteen of an ordinary working day's pairs of hosts has not been seen before, as in real
networks, where "new edge" alone is no alert.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

import numpy as np

from .acts import SURE, Acts
from .draw import Ints, Purpose, below, box, chance, pick, some, stream, weighted
from .people import Crew
from .plant import DESKS, Plant, Role
from .rhythm import DAY, FLAT, OFFICE, SECOND, Day, clock_times
from .services import Kind

_NEW_DESKS: Final = 30  # of 1,000 desks, first switched on during the simulation
_NEW_SERVERS: Final = 15  # of 100 application servers; the last ones
_GROWN: Final = 14  # days below which no server joins and none moves

_MOVES: Final = 10  # of 1,000 desks a day, get another address
_SPARE: Final = 6  # free leases in an office subnet; a moved desk's old address goes to the end of the queue
_MIGRATION: Final = (3, 4)  # after this part of the days a server moves, on the next working day but Monday
_MIGRATED: Final = "10.20.4.12"

# First meetings of a desk in a day, and what they are about, in parts of 100.
_MEETINGS: Final = (0, 0, 0, 1, 5)
_KINDS: Final = (Kind.PEER, Kind.SMB_FILE, Kind.PRINT, Kind.INTRANET, Kind.SSH, Kind.SQL)
_KIND_SHARE: Final = (46, 22, 14, 10, 3, 5)


def first_days(plant: Plant, days: int, seed: int) -> Ints:
    """The day on which each host is first switched on; 0 for almost all."""
    rng = stream(seed, Purpose.HIRED)
    first = np.zeros(len(plant.hosts), dtype=np.int64)
    new = some(rng, plant.of(Role.WORKSTATION), _NEW_DESKS)
    first[new] = below(rng, max(days, 1), len(new))
    apps = plant.of(Role.APP)
    if days >= _GROWN and len(apps):
        new = apps[-max(1, len(apps) * _NEW_SERVERS // 100) :]
        first[new] = 2 + below(rng, days - 3, len(new))
    return first


def migration(plant: Plant, days: Sequence[Day], seed: int) -> tuple[int, int]:
    """The day on which a server moves to another address, and which; day -1 in short simulations."""
    part, whole = _MIGRATION
    rest = [day for day in days[len(days) * part // whole :] if day.working and day.weekday]
    server = int(pick(stream(seed, Purpose.LEASES), plant.of(Role.ERP, Role.MES_FRONT), 1)[0])
    return (rest[0].number if rest and len(days) >= _GROWN else -1), server


class AddressBook:
    """Which address each host has today; leases move a few desks on working days, a migration one server."""

    def __init__(self, plant: Plant, days: Sequence[Day], seed: int) -> None:
        self._plant, self._seed = plant, seed
        self._migration = migration(plant, days, seed)
        self._free: dict[str, deque[str]] = {}
        self.addresses = [host.address for host in plant.hosts]

    def turn(self, day: Day) -> None:
        """Moves on to ``day``; call once for each day in order."""
        if day.number == self._migration[0]:
            self.addresses[self._migration[1]] = _MIGRATED
        if day.number == 0 or not day.working:
            return
        rng = stream(self._seed, Purpose.LEASES, day.number)
        for host in some(rng, self._plant.of(Role.WORKSTATION), _MOVES).tolist():
            self.addresses[host] = self._lease(self.addresses[host])

    def _lease(self, old: str) -> str:
        """The address that has been free for longest in the subnet of ``old``, which is free from now on."""
        prefix, first = old.rpartition(".")[0], 10 + DESKS + 20  # leases live between the desks and the printers
        free = self._free.setdefault(prefix, deque(f"{prefix}.{first + i}" for i in range(_SPARE)))
        free.append(old)
        return free.popleft()


def drift_day(plant: Plant, day: Day, crew: Crew, hired: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """Adds first meetings, arrivals and oddities."""
    _meetings(plant, day, crew, rng, acts)
    _arrivals(plant, day, hired, rng, acts)
    _oddities(plant, day, crew.desks, rng, acts)


def _arrivals(plant: Plant, day: Day, hired: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """Administrators set up what is new today: a look, files, an installer."""
    new = np.flatnonzero((hired == day.number) & (hired > 0))
    new = np.repeat(new, np.where(np.isin(new, plant.of(Role.APP)), 3, 1))
    admin = pick(rng, plant.of(Role.ADMIN), len(new))
    start = day.at(clock_times(rng, OFFICE, len(new)))
    for step, kind in enumerate((Kind.SMB_COPY, Kind.SVC_EXEC, Kind.RDP)):
        when = start + step * 90 * SECOND + below(rng, 60 * SECOND, len(new))
        acts.add(kind, when, admin, new, plant.owner[admin], below(rng, 1 << 30, len(new)), fate=SURE)


def _meetings(plant: Plant, day: Day, crew: Crew, rng: np.random.Generator, acts: Acts) -> None:
    present = crew.desks
    if not len(present):
        return
    desk = np.repeat(present, box(rng, _MEETINGS, len(present)))
    n = len(desk)
    kind = np.array(_KINDS)[weighted(rng, _KIND_SHARE, n)]
    pools = {
        Kind.PEER: present,
        Kind.SMB_FILE: plant.of(Role.WORKSTATION, Role.FILES),
        Kind.PRINT: plant.of(Role.PRINTER),
        Kind.INTRANET: plant.of(Role.DEPLOY, Role.MES_FRONT, Role.MONITOR, Role.BACKUP, Role.MIRROR, Role.PRINTER),
        Kind.SSH: plant.of(Role.PROXY, Role.MONITOR, Role.INTRANET, Role.MIRROR),
        Kind.SQL: plant.of(Role.ERP, Role.MIRROR, Role.MES_FRONT),
    }
    resp = np.zeros(n, dtype=np.int64)
    for about, pool in pools.items():
        resp = np.where(kind == about, pick(rng, pool, n), resp)
    rows = resp != desk
    times = day.at(crew.hours(rng, desk))
    again = np.where(below(rng, 3, n) == 0, 2, 1)  # a third meet twice
    for visit in range(2):
        now = rows & (again > visit)
        later = visit * below(rng, DAY // 24, n)
        acts.add(
            kind[now],
            (times + later)[now],
            desk[now],
            resp[now],
            plant.owner[crew.person[desk]][now],
            below(rng, 1 << 30, n)[now],
        )


def _oddities(plant: Plant, day: Day, present: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """Twice a week a desk looks for printers around it; now and then somebody tries a wrong server."""
    if len(present) and chance(rng, 28, 1)[0]:
        desk = pick(rng, present, 1)
        targets = pick(rng, plant.of(Role.WORKSTATION, Role.PRINTER), 6)
        targets = targets[targets != desk[0]]
        start = day.at(clock_times(rng, OFFICE, 1))
        times = start + np.arange(len(targets)) * SECOND + below(rng, SECOND, len(targets))
        acts.add(Kind.PROBE, times, desk, targets, plant.owner[desk], 9100)
    lost = some(rng, present, 8)
    acts.add(
        Kind.RDP,
        day.at(clock_times(rng, FLAT, len(lost))),
        lost,
        pick(rng, plant.of(Role.MIRROR, Role.DEPLOY), len(lost)),
        plant.owner[lost],
    )
