"""From a surprisal to a p-value: how often did rows of this kind look at least this strange?

Per stratum (what kind of row, between what kinds of places) a histogram of past scores gives the smoothed conformal
p-value ``(1 + #{past >= x}) / (n + 1)`` (Vovk, Gammerman, Shafer 2005, ch. 2). Above the stratum's top percent the
count is too small to rank by, and an exponential tail is fitted to the excesses (the zero-shape generalized Pareto of
Balkema-de Haan-Pickands). Old scores fade: at `WINDOW` rows all counts are halved.

All of it is exact per row: row i is judged by the rows before it, whatever the batch.
"""

from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

BIN_WIDTH: Final = 0.0625  # nats
BINS: Final = 1024  # 64 nats; exp(-64) is past any probability that is seen in practice
WINDOW: Final = 1 << 18  # rows of a stratum between halvings
MIN_ROWS: Final = 50  # below this a stratum has nothing to say and the pooled one speaks
TAIL_SHARE: Final = 0.01  # detection practice: tail fits start at the 99 % quantile (POT; Siffer et al., KDD 2017)
TAIL_MIN: Final = 10  # excesses needed for a mean worth using
MIN_TAIL_SCALE: Final = 1.0  # nats: P(-ln P >= x) of a calibrated model falls at best like exp(-x)
_REFIT: Final = 64  # rows of a stratum between tail fits


@numba.njit(cache=True)
def _bin(score: Any) -> Any:
    return min(max(int(score / BIN_WIDTH), 0), BINS - 1)


@numba.njit(cache=True)
def _count_at_least(tree: Any, total: Any, index: Any) -> Any:
    """Scores in bins >= index, from a Fenwick tree (Fenwick 1994) over the bins."""
    below = 0
    while index > 0:
        below += tree[index]
        index -= index & -index
    return total - below


@numba.njit(cache=True)
def _add(tree: Any, index: Any, amount: Any) -> None:
    index += 1
    while index < tree.size:
        tree[index] += amount
        index += index & -index


@numba.njit(cache=True)
def _halve(histogram: Any, tree: Any) -> Any:
    total = 0
    tree[:] = 0
    for index in range(BINS):
        histogram[index] //= 2
        if histogram[index]:
            _add(tree, index, histogram[index])
            total += histogram[index]
    return total


@numba.njit(cache=True)
def _fit_tail(histogram: Any, total: Any, tail: Any) -> None:
    """tail <- start (nats), count above it, scale (nats); start = infinity when there is too little."""
    wanted = max(TAIL_MIN, int(TAIL_SHARE * total))
    above, weighted, index = 0, 0.0, BINS
    while index > 0 and above < wanted:
        index -= 1
        above += histogram[index]
        weighted += histogram[index] * (index + 0.5)
    if above < TAIL_MIN:
        tail[0] = np.inf
        return
    tail[0] = index * BIN_WIDTH
    tail[1] = above
    tail[2] = max(BIN_WIDTH * (weighted / above - index), MIN_TAIL_SCALE)


@numba.njit(cache=True)
def p_value(trees: Any, totals: Any, tails: Any, stratum: Any, score: Any) -> Any:
    """P(a row of this stratum scores >= score), in (0, 1]; 1 while there is too little history."""
    if totals[stratum] < MIN_ROWS:
        stratum = totals.size - 1
        if totals[stratum] < MIN_ROWS:
            return 1.0
    total = totals[stratum]
    tail = tails[stratum]
    if score >= tail[0]:
        return (tail[1] + 1.0) / (total + 1.0) * np.exp(-(score - tail[0]) / tail[2])
    return (_count_at_least(trees[stratum], total, _bin(score)) + 1.0) / (total + 1.0)


@numba.njit(cache=True)
def learn(histograms: Any, trees: Any, totals: Any, tails: Any, stratum: Any, score: Any) -> None:
    """Add a score to its stratum and to the pooled one (the last row)."""
    for target in (stratum, totals.size - 1):
        index = _bin(score)
        histograms[target, index] += 1
        _add(trees[target], index, 1)
        totals[target] += 1
        if totals[target] >= WINDOW:
            totals[target] = _halve(histograms[target], trees[target])
        if totals[target] % _REFIT == 0 or totals[target] == MIN_ROWS:
            _fit_tail(histograms[target], totals[target], tails[target])


class Calibration:
    """Histograms, Fenwick trees and tails of all strata plus the pooled one."""

    def __init__(self, strata: int) -> None:
        self.histograms = np.zeros((strata + 1, BINS), dtype=np.int64)
        self.trees = np.zeros((strata + 1, BINS + 1), dtype=np.int64)
        self.totals = np.zeros(strata + 1, dtype=np.int64)
        self.tails = np.full((strata + 1, 3), np.inf)

    def state(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """What `p_value` and `learn` work on."""
        return self.histograms, self.trees, self.totals, self.tails

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For a snapshot."""
        return {"histograms": self.histograms, "trees": self.trees, "totals": self.totals, "tails": self.tails}

    def load(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Replace the content by what `arrays` returned."""
        for name, own in self.arrays().items():
            own[...] = arrays[name]
