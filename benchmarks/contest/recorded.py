"""LANL and OpTC through the engine: what it ranks first. Nothing is held but units and labels."""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from detector.assets.plant import Plant
from detector.backtest.labels import Label
from detector.config import Settings
from detector.engine import Engine
from detector.normalize.spool import Spool
from detector.records import Decoded

from . import lanl, optc
from .eastwest import as_rows, scores
from .names import Names
from .outcome import Ranking, ranking
from .truth import DAY_US, attack_units, campaigns_of
from .units import merged, units_of

_MERGE_EVERY: Final = 50  # frames; bounds how often a unit is held


@dataclass(frozen=True, slots=True)
class Recorded:
    """The ranking of a public set, of the days from the first attack on."""

    name: str
    ranking: Ranking


def judge_lanl(folder: Path) -> Recorded:
    """LANL, from its folder."""
    names = Names()
    labels = lanl.redteam(folder, names)
    return Recorded("LANL", ranked(lanl.events(folder, names), lambda: labels))


def judge_optc(path: Path) -> Recorded:
    """OpTC, from its folder or from LMDEval's CSV."""
    with tempfile.TemporaryDirectory(prefix="eastwest-optc-") as folder:
        reading = optc.Optc(path, Spool(Path(folder)))
        return Recorded("OpTC", ranked(reading.events(), lambda: reading.labels))


def ranked(events: Iterable[Decoded], labels: Callable[[], list[Label]]) -> Ranking:
    """Score events in order; ``labels`` is asked when all have been read."""
    parts: list[pl.DataFrame] = []
    for scored in scores(Engine(Settings(), Plant()), events):
        parts.append(units_of(as_rows(scored), 0))
        if len(parts) > _MERGE_EVERY:
            parts = [merged(pl.concat(parts))]
    campaigns = campaigns_of(labels())
    first = min(campaign.start for campaign in campaigns) // DAY_US
    units = merged(pl.concat(parts)).filter(pl.col("day") >= first)
    return ranking(units, campaigns, attack_units(campaigns))
