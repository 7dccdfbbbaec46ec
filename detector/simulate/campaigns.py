"""The attacks: who moves where, when, with whose account. How it looks is for `wire` to say.

Two stories. *phish*: from a phished office host to a file server, the domain controller, the jump host, an
engineering workstation and controllers, the way reported of attacks that stopped car makers. *supplier*:
a machine builder's account used at night through the suppliers' jump host.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from .acts import DRAWN, SURE, Acts
from .cells import session_kind
from .draw import Box, Ints, Purpose, below, box, one, pick, stream
from .plant import Plant, Role
from .rhythm import DAY, HOUR, MINUTE, SECOND, Day
from .services import Kind

_PAUSES: Final[Box] = (6, 20, 45, 95, 260)  # minutes between hops
_QUIET_SHARE: Final = (2, 3)  # this part of the days stays clean


@dataclass(frozen=True, slots=True)
class Step:
    """One connection of a hop, ``after`` µs after the hop begins."""

    kind: Kind
    user: int
    detail: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True)
class Hop:
    """One move of an attacker between two hosts, with its ATT&CK technique."""

    campaign: str
    at: int
    orig: int
    resp: int
    technique: str
    steps: tuple[Step, ...]


Move = tuple[int, int, str, tuple[Step, ...]]


def first_attack_day(days: list[Day]) -> int:
    """The day on which attacks begin: after two thirds of the days, on a working day if one is left."""
    earliest = len(days) * _QUIET_SHARE[0] // _QUIET_SHARE[1]
    return next((day.number for day in days[earliest:] if day.working), days[earliest].number)


def clean_until(days: list[Day], first: int, until: int) -> int:
    """The instant (µs) before which nobody attacks: a midnight, or two thirds of a single day."""
    number = first_attack_day(days)
    part, whole = _QUIET_SHARE
    return days[number].midnight if number else first + (until - first) * part // whole


def plan_campaigns(plant: Plant, days: list[Day], span: tuple[int, int], hired: Ints, seed: int) -> list[Hop]:
    """All hops of all campaigns, in order of time, within ``span`` (µs), the last an hour before its end."""
    number = first_attack_day(days)
    rng = stream(seed, Purpose.CAMPAIGNS)
    clean, late = clean_until(days, *span), min(span[1], days[-1].midnight + DAY)
    start = min(days[number].clock(9) + _seconds(rng, (0, 900, 2400, 4200, 7200)), late - 6 * HOUR)
    hops = _timed("phish", _phish(plant, hired, rng), max(start, clean), late - HOUR, rng)
    second = days[min(number + 1, len(days) - 1)]
    night = second.clock(1) if second.number > number else second.clock(18, 30)
    night = min(night + _seconds(rng, (0, 600, 1500, 3000, 5400)), late - 4 * HOUR)
    hops += _timed("supplier", _supplier(plant, rng), max(night, clean), late - HOUR, rng)
    return sorted(hops, key=lambda hop: hop.at)


def attack_acts(hops: Iterable[tuple[int, Hop]], acts: Acts) -> None:
    """Adds the connections of the hops; the first of each works out, or there was no hop."""
    for position, hop in hops:
        for step in hop.steps:
            fate = SURE if step is hop.steps[0] else DRAWN
            when = hop.at + step.after
            acts.add(step.kind, when, hop.orig, hop.resp, step.user, step.detail, fate=fate, hop=position)


def _timed(campaign: str, moves: list[Move], start: int, last: int, rng: np.random.Generator) -> list[Hop]:
    """Gives the moves their times; pauses shrink evenly when the days left are too few."""
    start += int(below(rng, SECOND, 1)[0])
    pauses = box(rng, _PAUSES, len(moves) - 1) * MINUTE + below(rng, MINUTE, len(moves) - 1)
    room = max(last - start, (len(moves) - 1) * SECOND)
    if int(pauses.sum()) > room:
        pauses = pauses * (room // SECOND) // (int(pauses.sum()) // SECOND + 1)
    times = start + np.concatenate([[0], np.cumsum(pauses)])
    return [Hop(campaign, int(at), *move) for at, move in zip(times.tolist(), moves, strict=True)]


def _detail(rng: np.random.Generator) -> int:
    """An act's free choice, as ordinary acts get it."""
    return int(below(rng, 1 << 30, 1)[0])


def _seconds(rng: np.random.Generator, seconds: Box) -> int:
    """A pause in µs."""
    return one(rng, seconds) * SECOND + int(below(rng, SECOND, 1)[0])


def _copy_and_run(user: int, rng: np.random.Generator) -> tuple[Step, ...]:
    wait = _seconds(rng, (4, 15, 40, 90, 400))
    return (Step(Kind.SMB_COPY, user, _detail(rng)), Step(Kind.SVC_EXEC, user, _detail(rng), wait))


def _remote_desktop(user: int, _: np.random.Generator) -> tuple[Step, ...]:
    return (Step(Kind.RDP, user),)


def _remote_shell(user: int, rng: np.random.Generator) -> tuple[Step, ...]:
    wait = _seconds(rng, (4, 15, 40, 90, 400))
    return (Step(Kind.WINRM, user, _detail(rng)), Step(Kind.WINRM, user, _detail(rng), wait))


def _replicate(user: int, rng: np.random.Generator) -> tuple[Step, ...]:
    return (Step(Kind.RPC_REPLICA, user, _detail(rng)),)


def _phish(plant: Plant, hired: Ints, rng: np.random.Generator) -> list[Move]:
    """Five or six moves; the account changes at each server that holds better ones."""
    desks = plant.of(Role.WORKSTATION)
    desk = int(pick(rng, desks[(hired[desks] == 0) & (plant.engineer[desks] == 0)], 1)[0])
    files, dc, jump = int(plant.home_files[desk]), int(plant.home_dc[desk]), int(plant.of(Role.JUMP)[0])
    cell = 2 * int(below(rng, (plant.cells + 1) // 2, 1)[0])  # even cells speak S7
    station = int(plant.station[cell])
    admin = int(plant.owner[int(pick(rng, plant.of(Role.ADMIN), 1)[0])])
    domain, engineer = (
        plant.account("administrator"),
        int(plant.owner[int(pick(rng, desks[plant.engineer[desks] == 1], 1)[0])]),
    )
    to_dc = ("T1003.006", _replicate) if below(rng, 3, 1)[0] else ("T1569.002", _copy_and_run)
    to_station = ("T1021.001", _remote_desktop) if below(rng, 2, 1)[0] else ("T1021.006", _remote_shell)
    moves: list[Move] = [
        (desk, files, "T1021.002", _copy_and_run(admin, rng)),
        (files, dc, to_dc[0], to_dc[1](admin, rng)),
        (dc, jump, "T1021.001", _remote_desktop(domain, rng)),
        (jump, station, to_station[0], to_station[1](engineer, rng)),
    ]
    for controller in _two(plant.in_cell(cell, Role.PLC), rng):
        look = _seconds(rng, (120, 240, 500, 800, 1500))
        download = (Step(Kind.S7_SESSION, engineer), Step(Kind.S7_PROGRAM, engineer, 1, look))
        moves.append((station, controller, "T0843", download))
    return moves


def _supplier(plant: Plant, rng: np.random.Generator) -> list[Move]:
    """VPN host, jump host, then historian or station, then writes on controllers."""
    supplier = plant.suppliers[int(below(rng, len(plant.suppliers), 1)[0])]
    modbus = [cell for cell in range(plant.cells) if not plant.s7[cell]]
    cell = modbus[int(below(rng, len(modbus), 1)[0])]
    middle = int(plant.of(Role.HISTORIAN)[0] if below(rng, 2, 1)[0] else plant.station[cell])
    moves: list[Move] = [
        (supplier.host, supplier.jump, "T1133", _remote_desktop(supplier.user, rng)),
        (supplier.jump, middle, "T0886", _remote_desktop(supplier.user, rng)),
    ]
    for controller in _two(plant.in_cell(cell, Role.PLC), rng):
        look = _seconds(rng, (60, 120, 240, 500, 900))
        steps = (
            Step(session_kind(plant, cell), supplier.user, 1),
            Step(Kind.MODBUS_SESSION, supplier.user, 1, look),
        )
        moves.append((middle, controller, "T0855", steps))
    return moves


def _two(pool: Ints, rng: np.random.Generator) -> list[int]:
    """Two different members."""
    first = int(below(rng, len(pool), 1)[0])
    second = (first + 1 + int(below(rng, len(pool) - 1, 1)[0])) % len(pool)
    return [int(pool[first]), int(pool[second])]
