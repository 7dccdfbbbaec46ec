"""People who run the machines, with the very tools an intruder would use, in the day and sometimes at night."""

from typing import Final

import numpy as np

from .acts import Acts
from .draw import Box, Ints, below, box, chance, one, pick, weighted
from .people import Crew
from .plant import Plant, Role
from .rhythm import HOUR, MINUTE, SECOND, Day
from .servers import SERVERS
from .services import Kind

# How administrators work on servers, in parts of 100: interactive first, remote execution less often.
_TOOLS: Final = (Kind.RDP, Kind.SSH, Kind.WINRM, Kind.SVC_EXEC, Kind.SMB_COPY, Kind.RPC_ADMIN)
_TOOL_SHARE: Final = (34, 16, 20, 8, 10, 12)
_OWN: Final = 93  # of 100 times it is a server they look after: a third of all
_WORK: Final[Box] = (4, 9, 14, 20, 45)  # acts a day on servers
_HELP: Final[Box] = (0, 1, 2, 4, 7)  # and on people's desks
_DESK_TOOLS: Final = (Kind.RDP, Kind.WINRM, Kind.SMB_COPY, Kind.SVC_EXEC, Kind.RPC_ADMIN)
_DESK_SHARE: Final = (40, 20, 20, 10, 10)

_CALLED: Final = 35  # of 100 nights somebody is called
_FIRES: Final[Box] = (1, 2, 3, 5, 12)  # acts a call takes
_SITE_ROUND: Final = 30  # of 100 working days somebody sees to the historian or the MES


def administrators_day(plant: Plant, day: Day, crew: Crew, rng: np.random.Generator, acts: Acts) -> None:
    """Adds a day of work on servers and desks, and the night's call."""
    admins = crew.of(plant.of(Role.ADMIN))
    _on_servers(plant, day, crew, np.repeat(admins, box(rng, _WORK, len(admins))), rng, acts)
    _on_desks(plant, day, crew, np.repeat(admins, box(rng, _HELP, len(admins))), rng, acts)
    _on_call(plant, day, rng, acts)
    if day.working and chance(rng, _SITE_ROUND, 1)[0] and len(admins):
        _on_site(plant, day, crew, pick(rng, admins, 1), rng, acts)


def servers_of(plant: Plant, admin: Ints, rng: np.random.Generator) -> Ints:
    """A server for each of ``admin``: mostly one they look after."""
    servers, n = plant.of(*SERVERS), len(admin)
    own = servers[(admin * 5 + below(rng, max(2, len(servers) // 3), n)) % len(servers)]
    return np.where(chance(rng, _OWN, n), own, pick(rng, servers, n))


def _on_servers(plant: Plant, day: Day, crew: Crew, admin: Ints, rng: np.random.Generator, acts: Acts) -> None:
    kind = np.array(_TOOLS)[weighted(rng, _TOOL_SHARE, len(admin))]
    server, when = servers_of(plant, admin, rng), day.at(crew.hours(rng, admin))
    acts.add(kind, when, admin, server, plant.owner[admin], below(rng, 1 << 30, len(admin)))


def _on_desks(plant: Plant, day: Day, crew: Crew, admin: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """The help desk."""
    if not len(admin):
        return
    desk = pick(rng, crew.desks, len(admin))
    admin, desk = admin[admin != desk], desk[admin != desk]
    kind = np.array(_DESK_TOOLS)[weighted(rng, _DESK_SHARE, len(admin))]
    when = day.at(crew.hours(rng, admin))
    acts.add(kind, when, admin, desk, plant.owner[admin], below(rng, 1 << 30, len(admin)))


def _on_call(plant: Plant, day: Day, rng: np.random.Generator, acts: Acts) -> None:
    """Each week another administrator is on call; what is wrong at night is looked at and set right at once."""
    called, start = bool(chance(rng, _CALLED, 1)[0]), 22 * HOUR + below(rng, 7 * HOUR, 1)
    n = one(rng, _FIRES)
    admins = plant.of(Role.ADMIN)
    admin = np.repeat(admins[day.number // 7 % len(admins)], n)
    server = np.where(chance(rng, 70, n), servers_of(plant, admin[:1], rng), servers_of(plant, admin, rng))
    kind = np.array(_TOOLS)[weighted(rng, _TOOL_SHARE, n)]
    when = day.at(start % (24 * HOUR)) + np.cumsum(box(rng, (1, 2, 5, 9, 30), n)) * MINUTE + below(rng, SECOND, n)
    if called:
        acts.add(kind, when, admin, server, plant.owner[admin], below(rng, 1 << 30, n))


def _on_site(plant: Plant, day: Day, crew: Crew, admin: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """Site machines are only reached through the jump host."""
    jump, start = plant.of(Role.JUMP)[:1], day.at(crew.hours(rng, admin))
    inner = start + MINUTE + below(rng, 3 * MINUTE, 1)
    target = pick(rng, plant.of(Role.HISTORIAN, Role.MES), 1)
    acts.add(Kind.RDP, start, admin, jump, plant.owner[admin])
    acts.add(Kind.RDP, inner, jump, target, plant.owner[admin])
