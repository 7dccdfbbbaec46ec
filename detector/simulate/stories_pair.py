"""Two stories for a demonstration, told hop by hop.

*phish*: from a phished office host to a file server, the domain controller, the jump host, an engineering workstation
and controllers, the way reported of attacks that stopped car makers. *supplier*: a machine builder's account used at
night through the suppliers' jump host.
"""

import numpy as np

from .cells import session_kind
from .draw import Box, Ints, below, one, pick
from .plant import Plant, Role
from .rhythm import SECOND
from .services import Kind
from .stories_deeds import Step

PairMove = tuple[int, int, str, tuple[Step, ...]]
"""From, to, technique, connections."""


def _detail(rng: np.random.Generator) -> int:
    """An act's free choice, as ordinary acts get it."""
    return int(below(rng, 1 << 30, 1)[0])


def seconds(rng: np.random.Generator, knots: Box) -> int:
    """A pause in µs."""
    return one(rng, knots) * SECOND + int(below(rng, SECOND, 1)[0])


def _copy_and_run(user: int, rng: np.random.Generator) -> tuple[Step, ...]:
    wait = seconds(rng, (4, 15, 40, 90, 400))
    return (Step(Kind.SMB_COPY, user, _detail(rng)), Step(Kind.SVC_EXEC, user, _detail(rng), wait))


def _remote_desktop(user: int, _: np.random.Generator) -> tuple[Step, ...]:
    return (Step(Kind.RDP, user),)


def _remote_shell(user: int, rng: np.random.Generator) -> tuple[Step, ...]:
    wait = seconds(rng, (4, 15, 40, 90, 400))
    return (Step(Kind.WINRM, user, _detail(rng)), Step(Kind.WINRM, user, _detail(rng), wait))


def _replicate(user: int, rng: np.random.Generator) -> tuple[Step, ...]:
    return (Step(Kind.RPC_REPLICA, user, _detail(rng)),)


def phish(plant: Plant, hired: Ints, rng: np.random.Generator) -> list[PairMove]:
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
    moves: list[PairMove] = [
        (desk, files, "T1021.002", _copy_and_run(admin, rng)),
        (files, dc, to_dc[0], to_dc[1](admin, rng)),
        (dc, jump, "T1021.001", _remote_desktop(domain, rng)),
        (jump, station, to_station[0], to_station[1](engineer, rng)),
    ]
    for controller in _two(plant.in_cell(cell, Role.PLC), rng):
        look = seconds(rng, (120, 240, 500, 800, 1500))
        download = (Step(Kind.S7_SESSION, engineer), Step(Kind.S7_PROGRAM, engineer, 1, look))
        moves.append((station, controller, "T0843", download))
    return moves


def supplier_visit(plant: Plant, rng: np.random.Generator) -> list[PairMove]:
    """VPN host, jump host, then historian or station, then writes on controllers."""
    supplier = plant.suppliers[int(below(rng, len(plant.suppliers), 1)[0])]
    modbus = [cell for cell in range(plant.cells) if not plant.s7[cell]]
    cell = modbus[int(below(rng, len(modbus), 1)[0])]
    middle = int(plant.of(Role.HISTORIAN)[0] if below(rng, 2, 1)[0] else plant.station[cell])
    moves: list[PairMove] = [
        (supplier.host, supplier.jump, "T1133", _remote_desktop(supplier.user, rng)),
        (supplier.jump, middle, "T0886", _remote_desktop(supplier.user, rng)),
    ]
    for controller in _two(plant.in_cell(cell, Role.PLC), rng):
        look = seconds(rng, (60, 120, 240, 500, 900))
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
