"""The trend of incidents as files: JSON for programs, CSV for tables, a page with a picture for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import orjson

from detector.incidents.life import STATES, Case
from detector.incidents.trend import STEPS, trend
from detector.renderings import pages
from detector.renderings.strings import spreadsheet, visible
from detector.renderings.tables import csv_text

CSV_COLUMNS: Final = (
    "incident_id", "state", "outcome", "severity", "title", "begun", *STATES, "reopened",
    *(f"{step}_seconds" for step in STEPS),
)  # fmt: skip
_WIDTH: Final = 900
_HEIGHT: Final = 180
_BAR: Final = 18
_SHOWN_WEEKS: Final = 52
_SHOWN_CASES: Final = 500


def as_dict(case: Case) -> dict[str, Any]:
    """The incident as JSON types, with its times in seconds."""
    plain = asdict(case)
    return plain | {"seconds": case.seconds()}


def write_report(known: Sequence[Case], out: Path) -> dict[str, Any]:
    """``incidents.json``, ``incidents.csv`` and ``report.html``; the same journal gives the same bytes."""
    out.mkdir(parents=True, exist_ok=True)
    summary = trend(known)
    told = summary | {"cases": [as_dict(case) for case in known]}
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    (out / "incidents.json").write_bytes(orjson.dumps(told, option=options))
    (out / "incidents.csv").write_text(as_csv(known), encoding="utf-8", newline="")
    (out / "report.html").write_text(render(summary, known), encoding="utf-8")
    return summary


def as_csv(known: Sequence[Case]) -> str:
    """One row an incident (RFC 4180), safe for spreadsheets."""
    rows = []
    for case in known:
        values = asdict(case) | case.times | {f"{step}_seconds": took for step, took in case.seconds().items()}
        values |= {state: case.times.get(state) for state in STATES}
        rows.append(["" if (value := values[name]) is None else spreadsheet(str(value)) for name in CSV_COLUMNS])
    return csv_text(CSV_COLUMNS, rows)


def render(summary: Mapping[str, Any], known: Sequence[Case]) -> str:
    """The page; every text is escaped, and what a browser would obey is spelled out."""
    environment = pages.environment("detector.incidents")
    environment.filters |= {"minutes": _minutes, "visible": visible}
    weeks = summary["weeks"][-_SHOWN_WEEKS:]
    template = environment.get_template("report.html.j2")
    return template.render(
        trend=summary, weeks=weeks, steps=STEPS, pictures=[_picture(weeks, step) for step in STEPS],
        cases=list(known)[-_SHOWN_CASES:], states=STATES,
    )  # fmt: skip


def _picture(weeks: Sequence[Mapping[str, Any]], step: str) -> dict[str, Any]:
    """Bars of a step's mean by week: places and sizes come from numbers only."""
    values = [week[f"{step}_mean_minutes"] for week in weeks]
    most = max((value for value in values if value is not None), default=0.0)
    pitch = min(_WIDTH / max(len(weeks), 1), 3 * _BAR)
    bars = [
        {
            "x": round(place * pitch, 1),
            "width": round(pitch * 0.7, 1),
            "y": round(_HEIGHT - (height := _HEIGHT * value / most if most else 1.0), 1),
            "height": round(height, 1),
            "week": week["week"],
            "value": value,
        }
        for place, (week, value) in enumerate(zip(weeks, values, strict=True))
        if value is not None
    ]
    return {"step": step, "bars": bars, "most": most, "width": _WIDTH, "height": _HEIGHT}


def _minutes(value: float | None) -> str:
    """``12 min``, ``1.5 h``, ``2.8 d``; a dash for nothing."""
    if value is None:
        return "—"
    if value < 60:
        return f"{value:.0f} min" if value >= 1 else "under 1 min"
    return f"{value / 60:.1f} h" if value < 2880 else f"{value / 1440:.1f} d"
