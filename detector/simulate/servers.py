"""The machine room: administrators, deployment, backup, monitoring, scanning, server to server."""

from typing import Final

import numpy as np

from .acts import DEAD, DRAWN, Acts
from .draw import Ints, below, box, chance, pick, some, weighted
from .plant import Plant, Role
from .rhythm import FLAT, HOUR, MINUTE, OFFICE, SECOND, Day, clock_times, every
from .services import PROBED_PORTS, Kind

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
)
_PATCH_DAY: Final = 1  # Tuesday evening
_SCAN_DAY: Final = 0  # Monday evening

# How administrators work, in parts of 100: interactive first, remote execution less often.
_TOOLS: Final = (Kind.RDP, Kind.SSH, Kind.WINRM, Kind.SVC_EXEC, Kind.SMB_COPY, Kind.RPC_ADMIN)
_TOOL_SHARE: Final = (34, 16, 20, 8, 10, 12)


def servers_day(plant: Plant, day: Day, present: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """Adds a day of everything that runs without users at their desks, and of those who run it."""
    _administrators(plant, day, present, rng, acts)
    _among_servers(plant, day, rng, acts)
    _monitoring(plant, day, rng, acts)
    _backup(plant, day, rng, acts)
    if day.weekday == _SCAN_DAY:
        _scan(plant, day, present, rng, acts)
    if day.weekday == _PATCH_DAY:
        _patch(plant, day, present, rng, acts)


def _administrators(plant: Plant, day: Day, present: Ints, rng: np.random.Generator, acts: Acts) -> None:
    admins = present[np.isin(present, plant.of(Role.ADMIN))]
    admin = np.repeat(admins, box(rng, (4, 9, 14, 20, 45), len(admins)))
    n = len(admin)
    servers = plant.of(*SERVERS)
    # Each looks after a third of the servers and meets the others now and then.
    own = servers[(admin * 5 + below(rng, max(2, len(servers) // 3), n)) % len(servers)]
    server = np.where(chance(rng, 93, n), own, pick(rng, servers, n))
    kind = np.array(_TOOLS)[weighted(rng, _TOOL_SHARE, n)]
    times = day.at(clock_times(rng, OFFICE, n))
    acts.add(kind, times, admin, server, plant.owner[admin], below(rng, 1 << 30, n))


def _among_servers(plant: Plant, day: Day, rng: np.random.Generator, acts: Acts) -> None:
    """Replication of the domain, business interfaces, members of the domain renewing their tickets."""
    dcs = plant.of(Role.DC)
    for dc in dcs.tolist():
        for peer in dcs[dcs != dc].tolist():
            ticks = every(rng, day, 30 * MINUTE, 20 * SECOND)
            acts.add(Kind.RPC_REPLICA, ticks, dc, peer, int(plant.machine[dc]))
    for kind, orig, resp, account, minutes in (
        (Kind.SQL, Role.MES_FRONT, Role.ERP, "svc-mes", 6),
        (Kind.SQL, Role.ERP, Role.MES_FRONT, "svc-mes", 15),
        (Kind.SQL, Role.HISTORIAN, Role.MIRROR, "svc-hist", 5),
        (Kind.SQL, Role.MES_FRONT, Role.MIRROR, "svc-mes", 20),
        (Kind.MES, Role.MES_FRONT, Role.MES, "svc-mes", 4),
        (Kind.UPDATE, Role.RELAY, Role.DEPLOY, "svc-deploy", 180),
    ):
        ticks = every(rng, day, minutes * MINUTE, 5 * SECOND)
        acts.add(
            kind,
            ticks,
            plant.of(orig),
            plant.of(resp),
            plant.account(account),
            below(rng, 1 << 30, len(ticks)),
        )
    members = plant.of(*SERVERS, Role.HISTORIAN, Role.MES, Role.EWS)
    member = np.repeat(members[~np.isin(members, dcs)], 10)
    renewals = np.array([Kind.KRB_AS, Kind.KRB_TGS, Kind.DNS, Kind.LDAP, Kind.RPC_LOGON, Kind.SMB_POLICY, Kind.NTP])
    chosen = renewals[below(rng, len(renewals), len(member))]
    dc, times = plant.home_dc[member], day.at(clock_times(rng, FLAT, len(member)))
    acts.add(chosen, times, member, dc, plant.machine[member], dc * 64 + Kind.LDAP)
    _mail(plant, day, rng, acts)


def _mail(plant: Plant, day: Day, rng: np.random.Generator, acts: Acts) -> None:
    """Mail to and from other firms."""
    n = len(plant.of(Role.WORKSTATION)) * (4 if day.working else 1)
    mail, sites = plant.of(Role.MAIL), plant.of(Role.SITE)
    away = pick(rng, sites[:40], n)
    inbound = below(rng, 2, n) == 0
    times = day.at(clock_times(rng, OFFICE, n))
    acts.add(Kind.SMTP, times, np.where(inbound, away, mail), np.where(inbound, mail, away))


def _monitoring(plant: Plant, day: Day, rng: np.random.Generator, acts: Acts) -> None:
    """A round of SNMP and ping over all servers and site machines every five and ten minutes."""
    monitor, account = plant.of(Role.MONITOR), plant.account("svc-monitor")
    for target in plant.of(*SERVERS, Role.PRINTER, Role.HISTORIAN, Role.MES).tolist():
        acts.add(Kind.SNMP, every(rng, day, 5 * MINUTE, SECOND), monitor, target, account)
        acts.add(Kind.PING, every(rng, day, 10 * MINUTE, SECOND), monitor, target, account)


def _backup(plant: Plant, day: Day, rng: np.random.Generator, acts: Acts) -> None:
    """Nightly from one o'clock, one server after the other."""
    backup, account = plant.of(Role.BACKUP), plant.account("svc-backup")
    targets = plant.of(*SERVERS, Role.HISTORIAN, Role.MES, Role.EWS)
    targets = targets[targets != backup[0]]
    local = HOUR + np.arange(len(targets)) * (4 * HOUR // len(targets)) + below(rng, 4 * MINUTE, len(targets))
    acts.add(Kind.BACKUP, day.at(local), backup, targets, account)
    acts.add(
        Kind.SMB_FILE,
        day.at(local) - 20 * SECOND,
        backup,
        targets,
        account,
        below(rng, 1 << 30, len(targets)),
    )


def _scan(plant: Plant, day: Day, present: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """The weekly vulnerability scan: every known address of office and machine room, not of the cells."""
    scanner = plant.of(Role.SCANNER)
    targets = plant.of(*SERVERS, Role.MONITOR, Role.ADMIN, Role.WORKSTATION, Role.PRINTER)
    target = np.repeat(targets, len(PROBED_PORTS))
    port = np.tile(np.array(PROBED_PORTS, dtype=np.int64), len(targets))
    local = 20 * HOUR + np.repeat(np.arange(len(targets)), len(PROBED_PORTS)) * (3 * HOUR // len(targets))
    times = day.at(local + below(rng, 20 * SECOND, len(target)))
    desks = np.isin(targets, plant.of(Role.WORKSTATION))
    asleep = desks & (~np.isin(targets, present) | chance(rng, 60, len(targets)))
    fate = np.repeat(np.where(asleep, DEAD, DRAWN), len(PROBED_PORTS))
    acts.add(Kind.PROBE, times, scanner, target, plant.account("svc-scan"), port, fate=fate)


def _patch(plant: Plant, day: Day, present: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """Patch evening: the deployment server installs its package on desks and servers; some are off."""
    deploy, account = plant.of(Role.DEPLOY), plant.account("svc-deploy")
    targets = np.concatenate([some(rng, plant.of(Role.WORKSTATION), 930), plant.of(*SERVERS)])
    targets = targets[targets != deploy[0]]
    local = 18 * HOUR + 30 * MINUTE + np.arange(len(targets)) * (3 * HOUR // len(targets))
    off = np.isin(targets, plant.of(Role.WORKSTATION)) & ~np.isin(targets, present)
    times = day.at(local + below(rng, 30 * SECOND, len(targets)))
    acts.add(
        Kind.SVC_EXEC,
        times,
        deploy,
        targets,
        account,
        below(rng, 1 << 30, len(targets)),
        fate=np.where(off, DEAD, DRAWN),
    )
