"""Timing: how unlikely is this hour of the day for this edge, this host, hosts like it?

The symbol is the two-hour part of a working day or of a weekend, local time of the plant; the chain of contexts
(`backoff`) is edge and service, host, role::

    P(w | s, d, service) <- P(w | s) <- P(w | role of s), relative to P(w | role of s)

Two chains with parts that begin an hour apart make the edges of the parts soft: five past eight is not far from five
to eight. What runs day and night makes every hour likely; what a person does makes the night dear. Relative, because
hosts that work at night at all are few, and are not strange for being few: what counts is how regular this edge and
this host were. This is the hour-of-week exposure of a Gamma-Poisson rate (Heard, Rubin-Delanchy, Lawson 2014) reduced
to what one event tells: which hour, given that it happened; how often is for `volume`.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.assets.local import HOUR_US, wall, weekday
from detector.score import backoff
from detector.score.columns import Columns
from detector.score.memory import Memory
from detector.score.model import Said
from detector.state.keys import mix_all

_CHAINS, _LEVELS = 2, 3
_SATURDAY: Final = 5  # of `weekday`
_PART_HOURS: Final = 2


def parts(times: NDArray[np.int64], zone: str) -> NDArray[np.uint64]:
    """Shape (n, 2): which part of which kind of day, for parts that begin at even and at odd hours; from 1."""
    local = wall(times, zone)
    hour, rest = local // HOUR_US % 24, weekday(local) >= _SATURDAY
    shifts = [(hour + shift) % 24 // _PART_HOURS for shift in range(_CHAINS)]
    return np.stack([1 + part + 24 * rest for part in shifts], axis=1).astype(np.uint64)


class Timing:
    """The model with its state.

    Args:
        zone: IANA time zone in which people work. For the rest see `memory.Memory`.
    """

    name: Final = "timing"

    def __init__(self, strata: int, max_entries: int, half_life_days: float, zone: str) -> None:
        self.memory = Memory(strata, max_entries, half_life_days, backoff.new_entries(_CHAINS, _LEVELS))
        self._zone = zone

    def score(self, units: Columns) -> Said:
        """``p_timing``; ``timing`` (nats), ``hour_seen`` (hours in which this edge was used in this part of the day).
        Only what the structure model took for a new hour is asked."""
        asked = units.at(np.flatnonzero(units.judged()))
        orig, resp, service = (asked[name] for name in ("orig_id", "resp_id", "service_id"))
        chain = np.stack([mix_all(mix_all(orig, resp), service), orig, asked["orig_role"]], axis=1)
        questions = backoff.Questions(
            asked,
            contexts=np.stack([chain] * _CHAINS, axis=1),
            symbols=parts(asked["ts"], self._zone),
            bonus=np.zeros(orig.size),
            relative=True,
        )
        out = backoff.answer(self.memory, questions)
        return {"p_timing": out[1], "timing": out[0], "hour_seen": out[2]}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        return self.memory.arrays()

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        self.memory.load(arrays)
