"""All models over the rows, in the order they build on each other, and one p-value from them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.config import MODELS, Settings
from detector.score.credentials import Credentials
from detector.score.crossing import Crossing
from detector.score.fusion import Fusion
from detector.score.operations import Operations
from detector.score.phases import PHASES, Phases
from detector.score.provenance import Provenance
from detector.score.structure import Structure
from detector.score.timing import Timing
from detector.score.zones import Zones

if TYPE_CHECKING:
    from detector.score.model import Model

TRUST: Final = {
    "structure": 1.0,
    "operations": 1.0,
    "credentials": 1.0,
    "timing": 1.0,
    "crossing": 1.0,
    "provenance": 1.0,
}
"""Weight of each model's opinion in the fusion, and the order in which they see rows."""
NEWCOMER_SHARE: Final = 0.25
"""Rows of newcomers (`phases`) have strata of their own, with this part of the interest of the others."""


class Scorer:
    """The models with their state.

    Args:
        settings: see `config.Settings`.
        interest: of each stratum, how much of the attention it deserves.
        outside: key of the zone whose hosts are not counted as inside.
        zone: IANA time zone in which people work.
        crossing_bonus: nats for a jump over Purdue levels without a conduit.
    """

    def __init__(
        self, settings: Settings, interest: Sequence[float], outside: np.uint64, zone: str, crossing_bonus: float
    ) -> None:
        bound, strata = settings.max_entries, 2 * len(interest)
        forget = settings.half_life_days
        self._strata = len(interest)
        self.phases = Phases(bound)
        self.zones = Zones(bound)
        self.structure = Structure(strata, outside, bound, forget)
        makers: dict[str, Callable[[], Model]] = {
            "operations": lambda: Operations(strata, bound, forget),
            "credentials": lambda: Credentials(strata, bound, forget),
            "crossing": lambda: Crossing(strata, bound, forget, crossing_bonus),
            "provenance": lambda: Provenance(strata, bound, forget),
            "timing": lambda: Timing(strata, bound, forget, zone),
        }
        others = [makers[name]() for name in MODELS if name in settings.models]
        self.models: list[Model] = [self.structure, *others]
        trust = {model.name: TRUST[model.name] for model in self.models}
        self.fusion = Fusion(trust, (*interest, *(NEWCOMER_SHARE * part for part in interest)))

    def score(self, units: pl.DataFrame) -> pl.DataFrame:
        """Score then learn each row in order: ``units`` plus the columns of the phases, of all models and of the
        fusion. ``stratum`` tells newcomers apart; ``p_value`` has the row's weight in it."""
        self.zones.learn(units)
        scored = units.hstack(self.phases.score(units))
        newcomer = pl.min_horizontal("orig_phase", "resp_phase") < PHASES.index("protecting")
        scored = scored.with_columns(stratum=pl.col("stratum") + pl.when(newcomer).then(self._strata).otherwise(0))
        for model in self.models:
            scored = scored.hstack(model.score(scored))
        scored = scored.hstack(self.fusion.judge(scored))
        return scored.with_columns(p_value=pl.min_horizontal(pl.col("p_value") / pl.col("weight"), 1.0))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        return {
            f"{part}.{name}": array for part, owner in self._parts().items() for name, array in owner.arrays().items()
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        for part, owner in self._parts().items():
            prefix = f"{part}."
            owner.load({name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)})

    def _parts(self) -> dict[str, Any]:
        models = {model.name: model for model in self.models}
        return {"phases": self.phases, "zones": self.zones, **models, "fusion": self.fusion}
