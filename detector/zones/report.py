"""`report.html` of a check: one page that works without network, scripts or trust in what the logs say."""

from dataclasses import dataclass
from typing import Final

from detector.assets.plant import Plant
from detector.renderings import pages
from detector.renderings.strings import visible
from detector.zones.model import Checked

MAX_ROWS: Final = 200  # of a table; all are in the files
MAX_ZONES: Final = 40  # drawn, those with most traffic
_CELL: Final = 22  # units of the drawing


@dataclass(frozen=True, slots=True)
class Cell:
    """A way between zones in the picture; ``kind`` is ``none``, ``permitted`` or ``violated``."""

    x: int
    y: int
    kind: str
    words: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """From each zone (a row) to each (a column)."""

    zones: list[str]
    cells: list[Cell]
    more: int
    size: int = _CELL


def matrix(checked: Checked, plant: Plant) -> Matrix:
    """The busiest zones in the order of the plant file, then those that are in no file."""
    traffic: dict[str, int] = {zone.name: 0 for zone in plant.zones}
    for (begin, end), (permitted, violated) in sorted(checked.cells.items()):
        for name in (begin, end):
            traffic[name] = traffic.get(name, 0) + permitted + violated
    busiest = set(sorted(traffic, key=lambda name: (-traffic[name], name))[:MAX_ZONES])
    zones = [name for name in traffic if name in busiest]
    places = {name: place for place, name in enumerate(zones)}
    cells = [
        Cell(
            places[end] * _CELL,
            places[begin] * _CELL,
            "violated" if violated else "permitted" if permitted else "none",
            f"{begin} → {end}: {permitted:,} permitted, {violated:,} that no conduit permits",
        )
        for (begin, end), (permitted, violated) in sorted(checked.cells.items())
        if begin in places and end in places
    ]
    return Matrix(zones, cells, len(traffic) - len(zones))


def render(checked: Checked, plant: Plant) -> str:
    """The page. The same result gives the same page, byte for byte."""
    environment = pages.environment(
        "detector.zones",
        lstrip_blocks=False,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    page = environment.get_template("report.html.j2").render(
        checked=checked, summary=checked.summary, matrix=matrix(checked, plant), plant=plant, most=MAX_ROWS
    )
    return f"{page}\n"
