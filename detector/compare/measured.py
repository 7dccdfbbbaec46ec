"""The numbers of two runs side by side, each with its 95 % interval, and how much the second differs."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.alerts.model import Alert, Incident, iso
from detector.backtest.labels import Label, first_at, parse_time, places
from detector.compare.matching import Span
from detector.compare.results import Found
from detector.correlate.chains import DAY_US
from detector.intervals import bootstrap, paired, wilson

Plain = dict[str, Any]
DAYS: Final = "bootstrap of {} days (Efron and Tibshirani 1993)"
SHARES: Final = "Wilson 1927; difference of pairs: Newcombe 1998"
CAMPAIGNS: Final = "bootstrap of {} campaigns that both found (Efron and Tibshirani 1993)"
_LEAST: Final = 4
"""Days, or campaigns, to draw from: the extremes of three are one in 27 draws each, no 2.5 %."""
_URGENT: Final = ("high", "critical")


def daily(runs: Sequence[Found], span: Span, labels: Sequence[Label] | None) -> list[Plain]:
    """One row a day (UTC) of the time that both judged: its length in days, and of each run the open alerts, those that
    are high or critical, those outside of labels, and incidents that began."""
    if span is None:
        return []
    counted = [_counted(run, span, labels) for run in runs]
    rows = []
    for day in range(span[0] // DAY_US, span[1] // DAY_US + 1):
        begin, end = max(day * DAY_US, span[0]), min((day + 1) * DAY_US, span[1] + 1)
        row: Plain = {"day": iso(day * DAY_US)[:10], "days": (end - begin) / DAY_US}
        for name, counts in zip(("before", "after"), counted, strict=True):
            row[name] = {what: counts[what, day] for what in ("alerts", "urgent", "false", "incidents")}
            if labels is None:
                row[name]["false"] = None
        rows.append(row)
    return rows


def _counted(run: Found, span: tuple[int, int], labels: Sequence[Label] | None) -> Counter[tuple[str, int]]:
    """How many of what on which day (since 1970)."""
    counts = Counter[tuple[str, int]]()
    for one in _open(run.alerts):
        ts = parse_time(one.ts)
        if span[0] <= ts <= span[1]:
            day = ts // DAY_US
            counts["alerts", day] += 1
            counts["urgent", day] += one.severity in _URGENT
            counts["false", day] += labels is not None and not _labelled(one, labels)
    for incident in run.incidents:
        ts = parse_time(incident.first_ts)
        if span[0] <= ts <= span[1]:
            counts["incidents", ts // DAY_US] += 1
    return counts


def _open(alerts: Iterable[Alert]) -> list[Alert]:
    return [one for one in alerts if one.status == "open"]


def _labelled(one: Alert, labels: Sequence[Label]) -> bool:
    return any(label.covers(parse_time(one.ts), one.src, one.dst) for label in labels)


def rates(days: Sequence[Plain], *, labelled: bool) -> list[Plain]:
    """How many a day, of what is counted a day; a stretch shorter than a day counts as one, as in ``summary.json``."""
    names = {"alerts": "alerts a day", "urgent": "high and critical a day", "incidents": "incidents a day"}
    if labelled:
        names["false"] = "alerts outside of labels a day"
    return [_rate(told, name, days) for name, told in names.items()]


def _rate(told: str, name: str, days: Sequence[Plain]) -> Plain:
    table = [[day["days"], float(day["before"][name]), float(day["after"][name])] for day in days]

    def of(column: int) -> Callable[[NDArray[np.float64]], float]:
        return lambda rows: float(rows[:, column].sum() / max(rows[:, 0].sum(), 1.0))

    def difference(rows: NDArray[np.float64]) -> float:
        return of(2)(rows) - of(1)(rows)

    statistics = {"before": of(1), "after": of(2), "difference": difference}
    whole = np.array(table, dtype=np.float64).reshape(-1, 3)
    sure = len(table) >= _LEAST
    return {
        "name": told,
        "method": DAYS.format(len(days)) if sure else f"none: {len(days)} days are too few",
        **{key: round(made(whole), 4) if table else None for key, made in statistics.items()},
        **{f"{key}_interval": bootstrap(table, made) if sure else None for key, made in statistics.items()},
    }


def detection(runs: Sequence[Found], labels: Sequence[Label], span: Span) -> tuple[list[Plain], list[Plain]]:
    """Numbers against labels, and what became of each campaign: shares of campaigns and hops, of alerts that are inside
    of labels, and how long campaigns that both found took. Hops outside of the time that both judged do not count."""
    counted = [label for label in labels if _judged(label, span)]
    names = list(dict.fromkeys(label.campaign for label in counted))
    times = [[first_at(label, found) for label in counted] for found in map(_places, runs)]
    campaigns = [_campaign(name, counted, times) for name in names]
    found = [[one[side]["found"] for one in campaigns] for side in ("before", "after")]
    hops = [[time is not None for time in one] for one in times]
    shares = [_share("campaigns found", *found), _share("hops found", *hops)]
    right = [[_labelled(one, labels) for one in _open(run.alerts) if _in_span(one, span)] for run in runs]
    return [*shares, _apart("alerts inside of labels", *right), _wait(campaigns)], campaigns


def _places(run: Found) -> list[tuple[int, str, str]]:
    return places(_open(run.alerts), run.incidents)


def _judged(label: Label, span: Span) -> bool:
    late = span is not None and label.start is not None and label.start > span[1]
    early = span is not None and label.end is not None and label.end < span[0]
    return span is not None and not late and not early


def _in_span(one: Alert, span: Span) -> bool:
    return span is not None and span[0] <= parse_time(one.ts) <= span[1]


def _campaign(name: str, labels: Sequence[Label], times: Sequence[Sequence[int | None]]) -> Plain:
    mine = [place for place, label in enumerate(labels) if label.campaign == name]
    begin = min((start for place in mine if (start := labels[place].start) is not None), default=None)
    told: Plain = {"campaign": name, "hops": len(mine)}
    for side, of_run in zip(("before", "after"), times, strict=True):
        found = [time for place in mine if (time := of_run[place]) is not None]
        minutes = None if not found or begin is None else round(max(min(found) - begin, 0) / 60e6, 1)
        told[side] = {"found": bool(found), "hops_found": len(found), "minutes_to_detect": minutes}
    return told


def _share(name: str, before: Sequence[bool], after: Sequence[bool]) -> Plain:
    """Of the same things in both runs."""
    told = _apart(name, before, after)
    if before:
        difference, low, high = paired(before, after)
        told |= {"difference": difference, "difference_interval": (low, high), "method": SHARES}
    return told


def _apart(name: str, before: Sequence[bool], after: Sequence[bool]) -> Plain:
    """Of different things, whose difference has no pairs."""
    told: Plain = {"name": name, "method": "Wilson 1927", "difference": None, "difference_interval": None}
    for side, of_run in (("before", before), ("after", after)):
        total, hits = len(of_run), sum(of_run)
        told |= {
            side: round(hits / total, 4) if total else None,
            f"{side}_interval": wilson(hits, total) if total else None,
            f"{side}_counts": (hits, total),
        }
    return told


def _wait(campaigns: Sequence[Plain]) -> Plain:
    """Minutes from the first hop to the first alert, the median of the campaigns that both runs found."""
    pairs = [
        [one["before"]["minutes_to_detect"], one["after"]["minutes_to_detect"]]
        for one in campaigns
        if None not in (one["before"]["minutes_to_detect"], one["after"]["minutes_to_detect"])
    ]
    statistics: dict[str, Callable[[NDArray[np.float64]], float]] = {
        "before": lambda rows: float(median(rows[:, 0].tolist())),
        "after": lambda rows: float(median(rows[:, 1].tolist())),
        "difference": lambda rows: float(median((rows[:, 1] - rows[:, 0]).tolist())),
    }
    whole = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    sure = len(pairs) >= _LEAST
    return {
        "name": "minutes to detect, median",
        "method": CAMPAIGNS.format(len(pairs)) if sure else f"none: {len(pairs)} campaigns are too few",
        **{key: round(made(whole), 2) if pairs else None for key, made in statistics.items()},
        **{f"{key}_interval": bootstrap(pairs, made) if sure else None for key, made in statistics.items()},
    }


def brief(one: Alert | Incident | None, rank: int | None) -> Plain | None:
    """What is told of an alert or incident in a list."""
    if one is None:
        return None
    if isinstance(one, Incident):
        return {
            "incident_id": one.incident_id, "ts": one.first_ts, "title": one.title, "severity": one.severity,
            "score": one.score, "rank": rank, "hops": len(one.path),
        }  # fmt: skip
    return {
        "alert_id": one.alert_id, "ts": one.ts, "src": one.src, "dst": one.dst, "service": one.service,
        "operation": one.operation, "title": one.title, "severity": one.severity, "score": one.score, "rank": rank,
        "count": one.count, "status": one.status, "incident_id": one.incident_id,
    }  # fmt: skip
