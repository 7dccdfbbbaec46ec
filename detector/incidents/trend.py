"""How quickly incidents are detected and dealt with, in all and week by week."""

from collections.abc import Iterable, Sequence
from statistics import fmean, median
from typing import Any, Final

from detector.incidents.life import MERGED, STATES, Case, moment

STEPS: Final = ("detect", "acknowledge", "contain", "recover")
"""MTTD is the mean of the first, from begun to opened; MTTA and both MTTR (to contained, to recovered) of the others,
from opened."""


def means(known: Iterable[Case]) -> dict[str, float | None]:
    """Mean seconds of each step, over those that took it."""
    found = _times(known)
    return {step: fmean(found[step]) if found[step] else None for step in STEPS}


def states(known: Iterable[Case]) -> dict[str, int]:
    """How many incidents are in each state; what became part of another one is none."""
    counts = dict.fromkeys(STATES, 0)
    for case in known:
        if case.state != MERGED:
            counts[case.state] += 1
    return counts


def trend(known: Sequence[Case]) -> dict[str, Any]:
    """Everything of the report: totals, and a row for each week (ISO 8601) in which an incident was opened, with those
    between."""
    told = [case for case in known if case.state != MERGED]
    weeks: dict[str, list[Case]] = {}
    for case in sorted(told, key=lambda case: case.times["opened"]):
        weeks.setdefault(_week(case), []).append(case)
    return {
        "incidents": len(told),
        "merged": len(known) - len(told),
        "states": states(told),
        "outcomes": _outcomes(told),
        "reopened": sum(case.reopened > 0 for case in told),
        **_summed(told),
        "weeks": [{"week": week, "opened": len(of), "unfinished": sum(case.state not in ("recovered", "closed")
                   for case in of), **_summed(of)} for week, of in weeks.items()],
    }  # fmt: skip


def _summed(known: Sequence[Case]) -> dict[str, Any]:
    """Mean and median of each step in minutes, and over how many."""
    found = _times(known)
    row: dict[str, Any] = {}
    for step in STEPS:
        times = found[step]
        row[f"{step}_count"] = len(times)
        row[f"{step}_mean_minutes"] = round(fmean(times) / 60, 1) if times else None
        row[f"{step}_median_minutes"] = round(median(times) / 60, 1) if times else None
    return row


def _times(known: Iterable[Case]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {step: [] for step in STEPS}
    for case in known:
        for step, seconds in case.seconds().items():
            if seconds is not None:
                found[step].append(seconds)
    return found


def _outcomes(known: Iterable[Case]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for case in known:
        if case.outcome is not None:
            counts[case.outcome] = counts.get(case.outcome, 0) + 1
    return dict(sorted(counts.items()))


def _week(case: Case) -> str:
    year, week, _ = moment(case.times["opened"]).isocalendar()
    return f"{year}-W{week:02d}"
