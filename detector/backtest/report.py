"""`report.html`: one page that works without network, scripts or trust in what the logs say.

Every string of a log is the attacker's. The template escapes all of them, positions and sizes of drawings
come from counts only, and `visible` spells out what a browser or a terminal would obey instead of show.
"""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import jinja2

from detector.alerts.attack import named
from detector.alerts.model import Alert, Incident, Step
from detector.assets.hosts import OT_LEVEL, OUTSIDE

MAX_ALERTS: Final = 100  # shown; all are in alerts.ndjson
MAX_INCIDENTS: Final = 50
MAX_HOPS: Final = 200  # of one incident in its table
MAX_DRAWN_HOPS: Final = 24
MAX_LANES: Final = 6  # of incidents in the time line

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
_WHOLE: Final = 1000  # from here on fractions say nothing
_HUGE: Final = 1e9  # from here on people count in powers of ten

_MINUTE_US: Final = 60_000_000
_DAY: Final = 1440  # minutes
_TICKS: Final = (1, 5, 15, 30, 60, 120, 180, 360, 720, *(days * _DAY for days in (1, 2, 7, 14, 28, 91, 365)))
_MAX_TICKS: Final = 7
_EDGES: Final = (0.04, 0.94)  # a tick outside of these would be cut
_PLOT: Final = 100  # units: height of the area of rows


@dataclass(frozen=True, slots=True)
class Timeline:
    """What happened per bin of time: rows scored, findings, alerts."""

    start_us: int
    bin_us: int
    rows: list[int]
    findings: list[int]
    alerts: list[int]


@dataclass(frozen=True, slots=True)
class View:
    """All that the report shows.

    Attributes:
        summary: the content of ``summary.json``.
        zones: name and Purdue level; None where no level was declared.
    """

    summary: dict[str, Any]
    alerts: list[Alert]
    incidents: list[Incident]
    timeline: Timeline
    zones: dict[str, float | None]


def render(view: View) -> str:
    """The page. The same view gives the same page, byte for byte."""
    strongest = sorted(view.alerts, key=lambda alert: (-alert.score, alert.ts, alert.alert_id))
    shown = view.incidents[:MAX_INCIDENTS]
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            view=view,
            summary=view.summary,
            chart=chart(view.timeline, view.incidents),
            incidents=[(incident, graph(incident, view.zones)) for incident in shown],
            numbers={incident.incident_id: number for number, incident in enumerate(shown, 1)},
            zones=ordered_zones(view.zones, view.zones),
            strongest=strongest[:MAX_ALERTS],
            max_hops=MAX_HOPS,
        )
    )
    return visible(page, keep="\n")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("detector", "backtest"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "how_long": how_long,
        "level": level_name,
        "amount": amount,
        "one_in": one_in,
        "stamp": stamp,
        "technique": named,
    }
    return environment


# --- words ---


def visible(text: str, keep: str = "") -> str:
    """Text with its controls spelled out: terminal sequences, bidirectional overrides, invisible characters.

    >>> visible("a\x1b[31m")
    'a\\\\u001b[31m'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"\\u{ord(char):04x}" if _obeyed(char) and char not in keep else char for char in text)


def _obeyed(char: str) -> bool:
    """Controls, format characters, surrogates, private use, unassigned, line and paragraph separators."""
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def shortened(text: str, limit: int) -> str:
    """At most ``limit`` characters; what is left out is in the middle, for addresses differ at their ends."""
    text = visible(text)
    if len(text) <= limit:
        return text
    tail = limit // 2
    return f"{text[: limit - tail - 1]}…{text[-tail:]}"


def amount(value: float) -> str:
    """A count or a rate with thousands marked and no digits that say nothing."""
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= _WHOLE else f"{value:,.4g}"


def one_in(p: float) -> str:
    """How rare, for people: ``1 in 12,000``; powers of ten from a thousand million on.

    >>> one_in(8.3e-5)
    '1 in 12,000'
    """
    if not 0 < p < 1:
        return "1 in 1" if p >= 1 else "beyond measure"
    rarity = float(f"{1 / p:.2g}")
    if rarity < _HUGE:
        return f"1 in {rarity:,.0f}"
    mantissa, exponent = f"{rarity:.1e}".split("e")
    power = str(int(exponent)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"1 in {mantissa} \u00d7 10{power}"


def stamp(text: str | None) -> str:
    """An ISO time to the second, as people read it; UTC goes without saying once it was said."""
    return text[:19].replace("T", " ") if text else "—"


def how_long(days: float) -> str:
    """``7 days``; less than one in hours and minutes."""
    return f"{amount(days)} days" if days > 1 else _duration(round(days * _DAY) * _MINUTE_US)


def level_name(level: float | None) -> str:
    """``Level 3.5``, or that none was declared."""
    return "no level" if level is None else f"Level {level:g}"


def ordered_zones(names: Iterable[str], levels: dict[str, float | None]) -> list[tuple[str, float | None]]:
    """From the office down to the controllers; undeclared zones above. Without any levels: as they came."""
    zones = [(name, levels.get(name)) for name in dict.fromkeys(names)]
    if all(level is None for _, level in zones):
        return zones
    return sorted(zones, key=lambda zone: (zone[0] != OUTSIDE, zone[1] is not None, -(zone[1] or 0.0)))


def _tone(level: float | None) -> str:
    if level is None:
        return "none"
    if level <= OT_LEVEL:
        return "ot" if level > _CONTROL_LEVEL else "control"
    return "dmz" if level < _OFFICE_LEVEL else "it"


# --- the path of an incident ---


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


# --- the time line ---


@dataclass(frozen=True, slots=True)
class Bar:
    """Something at a place in time, in percent of the width; ``size`` is its height, 0 to 1."""

    x: float
    width: float
    size: float
    title: str


@dataclass(frozen=True, slots=True)
class Span:
    """An incident in the time line."""

    x: float
    width: float
    lane: int
    number: int
    severity: str
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """The time line, ready to draw."""

    area: str
    grid: tuple[tuple[float, str], ...]  # height in percent of the plot, label
    findings: tuple[Bar, ...]
    alerts: tuple[Bar, ...]
    spans: tuple[Span, ...]
    lanes: int
    ticks: tuple[tuple[float, str, bool], ...]  # x in percent, label, whether a narrow screen leaves it out
    bin_name: str
    first: str
    last: str


def chart(timeline: Timeline, incidents: Sequence[Incident]) -> Chart | None:
    """The time line; None when there were no rows."""
    if not any(timeline.rows):
        return None
    top = _ceiling(max(timeline.rows))
    spans = _incident_spans(timeline, incidents)
    end = timeline.start_us + timeline.bin_us * len(timeline.rows)
    return Chart(
        area=_area(timeline.rows, top),
        grid=((0.0, f"{top:,}"), (50.0, f"{top // 2:,}")) if top > 1 else ((0.0, f"{top:,}"),),
        findings=_bars(timeline, timeline.findings, "finding"),
        alerts=_bars(timeline, timeline.alerts, "alert"),
        spans=spans,
        lanes=1 + max((span.lane for span in spans), default=-1),
        ticks=_ticks(timeline.start_us, end),
        bin_name=_duration(timeline.bin_us),
        first=_clock(timeline.start_us, "%Y-%m-%d %H:%M"),
        last=_clock(end, "%Y-%m-%d %H:%M"),
    )


def _clock(micros: int, shape: str) -> str:
    return datetime.fromtimestamp(micros // 1_000_000, UTC).strftime(shape)


def _ceiling(peak: int) -> int:
    """The next round number: 1, 2, 4, 6, 8 or 10 times a power of ten."""
    power: int = 10 ** (len(str(peak)) - 1)
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= peak)


def _area(rows: Sequence[int], top: int) -> str:
    """Points of a stepped area in a box of 1000 by `_PLOT`."""
    points = [f"0,{_PLOT}"]
    for place, count in enumerate(rows):
        y = round(_PLOT * (1 - count / top), 2)
        points += [f"{1000 * place / len(rows):.2f},{y:g}", f"{1000 * (place + 1) / len(rows):.2f},{y:g}"]
    return " ".join([*points, f"1000,{_PLOT}"])


def _bars(timeline: Timeline, counts: Sequence[int], noun: str) -> tuple[Bar, ...]:
    """One bar for each bin with something in it; of square roots, so that single ones show beside floods."""
    peak = max(counts, default=0)
    return tuple(
        Bar(
            x=round(100 * place / len(counts), 3),
            width=round(max(100 / len(counts), 0.35), 3),
            size=round(math.sqrt(count / peak), 3),
            title=f"{_clock(timeline.start_us + place * timeline.bin_us, '%Y-%m-%d %H:%M')}: "
            f"{count:,} {noun}{'s' if count > 1 else ''}",
        )
        for place, count in enumerate(counts)
        if count
    )


def _incident_spans(timeline: Timeline, incidents: Sequence[Incident]) -> tuple[Span, ...]:
    """Incidents packed into lanes, strongest first; one that finds no free lane is left out."""
    total = timeline.bin_us * len(timeline.rows)
    lanes: list[list[tuple[float, float]]] = [[] for _ in range(MAX_LANES)]
    spans = []
    for number, incident in enumerate(incidents[:MAX_INCIDENTS], 1):
        x = min(max(100 * (_micros(incident.first_ts) - timeline.start_us) / total, 0.0), 99.0)
        width = max(min(100 * (_micros(incident.last_ts) - timeline.start_us) / total, 100.0) - x, 0.8)
        need = (x - 7, x + width + 7)  # room for its number, on a narrow screen too
        lane = next((i for i, used in enumerate(lanes) if all(need[1] < a or b < need[0] for a, b in used)), None)
        if lane is not None:
            lanes[lane].append((x, x + width))
            title = f"Incident {number}: {stamp(incident.first_ts)} to {stamp(incident.last_ts)}"
            spans.append(Span(round(x, 3), round(width, 3), lane, number, incident.severity, title))
    return tuple(spans)


def _micros(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e6)


def _ticks(start: int, end: int) -> tuple[tuple[float, str, bool], ...]:
    """Round UTC times, at most `_MAX_TICKS`, none so close to an edge that it would be cut."""
    minutes = (end - start) / _MINUTE_US
    step = next((step for step in _TICKS if minutes / step <= _MAX_TICKS), 3650 * _DAY) * _MINUTE_US
    shape = "%Y-%m-%d" if step >= _DAY * _MINUTE_US else "%m-%d %H:%M"
    places = range(-(-start // step) * step, end, step)
    inside = [tick for tick in places if _EDGES[0] < (tick - start) / (end - start) < _EDGES[1]]
    return tuple(
        (round(100 * (tick - start) / (end - start), 3), _clock(tick, shape), place % 2 == 1)
        for place, tick in enumerate(inside)
    )


def _duration(micros: int) -> str:
    """A bin's length: ``10 min``, ``2 h 30 min``, ``1 d 4 h``."""
    minutes = max(micros // _MINUTE_US, 1)
    parts = ((minutes // _DAY, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min"))
    return " ".join(f"{amount} {unit}" for amount, unit in parts if amount)
