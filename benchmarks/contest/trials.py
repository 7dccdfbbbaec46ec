"""One plant from seeds to numbers: what a worker process does."""

from dataclasses import dataclass
from functools import partial
from typing import Final

import polars as pl

from detector.config import Settings

from . import eastwest
from .clock import Clock
from .comparators import COMPARATORS
from .outcome import BUDGETS, Live, Ranking, ranking
from .plants import Trial, flows_of, grow
from .truth import attack_units, campaigns_of
from .units import units_of

EASTWEST: Final = "eastwest"


@dataclass(frozen=True, slots=True)
class Result:
    """All numbers of one plant.

    Attributes:
        rankings: by scorer, `EASTWEST` first.
        live: by budget.
        seconds: by what was done.
    """

    trial: Trial
    connections: int
    operations: int
    rankings: dict[str, Ranking]
    live: dict[int, Live]
    seconds: dict[str, float]


def judge(trial: Trial) -> Result:
    """Grow a plant and let every scorer judge it."""
    clock = Clock()
    recording = clock.timed("simulate and read", lambda: grow(trial))
    campaigns = campaigns_of(recording.labels, recording.operations)
    attacks = attack_units(campaigns)
    watched = clock.timed(EASTWEST, lambda: eastwest.watch(recording, Settings()))
    rankings = {EASTWEST: ranking(watched.units, campaigns, attacks)}
    days = eastwest.judged_days(recording)
    live = {budget: eastwest.live(watched.judges[budget], campaigns, budget, days) for budget in BUDGETS}
    sizes = recording.flows.height, recording.operations.height
    flows, judged_from = flows_of(recording), recording.attacks_from
    for name, comparator in COMPARATORS.items():
        scored = clock.timed(name, partial(comparator, flows, judged_from))
        rows = flows.select("ts", "src", "dst", "inside", score=pl.Series(scored)).filter("inside")
        rankings[name] = ranking(units_of(rows, judged_from), campaigns, attacks)
    return Result(trial, *sizes, rankings, live, clock.seconds)
