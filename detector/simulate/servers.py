"""The machine room by itself: replication, business interfaces, members of the domain, mail, closings."""

from typing import Final

import numpy as np

from .acts import Acts
from .draw import Box, Ints, below, box, chance, pick
from .people import Crew
from .plant import Plant, Role
from .rhythm import FLAT, HOUR, MINUTE, OFFICE, SECOND, Day, clock_times, every
from .services import Kind

SERVERS: Final = (
    Role.DC,
    Role.FILES,
    Role.MAIL,
    Role.PROXY,
    Role.ERP,
    Role.MES_FRONT,
    Role.INTRANET,
    Role.DEPLOY,
    Role.BACKUP,
    Role.JUMP,
    Role.MIRROR,
    Role.RELAY,
    Role.APP,
    Role.CONFIG,
    Role.SYNC,
)

INTERFACES: Final = (
    (Kind.SQL, Role.MES_FRONT, Role.ERP, "svc-mes", 6),
    (Kind.SQL, Role.ERP, Role.MES_FRONT, "svc-mes", 15),
    (Kind.SQL, Role.HISTORIAN, Role.MIRROR, "svc-hist", 5),
    (Kind.SQL, Role.MES_FRONT, Role.MIRROR, "svc-mes", 20),
    (Kind.MES, Role.MES_FRONT, Role.MES, "svc-mes", 4),
    (Kind.UPDATE, Role.RELAY, Role.DEPLOY, "svc-deploy", 180),
)
"""Who asks whom, with which account, every so many minutes."""

_REPLICATED: Final = 30 * MINUTE  # the directory among domain controllers
_MIRRORED: Final = HOUR  # common folders from one file server to the next
_BATCH: Final = 20 * MINUTE  # an application's questions to the business system
_RENEWALS: Final = (
    Kind.KRB_AS,
    Kind.KRB_TGS,
    Kind.DNS,
    Kind.LDAP,
    Kind.RPC_LOGON,
    Kind.SMB_POLICY,
    Kind.NTP,
)

# Closings: the days of a month on which books are closed or wages paid, and what clerks do then.
_CLOSING: Final = frozenset({1, 2, 3, 13, 14, 15, 16, 28, 29, 30, 31})
_REPORTS: Final[Box] = (1, 2, 3, 5, 12)


def servers_day(plant: Plant, day: Day, crew: Crew, rng: np.random.Generator, acts: Acts) -> None:
    """Adds a day of what servers do with each other."""
    _directory(plant, day, rng, acts)
    _interfaces(plant, day, rng, acts)
    _members(plant, day, rng, acts)
    _mail(plant, day, rng, acts)
    if day.working and day.of_month in _CLOSING:
        _closing(plant, day, crew, rng, acts)


def _directory(plant: Plant, day: Day, rng: np.random.Generator, acts: Acts) -> None:
    dcs = plant.of(Role.DC)
    for dc in dcs.tolist():
        for peer in dcs[dcs != dc].tolist():
            ticks = every(rng, day, _REPLICATED, 20 * SECOND)
            acts.add(Kind.RPC_REPLICA, ticks, dc, peer, int(plant.machine[dc]))


def _interfaces(plant: Plant, day: Day, rng: np.random.Generator, acts: Acts) -> None:
    for kind, orig, resp, account, minutes in INTERFACES:
        ticks = every(rng, day, minutes * MINUTE, 5 * SECOND)
        detail = below(rng, 1 << 30, len(ticks))
        acts.add(kind, ticks, plant.of(orig), plant.of(resp), plant.account(account), detail)
    files, service = plant.of(Role.FILES), plant.account("svc-app")
    for source, copy in zip(files.tolist(), np.roll(files, -1).tolist(), strict=True):
        ticks = every(rng, day, _MIRRORED, MINUTE)
        acts.add(Kind.SMB_FILE, ticks, source, copy, int(plant.machine[source]), below(rng, 1 << 30, len(ticks)))
    for nth, app in enumerate(plant.of(Role.APP).tolist()):
        ticks = every(rng, day, _BATCH, 20 * SECOND)
        acts.add(Kind.SQL, ticks, app, plant.of(Role.ERP), service, below(rng, 1 << 30, len(ticks)))
        ticks = every(rng, day, _MIRRORED, MINUTE)
        share = files[nth % len(files)]
        acts.add(Kind.SMB_FILE, ticks, app, share, service, below(rng, 1 << 30, len(ticks)))


def _members(plant: Plant, day: Day, rng: np.random.Generator, acts: Acts) -> None:
    """Members of the domain renew their tickets, read policies, ask for names and the time."""
    members = plant.of(*SERVERS, Role.HISTORIAN, Role.MES, Role.EWS, Role.MONITOR, Role.SCANNER)
    member = np.repeat(members[~np.isin(members, plant.of(Role.DC))], 10)
    kind = np.array(_RENEWALS)[below(rng, len(_RENEWALS), len(member))]
    dc, times = plant.home_dc[member], day.at(clock_times(rng, FLAT, len(member)))
    acts.add(kind, times, member, dc, plant.machine[member], dc * 64 + Kind.LDAP)
    updated = plant.of(*SERVERS, Role.EWS)
    updated = updated[~np.isin(updated, plant.of(Role.DEPLOY, Role.RELAY))]
    times = day.at(clock_times(rng, FLAT, len(updated)))
    acts.add(Kind.AGENT, times, updated, plant.of(Role.RELAY), plant.machine[updated])


def _mail(plant: Plant, day: Day, rng: np.random.Generator, acts: Acts) -> None:
    """Mail to and from other firms."""
    n = len(plant.of(Role.WORKSTATION)) * (4 if day.working else 1)
    mail, sites = plant.of(Role.MAIL), plant.of(Role.SITE)
    away = pick(rng, sites[:40], n)
    inbound = below(rng, 2, n) == 0
    times = day.at(clock_times(rng, OFFICE, n))
    acts.add(Kind.SMTP, times, np.where(inbound, away, mail), np.where(inbound, mail, away))


def _closing(plant: Plant, day: Day, crew: Crew, rng: np.random.Generator, acts: Acts) -> None:
    """Clerks ask the business system's database itself; at night it is copied out for the auditors."""
    erp, account = plant.of(Role.ERP), plant.account("svc-app")
    clerks = _clerks(plant, crew)
    desk = np.repeat(clerks, box(rng, _REPORTS, len(clerks)))
    kind = np.where(chance(rng, 15, len(desk)), int(Kind.SQL_BULK), int(Kind.SQL))
    acts.add(kind, day.at(crew.hours(rng, desk)), desk, erp, plant.owner[crew.person[desk]])
    night = day.at(3 * HOUR + below(rng, HOUR, 3))
    acts.add(Kind.SMB_BULK, night, erp, pick(rng, plant.of(Role.FILES), 3), account, below(rng, 1 << 30, 3))
    acts.add(Kind.SQL_BULK, night, plant.of(Role.APP)[:1], erp, account)


def _clerks(plant: Plant, crew: Crew) -> Ints:
    """A quarter of those who use the business system keep books."""
    desks = crew.of(plant.of(Role.WORKSTATION))
    clerks: Ints = desks[(desks % 4 == 0) & (plant.uses_erp[desks] == 1)]
    return clerks
