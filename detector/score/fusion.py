"""From the models' p-values to one, and how much attention a row gets.

Models depend on each other, so their p-values are merged as e-values: ``e_j = k p_j^(k-1)`` has mean 1 under the null,
and so has any weighted mean of them whatever the dependence (Vovk and Wang 2021, doi:10.1214/20-AOS2020). The mean e
could be turned into a p-value by 1/e, which is valid and wasteful; instead the logarithm of it is a score, and what
share of past rows of the same stratum scored at least as high is the p-value (`calibration`). So the merged p-value is
calibrated by what was seen, and the merging decides only the order.

Newcomers are compared with newcomers (`phases`): the first days of a host are full of first times.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.score import calibration
from detector.score.calibration import Calibration
from detector.state.compiled import kernel

EXPONENT: Final = 0.5
"""1 - k of the e-values. 0 would look at all models alike, 1 only at the strangest; detection.md says .5 to .7."""
DAY_US: Final = 86_400e6
COLUMNS: Final = ("fused", "p_value", "weight", "rows_per_day")
"""ln of the mean e-value up to a constant; p-value; how much of the attention its stratum gets for each of its rows;
rows judged in the last day, exponential window."""


@kernel
def pass_time(rates: Any, last: Any, now: Any) -> Any:
    """Let the rows of the last day fade to ``now``; returns them over all strata, at least 1."""
    if now > last[0]:
        if last[0] > 0.0:
            rates *= np.exp(-(now - last[0]) / DAY_US)
        last[0] = now
    return max(rates.sum(), 1.0)


@kernel
def weight_of(rates: Any, interest: Any, stratum: Any, per_day: Any) -> Any:
    """p-value weight (Genovese, Roeder, Wasserman 2006): attention goes to strata by interest, not by how much
    they talk.

    Rows of a stratum share its part of the attention, so weights average 1 over rows and the weighted p stays a p.
    """
    alive = 0.0
    for other in range(rates.size):
        if rates[other] >= 1.0 or other == stratum:
            alive += interest[other]
    return interest[stratum] / alive * per_day / max(rates[stratum], 1.0)


@kernel
def walk(
    opinions: Any, trust: Any, strata: Any, times: Any, calibrated: Any, rates: Any, interest: Any, last: Any, out: Any
) -> None:
    """Judge and learn all rows in order; rows of which no model has anything to say are left alone."""
    histograms, trees, totals, tails, since, clock = calibrated
    for row in range(times.size):
        now, stratum = times[row], strata[row]
        calibration.fade(histograms, trees, totals, tails, clock, now)
        e, silent = 0.0, True
        for model in range(trust.size):
            p = opinions[row, model]
            silent = silent and p == 1.0
            e += trust[model] * p**-EXPONENT
        out[row, 0] = np.log(e)
        if silent:
            out[row, 1] = out[row, 2] = out[row, 3] = 1.0
            continue
        per_day = pass_time(rates, last, now)
        out[row, 1] = calibration.p_value(trees, totals, tails, stratum, out[row, 0])
        out[row, 2], out[row, 3] = weight_of(rates, interest, stratum, per_day), per_day
        rates[stratum] += 1.0
        calibration.learn(histograms, trees, totals, tails, since, stratum, out[row, 0])


class Fusion:
    """The merging with its state.

    Args:
        trust: weight of each model's e-value, by name; scaled to sum 1.
        interest: of each stratum, how much of the attention it deserves (any scale).
    """

    def __init__(self, trust: Mapping[str, float], interest: Sequence[float]) -> None:
        self.names = tuple(trust)
        self._trust = np.array(list(trust.values())) / sum(trust.values())
        self._interest = np.array(interest, dtype=np.float64)
        self.calibration = Calibration(len(interest))
        self.rates = np.zeros(len(interest))  # rows of each stratum in the last day, exponential window
        self._last = np.zeros(1)

    def judge(self, scored: pl.DataFrame) -> pl.DataFrame:
        """Columns `COLUMNS` from the models' ``p_<name>``, ``stratum`` and ``obs_ts``."""
        opinions = scored.select(f"p_{name}" for name in self.names).to_numpy()
        out = np.empty((scored.height, len(COLUMNS)))
        walk(
            np.ascontiguousarray(opinions), self._trust, scored["stratum"].cast(pl.Int64).to_numpy(),
            scored["obs_ts"].to_numpy(), tuple(self.calibration.arrays().values()), self.rates, self._interest,
            self._last, out,
        )  # fmt: skip
        return pl.DataFrame({name: out[:, index] for index, name in enumerate(COLUMNS)})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        return {**self.calibration.arrays(), "rates": self.rates, "last": self._last}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        self.calibration.load({name: array for name, array in arrays.items() if name not in ("rates", "last")})
        self.rates[:], self._last[:] = arrays["rates"], arrays["last"]
