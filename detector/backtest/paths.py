"""The path of an incident, drawn: zones from top to bottom, hops from left to right in order of time.

Positions and sizes come from counts only, never from what a log says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from detector.alerts.model import Incident, Step
from detector.assets.hosts import OT_LEVEL
from detector.backtest.words import ordered_zones, shortened, stamp

MAX_DRAWN_HOPS: Final = 24

_COLUMN: Final = 140  # pixels between hops; a host label and a service label each fit in it
_ROW: Final = 76  # between hosts of one zone
_MARGIN: Final = 10  # above the first and below the last host of a zone
_HEADER: Final = 30  # the times above the hops
_PILL: Final = 14  # half the height of a host
_BADGE: Final = 32  # from the middle of a host to the number of the hop that leaves it
_GLYPH: Final = 7.2  # width of a character of a host label
_SMALL_GLYPH: Final = 6.4  # and of a service label
_HOST_CHARS: Final = 15
_SERVICE_CHARS: Final = 16

_CONTROL_LEVEL: Final = 1.0  # Purdue level of controllers
_OFFICE_LEVEL: Final = 4.0


def _tone(level: float | None) -> str:
    if level is None:
        return "none"
    if level <= OT_LEVEL:
        return "ot" if level > _CONTROL_LEVEL else "control"
    return "dmz" if level < _OFFICE_LEVEL else "it"


@dataclass(frozen=True, slots=True)
class Band:
    """A zone, drawn across the whole width."""

    zone: str
    level: float | None
    tone: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Node:
    """A host where it first appears, and the rail along which it stays known, up to ``rail``."""

    host: str
    zone: str
    label: str
    x: float
    y: float
    width: float
    text_width: float
    rail: float
    entry: bool


@dataclass(frozen=True, slots=True)
class Arrow:
    """A hop: straight down or up in a column of its own."""

    number: int
    step: Step
    x: float
    y1: float
    y2: float
    badge_y: float
    head: str
    label: str
    text_width: float
    technique: str
    time: str


@dataclass(frozen=True, slots=True)
class Graph:
    """The drawn path. Each hop has a column, each host a row while it plays a part: nothing can overlap."""

    width: float
    height: float
    bands: tuple[Band, ...]
    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]
    left_out: int


def graph(incident: Incident, levels: dict[str, float | None]) -> Graph:
    """Lay out the path: zones from top to bottom, hops from left to right in order of time."""
    path = incident.path[:MAX_DRAWN_HOPS]
    homes, spans = _homes(path), _spans(path)
    rows = _rows(homes, spans)
    bands, heights = _bands(homes, rows, levels)
    nodes = tuple(
        _node(host, zone, spans[host], heights[zone] + rows[host] * _ROW, entry=host == path[0].src)
        for host, zone in homes.items()
    )
    middle = {node.host: node.y for node in nodes}
    last = bands[-1] if bands else Band("", None, "none", _HEADER, 0.0)
    return Graph(
        width=len(path) * _COLUMN + _COLUMN // 2,
        height=last.y + last.height,
        bands=bands,
        nodes=nodes,
        arrows=tuple(_arrow(number, step, middle, spans) for number, step in enumerate(path, 1)),
        left_out=len(incident.path) - len(path),
    )


def _homes(path: Sequence[Step]) -> dict[str, str]:
    """Each host and the zone it was first seen in."""
    homes: dict[str, str] = {}
    for step in path:
        homes.setdefault(step.src, step.src_zone)
        homes.setdefault(step.dst, step.dst_zone)
    return homes


def _spans(path: Sequence[Step]) -> dict[str, tuple[int, int]]:
    """The first and the last hop of each host."""
    spans: dict[str, tuple[int, int]] = {}
    for column, step in enumerate(path):
        for host in (step.src, step.dst):
            spans[host] = (spans.get(host, (column, column))[0], column)
    return spans


def _rows(homes: dict[str, str], spans: dict[str, tuple[int, int]]) -> dict[str, int]:
    """The row of each host in its zone; hosts share one when one's part is over before the other's begins."""
    rows: dict[str, int] = {}
    taken: dict[str, list[int]] = {}  # zone -> the last column used in each of its rows
    for host, zone in homes.items():
        first, last = spans[host]
        ends = taken.setdefault(zone, [])
        row = next((row for row, end in enumerate(ends) if end < first), len(ends))
        ends[row : row + 1] = [last]
        rows[host] = row
    return rows


def _bands(
    homes: dict[str, str], rows: dict[str, int], levels: dict[str, float | None]
) -> tuple[tuple[Band, ...], dict[str, float]]:
    """The bands, and per zone the middle of its first row."""
    bands: list[Band] = []
    heights: dict[str, float] = {}
    y = float(_HEADER)
    for zone, level in ordered_zones(homes.values(), levels):
        count = 1 + max(rows[host] for host, home in homes.items() if home == zone)
        height = count * _ROW + 2.0 * _MARGIN
        bands.append(Band(zone, level, _tone(level), y, height))
        heights[zone] = y + _MARGIN + _ROW / 2
        y += height
    return tuple(bands), heights


def _middle(column: int) -> float:
    return column * _COLUMN + _COLUMN / 2


def _node(host: str, zone: str, span: tuple[int, int], y: float, *, entry: bool) -> Node:
    label = shortened(host, _HOST_CHARS)
    text_width = round(len(label) * _GLYPH, 1)
    return Node(host, zone, label, _middle(span[0]), y, round(text_width + 16, 1), text_width, _middle(span[1]), entry)


def _arrow(number: int, step: Step, middle: dict[str, float], spans: dict[str, tuple[int, int]]) -> Arrow:
    """From the source's row to the target: to its edge where it first appears, later to its rail."""
    column, y1, y2 = number - 1, middle[step.src], middle[step.dst]
    down = 1 if y2 >= y1 else -1
    badge_y = y1 + down * _BADGE
    if y1 != y2 and spans[step.dst][0] == column:
        y2 -= down * _PILL
    x, base = _middle(column), y2 - down * 9
    label = shortened(step.service, _SERVICE_CHARS)
    more = f" +{len(step.techniques) - 1}" if len(step.techniques) > 1 else ""
    return Arrow(
        number=number,
        step=step,
        x=x,
        y1=y1,
        y2=y2 if step.src != step.dst else badge_y,
        badge_y=badge_y,
        head="" if step.src == step.dst else f"{x:g},{y2:g} {x - 5:g},{base:g} {x + 5:g},{base:g}",
        label=label,
        text_width=round(len(label) * _SMALL_GLYPH, 1),
        technique=shortened(step.techniques[0], 10) + more if step.techniques else "",
        time=stamp(step.ts)[5:16],
    )
