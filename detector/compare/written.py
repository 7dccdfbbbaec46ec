"""A comparison as files: JSON for programs, a page for people."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from detector.backtest.words import amount, stamp, visible
from detector.compare.console import told
from detector.compare.matching import APART, GAINED, LOST, MOVED, SAME
from detector.renderings import pages
from detector.renderings.plot import Plot, Series, plot

_TONES: Final = {SAME: "soft", MOVED: "one", GAINED: "three", LOST: "two", APART: "soft"}
_MOST_ROWS: Final = 500  # of each fate on the page; the JSON has all
_MOST_POINTS: Final = 2000  # of a plot


def write_files(compared: Mapping[str, Any], out: Path) -> None:
    """``compare.json`` and ``compare.html``."""
    out.mkdir(parents=True, exist_ok=True)
    content = orjson.dumps(compared, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    (out / "compare.json").write_bytes(content)
    (out / "compare.html").write_text(render(compared), encoding="utf-8")


def render(compared: Mapping[str, Any]) -> str:
    """The page; every text is escaped, and what a browser would obey is spelled out."""
    environment = pages.environment("detector.compare")
    environment.filters |= {"amount": amount, "stamp": stamp, "told": told}
    page = environment.get_template("compare.html.j2").render(
        compared=compared,
        scores=scores(compared["alert_scores"]),
        days=days(compared["days"]),
        rows=[row for fate in (GAINED, LOST, MOVED, APART)
              for row in [pair for pair in compared["alert_pairs"] if pair["fate"] == fate][:_MOST_ROWS]],
    )  # fmt: skip
    return visible(page, keep="\n")


def scores(points: Sequence[Mapping[str, Any]]) -> Plot:
    """Each alert by its score before and after; what one run did not tell lies on the axis."""
    series = [
        Series(
            fate,
            tone,
            [
                (one["before"] or 0.0, one["after"] or 0.0, one["title"])
                for one in points[:_MOST_POINTS]
                if one["fate"] == fate
            ],
        )
        for fate, tone in _TONES.items()
        if any(one["fate"] == fate for one in points)
    ]
    return plot(series, "score before", "score after")


def days(rows: Sequence[Mapping[str, Any]]) -> Plot:
    """Alerts of each day that both judged."""
    series = [
        Series(
            side,
            tone,
            [(place, row[side]["alerts"], f"{row['day']}: {row[side]['alerts']}") for place, row in enumerate(rows, 1)],
            line=True,
        )
        for side, tone in (("before", "one"), ("after", "two"))
    ]
    return plot(series, "day of the time that both judged", "alerts")
