"""How well a scorer did on one plant: by rank after the fact, and by the alerts it really sent."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from detector.backtest.labels import Label

from . import metrics
from .truth import DAY_US, Campaign
from .units import is_attack, ranked_by_day

BUDGETS: Final = (10, 25, 50)
"""Alerts a day that people are willing to read."""
READ: Final = 25
"""The budget where only one is shown, or used."""
_THIRD: Final = 2  # position of the hop by which the first alert should have come


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one campaign under one budget.

    Attributes:
        minutes: from the first hop to the first alert; None = never found.
        hops_before: hops that were over before the first alert.
        early: found before the third hop began (or at all, when there were fewer).
        hops_found: hops that an alert covers; ``acts_found`` of ``acts``: see `Campaign.firsts`.
        listed: an incident holds a hop of it.
        gathered: share of its hops in the incident that has most of them.
    """

    campaign: str
    kind: str
    detail: str
    supplier: bool
    ot: bool
    hops: int
    hops_found: int
    acts: int
    acts_found: int
    minutes: float | None
    hops_before: int | None
    early: bool
    listed: bool = False
    gathered: float = 0.0

    @property
    def found(self) -> bool:
        """Whether anything pointed at it."""
        return self.minutes is not None


def fate(campaign: Campaign, hits: Sequence[tuple[int, Label]], **more: bool | float) -> Fate:
    """The fate of a campaign from what was found of it.

    Args:
        hits: time (µs) of an alert and the hop it covers.
        more: ``listed`` and ``gathered``.
    """
    first = min((at for at, _ in hits), default=None)
    found = {id(hop) for _, hop in hits}
    acts = [campaign.hops[place] for place in campaign.firsts]
    third = campaign.hops[_THIRD].start if len(campaign.hops) > _THIRD else None
    return Fate(
        campaign=campaign.name,
        kind=campaign.kind,
        detail=campaign.detail,
        supplier=campaign.supplier,
        ot=campaign.ot,
        hops=len(campaign.hops),
        hops_found=sum(id(hop) in found for hop in campaign.hops),
        acts=len(acts),
        acts_found=sum(id(hop) in found for hop in acts),
        minutes=None if first is None else max(first - campaign.start, 0) / 60e6,
        hops_before=None if first is None else sum((hop.end or 0) < first for hop in campaign.hops),
        early=first is not None and (third is None or first < third),
        listed=bool(more.get("listed", False)),
        gathered=float(more.get("gathered", 0.0)),
    )


@dataclass(frozen=True, slots=True)
class Ranking:
    """A scorer's units of one plant, put in order after the fact.

    Attributes:
        precision: average precision, and the same of resampled days.
        edges: attack units; ``edges_found`` by budget.
        fates: by budget, one a campaign.
    """

    precision: float
    resampled: list[float]
    units: int
    edges: int
    edges_found: dict[int, int]
    fates: dict[int, list[Fate]]


def ranking(units: pl.DataFrame, campaigns: Sequence[Campaign], attacks: pl.DataFrame) -> Ranking:
    """What people would have found who read the first units of every day."""
    ordered = ranked_by_day(units)
    positive = is_attack(ordered, attacks)
    ranked = metrics.Ranked(positive, ordered["score"].to_numpy())
    read = ordered.filter(pl.Series(positive))
    found = {budget: read.filter(pl.col("rank") <= budget) for budget in BUDGETS}
    return Ranking(
        precision=ranked.average_precision(),
        resampled=metrics.bootstrap_days(ranked, ordered["day"].to_numpy()),
        units=ordered.height,
        edges=read.height,
        edges_found={budget: rows.height for budget, rows in found.items()},
        fates={budget: _fates(rows, campaigns) for budget, rows in found.items()},
    )


def _fates(rows: pl.DataFrame, campaigns: Sequence[Campaign]) -> list[Fate]:
    """A unit that was read covers the hops of its day between its hosts; it was read when its row came in."""
    at = {(src, dst, day): when for src, dst, day, when in rows.select("src", "dst", "day", "at").iter_rows()}
    return [
        fate(
            campaign, [(max(at[key], hop.start or 0), hop) for hop in campaign.hops for key in _keys(hop) if key in at]
        )
        for campaign in campaigns
    ]


def _keys(hop: Label) -> list[tuple[str | None, str | None, int]]:
    first, last = (hop.start or 0) // DAY_US, (hop.end or hop.start or 0) // DAY_US
    return [(hop.src, hop.dst, day) for day in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Live:
    """What eastwest really sent under a budget.

    Attributes:
        daily: alerts of each judged day; ``false_daily`` those that cover no hop.
        worst_week: largest |alerts a day / budget - 1| over any seven days after the learning period.
        purity: of each incident with a hop in it: share of its hops that belong to one campaign.
        shared: of the same incidents: campaigns in it.
        false_incidents: incidents without any hop, a day.
    """

    fates: list[Fate]
    daily: list[int]
    false_daily: list[int]
    worst_week: float
    purity: list[float] = field(default_factory=list)
    shared: list[int] = field(default_factory=list)
    false_incidents: float = 0.0


def worst_week(daily: Sequence[int], budget: int) -> float:
    """Largest relative error of the mean over seven days running (over all, when they are fewer)."""
    if not daily:
        return float("nan")
    span = min(7, len(daily))
    weeks = np.convolve(daily, np.full(span, 1 / span), "valid")
    return float(np.abs(weeks / budget - 1).max())
