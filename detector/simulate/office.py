"""A day in the office: log-ons, files, mail, the web, printing, business systems."""

from typing import Final

import numpy as np

from .acts import DEAD, Acts
from .draw import Box, Ints, below, box, chance, pick, some
from .plant import SITES, Plant, Role
from .rhythm import MINUTE, OFFICE, SECOND, Day, clock_times, presence, within
from .services import Kind

_PRESENT: Final = (920, 60)  # of 1,000 people, on a working day and on a weekend

# What a person's workstation does in a day, and how often. Our own figures; together some 200 connections.
_HABITS: Final[tuple[tuple[Kind, Box], ...]] = (
    (Kind.PROXY, (20, 45, 62, 85, 170)),
    (Kind.SMB_FILE, (3, 9, 14, 21, 50)),
    (Kind.MAIL, (8, 16, 24, 32, 60)),
    (Kind.INTRANET, (1, 3, 5, 8, 20)),
    (Kind.AGENT, (6, 8, 9, 10, 12)),
    (Kind.NTP, (3, 5, 7, 9, 12)),
    (Kind.LDAP, (3, 5, 6, 9, 20)),
    (Kind.RPC_LOGON, (2, 2, 3, 5, 9)),
    (Kind.SMB_POLICY, (2, 3, 4, 5, 8)),
    (Kind.KRB_AS, (2, 2, 3, 4, 6)),
    (Kind.KRB_TGS, (3, 5, 7, 10, 18)),
    (Kind.UPDATE, (1, 1, 1, 2, 3)),
    (Kind.PRINT, (0, 1, 2, 3, 12)),
    (Kind.ERP, (4, 9, 14, 20, 40)),
    (Kind.MES, (4, 8, 14, 22, 60)),
)


def people_of(plant: Plant, day: Day, hired: Ints, rng: np.random.Generator) -> Ints:
    """The desks that are switched on today: ``hired`` holds the first day of each host."""
    desks = plant.of(Role.WORKSTATION, Role.ADMIN)
    return some(rng, desks[hired[desks] <= day.number], _PRESENT[0 if day.working else 1])


def office_day(plant: Plant, day: Day, present: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """Adds what the people present do with the servers they know."""
    arrive, leave = presence(rng, len(present))
    _log_on(plant, day, present, arrive, rng, acts)
    for kind, often in _HABITS:
        count = box(rng, often, len(present))
        if kind is Kind.ERP:
            count *= plant.uses_erp[present]
        if kind is Kind.MES:
            count *= plant.uses_mes[present]
        desk = np.repeat(present, count)
        times = within(clock_times(rng, OFFICE, len(desk)), np.repeat(arrive, count), np.repeat(leave, count))
        resp, detail = _partner(plant, kind, desk, rng)
        acts.add(kind, day.at(times), desk, resp, plant.owner[desk], detail)
    _lost_printer(plant, day, present, rng, acts)


def _log_on(plant: Plant, day: Day, present: Ints, arrive: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """Kerberos for machine and person, secure channel, group policy: a Windows morning."""
    dc, start = plant.home_dc[present], day.at(arrive)
    person, machine = plant.owner[present], plant.machine[present]
    steps = (
        (Kind.DNS, 0, machine),
        (Kind.KRB_AS, 1, machine),
        (Kind.RPC_LOGON, 3, machine),
        (Kind.KRB_AS, 9, person),
        (Kind.KRB_TGS, 10, person),
        (Kind.SMB_POLICY, 12, machine),
        (Kind.LDAP, 13, person),
    )
    for kind, second, user in steps:
        when = start + second * SECOND + below(rng, 2 * SECOND, len(present))
        acts.add(kind, when, present, dc, user, dc * 64 + Kind.LDAP)


def _partner(plant: Plant, kind: Kind, desk: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Whom a desk talks to for each kind, and what about."""
    n, fixed = len(desk), below(rng, 1 << 30, len(desk))
    if kind is Kind.PROXY:
        return np.broadcast_to(plant.of(Role.PROXY), (n,)), _site(plant, rng, n)
    if kind is Kind.SMB_FILE:
        other = pick(rng, plant.of(Role.FILES), n)
        usual = chance(rng, 88, n)  # the rest is the common share of another department
        return np.where(usual, plant.home_files[desk], other), fixed
    if kind is Kind.PRINT:
        return plant.home_printer[desk], fixed
    single = {
        Kind.MAIL: Role.MAIL,
        Kind.INTRANET: Role.INTRANET,
        Kind.ERP: Role.ERP,
        Kind.MES: Role.MES_FRONT,
        Kind.AGENT: Role.RELAY,
        Kind.UPDATE: Role.DEPLOY,
    }
    if kind in single:
        return np.broadcast_to(plant.of(single[kind]), (n,)), fixed
    second = chance(rng, 5, n)  # now and then another domain controller answers first
    dc = np.where(second, pick(rng, plant.of(Role.DC), n), plant.home_dc[desk])
    target = pick(rng, plant.of(Role.FILES, Role.MAIL, Role.ERP, Role.INTRANET), n)
    return dc, np.where(kind == Kind.KRB_TGS, target * 64 + Kind.SMB_FILE, fixed)


def _site(plant: Plant, rng: np.random.Generator, n: int) -> Ints:
    """Web sites, the first ones far more often: the smaller of three draws."""
    first = len(plant.hosts) - SITES
    return first + np.minimum(below(rng, SITES, n), np.minimum(below(rng, SITES, n), below(rng, SITES, n)))


def _lost_printer(plant: Plant, day: Day, present: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """Some desks still try a server that was retired years ago, every twenty minutes or so."""
    stuck = present[present % 17 == 0]
    desk = np.repeat(stuck, 12)
    times = day.at(clock_times(rng, OFFICE, len(desk)) // (20 * MINUTE) * (20 * MINUTE) + below(rng, MINUTE, len(desk)))
    acts.add(Kind.SMB_FILE, times, desk, plant.of(Role.RETIRED), plant.owner[desk], fate=DEAD)
