"""Minutes in which a routine thing is done over and over: a folder opened file by file, a list worked through.

They are added after the density has thinned the rest, so that in a thin plant too a burst is nothing unheard of.
"""

from typing import Final

import numpy as np

from .acts import Acts
from .draw import Box, Ints, below, box, pick, some, weighted
from .people import Crew
from .plant import Plant, Role
from .rhythm import FLAT, MINUTE, Day, clock_times
from .servers import INTERFACES, SERVERS
from .services import Kind

_PEOPLE: Final = 40  # of 1,000 a day
_MEMBERS: Final = 40  # of 1,000 servers a day, and
_LINKS: Final = 60  # of 1,000 interfaces between servers a day
_LENGTH: Final[Box] = (6, 11, 18, 28, 70)  # conversations in it
_SPAN: Final[Box] = (3, 10, 25, 50, 120)  # minutes it lasts
# What people do so, in parts of 100, and with which server.
_WITH: Final = (
    (Kind.SMB_FILE, 40, None),
    (Kind.ERP, 18, Role.ERP),
    (Kind.INTRANET, 14, Role.INTRANET),
    (Kind.MAIL, 12, Role.MAIL),
    (Kind.MES, 8, Role.MES_FRONT),
    (Kind.LDAP, 4, Role.DC),
    (Kind.KRB_TGS, 2, Role.DC),
    (Kind.AGENT, 1, Role.RELAY),
    (Kind.UPDATE, 1, Role.DEPLOY),
)


def bursts_day(plant: Plant, day: Day, crew: Crew, rng: np.random.Generator, acts: Acts) -> None:
    """Adds the bursts of a day: people's, domain members', interfaces'."""
    _people(plant, day, crew, rng, acts)
    _members(plant, day, rng, acts)
    for kind, orig, resp, account, _ in INTERFACES:
        client = some(rng, plant.of(orig), _LINKS)
        n = len(client)
        began, user = day.at(clock_times(rng, FLAT, n)), np.full(n, plant.account(account))
        _burst(kind, began, client, plant.of(resp)[:n], user, rng, acts)


def _people(plant: Plant, day: Day, crew: Crew, rng: np.random.Generator, acts: Acts) -> None:
    desks = some(rng, crew.of(plant.of(Role.WORKSTATION)), _PEOPLE)
    chosen = weighted(rng, [share for _, share, _ in _WITH], len(desks))
    for nth, (kind, _, role) in enumerate(_WITH):
        desk = desks[chosen == nth]
        uses = {Kind.ERP: plant.uses_erp, Kind.MES: plant.uses_mes}.get(kind)
        desk = desk if uses is None else desk[uses[desk] == 1]
        resp = plant.home_files[desk] if role is None else plant.of(role)[np.zeros(len(desk), dtype=np.int64)]
        resp = plant.home_dc[desk] if role is Role.DC else resp
        _burst(kind, day.at(crew.hours(rng, desk)), desk, resp, plant.owner[crew.person[desk]], rng, acts)


def _members(plant: Plant, day: Day, rng: np.random.Generator, acts: Acts) -> None:
    """A script that asks the directory for everybody, a service that is restarted again and again."""
    servers = plant.of(*SERVERS, Role.EWS)
    server = some(rng, servers[~np.isin(servers, plant.of(Role.DC))], _MEMBERS)
    kind = Kind(int(pick(rng, np.array((Kind.LDAP, Kind.KRB_TGS)), 1)[0]))
    began = day.at(clock_times(rng, FLAT, len(server)))
    _burst(kind, began, server, plant.home_dc[server], plant.machine[server], rng, acts)


def _burst(kind: Kind, began: Ints, orig: Ints, resp: Ints, user: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """One burst for each row, beginning at the instants ``began``."""
    often, span = box(rng, _LENGTH, len(orig)), box(rng, _SPAN, len(orig)) * MINUTE
    n = int(often.sum())
    when = np.repeat(began, often) + np.repeat(span, often) * below(rng, 1024, n) // 1024 + below(rng, MINUTE, n)
    orig, resp, user = (np.repeat(column, often) for column in (orig, resp, user))
    detail = resp * 64 + Kind.SMB_FILE if kind is Kind.KRB_TGS else below(rng, 1 << 30, n)
    acts.add(kind, when, orig, resp, user, detail)
