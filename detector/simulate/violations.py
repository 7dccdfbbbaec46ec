"""Suppliers who do what was not agreed: a visit of each kind, of which the plant file and a list of the truth tell.

They are no attacks and stand in no labels. Each is a visit of its own, beside those of `suppliers`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from .acts import SURE, Acts
from .cells import session_kind
from .draw import below, one, pick
from .plant import Plant, Role, Supplier
from .rhythm import HOUR, MINUTE, SECOND, Day
from .services import Kind

TEMPORARY: Final = "temporary access"
"""The register's name of a third party, whose access ends on the first day; it has the retired server's address."""
_MARK: Final = 1 << 20  # hops from here on are visits, and no attacker's
_EVENING: Final = 23 * HOUR + 20 * MINUTE  # goes on past midnight


@dataclass(frozen=True, slots=True)
class Breach:
    """One visit that is not as agreed. ``kinds``: what of it was not; ``who``: the name in the register."""

    kinds: tuple[str, ...]
    who: str
    day: int
    orig: int
    resp: int
    user: int
    supplier: Supplier


def plan_breaches(plant: Plant, days: Sequence[Day], rng: np.random.Generator) -> list[Breach]:
    """A visit of each kind for which there is a day and a supplier, on days after the first."""
    breaches: list[Breach] = []
    other = int(pick(rng, plant.of(Role.WORKSTATION), 1)[0])
    retired = int(plant.of(Role.RETIRED)[0])
    for kind in ("operation", "shared_account", "asset", "overrun", "direct", "expired", "outside_window"):
        fitting = [
            (supplier, day.number)
            for supplier in plant.suppliers
            for day in days[1:]
            if (day.weekday in supplier.days) != (kind in {"outside_window", "expired"})
            and (kind != "operation" or not plant.s7[supplier.cell])
            and not any(each.day == day.number and each.supplier is supplier for each in breaches)
        ]
        if not fitting:
            continue
        supplier, day = fitting[int(below(rng, len(fitting), 1)[0])]
        who, orig, resp = name_of(plant, supplier), supplier.host, supplier.jump
        kinds: tuple[str, ...] = (kind,)
        if kind == "expired":
            who, orig = TEMPORARY, retired
        if kind == "direct":
            resp = int(plant.station[supplier.cell])
        if kind == "shared_account":
            orig, kinds = other, ("shared_account", "unknown_source")
        user = int(plant.owner[retired]) if kind == "expired" else supplier.user
        breaches.append(Breach(kinds, who, day, orig, resp, user, supplier))
    return breaches


def name_of(plant: Plant, supplier: Supplier) -> str:
    """What the register calls a supplier."""
    return f"machine builder of cell {supplier.cell + 1}"


def breaches_day(plant: Plant, day: Day, breaches: Sequence[Breach], rng: np.random.Generator, acts: Acts) -> None:
    """Adds the visits of today."""
    for place, breach in enumerate(breaches):
        if breach.day == day.number:
            _visit(plant, day, breach, _MARK + place, rng, acts)


def is_breach(hop: int) -> int | None:
    """The place of a breach that a connection belongs to."""
    return hop - _MARK if hop >= _MARK else None


def _visit(plant: Plant, day: Day, breach: Breach, mark: int, rng: np.random.Generator, acts: Acts) -> None:
    kind, supplier, user = breach.kinds[0], breach.supplier, breach.user
    late = {"outside_window": _EVENING, "overrun": 13 * HOUR + 20 * MINUTE, "shared_account": 12 * HOUR + 25 * MINUTE}
    start = day.at(np.array([late.get(kind, 12 * HOUR + 30 * MINUTE)])) + below(rng, 10 * MINUTE, 1)
    length = one(rng, (2400, 2700, 3000, 3300, 3600)) * SECOND
    if kind == "overrun":
        length += HOUR
    acts.add(Kind.RDP, start, breach.orig, breach.resp, user, duration=length, fate=SURE, hop=mark)
    if kind == "shared_account":  # its rightful owner is there, too
        acts.add(Kind.RDP, start - 5 * MINUTE, supplier.host, supplier.jump, user, duration=length, fate=SURE)
    station = int(plant.of(Role.HISTORIAN)[0] if kind == "asset" else plant.station[supplier.cell])
    inner = start + 40 * SECOND
    if breach.resp == supplier.jump and kind != "expired":
        acts.add(Kind.RDP, inner, supplier.jump, station, user, duration=length - 5 * MINUTE, fate=SURE)
    if kind in {"operation", "direct"}:
        controller = int(pick(rng, plant.in_cell(supplier.cell, Role.PLC), 1)[0])
        deed = Kind.S7_PROGRAM if kind == "operation" else session_kind(plant, supplier.cell)
        acts.add(deed, inner + 2 * MINUTE, station, controller, user, fate=SURE)
