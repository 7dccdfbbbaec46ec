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
    inner = start + box(rng, (20, 40, 70, 150, 400), 1) * SECOND + below(rng, SECOND, 1)
    acts.add(Kind.RDP, inner, supplier.jump, station, user, duration=length - 10 * MINUTE, fate=SURE)
    controllers = plant.in_cell(supplier.cell, Role.PLC)
    for _ in range(one(rng, (1, 2, 3, 5, 9))):
        when = inner + MINUTE + below(rng, int(length[0]) // 2, 1)
        adjusts = int(chance(rng, 15, 1)[0])  # most visits only look
        controller = controllers[below(rng, len(controllers), 1)]
        acts.add(session_kind(plant, supplier.cell), when, station, controller, user, detail=adjusts)
