"""What eastwest is compared with: own implementations, none of them shares code with the engine.

A comparator takes flows (columns of `flows.flows_of`, in order of time) and returns one score a row, higher = stranger.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from . import forest, midas, never_seen, trees

Scores = NDArray[np.float64]
Comparator = Callable[[pl.DataFrame, int], Scores]
"""Flows and the time (µs) from which rows are judged; what lies before may only teach."""

COMPARATORS: Final[dict[str, Comparator]] = {
    "never-seen pair": lambda flows, judged: never_seen.first_of(flows, "src", "dst"),
    "never-seen pair, service": lambda flows, judged: never_seen.first_of(flows, "src", "dst", "service"),
    "isolation forest, raw": forest.scores,
    "half-space trees": trees.scores,
    "MIDAS-R": lambda flows, judged: midas.scores(flows, filtering=False),
    "MIDAS-F": lambda flows, judged: midas.scores(flows, filtering=True),
}
