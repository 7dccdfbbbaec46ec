"""Site operations and the production cells: polling, historian, engineers, technicians, maintenance."""

from typing import Final

import numpy as np

from .acts import DRAWN, SURE, Acts
from .draw import Box, Ints, below, box, chance, one, some
from .people import Crew
from .plant import Plant, Role
from .rhythm import HOUR, MINUTE, SECOND, SHIFTS, Day, clock_times, every
from .services import Kind

MAINTENANCE: Final = ("21:00", "01:00")  # local, one evening a week for each cell
_USED: Final = 90  # of 100 declared windows, how many are used
_LOOKS: Final[Box] = (0, 0, 0, 1, 3)  # controllers a day that somebody at the station looks into, for each cell
_LINK: Final = 4 * HOUR  # a panel keeps its connection to a controller about so long


def maintenance_weekday(cell: int) -> int:
    """The weekday (0 = Monday) of a cell's maintenance window."""
    return cell % 5


def session_kind(plant: Plant, cell: int) -> Kind:
    """What an engineering session with a controller of this cell is called."""
    return Kind.S7_SESSION if plant.s7[cell] else Kind.MODBUS_SESSION


def cells_day(plant: Plant, day: Day, crew: Crew, rng: np.random.Generator, acts: Acts) -> None:
    """Adds a day of production, its data collection and its engineers."""
    for cell in range(plant.cells):
        panels, controllers = plant.in_cell(cell, Role.HMI), plant.in_cell(cell, Role.PLC)
        for i, controller in enumerate(controllers.tolist()):
            _polling(plant, day, cell, int(panels[i % len(panels)]), controller, rng, acts)
        _collection(plant, day, cell, panels, controllers, rng, acts)
        if day.weekday == maintenance_weekday(cell) and chance(rng, _USED, 1)[0]:
            _maintenance(plant, day, cell, crew, rng, acts)
        _technician(plant, day, cell, controllers, rng, acts)
    _engineers(plant, day, crew, rng, acts)


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


def _maintenance(plant: Plant, day: Day, cell: int, crew: Crew, rng: np.random.Generator, acts: Acts) -> None:
    """The declared window: an engineer comes in through the jump host and changes one to four programs."""
    station, controllers = int(plant.station[cell]), plant.in_cell(cell, Role.PLC)
    engineer, start = _engineer_of(plant, cell, crew), day.at(21 * HOUR + below(rng, 70 * MINUTE, 1))
    user = int(plant.owner[engineer])
    start = _enter(plant, engineer, station, start, rng, acts, duration=3 * HOUR) + MINUTE
    for controller in controllers[below(rng, len(controllers), one(rng, (1, 1, 2, 3, 4)))].tolist():
        acts.add(session_kind(plant, cell), start, station, controller, user, detail=0, fate=SURE)
        change = start + 2 * MINUTE + below(rng, 15 * MINUTE, 1)
        kind = Kind.S7_PROGRAM if plant.s7[cell] else Kind.MODBUS_SESSION
        acts.add(kind, change, station, controller, user, detail=1, fate=SURE)
        start = change + 3 * MINUTE + below(rng, 20 * MINUTE, 1)


def _engineer_of(plant: Plant, cell: int, crew: Crew) -> int:
    """The engineer who looks after a cell, or who stands in."""
    desks = plant.of(Role.WORKSTATION)
    engineers = desks[plant.engineer[desks] == 1]
    present = crew.of(engineers)
    usual = int(engineers[cell % len(engineers)])
    return usual if usual in present or not len(present) else int(present[cell % len(present)])


def _enter(
    plant: Plant, desk: int, station: int, start: Ints, rng: np.random.Generator, acts: Acts, duration: int = -1
) -> Ints:
    """Remote desktop to the jump host and on to the station; when the second session begins."""
    jump, user = int(plant.of(Role.JUMP)[0]), int(plant.owner[desk])
    fate = DRAWN if duration < 0 else SURE
    acts.add(Kind.RDP, start, desk, jump, user, duration=duration, fate=fate)
    inner = start + 20 * SECOND + below(rng, 3 * MINUTE, 1)
    acts.add(Kind.RDP, inner, jump, station, user, duration=duration - 5 * MINUTE if duration > 0 else -1, fate=fate)
    return inner


def _technician(plant: Plant, day: Day, cell: int, controllers: Ints, rng: np.random.Generator, acts: Acts) -> None:
    """Somebody at the station itself looks into controllers, in any shift; programs change only in the window."""
    looks = one(rng, _LOOKS)
    when, station = day.at(clock_times(rng, SHIFTS, looks)), int(plant.station[cell])
    seen = controllers[below(rng, len(controllers), looks)]
    acts.add(session_kind(plant, cell), when, station, seen, int(plant.machine[station]), detail=0)
    orders = day.at(clock_times(rng, SHIFTS, 4))
    acts.add(Kind.MES, orders, station, plant.of(Role.MES), int(plant.machine[station]), below(rng, 1 << 30, 4))


def _engineers(plant: Plant, day: Day, crew: Crew, rng: np.random.Generator, acts: Acts) -> None:
    """Engineers reach their station through the jump host; some read from a controller while there."""
    desks = crew.of(plant.of(Role.WORKSTATION))
    desks = desks[plant.engineer[desks] == 1]
    for desk in np.repeat(desks, box(rng, (0, 1, 2, 3, 6), len(desks))).tolist():
        cell = (desk * 3 + one(rng, (0, 0, 0, 1, 2))) % plant.cells
        station, user = int(plant.station[cell]), int(plant.owner[desk])
        start = day.at(crew.hours(rng, np.array([desk])))
        inner = _enter(plant, desk, station, start, rng, acts)
        controllers = plant.in_cell(cell, Role.PLC)
        reads = inner + MINUTE + below(rng, 9 * MINUTE, len(controllers))
        chosen = some(rng, np.arange(len(controllers)), 300)
        acts.add(session_kind(plant, cell), reads[chosen], station, controllers[chosen], user, detail=0)
