"""Vendors: does a supplier come when and how it was agreed?

The plant file names the accounts and sources of suppliers, the jump hosts they come through, their windows, how long
access is valid, and the assets and operations that were agreed. Whether a row of theirs is outside of that
(`features.declared`) is a symbol of `backoff`::

    P(outside | vendor, s) <- P(outside | vendor) <- P(outside | all vendors)

so a supplier that keeps to its windows pays (T + D) / (n + T) for the first time it does not, and one that calls at
any hour pays little: it is the agreement that should be mended. Only what is outside is strange. The record of it
(who, when, which asset, which function) is what NIS2 asks an operator to be able to show.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.score import backoff
from detector.score.columns import Columns
from detector.score.memory import Memory
from detector.score.model import Said
from detector.state.keys import mix_all

_LEVELS: Final = 3


class Vendors:
    """The model with its state. See `memory.Memory` for the arguments."""

    name: Final = "vendors"

    def __init__(self, strata: int, max_entries: int, half_life_days: float) -> None:
        self.memory = Memory(strata, max_entries, half_life_days, backoff.new_entries(1, _LEVELS))

    def score(self, units: Columns) -> Said:
        """``p_vendors``; ``vendors`` (nats)."""
        asked = units.at(np.flatnonzero((units["vendor"] >= 0) & units.judged()))
        orig, vendor, outside = asked["orig_id"], asked["vendor"].astype(np.uint64), asked["outside"]
        everyone = np.zeros_like(vendor)
        questions = backoff.Questions(
            asked,
            contexts=np.stack([mix_all(vendor, orig), vendor, everyone], axis=1)[:, np.newaxis, :],
            symbols=(1 + outside).astype(np.uint64)[:, np.newaxis],
            bonus=np.zeros(orig.size),
        )
        out = backoff.answer(self.memory, questions, stratum=None)
        return {"p_vendors": np.where(units["outside"], out[1], 1.0), "vendors": out[0]}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        return self.memory.arrays()

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        self.memory.load(arrays)
