"""Isolation forest on raw flow features: what most tutorials do with NetFlow."""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from .features import raw, training

_TREES: Final = 100  # scikit-learn's default
_SEED: Final = 7


def scores(flows: pl.DataFrame, judged_from: int) -> NDArray[np.float64]:
    """Fitted on the first week; rows before ``judged_from`` are not scored (0)."""
    features, judged = raw(flows), flows["ts"].to_numpy() >= judged_from
    forest = IsolationForest(n_estimators=_TREES, random_state=_SEED).fit(features[training(flows)])
    scored = np.zeros(flows.height)
    if judged.any():
        scored[judged] = -forest.score_samples(features[judged])
    return scored
