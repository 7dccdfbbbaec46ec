"""What made a row strange, model by model: bits, and what would have made it none."""

import math
from collections.abc import Callable
from typing import Any, Final

from detector.alerts.opinions import WORTH_SAYING
from detector.config import MODELS

Row = dict[str, Any]
_SMALLEST: Final = 1e-15  # no history has so many rows: a smaller p-value is a tail's guess
_LEAST: Final = 1.0  # bits; what comes every second time is no surprise
_DIGITS: Final = 1  # of bits
HABIT: Final = ("structure", "operations", "forest", "crossing", "provenance", "windows", "drip")
"""Models that what is done in most hours does not surprise, whatever it is."""

SHORT: Final = {
    "credentials": "by an account that is unusual there",
    "timing": "at an unusual time",
    "crossing": "on an unusual way between zones",
    "provenance": "without a log-on before it",
    "vendors": "outside what was agreed with the supplier",
    "volume": "in an unusual volume",
    "fanout": "among unusually many targets",
    "windows": "in an unusual hour of its source",
    "drip": "after its source has slowly changed",
}
"""What is strange where it is not the act itself, by model, for a title."""


def bits(row: Row) -> dict[str, float]:
    """``-log2`` of the p-value of each model that is surprised, largest first."""
    said = ((name, row.get(f"p_{name}", 1.0)) for name in ("structure", *MODELS))
    surprise = {name: round(-math.log2(max(p, _SMALLEST)), _DIGITS) for name, p in said if p < 1.0}
    told = [(-value, name) for name, value in surprise.items() if value >= _LEAST]
    return {name: -value for value, name in sorted(told)}


def counterfactual(row: Row, what: str) -> str:
    """One sentence: what had to be otherwise for the row to be no alert. It answers each model that finds the row
    strange; ``what`` was done, in words."""
    strange = [name for name in ("structure", *MODELS) if row.get(f"p_{name}", 1.0) <= WORTH_SAYING]
    asked = [name for name in strange if name not in HABIT]
    conditions = [_CONDITIONS[name](row) for name in asked]
    if not asked or len(asked) < len(strange):
        conditions.insert(0, f"{what} from {row['orig_h']} to {row['resp_h']} were a habit of most hours")
    return f"Would not alert if {' and '.join(conditions)}."


_CONDITIONS: Final[dict[str, Callable[[Row], str]]] = {
    "credentials": lambda row: f"this account were used from {row['orig_h']} on {row['resp_h']} in most hours",
    "timing": lambda _: "it had come at a time of day at which these two are used to it",
    "vendors": lambda _: "it had come in the supplier's windows and through its jump hosts",
    "volume": lambda row: f"the hour had stayed near the {_usual(row['volume_usual'])} that are usual",
    "fanout": lambda row: f"{row['orig_h']} had tried no more than the {_usual(row['fanout_usual'])} usual targets",
}
"""By model that a habit does not answer."""


def _usual(value: float) -> str:
    return f"{max(round(value), 1):,}"
