"""Machine builders who look after their cells remotely, in declared windows, through their own jump host."""

from typing import Final

import numpy as np

from .acts import SURE, Acts
from .cells import session_kind
from .draw import below, box, chance, one
from .plant import Plant, Role, Supplier
from .rhythm import HOUR, MINUTE, SECOND, Day
from .services import Kind

WINDOW: Final = ("11:00", "14:00")  # local, on each of the supplier's weekdays
_CALLS: Final = 85  # of 100 declared windows, how many are used
_ADJUSTS: Final = 15  # of 100 sessions with a controller change a value, and
_LOADS: Final = 4  # in the cells that speak S7 load a program; the others only look


def suppliers_day(plant: Plant, day: Day, rng: np.random.Generator, acts: Acts) -> None:
    """Adds the visits of the suppliers whose window is today."""
    for supplier in plant.suppliers:
        used = bool(chance(rng, _CALLS, 1)[0])
        if day.weekday in supplier.days and used:
            _visit(plant, day, supplier, rng, acts)


def _visit(plant: Plant, day: Day, supplier: Supplier, rng: np.random.Generator, acts: Acts) -> None:
    start = day.at(11 * HOUR + below(rng, 80 * MINUTE, 1))
    length = box(rng, (720, 1500, 2400, 3600, 5400), 1) * SECOND + below(rng, SECOND, 1)
    station, user = int(plant.station[supplier.cell]), supplier.user
    acts.add(Kind.RDP, start, supplier.host, supplier.jump, user, duration=length, fate=SURE)
    # The supplier's machine reports to the relay as the plant's own do.
    acts.add(Kind.AGENT, start + below(rng, int(length[0]), 2), supplier.host, plant.of(Role.RELAY), user)
    inner = start + box(rng, (20, 40, 70, 150, 400), 1) * SECOND + below(rng, SECOND, 1)
    acts.add(Kind.RDP, inner, supplier.jump, station, user, duration=length - 10 * MINUTE, fate=SURE)
    controllers = plant.in_cell(supplier.cell, Role.PLC)
    for _ in range(one(rng, (1, 2, 3, 5, 9))):
        when = inner + MINUTE + below(rng, int(length[0]) // 2, 1)
        dice = int(below(rng, 100, 1)[0])
        controller = controllers[below(rng, len(controllers), 1)]
        loads = dice >= _ADJUSTS and dice < _ADJUSTS + _LOADS and plant.s7[supplier.cell]
        kind = Kind.S7_PROGRAM if loads else session_kind(plant, supplier.cell)
        acts.add(kind, when, station, controller, user, detail=int(dice < _ADJUSTS))
