"""From a surprisal to a p-value: how often did rows of this kind look at least this strange?

Per stratum (what kind of row, between what kinds of places) a histogram of past scores gives the smoothed conformal
p-value ``(1 + #{past >= x}) / (n + 1)`` (Vovk, Gammerman, Shafer 2005, ch. 2). Above the stratum's top percent the
count is too small to rank by, and an exponential tail is fitted to the excesses (the zero-shape generalized Pareto of
Balkema-de Haan-Pickands). Old scores fade: all counts are halved whenever the history has doubled, so that the first
days, when everything was new, do not stay the yardstick; later every `WINDOW_US`.

All of it is exact per row: row i is judged by the rows before it, whatever the batch.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.state.compiled import kernel

BIN_WIDTH: Final = 0.0625  # nats
BINS: Final = 1024  # 64 nats; exp(-64) is past any probability that is seen in practice
FIRST_HALVING_US: Final = 3_600_000_000  # an hour: less is no history worth forgetting
WINDOW_US: Final = 7 * 86_400_000_000  # a week, so that weekdays are judged by weekdays too
APART_US: Final = 30 * 86_400_000_000  # a gap no log with a working clock has right after its first rows
MIN_ROWS: Final = 50  # below this a stratum has nothing to say and the pooled one speaks
TAIL_SHARE: Final = 0.01  # detection practice: tail fits start at the 99 % quantile (POT; Siffer et al., KDD 2017)
TAIL_MIN: Final = 10  # excesses needed for a mean worth using
MIN_TAIL_SCALE: Final = 1.0  # nats: P(-ln P >= x) of a calibrated model falls at best like exp(-x)
_REFIT: Final = 64  # rows of a stratum between tail fits
BELOW_ONE: Final = float(np.nextafter(1.0, 0.0))
"""The p-value of what is least strange: exactly 1 means that there was nothing to judge, or nothing to judge it by."""


@kernel
def _bin(score: Any) -> Any:
    return min(max(int(score / BIN_WIDTH), 0), BINS - 1)


@kernel
def _count_at_least(tree: Any, total: Any, index: Any) -> Any:
    """Scores in bins >= index, from a Fenwick tree (Fenwick 1994) over the bins."""
    below = 0.0
    while index > 0:
        below += tree[index]
        index -= index & -index
    return total - below


@kernel
def _add(tree: Any, index: Any, amount: Any) -> None:
    index += 1
    while index < tree.size:
        tree[index] += amount
        index += index & -index


@kernel
def fade(histograms: Any, trees: Any, totals: Any, tails: Any, clock: Any, now: Any) -> None:
    """Halve everything when its time has come. Halves of counts are exact in binary, so nothing drifts.

    ``clock`` = time of the first row, of the next halving and of the last row (µs; 0 = none yet).
    """
    if now >= clock[1] or clock[0] == 0.0:  # all else is apart: every row of every model passes here
        _turn(histograms, trees, totals, tails, clock, now)
    clock[2] = max(clock[2], now)


@kernel
def fade_all(histograms: Any, trees: Any, totals: Any, tails: Any, clock: Any, times: Any) -> None:
    """`fade` to each of some rows of which none is judged."""
    for row in range(times.size):
        fade(histograms, trees, totals, tails, clock, times[row])


@kernel
def _turn(histograms: Any, trees: Any, totals: Any, tails: Any, clock: Any, now: Any) -> None:
    """Begin the clock, or halve. A few rows far before the rest (a sensor that dates records 1970) are no history: the
    clock starts again behind them. `APART_US` is longer than it ever is to the next halving, so `fade` comes here."""
    young = totals[-1] < MIN_ROWS and clock[2] > 0.0
    if clock[0] == 0.0 or (young and now - clock[2] > APART_US):
        clock[0], clock[1] = now, now + FIRST_HALVING_US
    while now >= clock[1]:
        histograms *= 0.5
        trees *= 0.5
        totals *= 0.5
        for stratum in range(tails.shape[0]):
            tails[stratum, 1] *= 0.5
        clock[1] += min(clock[1] - clock[0], WINDOW_US)


@kernel
def halve_stratum(histograms: Any, trees: Any, totals: Any, tails: Any, stratum: Any, times: Any) -> None:
    """Let one stratum forget half of what it knows, so many times."""
    left = 0.5**times
    for index in range(BINS):
        histograms[stratum, index] *= left
    for node in range(BINS + 1):
        trees[stratum, node] *= left
    totals[stratum] *= left
    tails[stratum, 1] *= left


@kernel
def _fit_tail(histogram: Any, total: Any, tail: Any) -> None:
    """tail <- start (nats), count above it, scale (nats); start = infinity when there is too little.

    The lowest bin, what is not strange at all, is no part of a tail: where it holds nearly everything, its zeros would
    pass for excesses."""
    wanted = max(TAIL_MIN, TAIL_SHARE * total)
    above, weighted, index = 0.0, 0.0, BINS
    while index > 1 and above < wanted:
        index -= 1
        above += histogram[index]
        weighted += histogram[index] * (index + 0.5)
    if above < TAIL_MIN:
        tail[0] = np.inf
        return
    tail[0] = index * BIN_WIDTH
    tail[1] = above
    tail[2] = max(BIN_WIDTH * (weighted / above - index), MIN_TAIL_SCALE)


@kernel
def p_value(trees: Any, totals: Any, tails: Any, stratum: Any, score: Any) -> Any:
    """P(a row of this stratum scores >= score), in (0, 1); 1 while there is too little history."""
    if totals[stratum] < MIN_ROWS:
        stratum = totals.size - 1
        if totals[stratum] < MIN_ROWS:
            return 1.0
    total = totals[stratum]
    tail = tails[stratum]
    if score >= tail[0]:
        return (tail[1] + 1.0) / (total + 1.0) * np.exp(-(score - tail[0]) / tail[2])
    return min((_count_at_least(trees[stratum], total, _bin(score)) + 1.0) / (total + 1.0), BELOW_ONE)


@kernel
def learn(histograms: Any, trees: Any, totals: Any, tails: Any, since: Any, stratum: Any, score: Any) -> None:
    """Add a score to its stratum and to the pooled one (the last row)."""
    for target in (stratum, totals.size - 1):
        index = _bin(score)
        histograms[target, index] += 1.0
        _add(trees[target], index, 1.0)
        totals[target] += 1.0
        since[target] += 1
        if since[target] >= _REFIT or totals[target] == MIN_ROWS:
            since[target] = 0
            _fit_tail(histograms[target], totals[target], tails[target])


class Calibration:
    """Histograms, Fenwick trees and tails of all strata plus the pooled one."""

    def __init__(self, strata: int) -> None:
        self.histograms = np.zeros((strata + 1, BINS))
        self.trees = np.zeros((strata + 1, BINS + 1))
        self.totals = np.zeros(strata + 1)
        self.tails = np.full((strata + 1, 3), np.inf)
        self.since = np.zeros(strata + 1, dtype=np.int64)  # rows since the last tail fit
        self.clock = np.zeros(4)  # first row, next halving, last row (µs); hosts inside

    def halve(self, stratum: int, times: int) -> None:
        """Let one stratum forget half of what it knows, so many times."""
        halve_stratum(self.histograms, self.trees, self.totals, self.tails, stratum, times)

    def adopt(self, histograms: NDArray[np.float64]) -> None:
        """Begin with past scores of another network; the clock stays: a history begins with its first row.

        Args:
            histograms: of finite counts, shaped as those here.
        """
        self.histograms[...] = histograms
        sums = np.concatenate([np.zeros((len(histograms), 1)), np.cumsum(histograms, axis=1)], axis=1)
        nodes = np.arange(1, BINS + 1)
        self.trees[:, 0] = 0.0
        self.trees[:, 1:] = sums[:, nodes] - sums[:, nodes - (nodes & -nodes)]
        self.totals[...] = sums[:, -1]
        self.tails[...], self.since[...] = np.inf, 0
        for stratum in np.flatnonzero(self.totals >= MIN_ROWS):
            _fit_tail(self.histograms[stratum], self.totals[stratum], self.tails[stratum])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything, in the order the kernels take it; also for a snapshot."""
        names = ("histograms", "trees", "totals", "tails", "since", "clock")
        return {name: getattr(self, name) for name in names}

    def load(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Replace the content by what `arrays` returned."""
        for name, own in self.arrays().items():
            own[...] = arrays[name]
