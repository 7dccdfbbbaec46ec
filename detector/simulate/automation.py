"""What runs over many hosts by itself: monitoring, backup, orchestration, scans, patches, directory sync."""

from typing import Final

import numpy as np

from .acts import DEAD, DRAWN, Acts
from .draw import Box, Ints, below, box, chance, some
from .people import Crew
from .plant import Plant, Role
from .rhythm import HOUR, MINUTE, SECOND, Day, every
from .servers import SERVERS
from .services import PROBED_PORTS, Kind

_SCAN_DAY: Final = 0  # Monday evening
_PATCH_DAY: Final = 1  # Tuesday evening
_RUNS: Final = (5, 17)  # local hours at which orchestration goes over the servers
_INVENTORY: Final = 12  # and over a fifth of the desks, in the lunch hour of each working day
_LINUX: Final = (Role.PROXY, Role.INTRANET, Role.MIRROR, Role.RELAY, Role.MONITOR)
_SYNC: Final = 30 * MINUTE  # so often passwords and groups go to the cloud's directory
_PATCHED: Final = 930  # of 1,000 desks get a week's package
_SLOWER: Final[Box] = (0, 2, 6, 15, 90)  # seconds a target takes longer than planned


def automation_day(plant: Plant, day: Day, crew: Crew, rng: np.random.Generator, acts: Acts) -> None:
    """Adds a day of everything that runs on a schedule over many hosts."""
    _monitoring(plant, day, rng, acts)
    _backup(plant, day, rng, acts)
    _orchestration(plant, day, crew, rng, acts)
    _directory_sync(plant, day, rng, acts)
    if day.weekday == _SCAN_DAY:
        _scan(plant, day, crew, rng, acts)
    if day.weekday == _PATCH_DAY:
        _patch(plant, day, crew, rng, acts)


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
    when = day.at(HOUR + _in_turn(targets, 4 * HOUR) + below(rng, 4 * MINUTE, len(targets)))
    acts.add(Kind.BACKUP, when, backup, targets, account)
    acts.add(Kind.SMB_FILE, when - 20 * SECOND, backup, targets, account, below(rng, 1 << 30, len(targets)))


def _orchestration(plant: Plant, day: Day, crew: Crew, rng: np.random.Generator, acts: Acts) -> None:
    """Configuration management: SSH and WinRM over the servers twice a day, over each desk once a week."""
    config, account = plant.of(Role.CONFIG), plant.account("svc-config")
    targets = plant.of(*SERVERS, Role.MONITOR)
    targets = targets[~np.isin(targets, config)]
    kind = np.where(np.isin(targets, plant.of(*_LINUX)), int(Kind.SSH), int(Kind.WINRM))
    for hour in _RUNS:
        when = day.at(hour * HOUR + _in_turn(targets, HOUR)) + box(rng, _SLOWER, len(targets)) * SECOND
        when += below(rng, SECOND, len(targets))
        acts.add(kind, when, config, targets, account, below(rng, 1 << 30, len(targets)))
    desks = crew.of(plant.of(Role.WORKSTATION))
    desks = desks[desks % 5 == day.weekday]  # nobody's turn on a weekend
    when = day.at(_INVENTORY * HOUR + _in_turn(desks, HOUR)) + below(rng, 20 * SECOND, len(desks))
    acts.add(Kind.WINRM, when, config, desks, account, below(rng, 1 << 30, len(desks)))


def _directory_sync(plant: Plant, day: Day, rng: np.random.Generator, acts: Acts) -> None:
    """An identity server reads the directory as a domain controller would, with an account that may."""
    sync, account = plant.of(Role.SYNC), plant.account("svc-sync")
    acts.add(Kind.RPC_REPLICA, every(rng, day, _SYNC, 20 * SECOND), sync, plant.home_dc[sync], account)


def _scan(plant: Plant, day: Day, crew: Crew, rng: np.random.Generator, acts: Acts) -> None:
    """The weekly vulnerability scan of office and machine room, not of the cells; it logs on to servers."""
    scanner, account = plant.of(Role.SCANNER), plant.account("svc-scan")
    targets = plant.of(*SERVERS, Role.MONITOR, Role.ADMIN, Role.WORKSTATION, Role.PRINTER)
    target = np.repeat(targets, len(PROBED_PORTS))
    port = np.tile(np.array(PROBED_PORTS, dtype=np.int64), len(targets))
    local = 20 * HOUR + np.repeat(_in_turn(targets, 3 * HOUR), len(PROBED_PORTS))
    times = day.at(local + below(rng, 20 * SECOND, len(target)))
    desks = np.isin(targets, plant.of(Role.WORKSTATION))
    asleep = desks & (~np.isin(targets, crew.desks) | chance(rng, 60, len(targets)))
    fate = np.repeat(np.where(asleep, DEAD, DRAWN), len(PROBED_PORTS))
    acts.add(Kind.PROBE, times, scanner, target, account, port, fate=fate)
    servers = plant.of(*SERVERS)
    when = day.at(20 * HOUR + _in_turn(servers, 3 * HOUR) + below(rng, 2 * MINUTE, len(servers)))
    acts.add(Kind.RPC_ADMIN, when, scanner, servers, account, below(rng, 1 << 30, len(servers)))


def _patch(plant: Plant, day: Day, crew: Crew, rng: np.random.Generator, acts: Acts) -> None:
    """Patch evening: the deployment server installs its package on desks and servers; some are off."""
    deploy, account = plant.of(Role.DEPLOY), plant.account("svc-deploy")
    targets = np.concatenate([some(rng, plant.of(Role.WORKSTATION), _PATCHED), plant.of(*SERVERS)])
    targets = targets[targets != deploy[0]]
    times = day.at(18 * HOUR + 30 * MINUTE + _in_turn(targets, 3 * HOUR) + below(rng, 30 * SECOND, len(targets)))
    off = np.isin(targets, plant.of(Role.WORKSTATION)) & ~np.isin(targets, crew.desks)
    fate = np.where(off, DEAD, DRAWN)
    acts.add(Kind.SVC_EXEC, times, deploy, targets, account, below(rng, 1 << 30, len(targets)), fate=fate)


def _in_turn(targets: Ints, room: int) -> Ints:
    """When each target has its turn, evenly within ``room`` µs."""
    return np.arange(len(targets)) * (room // max(len(targets), 1))
