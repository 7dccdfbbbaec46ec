"""A drill as files: JSON for programs, CSV for tables, a page for people."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from detector.backtest.words import amount, stamp, visible
from detector.inventory.written import cell
from detector.renderings import pages
from detector.renderings.tables import csv_text

CSV_COLUMNS: Final = (
    "technique", "name", "matrix", "status", "reason", "injected", "detected", "coverage", "low", "high",
    "minutes_median", "minutes_p90", "new_pairs",
)  # fmt: skip


def write_files(summary: Mapping[str, Any], out: Path) -> None:
    """``drill.json``, ``drill.csv`` and ``report.html``."""
    (out / "drill.json").write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    (out / "drill.csv").write_text(as_csv(summary["coverage"]), encoding="utf-8", newline="")
    (out / "report.html").write_text(render(summary), encoding="utf-8")


def as_csv(coverage: Sequence[Mapping[str, Any]]) -> str:
    """One row a technique (RFC 4180), safe for spreadsheets."""
    return csv_text(CSV_COLUMNS, ([cell(row[name]) for name in CSV_COLUMNS] for row in coverage))


def render(summary: Mapping[str, Any]) -> str:
    """The page; every text is escaped, and what a browser would obey is spelled out."""
    environment = pages.environment("detector.drill")
    environment.filters |= {"amount": amount, "stamp": stamp, "minutes": minutes, "percent": percent}
    return visible(environment.get_template("report.html.j2").render(drill=summary), keep="\n")


def percent(share: float | None) -> str:
    """``67 %``; a dash for nothing."""
    return "—" if share is None else f"{share * 100:.0f} %"


def minutes(value: float | None) -> str:
    """Minutes as people say them.

    >>> minutes(0.4), minutes(12), minutes(90), minutes(4000), minutes(None)
    ('under 1 min', '12 min', '1.5 h', '2.8 d', '—')
    """
    if value is None:
        return "—"
    if value < 1:
        return "under 1 min"
    if value < 60:
        return f"{value:.0f} min"
    return f"{value / 60:.1f} h" if value < 2880 else f"{value / 1440:.1f} d"
