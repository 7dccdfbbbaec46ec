"""The time line: rows, findings and alerts a bin of time, and incidents from first to last hop."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from detector.alerts.model import Incident
from detector.backtest.words import DAY_MINUTES, MINUTE_US, duration, stamp

MAX_INCIDENTS: Final = 50  # shown
MAX_LANES: Final = 6  # of incidents in the time line

_TICKS: Final = (1, 5, 15, 30, 60, 120, 180, 360, 720, *(days * DAY_MINUTES for days in (1, 2, 7, 14, 28, 91, 365)))
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
class Bar:
    """Something at a place in time, in percent of the width; ``size`` is its height, 0 to 1."""

    x: float
    width: float
    size: float
    title: str
    bin: int  # place in time
    count: int


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
    start_ms: int  # of the first bin, since 1970
    bin_ms: int


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
        findings=bars(timeline, dict(enumerate(timeline.findings)), "finding"),
        alerts=bars(timeline, dict(enumerate(timeline.alerts)), "alert"),
        spans=spans,
        lanes=1 + max((span.lane for span in spans), default=-1),
        ticks=_ticks(timeline.start_us, end),
        bin_name=duration(timeline.bin_us),
        first=_clock(timeline.start_us, "%Y-%m-%d %H:%M"),
        last=_clock(end, "%Y-%m-%d %H:%M"),
        start_ms=timeline.start_us // 1000,
        bin_ms=timeline.bin_us // 1000,
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


def bars(timeline: Timeline, counts: Mapping[int, int], noun: str) -> tuple[Bar, ...]:
    """One bar for each bin with something in it; of square roots, so that single ones show beside floods.

    Args:
        counts: by bin.
    """
    peak, bins = max(counts.values(), default=0), len(timeline.rows)
    return tuple(
        Bar(
            x=round(100 * place / bins, 3),
            width=round(max(100 / bins, 0.35), 3),
            size=round(math.sqrt(count / peak), 3),
            title=f"{_clock(timeline.start_us + place * timeline.bin_us, '%Y-%m-%d %H:%M')}: "
            f"{count:,} {noun}{'s' if count > 1 else ''}",
            bin=place,
            count=count,
        )
        for place, count in sorted(counts.items())
        if count
    )


def place(timeline: Timeline, ts: str) -> int:
    """The bin of an ISO time; times outside count for the first or the last."""
    return min(max((_micros(ts) - timeline.start_us) // timeline.bin_us, 0), len(timeline.rows) - 1)


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
    minutes = (end - start) / MINUTE_US
    step = next((step for step in _TICKS if minutes / step <= _MAX_TICKS), 3650 * DAY_MINUTES) * MINUTE_US
    shape = "%Y-%m-%d" if step >= DAY_MINUTES * MINUTE_US else "%m-%d %H:%M"
    places = range(-(-start // step) * step, end, step)
    inside = [tick for tick in places if _EDGES[0] < (tick - start) / (end - start) < _EDGES[1]]
    return tuple(
        (round(100 * (tick - start) / (end - start), 3), _clock(tick, shape), place % 2 == 1)
        for place, tick in enumerate(inside)
    )
