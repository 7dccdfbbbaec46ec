"""How sure a number is: intervals of shares, of differences between two runs over the same things, of rates a day."""

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

Z: Final = 1.959964  # of the normal distribution: 95 %
RESAMPLES: Final = 2000  # more do not move the second digit of a percentile interval
_SEED: Final = 11
_MIDDLE: Final = (2.5, 97.5)  # percent


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, JASA 22, 1927): sensible for few trials, and at 0 and 1.

    >>> wilson(3, 4)
    (0.3006, 0.9544)
    """
    low, high = _wilson(hits, trials)
    return round(low, 4), round(high, 4)


def _wilson(hits: int, trials: int) -> tuple[float, float]:
    if not trials:
        return 0.0, 1.0
    share, square = hits / trials, Z * Z
    middle = share + square / (2 * trials)
    width = Z * sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    whole = 1 + square / trials
    return max((middle - width) / whole, 0.0), min((middle + width) / whole, 1.0)


def paired(first: Sequence[bool], second: Sequence[bool]) -> tuple[float, float, float]:
    """How much larger the second share is than the first, of the same things, with its 95 % interval: Newcombe's square
    and add of Wilson intervals with the correlation of pairs (Statistics in Medicine 17, 1998, 2635, method 10).

    >>> paired([True] * 38 + [False] * 12, [True] * 36 + [False] * 2 + [True] * 12)  # his table II: 36, 2, 12, 0
    (0.2, 0.0569, 0.3404)
    """
    trials = len(first)
    if not trials:
        return 0.0, -1.0, 1.0
    both = sum(one and two for one, two in zip(first, second, strict=True))
    ones, twos = sum(first), sum(second)
    (low_1, high_1), (low_2, high_2) = _wilson(ones, trials), _wilson(twos, trials)
    share_1, share_2 = ones / trials, twos / trials
    rho = _correlation(both, ones - both, twos - both, trials)
    down, up = share_2 - low_2, high_1 - share_1
    low = share_2 - share_1 - sqrt(max(down * down - 2 * rho * down * up + up * up, 0.0))
    up, down = high_2 - share_2, share_1 - low_1
    high = share_2 - share_1 + sqrt(max(up * up - 2 * rho * up * down + down * down, 0.0))
    return round(share_2 - share_1, 4), round(low, 4), round(high, 4)


def _correlation(both: int, first: int, second: int, trials: int) -> float:
    """φ of the fourfold table, drawn towards 0 when it is positive (Newcombe's continuity correction)."""
    neither = trials - both - first - second
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    if not margins:
        return 0.0
    product = both * neither - first * second
    return (max(product - trials / 2, 0.0) if product > 0 else product) / sqrt(margins)


def bootstrap(
    days: Sequence[Sequence[float]], statistic: Callable[[NDArray[np.float64]], float]
) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic when whole days are drawn with replacement (Efron and Tibshirani,
    An Introduction to the Bootstrap, 1993, ch. 13): what happens on one day hangs together.

    Args:
        days: numbers of each day, one row a day.
        statistic: of such rows, shape (days, numbers).

    >>> bootstrap([[1.0], [1.0], [1.0]], lambda rows: float(rows.mean()))
    (1.0, 1.0)
    """
    table = np.array(days, dtype=np.float64)
    drawn = np.random.default_rng(_SEED).integers(0, len(table), size=(RESAMPLES, len(table)))
    low, high = np.percentile([statistic(table[rows]) for rows in drawn], _MIDDLE)
    return round(float(low), 4), round(float(high), 4)
