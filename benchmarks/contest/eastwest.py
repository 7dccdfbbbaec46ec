"""The engine as a contestant: a score for every unit, and the alerts and incidents of several budgets."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from detector.alerts.model import Alert, Incident
from detector.assets.plant import Plant
from detector.backtest.labels import Label, parse_time
from detector.config import Settings
from detector.engine import Engine
from detector.judge import Judge
from detector.records import Decoded
from detector.rows import Rows

from .outcome import BUDGETS, READ, Live, fate, worst_week
from .plants import Recording
from .truth import DAY_US, Campaign
from .units import merged, units_of

_LEAST: Final = 1e-300
LEARNING_DAYS: Final = 7
"""Rows of the first week only teach; from then on alerts are sent and the budget is kept."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What the engine made of a recording: units of the judged days, and a judge for each budget."""

    units: pl.DataFrame
    judges: dict[int, Judge]


class Bystander(Judge):
    """Lets scores pass as the models made them: a judge lowers the p-values of what continues a chain."""

    def judge(self, scored: Rows) -> Rows:
        """The same rows."""
        return scored


def unjudged(settings: Settings, plant: Plant, train_until: int | None = None) -> Engine:
    """An engine that only scores."""
    engine = Engine(settings, plant, train_until)
    engine.judge = Bystander(settings)
    return engine


def watch(recording: Recording, settings: Settings, budgets: Sequence[int] = BUDGETS) -> Watched:
    """Score everything once, and let every budget have its own judge of the same scores.

    Units are ranked by what the judge of `READ` alerts a day makes of them, as in ``findings.parquet``.
    """
    engine = unjudged(settings, recording.plant, learned(recording))
    judges = {budget: Judge(settings.model_copy(update={"alerts_per_day": float(budget)})) for budget in budgets}
    units: list[pl.DataFrame] = []
    for scored in scores(engine, recording.pieces()):
        judged = {budget: judge.judge(Rows.of(scored)) for budget, judge in judges.items()}
        units.append(units_of(as_rows(judged[READ].frame()), recording.attacks_from))
    return Watched(merged(pl.concat(units)), judges)


def scores(engine: Engine, pieces: Iterable[Decoded]) -> Iterable[pl.DataFrame]:
    """The scored frames of an engine, to the last row."""
    for piece in pieces:
        yield engine.push(piece).frame()
    yield engine.finish().frame()


def as_rows(scored: pl.DataFrame) -> pl.DataFrame:
    """Scored rows as `units.units_of` takes them; their `strangeness` is the score."""
    inside = scored.filter(pl.col("resp_inside") & ~pl.col("resp_group"))
    return inside.select("ts", src="orig_h", dst="resp_h", score=strangeness())


def strangeness() -> pl.Expr:
    """-log10 of the p-value, finite."""
    return -pl.col("p_value").clip(_LEAST).log10()


def judged_days(recording: Recording) -> range:
    """The days (since 1970) on which alerts are sent."""
    return range(learned(recording) // DAY_US, (recording.end - 1) // DAY_US + 1)


def learned(recording: Recording) -> int:
    """When alerts begin, µs."""
    return min(recording.start + LEARNING_DAYS * DAY_US, recording.attacks_from)


def live(judge: Judge, campaigns: Sequence[Campaign], budget: int, days: range) -> Live:
    """What a judge sent on some days, beside what happened."""
    alerts = [(parse_time(alert.ts), alert) for alert in judge.final_alerts()]
    listed = judge.incidents()
    covered = [_hops(at, alert, campaigns) for at, alert in alerts]
    daily = Counter(at // DAY_US for at, _ in alerts)
    false = Counter(at // DAY_US for (at, _), hops in zip(alerts, covered, strict=True) if not hops)
    members = [_members(incident, campaigns) for incident in listed]
    hits = [[(at, hop) for (at, _), hops in zip(alerts, covered, strict=True) for number, hop in hops if number == this]
            for this in range(len(campaigns))]  # fmt: skip
    gathered = [_gathered(number, members, campaign) for number, campaign in enumerate(campaigns)]
    true = [owners for owners in members if any(owner is not None for owner in owners)]
    return Live(
        fates=[
            fate(campaign, hits[number], listed=gathered[number] > 0, gathered=gathered[number])
            for number, campaign in enumerate(campaigns)
        ],
        daily=[daily[day] for day in days],
        false_daily=[false[day] for day in days],
        worst_week=worst_week([daily[day] for day in days], budget),
        purity=[_purity(owners) for owners in true],
        shared=[len({owner[0] for owner in owners if owner}) for owners in true],
        false_incidents=(len(listed) - len(true)) / max(len(days), 1),
    )


Owner = tuple[int, Label] | None
"""The campaign (its position) and hop a step of an incident belongs to."""


def _hops(at: int, found: Alert, campaigns: Sequence[Campaign]) -> list[tuple[int, Label]]:
    return [
        (number, hop)
        for number, campaign in enumerate(campaigns)
        for hop in campaign.hops
        if hop.covers(at, found.src, found.dst)
    ]


def _members(incident: Incident, campaigns: Sequence[Campaign]) -> list[Owner]:
    """For each step of an incident, whose it is."""
    return [
        next(
            (
                (number, hop)
                for number, campaign in enumerate(campaigns)
                for hop in campaign.hops
                if hop.covers(parse_time(step.ts), step.src, step.dst)
            ),
            None,
        )
        for step in incident.path
    ]


def _gathered(number: int, members: Sequence[Sequence[Owner]], campaign: Campaign) -> float:
    """Share of a campaign's hops in the incident that holds most of them."""
    held = [{id(owner[1]) for owner in owners if owner and owner[0] == number} for owners in members]
    return max((len(hops) for hops in held), default=0) / len(campaign.hops)


def _purity(owners: Sequence[Owner]) -> float:
    most = Counter(owner[0] for owner in owners if owner).most_common(1)[0][1]
    return most / len(owners)
