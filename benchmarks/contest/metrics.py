"""Numbers: average precision, bootstrap intervals. Everything random here is seeded."""

import math
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

BOOTSTRAP_SEED: Final = 11
RESAMPLES: Final = 1000
DAY_RESAMPLES: Final = 200  # each sorts nothing, but goes through all units
_INTERVAL: Final = (2.5, 97.5)  # percent

Floats = NDArray[np.float64]
Member = TypeVar("Member")


class Ranked:
    """Scores sorted once, so that average precision under many weightings costs little.

    Args:
        positive: which rows are what is looked for.
        score: higher = ranked earlier; rows of equal score are one step (as in scikit-learn).
    """

    def __init__(self, positive: NDArray[np.bool_], score: Floats) -> None:
        self._order = np.argsort(-score, kind="stable")
        sorted_score = score[self._order]
        self._ends = np.flatnonzero(np.append(sorted_score[1:] != sorted_score[:-1], True)[: score.size])
        self._positive = positive[self._order].astype(np.float64)

    def average_precision(self, weight: Floats | None = None) -> float:
        """Σ (recall step × precision there); NaN without positives."""
        weights = np.ones(self._positive.size) if weight is None else weight[self._order]
        hits = np.cumsum(self._positive * weights)[self._ends]
        rows = np.cumsum(weights)[self._ends]
        if not hits.size or hits[-1] == 0:
            return float("nan")
        steps = np.diff(hits, prepend=0.0) / hits[-1]
        return float(np.sum(steps * hits / np.maximum(rows, 1e-300)))


def bootstrap_days(ranked: Ranked, day: NDArray[np.int64]) -> list[float]:
    """Average precision when days are drawn with replacement, `DAY_RESAMPLES` times."""
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    days, position = np.unique(day, return_inverse=True)
    drawn = generator.multinomial(days.size, np.full(days.size, 1 / max(days.size, 1)), DAY_RESAMPLES)
    return [ranked.average_precision(count[position].astype(np.float64)) for count in drawn] if days.size else []


def bootstrap(members: Sequence[Member], statistic: Callable[[Sequence[Member]], float]) -> tuple[float, float]:
    """95 % interval of a statistic when its members are drawn with replacement; NaN without members."""
    if not members:
        return float("nan"), float("nan")
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    drawn = generator.integers(0, len(members), size=(RESAMPLES, len(members)))
    return interval([statistic([members[number] for number in row]) for row in drawn.tolist()])


def interval(samples: Sequence[float]) -> tuple[float, float]:
    """The middle 95 % of samples, NaN left out."""
    kept = np.asarray([sample for sample in samples if not math.isnan(sample)])
    if not kept.size:
        return float("nan"), float("nan")
    low, high = np.percentile(kept, _INTERVAL)
    return float(low), float(high)


def mean(values: Sequence[float]) -> float:
    """The mean; NaN of nothing."""
    return float(np.mean(values)) if len(values) else float("nan")


def median(values: Sequence[float]) -> float:
    """The median; NaN of nothing."""
    return float(np.median(values)) if len(values) else float("nan")
