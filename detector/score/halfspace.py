"""How many of the last window fell near a vector: River's half-space trees, grown by River and served without it.

Tan, Ting and Liu (2011, https://www.ijcai.org/Proceedings/11/Papers/254.pdf). A tree halves the space of the vectors at
random, ``height`` times over, before the first one comes. Each node counts the vectors of the running window that pass
it; when the window is full its counts become the masses ``r`` by which the next one is scored::

    s(x) = 1 - sum_t sum_d r_td(x) 2^d / (trees window (2^(height+1) - 1))

over the nodes on the way of ``x``, at depth ``d``, down to the first with less than a tenth of a window.

The way goes by River's own splits, and sums run in River's order, so ``score_one`` and ``learn_one`` of
`river.anomaly.HalfSpaceTrees` give the same to the last bit; only that they take forty times as long, node objects and
dictionaries being slow to walk. All trees are perfect and lie one after another, depth first. So what is below a node
needs no table: one half follows it, the other comes after as many nodes as that half has.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from river.anomaly import HalfSpaceTrees

from detector.state.compiled import kernel

_LAST, _RUNNING = 0, 1  # columns of the masses
_SEEN, _FIRST = 0, 1  # cells of the progress


@kernel
def _below(splits: Any, node: Any, levels: Any, x: Any) -> Any:
    """The node under ``node`` on the side of ``x``; ``levels`` are left below it."""
    feature, threshold = splits
    return node + (1 if x[feature[node]] < threshold[node] else 1 << levels)


@kernel
def ready(trees: Any) -> Any:
    """Whether a first window is full."""
    return trees[2][_FIRST] == 0


@kernel
def score(trees: Any, x: Any) -> Any:
    """How empty the surroundings of ``x`` are, in [0, 1); 0 in the first window."""
    splits, masses, _, height, _, enough, most = trees
    if not ready(trees):
        return 0.0
    total = 0.0
    for root in range(0, masses.shape[0], (2 << height) - 1):
        node, found = root, 0.0
        for depth in range(height + 1):
            mass = masses[node, _LAST]
            found += mass * (1 << depth)
            if mass < enough or depth == height:
                break
            node = _below(splits, node, height - depth, x)
        total += found
    return 1.0 - total / most


@kernel
def learn(trees: Any, x: Any) -> None:
    """One more vector; the last one of a window makes its counts the masses."""
    splits, masses, progress, height, window, _, _ = trees
    for root in range(0, masses.shape[0], (2 << height) - 1):
        node = root
        for depth in range(height):
            masses[node, _RUNNING] += 1
            node = _below(splits, node, height - depth, x)
        masses[node, _RUNNING] += 1
    progress[_SEEN] += 1
    if progress[_SEEN] == window:
        masses[:, _LAST] = masses[:, _RUNNING]
        masses[:, _RUNNING] = 0
        progress[:] = 0


class HalfSpaces:
    """The nodes of all trees, with no mass yet.

    Args:
        river: settings and seed from which River draws the splits.
        features: name of each cell of a vector, as River knows it.
    """

    def __init__(self, river: HalfSpaceTrees, features: Sequence[str]) -> None:
        river.learn_one(dict.fromkeys(features, 0.0))  # the trees grow when the first vector comes
        nodes = [node for tree in river.trees for node in tree.iter_dfs()]
        # A leaf has no split; no way goes on from it.
        feature = np.array([features.index(getattr(node, "feature", features[0])) for node in nodes])
        threshold = np.array([getattr(node, "threshold", 0.0) for node in nodes])
        masses, progress = np.zeros((len(nodes), 2), dtype=np.int64), np.array([0, 1], dtype=np.int64)
        self._content = {"masses": masses, "progress": progress}
        self.kept: Final = (
            (feature, threshold), masses, progress, river.height, river.window_size, river.size_limit, river._max_score,
        )  # fmt: skip
        """The trees as their kernels take them; `load` writes into these arrays."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For a snapshot: ``masses`` of all nodes, shape (nodes, 2) = last and running window; ``progress``: vectors of
        the running window, whether it is the first."""
        return {name: array.copy() for name, array in self._content.items()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace the content by what `arrays` returned."""
        for name, own in self._content.items():
            own[...] = arrays[name]
