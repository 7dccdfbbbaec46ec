"""`report.html` of reach: one page that works without network, scripts or trust in what the logs say.

The template escapes every string; positions and sizes of drawings come from counts only, and what a browser would obey
instead of show is written out.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from detector.reach.model import Choke, HostReach, Place
from detector.renderings import pages
from detector.renderings.strings import visible

MAX_HOSTS: Final = 50  # shown; all are in reach.csv
MAX_ROWS: Final = 40  # zones drawn
_ROW: Final = 34  # pixels of a zone
_LABEL: Final = 210
_CELL: Final = 150
_BAR: Final = 130  # of a cell, at a share of 1
_NAME: Final = 26  # characters of a zone's name


@dataclass(frozen=True, slots=True)
class Picture:
    """What one host reaches: hosts by zone and by the fewest hops."""

    name: str
    place: Place
    cells: dict[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class View:
    """All that the page shows; ``zones`` has the hosts of each."""

    summary: dict[str, Any]
    hosts: Sequence[HostReach]
    chokes: Sequence[Choke]
    pictures: Sequence[Picture]
    zones: Counter[str]


class Cell(NamedTuple):
    """Hosts of a zone that so many hops reach, with where to draw them."""

    x: int
    y: int
    width: float
    text: str
    title: str


class Row(NamedTuple):
    """A zone of the picture."""

    y: int
    name: str
    zone: str
    level: str
    tone: str
    own: bool


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture, ready to draw."""

    name: str
    rows: list[Row]
    cells: list[Cell]
    width: int
    height: int
    total: int


def render(view: View) -> str:
    """The page. The same view gives the same page, byte for byte."""
    environment = pages.environment("detector.reach")
    zones = ordered(view.summary["zones"])
    page = environment.get_template("report.html.j2").render(
        view=view,
        summary=view.summary,
        zones=zones,
        drawings=[_drawing(picture, view, zones) for picture in view.pictures],
        place=view.pictures[0].place if view.pictures else None,
        hosts=view.hosts[:MAX_HOSTS],
        columns=[(_LABEL + _CELL * hop, hop + 1) for hop in range(view.summary["hops"])],
        by_hop=lambda hops: "not covered" if hops is None else " → ".join(f"{count:,}" for count in hops),
        percent=lambda share: f"{share:.0%}",
    )
    return "\n".join(visible(line) for line in page.split("\n"))


def ordered(zones: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """From the office down to the controllers; undeclared zones above."""
    return sorted(
        zones, key=lambda zone: (zone["purdue_level"] is not None, -(zone["purdue_level"] or 0), zone["zone"])
    )


def _drawing(picture: Picture, view: View, zones: Sequence[dict[str, Any]]) -> Drawing:
    met = {zone for zone, _ in picture.cells} | {picture.place.zone}
    shown = [zone for zone in zones if zone["zone"] in met or zone["purdue_level"] is not None][:MAX_ROWS]
    hops = view.summary["hops"]
    rows, cells = [], []
    for place, zone in enumerate(shown):
        y, name, level = 24 + place * _ROW, zone["zone"], zone["purdue_level"]
        short = name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"
        told = "no level" if level is None else f"level {level:g}"
        rows.append(Row(y, short, name, told, _tone(level), name == picture.place.zone))
        there, reached = view.zones[name], 0
        for hop in range(1, hops + 1):
            reached += picture.cells.get((name, hop), 0)
            if reached:
                text = f"{reached:,} of {there:,}"
                title = f"{text} hosts of {name} within {hop} hop{'s' if hop > 1 else ''}"
                width = round(max(_BAR * reached / max(there, 1), 2.0), 1)
                cells.append(Cell(_LABEL + _CELL * (hop - 1), y, width, text, title))
    return Drawing(
        picture.name, rows, cells, _LABEL + _CELL * hops, 24 + _ROW * len(shown), sum(picture.cells.values())
    )


def _tone(level: float | None) -> str:
    if level is None:
        return "none"
    return next(tone for least, tone in ((4, "it"), (3.5, "dmz"), (2, "ot"), (0, "control")) if level >= least)
