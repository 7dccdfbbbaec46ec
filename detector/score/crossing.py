"""Crossing: how unlikely is this way from zone to zone?

Who of a zone a host meets changes every day; which zones it goes to, and by what service, hardly ever does. One chain
of `backoff`::

    P(zone of d, service | s) <- P(zone of d, service | role of s) <- P(zone of d, service | zone of s)

plus the prior log-odds of a jump over more than one Purdue level that no declared conduit permits (`features.units`).
Zones are the declared ones (IEC 62443), or subnets where nothing is declared. Within a zone there is nothing to say.
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


class Crossing:
    """The model with its state.

    Args:
        bonus: nats for a jump over Purdue levels without a conduit. For the rest see `memory.Memory`.
    """

    name: Final = "crossing"

    def __init__(self, strata: int, max_entries: int, half_life_days: float, bonus: float) -> None:
        self.memory = Memory(strata, max_entries, half_life_days, backoff.new_entries(1, _LEVELS))
        self._bonus = bonus

    def score(self, units: Columns) -> Said:
        """``p_crossing``; ``crossing_nats``, ``way_seen`` (hours in which this host went this way)."""
        elsewhere = units["orig_zone_id"] != units["resp_zone_id"]
        asked = units.at(np.flatnonzero(elsewhere & units.judged()))
        ids = ("orig_id", "orig_role", "orig_zone_id", "resp_zone_id", "service_id")
        orig, role, here, there, service = (asked[name] for name in ids)
        questions = backoff.Questions(
            asked,
            contexts=np.stack([orig, role, here], axis=1)[:, np.newaxis, :],
            symbols=mix_all(there, service)[:, np.newaxis],
            bonus=asked["crossing"] * self._bonus,
        )
        out = backoff.answer(self.memory, questions)
        return {"p_crossing": out[1], "crossing_nats": out[0], "way_seen": out[2]}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        return self.memory.arrays()

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        self.memory.load(arrays)
