"""Two folders in, one comparison out."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from detector.alerts.model import iso
from detector.backtest.labels import Label
from detector.compare import matching, measured
from detector.compare.matching import FATES, Pair, Span
from detector.compare.results import Found, read_result

Plain = dict[str, Any]
FORMAT: Final = 1
_SHOWN_FILES: Final = 3
_UNSET: Final = "default"


def compare(before: Path, after: Path, labels: Sequence[Label] | None = None, since: int | None = None) -> Plain:
    """What came, went and moved from one result to another, with numbers and how sure they are.

    Args:
        before, after: folders that backtests wrote.
        labels: known attacks, to measure both against.
        since: only what both judged from this time on (µs) counts.

    Returns:
        JSON types; see docs/compare.md.

    Raises:
        ConfigError: a folder holds no results, or those of another version.
    """
    runs = read_result(before), read_result(after)
    span = _common(*runs, since)
    days = measured.daily(runs, span, labels)
    metrics, campaigns = measured.rates(days, labelled=labels is not None), list[Plain]()
    if labels is not None:
        found, campaigns = measured.detection(runs, labels, span)
        metrics += found
    alerts = matching.alerts(runs[0].alerts, runs[1].alerts, span)
    incidents = matching.incidents(runs[0].incidents, runs[1].incidents, span)
    return {
        "format": FORMAT,
        "before": _run(runs[0]),
        "after": _run(runs[1]),
        "judged_by_both": None if span is None else {"first": iso(span[0]), "last": iso(span[1])},
        "notices": list(_notices(*runs, span)),
        "settings": _settings(*runs),
        "alerts": _counts(alerts),
        "incidents": _counts(incidents),
        "metrics": metrics,
        "campaigns": campaigns,
        "days": days,
        "alert_pairs": [_told(pair) for pair in alerts if pair.fate != matching.SAME],
        "alert_scores": [_scores(pair) for pair in alerts],
        "incident_pairs": [_told(pair) for pair in incidents],
    }


def _common(one: Found, other: Found, since: int | None) -> Span:
    """The time that both judged; None when there is none."""
    if one.began is None or other.began is None or one.ended is None or other.ended is None:
        return None
    span = max(one.began, other.began, since or 0), min(one.ended, other.ended)
    return span if span[0] < span[1] else None


def _run(run: Found) -> Plain:
    summary = run.summary
    return {
        "folder": run.name,
        "version": summary["version"],
        "files": summary["input"].get("files"),
        "rows": summary.get("rows", {}).get("in"),
        "first": summary["time"].get("first"),
        "last": summary["time"].get("last"),
        "judged_from": None if run.began is None else iso(run.began),
        "alerts": sum(one.status == "open" for one in run.alerts),
        "incidents": len(run.incidents),
    }


def _notices(one: Found, other: Found, span: Span) -> Iterator[str]:
    """What makes the comparison less than one of two runs over the same logs."""
    left, right = (set(run.summary["input"].get("paths", ())) for run in (one, other))
    if left != right:
        yield (
            f"The logs are not the same files: {len(left - right)} only in {one.name}{_some(left - right)}, "
            f"{len(right - left)} only in {other.name}{_some(right - left)}."
        )
    elif one.summary.get("rows", {}).get("in") != other.summary.get("rows", {}).get("in"):
        yield "The files have the same names and hold different numbers of records."
    if one.summary["version"] != other.summary["version"]:
        yield f"The versions differ: {one.summary['version']} and {other.summary['version']}."
    for run in (one, other):
        if run.began is None:
            yield f"{run.name} judged nothing: it has no scored row."
        elif run.asked is None:
            yield f"{run.name} has no run.json: what only taught, its plant file and its model are not known."
    if span is None:
        yield "There is no time that both judged: nothing is gained or lost, and no number has an interval."
    elif (one.began, one.ended) != (other.began, other.ended):
        yield f"They judged different times; only {iso(span[0])[:19]} to {iso(span[1])[:19]} is compared."
    yield from _asked(one, other)


def _asked(one: Found, other: Found) -> Iterator[str]:
    if one.asked is None or other.asked is None:
        return
    names = {
        "plant": "plant files", "decisions": "decisions", "model": "models that were begun with",
        "train_until": "times until which rows only taught", "history": "histories",
    }  # fmt: skip
    differing = [told for name, told in names.items() if getattr(one.asked, name) != getattr(other.asked, name)]
    if differing:
        yield f"They were asked for with different {', '.join(differing)}."


def _some(files: set[str]) -> str:
    shown = sorted(files)[:_SHOWN_FILES]
    more = ", ..." if len(files) > _SHOWN_FILES else ""
    return f" ({', '.join(shown)}{more})" if shown else ""


def _settings(one: Found, other: Found) -> list[Plain]:
    """Settings that are not the same."""
    left, right = one.summary["settings"], other.summary["settings"]
    keys = sorted((left.keys() | right.keys()) - {"batch_rows"})
    return [
        {"key": key, "before": left.get(key, _UNSET), "after": right.get(key, _UNSET)}
        for key in keys
        if left.get(key, _UNSET) != right.get(key, _UNSET)
    ]


def _counts(pairs: Sequence[Pair]) -> dict[str, int]:
    counts = Counter(pair.fate for pair in pairs)
    return {fate: counts[fate] for fate in FATES}


def _told(pair: Pair) -> Plain:
    return {
        "fate": pair.fate,
        "changed": list(pair.changed),
        "before": measured.brief(pair.before, pair.ranks[0]),
        "after": measured.brief(pair.after, pair.ranks[1]),
    }


def _scores(pair: Pair) -> Plain:
    """A point of the plot."""
    alone = pair.after or pair.before
    scores = [None if one is None or one.status != "open" else one.score for one in (pair.before, pair.after)]
    return {"fate": pair.fate, "title": alone.title, "before": scores[0], "after": scores[1]}
