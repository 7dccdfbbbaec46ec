"""A sweep as files: JSON for programs, CSV and Parquet for tables, a page for people."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from detector.backtest.words import amount, stamp, visible
from detector.compare.console import told
from detector.renderings import pages
from detector.renderings.plot import Plot, Series, plot
from detector.renderings.strings import spreadsheet
from detector.renderings.tables import csv_text
from detector.sweep.run import METRICS, value

Plain = Mapping[str, Any]
_COUNTED: Final = ("campaigns_found", "hops_found")
_MOST_LINES: Final = 12  # of the budget curves that are drawn, beside those of the base and of the chosen point


def write_files(swept: Plain, out: Path) -> None:
    """``sweep.json``, ``sweep.csv``, ``sweep.parquet`` and ``sweep.html``."""
    out.mkdir(parents=True, exist_ok=True)
    content = orjson.dumps(swept, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    (out / "sweep.json").write_bytes(content)
    (out / "sweep.csv").write_text(as_csv(swept), encoding="utf-8", newline="")
    pl.DataFrame(table(swept), infer_schema_length=None).write_parquet(out / "sweep.parquet")
    (out / "sweep.html").write_text(render(swept), encoding="utf-8")


def as_csv(swept: Plain) -> str:
    """The table (RFC 4180), safe for spreadsheets."""
    rows = table(swept)
    return csv_text(list(rows[0]), ([_cell(cell) for cell in row.values()] for row in rows))


def table(swept: Plain) -> list[dict[str, Any]]:
    """One row a point: its settings, its numbers with intervals, whether none beats it, whether it was chosen."""
    return [
        {
            **{key: text(one) for key, one in point["settings"].items()},
            **_numbers(point),
            "pareto": point["pareto"],
            "chosen": place == swept["chosen"],
            "folder": point["folder"],
        }
        for place, point in enumerate(swept["points"])
    ]


def _numbers(point: Plain) -> dict[str, float | int | None]:
    told: dict[str, float | int | None] = {}
    for name in METRICS.values():
        found = point["metrics"].get(name)
        span = (None, None) if found is None or found["interval"] is None else found["interval"]
        told |= {name: value(point, name), f"{name}_low": span[0], f"{name}_high": span[1]}
        if name in _COUNTED:
            told[f"{name}_of"] = None if found is None else found["counts"][1]
    return told


def text(setting: Any) -> Any:
    """A setting as a cell: of lists and mappings what is in them."""
    if isinstance(setting, Mapping):
        return ", ".join(f"{key}: {one}" for key, one in setting.items())
    return ", ".join(map(str, setting)) if isinstance(setting, list | tuple) else setting


def _cell(cell: Any) -> Any:
    return spreadsheet(cell) if isinstance(cell, str) else cell


def render(swept: Plain) -> str:
    """The page; every text is escaped, and what a browser would obey is spelled out."""
    environment = pages.environment("detector.sweep")
    environment.filters |= {"amount": amount, "stamp": stamp, "told": told, "text": text, "value": value}
    labelled = any(value(point, "hops_found") is not None for point in swept["points"])
    page = environment.get_template("sweep.html.j2").render(
        swept=swept,
        labelled=labelled,
        columns_of=METRICS,
        pareto=pareto(swept) if labelled else None,
        curves=curves(swept, labelled),
    )
    return visible(page, keep="\n")


def named(point: Plain) -> str:
    """A point by its settings."""
    return ", ".join(f"{key} {text(one)}" for key, one in point["settings"].items()) or "as it is"


def pareto(swept: Plain) -> Plot:
    """Alerts a day against the share of hops found, and the points that none beats, joined."""
    points = [point for point in swept["points"] if _at(point) is not None]
    front = sorted((point for point in points if point["pareto"]), key=lambda point: _at(point) or (0.0, 0.0))
    series = [
        Series("points", "soft", [_dot(point) for point in points if not point["pareto"]]),
        Series("none is better in both", "one", [_dot(point) for point in front], line=True),
    ]
    if _at(swept["base"]) is not None:
        series.append(Series("as it is", "three", [_dot(swept["base"])]))
    if swept["chosen"] is not None:
        series.append(Series("chosen", "two", [_dot(swept["points"][swept["chosen"]])]))
    return plot(series, "alerts a day", "share of hops found")


def _at(point: Plain) -> tuple[float, float] | None:
    alerts, hops = value(point, "alerts_a_day"), value(point, "hops_found")
    return None if alerts is None or hops is None else (alerts, hops)


def _dot(point: Plain) -> tuple[float, float, str]:
    alerts, hops = _at(point) or (0.0, 0.0)
    return alerts, hops, f"{named(point)}: {amount(alerts)} alerts a day, {hops:.0%} of hops"


def curves(swept: Plain, labelled: bool) -> Plot | None:
    """What a budget gives, a line for each combination of the other settings: with labels the share of hops found by
    alerts a day, else the alerts a day by the budget. None when no two budgets were tried."""
    lines: dict[str, list[Plain]] = {}
    for point in swept["points"]:
        if value(point, "alerts_a_day") is not None and "alerts_per_day" in point["settings"]:
            others = {key: one for key, one in point["settings"].items() if key != "alerts_per_day"}
            lines.setdefault(named({"settings": others}), []).append(point)
    lines = {name: points for name, points in lines.items() if len(points) > 1}
    if not lines:
        return None
    chosen = None if swept["chosen"] is None else swept["points"][swept["chosen"]]
    mine = next((name for name, points in lines.items() if chosen in points), None)
    shown = [name for name in lines if name != mine][:_MOST_LINES]
    tones = {name: "one" if len(lines) == 1 else "soft" for name in shown} | ({} if mine is None else {mine: "two"})
    series = [Series(name, tone, _curve(lines[name], labelled), line=True) for name, tone in tones.items()]
    if labelled:
        return plot(series, "alerts a day", "share of hops found")
    return plot(series, "alerts a day that were asked for", "alerts a day")


def _curve(points: Sequence[Plain], labelled: bool) -> list[tuple[float, float, str]]:
    dots = [
        _dot(point)
        if labelled
        else (point["settings"]["alerts_per_day"], value(point, "alerts_a_day") or 0.0, named(point))
        for point in points
    ]
    return sorted(dots)
