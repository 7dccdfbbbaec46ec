"""River's half-space trees on every flow (Tan, Ting and Liu, IJCAI 2011): streaming, and slow.

Some 18,000 rows a second would take minutes on a large plant. So they learn from every n-th row, n such that at most
`MAX_LEARNED` are learned, and score every row that is judged, attack or not: nobody is scored less fairly.
"""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from river.anomaly import HalfSpaceTrees

from .features import raw, training

MAX_LEARNED: Final = 300_000
_TREES, _HEIGHT, _WINDOW = 25, 8, 250  # trees and window as in the paper, height as River has it
_SEED: Final = 7


def scores(flows: pl.DataFrame, judged_from: int) -> NDArray[np.float64]:
    """Prequential: a row is scored before it is learned; rows before ``judged_from`` only teach (0)."""
    features = _scaled(raw(flows), training(flows))
    names = [str(number) for number in range(features.shape[1])]
    trees = HalfSpaceTrees(n_trees=_TREES, height=_HEIGHT, window_size=_WINDOW, seed=_SEED)
    stride = max(1, -(-flows.height // MAX_LEARNED))
    judged = (flows["ts"].to_numpy() >= judged_from).tolist()
    scored = np.zeros(flows.height)
    for row, is_judged in enumerate(judged):
        learn = row % stride == 0
        if not (is_judged or learn):
            continue
        values = dict(zip(names, features[row].tolist(), strict=True))
        if is_judged:
            scored[row] = trees.score_one(values)
        if learn:
            trees.learn_one(values)
    return scored


def _scaled(features: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """To [0, 1] by the range of the first week: the trees cut there."""
    low, high = features[known].min(axis=0), features[known].max(axis=0)
    span = np.where(high > low, high - low, 1)
    scaled: NDArray[np.float32] = np.clip((features - low) / span, 0, 1)
    return scaled
