"""A day in the office: log-ons, files, mail, the web, printing, business systems."""

from typing import Final

import numpy as np

from .acts import DEAD, Acts
from .draw import Box, Ints, below, box, chance, pick, some, weighted
from .people import Crew
from .plant import SITES, Plant, Role
from .rhythm import MINUTE, OFFICE, SECOND, Day, clock_times
from .services import MISTYPED, Kind

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
_SINGLE: Final = {
    Kind.MAIL: Role.MAIL,
    Kind.INTRANET: Role.INTRANET,
    Kind.ERP: Role.ERP,
    Kind.MES: Role.MES_FRONT,
    Kind.AGENT: Role.RELAY,
    Kind.UPDATE: Role.DEPLOY,
}
# Of 100 files, those of a person's own department, and with them those of the other departments they work with.
_OWN_FILES: Final = 88
_KNOWN_FILES: Final = 99
_WORKED_WITH: Final = 3
_APP_VISITS: Final[Box] = (0, 1, 4, 8, 25)  # a day to each application of the department
_APPS: Final = 2  # a desk uses so many
_ADOPTED: Final = 4  # days until the last of a department uses a new one
# Application owners: a desk for each application, and what they do on its server, in parts of 100.
_OWNER_ACTS: Final[Box] = (0, 0, 1, 3, 9)
_OWNER_TOOLS: Final = (Kind.RDP, Kind.SSH, Kind.WINRM, Kind.SMB_COPY, Kind.SQL)
_OWNER_SHARE: Final = (40, 20, 10, 15, 15)
_COPIES: Final = 15  # of 1,000 people a day move a whole folder
_TYPOS: Final = 25  # of 1,000 people a day mistype their password
_TRIES: Final[Box] = (1, 1, 1, 2, 5)


def office_day(plant: Plant, day: Day, crew: Crew, hired: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """Adds what the people present do with the servers they know."""
    _log_on(plant, day, crew, rng, acts)
    present = crew.desks
    for kind, often in _HABITS:
        count = box(rng, often, len(present))
        if kind is Kind.ERP:
            count *= plant.uses_erp[crew.person[present]]
        if kind is Kind.MES:
            count *= plant.uses_mes[crew.person[present]]
        desk = np.repeat(present, count)
        resp, detail = _partner(plant, kind, desk, crew.person[desk], rng)
        acts.add(kind, day.at(crew.hours(rng, desk)), desk, resp, plant.owner[crew.person[desk]], detail)
    _applications(plant, day, crew, hired, rng, acts)
    _owners(plant, day, crew, rng, acts)
    _copies(plant, day, crew, rng, acts)
    _typos(plant, day, crew, rng, acts)
    _lost_printer(plant, day, present, rng, acts)


def _log_on(plant: Plant, day: Day, crew: Crew, rng: np.random.Generator, acts: Acts) -> None:
    """Kerberos for machine and person, secure channel, group policy: a Windows morning."""
    present = crew.desks
    dc, start = plant.home_dc[present], day.at(crew.arrive)
    person, machine = plant.owner[crew.person[present]], plant.machine[present]
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


def _partner(plant: Plant, kind: Kind, desk: Ints, person: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Whom a desk talks to for each kind, and what about; files belong to the person, printers to the place."""
    n, fixed = len(desk), below(rng, 1 << 30, len(desk))
    if kind is Kind.PROXY:
        return np.broadcast_to(plant.of(Role.PROXY), (n,)), _site(plant, rng, n)
    if kind is Kind.SMB_FILE:
        return _share(plant, person, rng), fixed
    if kind is Kind.PRINT:
        return plant.home_printer[desk], fixed
    if kind in _SINGLE:
        return np.broadcast_to(plant.of(_SINGLE[kind]), (n,)), fixed
    second = chance(rng, 5, n)  # now and then another domain controller answers first
    dc = np.where(second, pick(rng, plant.of(Role.DC), n), plant.home_dc[desk])
    target = pick(rng, plant.of(Role.FILES, Role.MAIL, Role.ERP, Role.INTRANET), n)
    return dc, np.where(kind == Kind.KRB_TGS, target * 64 + Kind.SMB_FILE, fixed)


def _share(plant: Plant, person: Ints, rng: np.random.Generator) -> Ints:
    """The file server of somebody's department, at times of one they work with, now and then any."""
    files, dice = plant.of(Role.FILES), below(rng, 100, len(person))
    known = files[(person * 3 + dice % _WORKED_WITH) % len(files)]
    anywhere = pick(rng, files, len(person))
    return np.select([dice < _OWN_FILES, dice < _KNOWN_FILES], [plant.home_files[person], known], anywhere)


def _site(plant: Plant, rng: np.random.Generator, n: int) -> Ints:
    """Web sites, the first ones far more often: the smaller of three draws."""
    first = len(plant.hosts) - SITES
    return first + np.minimum(below(rng, SITES, n), np.minimum(below(rng, SITES, n), below(rng, SITES, n)))


def _applications(plant: Plant, day: Day, crew: Crew, hired: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """Each department has its applications; a new one is taken up desk by desk."""
    apps, people = plant.of(Role.APP), crew.of(plant.of(Role.WORKSTATION))
    if not len(apps):
        return
    department = plant.department[people]
    for nth in range(_APPS):
        app = apps[(department * 3 + nth + people % (_APPS + 1)) % len(apps)]
        begun = (hired[app] == 0) | (hired[app] + people % (_ADOPTED + 1) <= day.number)
        count = box(rng, _APP_VISITS, len(people)) * begun
        desk, resp = np.repeat(people, count), np.repeat(app, count)
        kind = np.where(resp % 2 == 0, int(Kind.ERP), int(Kind.INTRANET))  # half of them speak TLS
        user = plant.owner[crew.person[desk]]
        acts.add(kind, day.at(crew.hours(rng, desk)), desk, resp, user, below(rng, 1 << 30, len(desk)))


def _owners(plant: Plant, day: Day, crew: Crew, rng: np.random.Generator, acts: Acts) -> None:
    """Not only administrators log on to servers: each application has somebody in an office who knows how it works."""
    apps, desks = plant.of(Role.APP), plant.of(Role.WORKSTATION)
    owner = desks[apps * 13 % len(desks)]
    at_work = np.isin(owner, crew.desks)
    count = box(rng, _OWNER_ACTS, len(apps)) * at_work
    desk, app = np.repeat(owner, count), np.repeat(apps, count)
    server = np.where(chance(rng, 95, len(desk)), app, pick(rng, plant.of(Role.ERP, Role.FILES), len(desk)))
    kind = np.array(_OWNER_TOOLS)[weighted(rng, _OWNER_SHARE, len(desk))]
    detail = below(rng, 1 << 30, len(desk))
    acts.add(kind, day.at(crew.hours(rng, desk)), desk, server, plant.owner[crew.person[desk]], detail)


def _copies(plant: Plant, day: Day, crew: Crew, rng: np.random.Generator, acts: Acts) -> None:
    """Whole folders at once: drawings for a visit, a project that moves, pictures of the open day."""
    desk = some(rng, crew.of(plant.of(Role.WORKSTATION)), _COPIES)
    usual = chance(rng, 80, len(desk))
    share = np.where(usual, plant.home_files[crew.person[desk]], pick(rng, plant.of(Role.FILES), len(desk)))
    user = plant.owner[crew.person[desk]]
    acts.add(Kind.SMB_BULK, day.at(crew.hours(rng, desk)), desk, share, user, below(rng, 1 << 30, len(desk)))


def _typos(plant: Plant, day: Day, crew: Crew, rng: np.random.Generator, acts: Acts) -> None:
    """Wrong passwords, some several in a row."""
    clumsy = some(rng, crew.desks, _TYPOS)
    tries = box(rng, _TRIES, len(clumsy))
    desk, first = np.repeat(clumsy, tries), np.repeat(day.at(crew.hours(rng, clumsy)), tries)
    when = first + below(rng, 2 * MINUTE, len(desk))
    acts.add(Kind.KRB_AS, when, desk, plant.home_dc[desk], plant.owner[crew.person[desk]], MISTYPED)


def _lost_printer(plant: Plant, day: Day, present: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """Some desks still try a server that was retired years ago, every twenty minutes or so."""
    stuck = present[present % 17 == 0]
    desk = np.repeat(stuck, 12)
    times = day.at(clock_times(rng, OFFICE, len(desk)) // (20 * MINUTE) * (20 * MINUTE) + below(rng, MINUTE, len(desk)))
    acts.add(Kind.SMB_FILE, times, desk, plant.of(Role.RETIRED), plant.owner[desk], fate=DEAD)
