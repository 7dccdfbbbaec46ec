"""MIDAS-R and MIDAS-F, from the formulas of the papers, on (source, target + service).

Counts of edges, of sources and of targets are kept in count-min sketches: *a* = count in the current tick (decayed, not
cleared, when a tick ends), *s* = count in all ticks, *t* = number of the tick, from 1. A row's score is the largest
of the three chi-squared statistics of "now" against "on average":

    MIDAS-R   (a - s/t)² t² / (s (t - 1))           s counts the current tick too
    MIDAS-F   (a + s - a t)² / (s (t - 1))          s counts finished ticks only

MIDAS-F keeps an attack from becoming normal: when a tick ends, a cell whose last score was below a threshold takes
its count into s; any other takes what it would have got on an average tick, s / (t - 1).

S. Bhatia, B. Hooi, M. Yoon, K. Shin, C. Faloutsos: MIDAS. AAAI 2020.
S. Bhatia, R. Liu, B. Hooi, M. Yoon, K. Shin, C. Faloutsos: Real-time anomaly detection in edge streams. TKDD 2022
(arXiv 2009.08452).
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np
import polars as pl
from numpy.typing import NDArray

ROWS: Final = 2  # hash rows of a sketch, as in the papers
WIDTH: Final = 32_768  # cells of a row: wide, so that on plants nothing is lost to collisions
DECAY: Final = 0.5  # of the current counts when a tick ends, as in the papers
THRESHOLD: Final = 1000.0  # of MIDAS-F's filter, as in the paper
MINUTE_US: Final = 60_000_000
_SEED: Final = 3

Function = TypeVar("Function", bound=Callable[..., Any])
Cells = NDArray[np.int32]
Scores = NDArray[np.float64]


def scores(flows: pl.DataFrame, *, filtering: bool, width: int = WIDTH) -> Scores:
    """One score a row; ticks are the minutes in which there was a row, in order of time.

    Args:
        flows: columns ``ts`` (µs, in order), ``src``, ``dst``, ``service``.
        filtering: MIDAS-F, else MIDAS-R.
        width: cells of a sketch row.
    """
    keys = [
        flows.select(pl.struct(columns).rank("dense")).to_series().to_numpy().astype(np.uint64)
        for columns in (["src", "dst", "service"], ["src"], ["dst", "service"])
    ]
    generator = np.random.default_rng(_SEED)
    edge, source, target = (hashed(key, width, generator) for key in keys)
    ticks = flows.select((pl.col("ts") // MINUTE_US).rank("dense")).to_series().to_numpy().astype(np.int64)
    if filtering:
        return np.asarray(midas_f(edge, source, target, ticks, width, DECAY, THRESHOLD))
    return np.asarray(midas_r(edge, source, target, ticks, width, DECAY))


def hashed(keys: NDArray[np.uint64], width: int, generator: np.random.Generator) -> Cells:
    """(ROWS, n) cells of the keys: multiply-shift hashing (Dietzfelbinger), ``width`` a power of two."""
    factors = generator.integers(1, 1 << 63, size=(ROWS, 1), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    shift = np.uint64(65 - int(width).bit_length())
    return ((factors * keys[None, :]) >> shift).astype(np.int32)


def kernel(function: Function) -> Function:
    """Compiled when first called; ``.py_func`` stays plain Python."""
    compiled: Any = numba.njit(cache=True)(function)
    return cast("Function", compiled)


@kernel
def _least(table: Any, cells: Any, row: int) -> Any:
    return min(table[0, cells[0, row]], table[1, cells[1, row]])


@kernel
def midas_r(edge: Any, source: Any, target: Any, ticks: Any, width: int, decay: float) -> Any:
    """Scores of MIDAS-R; `edge`, `source`, `target` are (2, n) cells."""
    now, total = np.zeros((3, 2, width)), np.zeros((3, 2, width))
    scored = np.zeros(ticks.size)
    tick = ticks[0] if ticks.size else 0
    for row in range(ticks.size):
        if ticks[row] > tick:
            now *= decay
            tick = ticks[row]
        for kind, cells in enumerate((edge, source, target)):
            for line in range(2):
                now[kind, line, cells[line, row]] += 1.0
                total[kind, line, cells[line, row]] += 1.0
            a, s = _least(now[kind], cells, row), _least(total[kind], cells, row)
            if tick > 1:
                scored[row] = max(scored[row], (a - s / tick) ** 2 * tick * tick / (s * (tick - 1)))
    return scored


@kernel
def _merge(now: Any, total: Any, last: Any, finished: int, decay: float, threshold: float) -> None:
    """A tick has ended: sound counts become history, strange ones are replaced by an average tick's."""
    for cell in range(now.size):
        if last[cell] < threshold:
            total[cell] += now[cell]
        elif finished > 1:
            total[cell] += total[cell] / (finished - 1)
        now[cell] *= decay


@kernel
def midas_f(edge: Any, source: Any, target: Any, ticks: Any, width: int, decay: float, threshold: float) -> Any:
    """Scores of MIDAS-F; what was never counted in a finished tick has no average, and scores 0."""
    now, total, last = np.zeros((3, 2, width)), np.zeros((3, 2, width)), np.zeros((3, 2, width))
    scored = np.zeros(ticks.size)
    tick = ticks[0] if ticks.size else 0
    for row in range(ticks.size):
        if ticks[row] > tick:
            _merge(now.ravel(), total.ravel(), last.ravel(), tick, decay, threshold)
            tick = ticks[row]
        for kind, cells in enumerate((edge, source, target)):
            for line in range(2):
                now[kind, line, cells[line, row]] += 1.0
            a, s = _least(now[kind], cells, row), _least(total[kind], cells, row)
            score = (a + s - a * tick) ** 2 / (s * (tick - 1)) if s > 0.0 and tick > 1 else 0.0
            for line in range(2):
                last[kind, line, cells[line, row]] = score
            scored[row] = max(scored[row], score)
    return scored
