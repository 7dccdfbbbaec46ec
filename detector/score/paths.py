"""How soon random splits set a row apart: scikit-learn's isolation forest, scored without scikit-learn.

The mean path length of Liu, Ting and Zhou (2008, doi:10.1109/ICDM.2008.17)::

    s(x) = 2 ^ (- mean_t h_t(x) / c(m)),     h_t = depth of the leaf + c(rows in the leaf)
    c(n) = 2 (ln(n - 1) + γ) - 2 (n - 1) / n,     c(2) = 1, c(1) = 0

for ``m`` rows a tree. All trees of a row are walked at once, level by level and without branches: a leaf is its own
child, so the shallow trees wait for the deep ones, and the processor need not wait for memory. Compared with
``IsolationForest.score_samples`` nothing is checked, copied or sent to threads, which is most of its time on few rows.

scikit-learn compares features of 32 bits with thresholds of 64: ``x <= t`` is the same as ``x <= `` the largest 32-bit
number up to t, which is what is kept.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.state.compiled import kernel

if TYPE_CHECKING:
    from sklearn.ensemble import IsolationForest

_DTYPES: Final = {
    "feature": np.int32, "threshold": np.float32, "child": np.int32, "length": np.float64, "roots": np.int32,
    "shape": np.float64,
}  # fmt: skip

_LONGEST: Final = 1e9  # of a path, and of what sums of paths are divided by: a thousand trees of a billion rows
_DEEPEST: Final = 64  # levels of a tree; one of 256 rows is grown to 8


def average_path(rows: NDArray[Any]) -> NDArray[np.float64]:
    """c(n): mean path length of a search that fails in a binary search tree of n rows, n >= 1."""
    n = np.maximum(rows.astype(np.float64), 2.0)
    found: NDArray[np.float64] = 2.0 * (np.log(np.maximum(n - 1.0, 1.0)) + np.euler_gamma) - 2.0 * (n - 1.0) / n
    found[rows <= 2] = 1.0
    found[rows <= 1] = 0.0
    return found


@kernel
def walk(
    X: Any, feature: Any, threshold: Any, child: Any, length: Any, roots: Any, depth: Any, at: Any, out: Any
) -> None:
    """out <- sum of the path lengths of each row; ``child`` has the node for ``x <= threshold`` and the other one;
    ``at`` has room for a node a tree."""
    for row in range(X.shape[0]):
        for tree in range(at.size):
            at[tree] = roots[tree]
        for _ in range(depth):
            for tree in range(at.size):
                node = at[tree]
                at[tree] = child[2 * node + (1 if X[row, feature[node]] > threshold[node] else 0)]
        out[row] = 0.0
        for node in at:
            out[row] += length[node]


class Paths:
    """The nodes of all trees, one after another; see `arrays`. Empty until one is made by `of` or `load`."""

    def __init__(self) -> None:
        self.load({name: np.zeros(2) for name in _DTYPES})

    @classmethod
    def of(cls, forest: "IsolationForest") -> "Paths":
        """From a fitted forest of at least two rows a tree."""
        trees = [estimator.tree_ for estimator in forest.estimators_]
        sizes = np.array([tree.node_count for tree in trees])
        roots = np.cumsum(sizes) - sizes
        parts = [
            _tree(tree, columns, root)
            for tree, columns, root in zip(trees, forest.estimators_features_, roots.tolist(), strict=True)
        ]
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        depth = max(tree.max_depth for tree in trees)
        normal = len(trees) * average_path(np.array([forest.max_samples_]))[0]
        paths = cls()
        paths.load(arrays | {"roots": roots, "shape": np.array([depth, normal])})
        return paths

    def score(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Anomaly of each row in (0, 1), 0.5 = as soon set apart as a row of no structure at all; the negative of
        ``score_samples``.

        Args:
            X: shape (rows, features).
        """
        sums = np.empty(len(X))
        walk(
            X, self._own["feature"], self._own["threshold"], self._own["child"], self._own["length"],
            self._own["roots"], int(self._own["shape"][0]), self._own["roots"].copy(), sums,
        )  # fmt: skip
        found: NDArray[np.float64] = 2.0 ** -(sums / self._own["shape"][1])
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For a snapshot: by node ``feature``, ``threshold``, ``length`` (of the path that ends there) and two cells of
        ``child``; by tree ``roots``; depth of the deepest tree and what sums of paths are divided by."""
        whole = {name: np.issubdtype(array.dtype, np.integer) for name, array in self._own.items()}
        return {name: array.astype(np.int64 if whole[name] else np.float64) for name, array in self._own.items()}

    @staticmethod
    def unfit(arrays: Mapping[str, NDArray[Any]], features: int) -> str:
        """Why arrays are not what `arrays` returns for so many features; empty when they are. With such, `score` ends,
        and reads nothing but nodes and features."""
        whole = {name for name, kind in _DTYPES.items() if np.issubdtype(kind, np.integer)}
        if any(
            arrays[name].dtype != (np.int64 if name in whole else np.float64) or arrays[name].ndim != 1
            for name in _DTYPES
        ):
            return "an array of the trees has another shape or type"
        nodes, trees = arrays["feature"].size, arrays["roots"].size
        sizes = {"threshold": nodes, "length": nodes, "child": 2 * nodes, "shape": 2}
        if any(arrays[name].size != size for name, size in sizes.items()) or not 0 < trees <= nodes:
            return "the arrays of the trees do not fit each other"
        below = {"feature": features, "child": nodes, "roots": nodes}
        if any(((arrays[name] < 0) | (arrays[name] >= most)).any() for name, most in below.items()):
            return "a tree leads to what is not there"
        depth, divisor = arrays["shape"].tolist()
        lengths = arrays["length"]
        sane = 1 / _LONGEST <= divisor <= _LONGEST and ((lengths >= 0) & (lengths <= _LONGEST)).all()
        if not (0 <= depth <= _DEEPEST and sane):
            return "its paths have no length"
        most = np.finfo(np.float32).max  # what it is kept as
        return "" if (np.abs(arrays["threshold"]) < most).all() else "a tree splits at what is no number"

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace the content by what `arrays` returned."""
        self._own = {name: arrays[name].astype(kind) for name, kind in _DTYPES.items()}


def _tree(tree: Any, columns: NDArray[Any], root: int) -> dict[str, NDArray[Any]]:
    leaf = tree.children_left < 0
    own = np.arange(tree.node_count)
    children = np.stack([tree.children_left, tree.children_right], axis=1)
    return {
        "feature": columns[np.where(leaf, 0, tree.feature)],
        "threshold": _rounded_down(np.where(leaf, 0.0, tree.threshold)),
        "child": np.where(leaf[:, np.newaxis], own[:, np.newaxis], children).ravel() + root,
        "length": tree.compute_node_depths() - 1.0 + average_path(tree.n_node_samples),
    }


def _rounded_down(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    near = numbers.astype(np.float32)
    return np.where(near > numbers, np.nextafter(near, np.float32(-np.inf)), near)
