"""The scorer of isolation forests against scikit-learn's own, on the same forest and rows."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from detector.score.forest import JOINED, TREE_ROWS, TREES
from detector.score.paths import Paths

from .laps import Contestant, race

ROWS: Final = (100, 10_000)
_TAUGHT: Final = 4_000


@dataclass(frozen=True, slots=True)
class Forests:
    """Milliseconds to score ``rows`` rows, how many times as fast, and the largest difference of a score."""

    rows: int
    ours_ms: float
    sklearn_ms: float
    ratio: float
    difference: float


def measure(rounds: int) -> list[Forests]:
    """One entry for each of `ROWS`."""
    draw = np.random.default_rng(5)
    forest = IsolationForest(n_estimators=TREES, max_samples=TREE_ROWS, random_state=1)
    forest.fit(draw.exponential(size=(_TAUGHT, len(JOINED))).astype(np.float32))
    return [_forests(forest, draw.exponential(size=(rows, len(JOINED))).astype(np.float32), rounds) for rows in ROWS]


def _forests(forest: IsolationForest, rows: NDArray[np.float32], rounds: int) -> Forests:
    paths = Paths.of(forest)
    contestants = [
        Contestant("ours", len(rows), lambda: lambda: len(paths.score(rows))),
        Contestant("sklearn", len(rows), lambda: lambda: len(forest.score_samples(rows))),
    ]
    laps = race(contestants, rounds)
    ours, theirs = laps["ours"], laps["sklearn"]
    difference = float(np.abs(paths.score(rows) + forest.score_samples(rows)).max())
    ms = [(one.ns or 0.0) * one.rows / 1e6 for one in (ours, theirs)]
    return Forests(len(rows), ms[0], ms[1], ours.against(theirs) or 0.0, difference)
