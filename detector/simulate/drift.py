"""What keeps a plant from standing still: new hosts, moved addresses, first meetings, oddities.

About one in fifteen of an ordinary working day's pairs of hosts has not been seen before, as in real
networks, where "new edge" alone is no alert.
"""

from typing import Final

import numpy as np

from .acts import Acts
from .draw import Ints, Purpose, below, box, chance, pick, some, stream, weighted
from .plant import DESKS, Plant, Role
from .rhythm import DAY, FLAT, OFFICE, SECOND, Day, clock_times
from .services import Kind

_NEW_HOSTS: Final = 30  # of 1,000 desks, first switched on during the simulation
_MOVES: Final = 6  # of 1,000 desks a day, get another address

# First meetings of a desk in a day, and what they are about, in parts of 100.
_MEETINGS: Final = (0, 0, 1, 1, 4)
_KINDS: Final = (Kind.PEER, Kind.SMB_FILE, Kind.PRINT, Kind.INTRANET, Kind.SSH, Kind.SQL)
_KIND_SHARE: Final = (46, 22, 14, 10, 3, 5)


def first_days(plant: Plant, days: int, seed: int) -> Ints:
    """The day on which each host is first switched on; 0 for almost all."""
    rng = stream(seed, Purpose.HIRED)
    desks = plant.of(Role.WORKSTATION)
    first = np.zeros(len(plant.hosts), dtype=np.int64)
    new = some(rng, desks, _NEW_HOSTS)
    first[new] = below(rng, max(days, 1), len(new))
    return first


class AddressBook:
    """Which address each host has today; leases move a few desks on working days."""

    def __init__(self, plant: Plant, seed: int) -> None:
        self._plant, self._seed = plant, seed
        self._next: dict[str, int] = {}
        self.addresses = [host.address for host in plant.hosts]

    def turn(self, day: Day) -> None:
        """Moves on to ``day``; call once for each day in order."""
        if day.number == 0 or not day.working:
            return
        rng = stream(self._seed, Purpose.LEASES, day.number)
        for host in some(rng, self._plant.of(Role.WORKSTATION), _MOVES).tolist():
            prefix = self._plant.hosts[host].address.rpartition(".")[0]
            lease = self._next.get(prefix, 0)
            self._next[prefix] = (lease + 1) % 120  # leases live between the desks and the printers
            self.addresses[host] = f"{prefix}.{10 + DESKS + 20 + lease}"


def drift_day(plant: Plant, day: Day, present: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """Adds first meetings and oddities."""
    _meetings(plant, day, present, rng, acts)
    _help_desk(plant, day, present, rng, acts)
    _oddities(plant, day, present, rng, acts)


def _meetings(plant: Plant, day: Day, present: Ints, rng: np.random.Generator, acts: Acts) -> None:
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
    times = day.at(clock_times(rng, OFFICE, n))
    again = np.where(below(rng, 3, n) == 0, 2, 1)  # a third meet twice
    for visit in range(2):
        now = rows & (again > visit)
        later = visit * below(rng, DAY // 24, n)
        acts.add(
            kind[now],
            (times + later)[now],
            desk[now],
            resp[now],
            plant.owner[desk][now],
            below(rng, 1 << 30, n)[now],
        )


def _help_desk(plant: Plant, day: Day, present: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """Administrators help people at their desks, with the very tools an intruder would use."""
    if not len(present):
        return
    admins = present[np.isin(present, plant.of(Role.ADMIN))]
    admin = np.repeat(admins, box(rng, (0, 1, 2, 4, 7), len(admins)))
    n = len(admin)
    tools = np.array((Kind.RDP, Kind.WINRM, Kind.SMB_COPY, Kind.SVC_EXEC, Kind.RPC_ADMIN))
    kind = tools[weighted(rng, (40, 20, 20, 10, 10), n)]
    desk = pick(rng, present, n)
    kind, admin, desk = (column[admin != desk] for column in (kind, admin, desk))
    n = len(admin)
    acts.add(kind, day.at(clock_times(rng, OFFICE, n)), admin, desk, plant.owner[admin], below(rng, 1 << 30, n))


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
