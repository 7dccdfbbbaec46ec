"""Each point a backtest, measured beside the settings that one has; with a split, chosen before it, measured after."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

import detector
from detector.alerts.decisions import End, Entry
from detector.alerts.model import iso
from detector.assets.plant import Plant
from detector.backtest import findings
from detector.backtest.labels import Label
from detector.backtest.parts import Between, plan
from detector.backtest.run import backtest
from detector.compare.run import compare
from detector.config import Settings
from detector.errors import ConfigError
from detector.formats.batch import Context
from detector.reading import Progress
from detector.state.snapshot import fingerprint
from detector.state.stores import write_whole
from detector.sweep.grid import points

Plain = dict[str, Any]
FORMAT: Final = 1
POINTS: Final = "points"
_DONE: Final = "point.json"  # in the folder of a point that is finished; written last
_PARTS: Final = 1000  # of a point, for the bar

METRICS: Final = {
    "alerts a day": "alerts_a_day",
    "high and critical a day": "urgent_a_day",
    "incidents a day": "incidents_a_day",
    "alerts outside of labels a day": "outside_a_day",
    "campaigns found": "campaigns_found",
    "hops found": "hops_found",
    "minutes to detect, median": "minutes_to_detect",
}
"""Numbers of `compare` that a point has, by the name of their column."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is the same in all points; see `backtest`.

    Args:
        split: µs; points are chosen by what was observed before, and measured behind it. None = there is no split.
        at_most: alerts a day that the chosen point may make.
    """

    paths: Sequence[str]
    plant: Plant | None = None
    labels: list[Label] | None = None
    decisions: Sequence[Entry | End] = ()
    train_until: int | None = None
    history: Sequence[str] = ()
    log_format: str = "auto"
    split: int | None = None
    at_most: float | None = None


@dataclass(slots=True)
class _Bar:
    """How far all points are, from how far the running one is."""

    progress: Progress
    total: int
    done: int = 0

    def of_point(self, stage: str, done: int, total: int, rows: int) -> None:
        """The scoring of a point is the half that takes long; reading comes before it."""
        share = (done / max(total, 1) + (stage == "score")) / 2
        self.tell(min(int(share * _PARTS), _PARTS - 1))

    def tell(self, part: int = 0) -> None:
        self.progress(POINTS, self.done * _PARTS + part, self.total * _PARTS, 0)


def sweep(
    grid: Mapping[str, list[Any]],
    base: Settings,
    wish: Wish,
    out: Path,
    progress: Progress = lambda stage, done, total, rows: None,
    notice: Callable[[str], None] = lambda told: None,
) -> Plain:
    """Run all points of a grid over the same logs. Points that were finished before are not run again.

    With a split a point is chosen by what it told before it, from rows before it and nothing else; then that point and
    the base run over all of the logs, and what they tell behind the split is compared.

    Args:
        grid: values by setting; see `grid.load_grid`.
        base: settings that points change, and that all are measured beside.
        out: folder for the points; what is in it from before is used.

    Returns:
        JSON types; see docs/sweep.md.

    Raises:
        ConfigError: a split without labels, or nothing before or behind it.
        UnreadableInput: a path is missing, or no record could be read.
    """
    if wish.split is not None and not wish.labels:
        raise ConfigError("--split", "", "needs --labels: without known attacks there is nothing to choose by")
    settings = [Settings.model_validate(base.model_dump() | point) for point in points(grid)]
    bar = _Bar(progress, len(settings) + 1 + 2 * (wish.split is not None))
    runs = _Runs(wish, out, bar, notice)
    window = Between(None, wish.split)
    beside = runs.folder(base, window)
    told = [_point(point, beside, runs.folder(one, window), wish) for point, one in
            zip(points(grid), settings, strict=True)]  # fmt: skip
    of_base = _point({}, beside, beside, wish)
    _mark(told)
    chosen = _choose(told, base, wish)
    later = None if chosen is None or wish.split is None else _later(runs, base, settings[chosen], wish)
    return {
        "format": FORMAT,
        "version": detector.__version__,
        "grid": {key: list(values) for key, values in grid.items()},
        "base": {**of_base, "settings": {key: getattr(base, key) for key in grid}},
        "points": told,
        "split": None if wish.split is None else iso(wish.split),
        "at_most": wish.at_most,
        "chosen": chosen,
        "later": later,
    }


class _Runs:
    """Folders of finished backtests, by what they follow from."""

    def __init__(self, wish: Wish, out: Path, bar: _Bar, notice: Callable[[str], None]) -> None:
        self._wish, self._out, self._bar, self._notice = wish, out, bar, notice

    def folder(self, settings: Settings, between: Between) -> Path:
        """Of a backtest with these settings over what was observed in this time; run, unless it was."""
        folder = self._out / POINTS / self._identity(settings, between)[:16]
        if not (folder / _DONE).exists():
            self._run(folder, settings, between)
        self._bar.done += 1
        self._bar.tell()
        return folder

    def _run(self, folder: Path, settings: Settings, between: Between) -> None:
        wish = self._wish
        folder.mkdir(parents=True, exist_ok=True)
        backtest(
            wish.paths,
            folder,
            settings,
            plant=wish.plant,
            labels=wish.labels,
            train_until=wish.train_until,
            decisions=wish.decisions,
            history=wish.history,
            log_format=wish.log_format,
            between=between,
            progress=self._bar.of_point,
            notice=self._notice,
        )
        (folder / findings.NAME).unlink()  # every scored row, once a point: gigabytes that nobody reads
        write_whole(folder / _DONE, orjson.dumps({"settings": settings.model_dump()}))

    def _identity(self, settings: Settings, between: Between) -> str:
        """Digest of what the results follow from."""
        wish, context = self._wish, Context(settings.timezone, settings.columns)
        files = [plan(paths, context, between).identity() for paths in (wish.paths, wish.history)]
        plant = None if wish.plant is None else wish.plant.model_dump(mode="json", by_alias=True)
        decisions = [one.model_dump(mode="json", by_alias=True) for one in wish.decisions]
        labels = None if wish.labels is None else [str(label) for label in wish.labels]
        asked = (wish.train_until, wish.log_format, between.first, between.stop)
        return fingerprint(
            detector.__version__, settings.model_dump(exclude={"batch_rows"}), plant, decisions, labels, asked, files
        )


def _point(settings: Plain, beside: Path, folder: Path, wish: Wish) -> Plain:
    """What a point found, and how much that differs from the base."""
    compared = compare(beside, folder, wish.labels)
    by_name = {one["name"]: one for one in compared["metrics"]}
    numbers = {
        column: {
            "value": by_name[name]["after"],
            "interval": by_name[name]["after_interval"],
            "counts": by_name[name].get("after_counts"),
            "difference": by_name[name]["difference"],
            "difference_interval": by_name[name]["difference_interval"],
        }
        for name, column in METRICS.items()
        if name in by_name
    }
    return {"settings": settings, "folder": f"{POINTS}/{folder.name}", "metrics": numbers, "pareto": False}


def value(point: Mapping[str, Any], name: str) -> float | None:
    """A number of a point; None where it has none."""
    found = point["metrics"].get(name)
    return None if found is None else found["value"]


def _mark(told: Sequence[Plain]) -> None:
    """Which points no other beats: none finds as many hops with fewer alerts a day."""
    for point in told:
        point["pareto"] = _pair(point) is not None and all(not _beats(other, point) for other in told)


def _beats(other: Plain, point: Plain) -> bool:
    mine, theirs = (_pair(one) for one in (point, other))
    if mine is None or theirs is None:
        return theirs is not None
    return theirs != mine and theirs[0] <= mine[0] and theirs[1] >= mine[1]


def _pair(point: Plain) -> tuple[float, float] | None:
    """Alerts a day, and the share of hops found."""
    alerts, hops = value(point, "alerts_a_day"), value(point, "hops_found")
    return None if alerts is None or hops is None else (alerts, hops)


def _choose(told: Sequence[Plain], base: Settings, wish: Wish) -> int | None:
    """The point that finds most campaigns, then most hops, with fewest alerts outside of labels; of equals the one that
    changes least, then the first. None when there is nothing to choose by, or all make too many alerts."""

    def rank(place: int) -> tuple[float, ...]:
        point = told[place]
        found = (-(value(point, name) or 0.0) for name in ("campaigns_found", "hops_found"))
        changes = sum(one != getattr(base, key) for key, one in point["settings"].items())
        return *found, value(point, "outside_a_day") or 0.0, changes

    return min(_allowed(told, wish), key=rank, default=None)


def _allowed(told: Sequence[Plain], wish: Wish) -> Iterator[int]:
    for place, point in enumerate(told):
        alerts = value(point, "alerts_a_day")
        if _pair(point) is not None and (wish.at_most is None or (alerts is not None and alerts <= wish.at_most)):
            yield place


def _later(runs: _Runs, base: Settings, chosen: Settings, wish: Wish) -> Plain:
    """The base and the chosen point behind the split."""
    before, after = runs.folder(base, Between()), runs.folder(chosen, Between())
    compared = compare(before, after, wish.labels, wish.split)
    if compared["judged_by_both"] is None:
        raise ConfigError("--split", "", "nothing was observed behind it; name an earlier time")
    kept = ("judged_by_both", "alerts", "incidents", "metrics", "campaigns", "days")
    return {name: compared[name] for name in kept}
