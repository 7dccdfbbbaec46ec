"""How long a batch takes from lines to alerts: decode, score, judge; p50 and p99 over many batches in a row."""

import gc
import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from . import eastwest
from .eastwest import Sources
from .folder import Folder

SIZES: Final = (1_000, 10_000)
SECONDS: Final = 20.0  # of one size at most
MOST: Final = 400  # batches of one size


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds a batch of ``size`` rows takes; of few batches p99 is little less than the worst."""

    size: int
    batches: int
    p50_ms: float
    p99_ms: float


def measure(folder: Folder) -> list[Latency]:
    """From Zeek JSON, after a warm-up."""
    sources = Sources(folder)
    sources.run(eastwest.JSON, min(folder.shape.lines, eastwest.TRIAL_ROWS))()
    return [_latency(sources, min(size, folder.shape.lines)) for size in SIZES]


def _latency(sources: Sources, size: int) -> Latency:
    engine = eastwest.taught(sources.folder)
    pieces = sources.read(eastwest.JSON, min(MOST * size, sources.available(eastwest.JSON)), size)
    taken: list[float] = []
    gc.collect()
    until = time.perf_counter() + SECONDS
    while (began := time.perf_counter()) < until and (piece := next(pieces, None)) is not None:
        engine.push(piece)
        taken.append((time.perf_counter() - began) * 1e3)
    p50, p99 = np.quantile(taken, [0.5, 0.99]).tolist()
    return Latency(size, len(taken), p50, p99)
