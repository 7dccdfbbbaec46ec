"""A plot of points and lines for a page: places in pixels, ticks at round numbers. `plot.html.j2` draws it as SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 680
HEIGHT: Final = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 12, 44  # pixels around the area
_TICKS: Final = 6  # about so many on each side
_STEPS: Final = (1.0, 2.0, 5.0, 10.0)
_ROOM: Final = 0.04  # of the area that stays free beyond the outermost points


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one kind.

    Args:
        name: in the legend.
        tone: class of the style sheet: ``one``, ``two``, ``three`` or ``soft``.
        points: x, y, and what is said of it.
        line: whether they are joined.
    """

    name: str
    tone: str
    points: Sequence[tuple[float, float, str]]
    line: bool = False


@dataclass(frozen=True, slots=True)
class Drawn:
    """A series in pixels; ``path`` is empty when it is no line."""

    name: str
    tone: str
    circles: tuple[tuple[float, float, str], ...]
    path: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Ready to draw; ticks are pixels and text."""

    x_label: str
    y_label: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    series: tuple[Drawn, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def plot(series: Sequence[Series], x_label: str, y_label: str) -> Plot:
    """Of finite numbers; without points an empty area from 0 to 1."""
    xs = [x for one in series for x, _, _ in one.points]
    ys = [y for one in series for _, y, _ in one.points]
    (x_low, x_high), (y_low, y_high) = _span(xs), _span(ys)

    def across(x: float) -> float:
        return round(_LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - _LEFT - _RIGHT), 1)

    def up(y: float) -> float:
        return round(HEIGHT - _BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - _TOP - _BOTTOM), 1)

    drawn = []
    for one in series:
        circles = tuple((across(x), up(y), title) for x, y, title in one.points)
        path = "M" + "L".join(f"{x} {y}" for x, y, _ in circles) if one.line and circles else ""
        drawn.append(Drawn(one.name, one.tone, circles, path))
    return Plot(
        x_label,
        y_label,
        tuple((across(tick), _text(tick)) for tick in ticks(x_low, x_high)),
        tuple((up(tick), _text(tick)) for tick in ticks(y_low, y_high)),
        tuple(drawn),
    )


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, about `_TICKS` of them.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    rough = (high - low) / _TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in _STEPS if unit * factor >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def _span(values: Sequence[float]) -> tuple[float, float]:
    """From 0, where all are above it, with some room."""
    low, high = min([0.0, *values]), max(values, default=1.0)
    if high <= low:
        high = low + 1.0
    return low if low == 0.0 else low - _ROOM * (high - low), high + _ROOM * (high - low)


def _text(value: float) -> str:
    return f"{value:,.6g}"
