"""The compiled walk through the trees says what scikit-learn says, and what the formula of the paper says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest
from sklearn.ensemble._iforest import _average_path_length

from detector.score.paths import Paths, average_path
from detector.state import snapshot
from detector.state.snapshot import Capture

EXACT = 1e-12


def grown(rows, trees=20, rows_a_tree=64, seed=1, share=1.0):
    forest = IsolationForest(
        n_estimators=trees, max_samples=min(rows_a_tree, len(rows)), max_features=share, random_state=seed
    )
    return forest.fit(rows)


def surprisals(count, width, seed):
    """Mostly zeros and repeated numbers, some far out: as opinions are."""
    rng = np.random.default_rng(seed)
    far = rng.exponential(3.0, (count, width))
    steps = np.round(far, 1)
    return np.where(rng.random((count, width)) < 0.5, 0.0, np.where(far < 3.0, steps, far)).astype(np.float32)


@given(
    seed=st.integers(0, 2**20),
    count=st.integers(2, 300),
    width=st.integers(2, 20),
    trees=st.integers(1, 30),
    rows_a_tree=st.integers(2, 256),
    share=st.sampled_from([1.0, 0.5]),
)
@settings(max_examples=25, deadline=None)
def test_scores_are_those_of_scikit_learn(seed, count, width, trees, rows_a_tree, share):
    rows = surprisals(count, width, seed)
    forest = grown(rows, trees, rows_a_tree, seed, share)
    unseen = surprisals(50, width, seed + 1)
    for asked in (rows, unseen, unseen[:1], unseen[:0]):
        told = -forest.score_samples(asked) if len(asked) else np.empty(0)
        np.testing.assert_allclose(Paths.of(forest).score(asked), told, rtol=0, atol=EXACT)


def test_a_number_at_a_threshold_goes_where_scikit_learn_sends_it():
    """Thresholds have 64 bits and rows 32: the next numbers below and above decide differently."""
    forest = grown(surprisals(400, 3, seed=4), trees=40)
    inner = [tree.tree_.threshold[tree.tree_.children_left >= 0] for tree in forest.estimators_]
    near = np.concatenate(inner).astype(np.float32)
    around = np.concatenate([near, np.nextafter(near, np.float32(9)), np.nextafter(near, np.float32(-9))])
    asked = np.repeat(around[:, np.newaxis], 3, axis=1)
    np.testing.assert_allclose(Paths.of(forest).score(asked), -forest.score_samples(asked), rtol=0, atol=EXACT)


def test_the_score_is_the_formula_of_the_paper():
    """Without scikit-learn's own scoring: nodes walked one by one."""
    rows = surprisals(200, 4, seed=2)
    forest = grown(rows)

    def path(tree, row):
        node, depth = 0, 0
        while tree.children_left[node] >= 0:
            left = row[tree.feature[node]] <= tree.threshold[node]
            node, depth = (tree.children_left if left else tree.children_right)[node], depth + 1
        return depth + mean_path(tree.n_node_samples[node])

    def mean_path(n):
        return {1: 0.0, 2: 1.0}.get(n) or (2 * (np.log(n - 1) + np.euler_gamma) - 2 * (n - 1) / n if n > 1 else 0.0)

    for row, score in zip(rows[:30], Paths.of(forest).score(rows[:30]), strict=True):
        mean = np.mean([path(one.tree_, row) for one in forest.estimators_])
        assert score == pytest.approx(2 ** (-mean / mean_path(64)), abs=EXACT)


def test_mean_path_of_a_search_that_fails():
    counts = np.arange(1, 400)
    np.testing.assert_allclose(average_path(counts), _average_path_length(counts), rtol=EXACT)


def test_trees_survive_a_snapshot():
    rows = surprisals(500, 6, seed=3)
    paths, restored = Paths.of(grown(rows)), Paths()
    restored.load(snapshot.read(Capture.of(paths.arrays(), {}, "same").write(), "same")[0])
    assert np.array_equal(paths.score(rows), restored.score(rows))
    empty = snapshot.read(Capture.of(Paths().arrays(), {}, "same").write(), "same")[0]
    restored.load(empty)
    assert {name: array.tolist() for name, array in restored.arrays().items()} == {
        name: array.tolist() for name, array in Paths().arrays().items()
    }
