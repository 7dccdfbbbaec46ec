"""Site operations and the production cells: polling, historian, engineers, maintenance."""

from typing import Final

import numpy as np

from .acts import SURE, Acts
from .draw import Ints, below, box, chance, one, some
from .plant import Plant, Role
from .rhythm import HOUR, MINUTE, OFFICE, SECOND, SHIFTS, Day, clock_times, every
from .services import Kind

MAINTENANCE: Final = ("21:00", "01:00")  # local, one evening a week for each cell
_USED: Final = 90  # of 100 declared windows, how many are used
_LINK: Final = 4 * HOUR  # a panel keeps its connection to a controller about so long


def maintenance_weekday(cell: int) -> int:
    """The weekday (0 = Monday) of a cell's maintenance window."""
    return cell % 5


def session_kind(plant: Plant, cell: int) -> Kind:
    """What an engineering session with a controller of this cell is called."""
    return Kind.S7_SESSION if plant.s7[cell] else Kind.MODBUS_SESSION


def cells_day(plant: Plant, day: Day, present: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """Adds a day of production, its data collection and its engineers."""
    for cell in range(plant.cells):
        panels, controllers = plant.in_cell(cell, Role.HMI), plant.in_cell(cell, Role.PLC)
        for i, controller in enumerate(controllers.tolist()):
            _polling(plant, day, cell, int(panels[i % len(panels)]), controller, rng, acts)
        _collection(plant, day, cell, panels, controllers, rng, acts)
        if day.weekday == maintenance_weekday(cell) and chance(rng, _USED, 1)[0]:
            _maintenance(plant, day, cell, controllers, rng, acts)
    _engineers(plant, day, present, rng, acts)


def _polling(
    plant: Plant, day: Day, cell: int, panel: int, controller: int, rng: np.random.Generator, acts: Acts
) -> None:
    """A panel holds a connection for hours, then opens the next; ``detail`` seeds its rare writes."""
    kind = Kind.S7_POLL if plant.s7[cell] else Kind.MODBUS_POLL
    links = every(rng, day, _LINK, SECOND, phase=controller * 613 * SECOND % _LINK)
    acts.add(kind, links, panel, controller, detail=below(rng, 1 << 30, len(links)), duration=_LINK - 2 * SECOND)


def _collection(
    plant: Plant, day: Day, cell: int, panels: Ints, controllers: Ints, rng: np.random.Generator, acts: Acts
) -> None:
    """The historian reads Modbus controllers itself and S7 cells through their panels' OPC UA server."""
    historian, mes = plant.of(Role.HISTORIAN), plant.of(Role.MES)
    for panel in panels.tolist():
        acts.add(Kind.OPCUA, every(rng, day, 30 * MINUTE, MINUTE), historian, panel, plant.account("svc-hist"))
        orders = day.at(clock_times(rng, SHIFTS, 60 if day.working else 15))
        acts.add(Kind.MES, orders, panel, mes, int(plant.machine[panel]), below(rng, 1 << 30, len(orders)))
    if not plant.s7[cell]:
        for controller in controllers.tolist():
            ticks = every(rng, day, 4 * MINUTE, 2 * SECOND)
            acts.add(Kind.MODBUS_READ, ticks, historian, controller, detail=below(rng, 1 << 30, len(ticks)))


def _maintenance(plant: Plant, day: Day, cell: int, controllers: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """The declared window: somebody at the cell's station looks around and changes one to three programs."""
    station = int(plant.station[cell])
    start = day.at(21 * HOUR + below(rng, 70 * MINUTE, 1))
    for controller in controllers[below(rng, len(controllers), one(rng, (1, 1, 2, 3, 4)))].tolist():
        acts.add(session_kind(plant, cell), start, station, controller, detail=0, fate=SURE)
        change = start + 2 * MINUTE + below(rng, 15 * MINUTE, 1)
        kind = Kind.S7_PROGRAM if plant.s7[cell] else Kind.MODBUS_SESSION
        acts.add(kind, change, station, controller, detail=1, fate=SURE)
        start = change + 3 * MINUTE + below(rng, 20 * MINUTE, 1)


def _engineers(plant: Plant, day: Day, present: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """Engineers reach their station through the jump host; some read from a controller while there."""
    desks = present[plant.engineer[present] == 1]
    visits = np.repeat(desks, box(rng, (0, 1, 2, 3, 6), len(desks)))
    jump = int(plant.of(Role.JUMP)[0])
    for desk in visits.tolist():
        cell = (desk * 3 + one(rng, (0, 0, 0, 1, 2))) % plant.cells
        station, user = int(plant.station[cell]), int(plant.owner[desk])
        start = day.at(clock_times(rng, OFFICE, 1))
        acts.add(Kind.RDP, start, desk, jump, user)
        inner = start + 20 * SECOND + below(rng, 3 * MINUTE, 1)
        acts.add(Kind.RDP, inner, jump, station, user)
        controllers = plant.in_cell(cell, Role.PLC)
        reads = inner + MINUTE + below(rng, 9 * MINUTE, len(controllers))
        chosen = some(rng, np.arange(len(controllers)), 300)
        acts.add(session_kind(plant, cell), reads[chosen], station, controllers[chosen], user, detail=0)
