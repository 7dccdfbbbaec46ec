"""What each model adds: the engine without it, and with the structure model alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from detector.config import MODELS, ModelName, Settings

from . import eastwest
from .outcome import Live, Ranking, ranking
from .plants import Recording, Trial, grow
from .truth import attack_units, campaigns_of

BUDGETS: Final = (10, 25)


@dataclass(frozen=True, slots=True)
class Variant:
    """An engine with some of its models, judged on one plant."""

    name: str
    models: tuple[ModelName, ...]
    ranking: Ranking
    live: dict[int, Live]


@dataclass(frozen=True, slots=True)
class Ablation:
    """All variants on one plant."""

    trial: Trial
    variants: list[Variant]


def variants() -> list[tuple[str, tuple[ModelName, ...]]]:
    """Names and models: all, all but one, structure alone."""
    without = [(f"without {name}", tuple(other for other in MODELS if other != name)) for name in MODELS]
    return [("all models", MODELS), *without, ("structure alone", ())]


def ablate(trial: Trial, chosen: Sequence[int]) -> Ablation:
    """Judge one plant with the ``chosen`` of `variants` (positions)."""
    recording = grow(trial)
    every = variants()
    return Ablation(trial, [_variant(recording, *every[number]) for number in chosen])


def _variant(recording: Recording, name: str, models: tuple[ModelName, ...]) -> Variant:
    campaigns = campaigns_of(recording.labels, recording.operations)
    days = eastwest.judged_days(recording)
    watched = eastwest.watch(recording, Settings(models=models), BUDGETS)
    return Variant(
        name,
        models,
        ranking(watched.units, campaigns, attack_units(campaigns)),
        {budget: eastwest.live(watched.judges[budget], campaigns, budget, days) for budget in BUDGETS},
    )
