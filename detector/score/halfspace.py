"""How many of the last window fell near a vector: River's half-space trees without River.

Tan, Ting and Liu (2011, https://www.ijcai.org/Proceedings/11/Papers/254.pdf). A tree halves the space of the vectors at
random, ``height`` times over, before the first one comes. Each node counts the vectors of the running window that pass
it; when the window is full its counts become the masses ``r`` by which the next one is scored::

    s(x) = 1 - sum_t sum_d r_td(x) 2^d / (trees window (2^(height+1) - 1))

over the nodes on the way of ``x``, at depth ``d``, down to the first with less than a tenth of a window.

Splits are drawn and sums run in River's order, so ``score_one`` and ``learn_one`` of
`river.anomaly.HalfSpaceTrees` give the same to the last bit; only that they take forty times as long, node objects and
dictionaries being slow to walk. All trees are perfect and lie one after another, depth first. So what is below a node
needs no table: one half follows it, the other comes after as many nodes as that half has.

Only leaves count while a window runs: what passed a node ended in a leaf below it. And what a leaf is worth is summed
once a window, not for each vector.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.state.compiled import kernel

_LAST, _RUNNING = 0, 1  # columns of the masses
_SEEN, _FIRST = 0, 1  # cells of the progress
_PADDING: Final = 0.15  # of a range, at both ends, where no split falls; River's
_ENOUGH: Final = 0.1  # of a window: where the paper ends the way


@kernel
def place(trees: Any, x: Any) -> None:
    """Find the leaf of ``x`` in each tree, for `score` and `learn`. All trees take a step, then all the next one: so
    none waits for the step before, and no branch is guessed."""
    (feature, threshold, steps, _, _), _, _, _, leaves, height, _, _, _ = trees
    for tree in range(leaves.size):
        leaves[tree] = tree * ((2 << height) - 1)
    for levels in range(height, 0, -1):
        for tree in range(leaves.size):
            node = leaves[tree]
            leaves[tree] = node + steps[levels, np.uint64(x[feature[node]] < threshold[node])]


@kernel
def ready(trees: Any) -> Any:
    """Whether a first window is full."""
    return trees[2][_FIRST] == 0


@kernel
def score(trees: Any) -> Any:
    """How empty the surroundings of what was placed are, in [0, 1); 0 in the first window."""
    _, _, _, worth, leaves, _, _, _, most = trees
    if not ready(trees):
        return 0.0
    total = 0
    for tree in range(leaves.size):
        total += worth[leaves[tree]]
    return 1.0 - total / most


@kernel
def learn(trees: Any) -> None:
    """One more vector, where it was placed; the last one of a window makes its counts the masses."""
    _, masses, progress, _, leaves, _, window, _, _ = trees
    for tree in range(leaves.size):
        masses[leaves[tree], _RUNNING] += 1
    progress[_SEEN] += 1
    if progress[_SEEN] == window:
        count(trees)
        for node in range(masses.shape[0]):
            masses[node, _LAST], masses[node, _RUNNING] = masses[node, _RUNNING], 0
        progress[:] = 0
        weigh(trees)


@kernel
def count(trees: Any) -> None:
    """Masses of the running window, from those of the leaves. Whatever is below a node comes after it."""
    (_, _, _, parent, depth), masses, _, _, _, height, _, _, _ = trees
    for node in range(depth.size):
        masses[node, _RUNNING] *= depth[node] == height
    for node in range(depth.size - 1, -1, -1):
        if parent[node] >= 0:
            masses[parent[node], _RUNNING] += masses[node, _RUNNING]


@kernel
def weigh(trees: Any) -> None:
    """The sum of r 2^d on the way to each node, from the masses of the last window. They are whole numbers, so it does
    not matter in which order they are added."""
    (_, _, _, parent, depth), masses, _, worth, _, _, _, enough, _ = trees
    for node in range(depth.size):
        above, worth[node] = parent[node], masses[node, _LAST] << depth[node]
        if above >= 0:
            worth[node] = worth[above] + (worth[node] if masses[above, _LAST] >= enough else 0)


class HalfSpaces:
    """The nodes of all trees, with no mass yet.

    Args:
        features: name of each cell of a vector, as River knows it.
        n_trees, height, window_size, seed: River's settings.
    """

    def __init__(self, features: Sequence[str], *, n_trees: int, height: int, window_size: int, seed: int) -> None:
        draw, names = random.Random(seed), sorted(features)
        splits = [split for _ in range(n_trees) for split in _grown([(0.0, 1.0)] * len(names), height, draw)]
        feature = np.array([features.index(names[place]) for place, _ in splits], dtype=np.uint64)
        threshold = np.array([at for _, at in splits])
        parent, depth = _above(height, n_trees)
        steps = np.array([(1 << levels, 1) for levels in range(height + 1)], dtype=np.uint64)  # by levels that are left
        masses, progress = np.zeros((len(splits), 2), dtype=np.int64), np.array([0, 1], dtype=np.int64)
        worth, leaves = np.zeros(len(splits), dtype=np.int64), np.zeros(n_trees, dtype=np.uint64)
        most = n_trees * window_size * ((2 << height) - 1)
        self._content, self._window = {"masses": masses, "progress": progress}, window_size
        self.kept: Final = (
            (feature, threshold, steps, parent, depth), masses, progress, worth, leaves, height, window_size,
            _ENOUGH * window_size, most,
        )  # fmt: skip
        """The trees as their kernels take them; `load` writes into these arrays."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For a snapshot: ``masses`` of all nodes, shape (nodes, 2) = last and running window; ``progress``: vectors of
        the running window, whether it is the first."""
        count(self.kept)
        return {name: array.copy() for name, array in self._content.items()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace the content by what `arrays` returned."""
        for name, own in self._content.items():
            own[...] = arrays[name]
        weigh(self.kept)

    def portable(self) -> dict[str, NDArray[Any]]:
        """What another network can use: all of it."""
        return self.arrays()

    def unfit(self, arrays: Mapping[str, NDArray[Any]]) -> str:
        """Why arrays are not what `arrays` returns here; empty when they are."""
        if arrays.keys() != self._content.keys():
            return f"its arrays are not {', '.join(self._content)}"
        for name, own in self._content.items():
            if arrays[name].shape != own.shape or arrays[name].dtype != own.dtype:
                return f"{name} has another shape or type"
        masses, (seen, first) = arrays["masses"], arrays["progress"].tolist()
        if not ((masses >= 0) & (masses <= self._window)).all():
            return "a node has another mass than a window can give it"
        return "" if 0 <= seen < self._window and first in {0, 1} else "its progress is none"

    def adopt(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Begin with what another network taught."""
        self.load(arrays)


def _grown(limits: Sequence[tuple[float, float]], height: int, draw: random.Random) -> Iterator[tuple[int, float]]:
    """Feature and threshold of each node of a tree, depth first. A leaf has no split; no way goes on from it."""
    if height == 0:
        yield 0, 0.0
        return
    (feature,) = draw.choices(range(len(limits)), [high - low for low, high in limits])
    low, high = limits[feature]
    at = draw.uniform(low + _PADDING * (high - low), high - _PADDING * (high - low))
    yield feature, at
    for half in ((low, at), (at, high)):
        yield from _grown([*limits[:feature], half, *limits[feature + 1 :]], height - 1, draw)


def _above(height: int, trees: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The node above each node of all trees (-1 = none), and how many there are above it."""
    parent, depth = np.full((2 << height) - 1, -1), np.zeros((2 << height) - 1, dtype=np.int64)
    for node in range(parent.size):
        if depth[node] < height:
            below = [node + 1, node + (1 << height - depth[node])]
            parent[below], depth[below] = node, depth[node] + 1
    roots = np.arange(trees)[:, np.newaxis] * parent.size
    return np.where(parent < 0, -1, parent + roots).ravel(), np.tile(depth, trees)
