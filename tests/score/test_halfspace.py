"""The compiled half-space trees say what River says, to the last bit, and keep what River keeps."""

import numpy as np
import pytest
from river.anomaly import HalfSpaceTrees

from detector.score import halfspace
from detector.score.halfspace import HalfSpaces
from detector.score.windows import FEATURES

OURS = {"n_trees": 25, "height": 6, "window_size": 250, "seed": 7}


def grown(features=FEATURES, **settings):
    """River's trees, which have not learned yet, and ours."""
    return HalfSpaceTrees(**settings), HalfSpaces(features, **settings)


def named(x, features=FEATURES):
    return dict(zip(features, x.tolist(), strict=True))


def nodes(river):
    return [node for tree in river.trees for node in tree.iter_dfs()]


def masses(river):
    return [[node.r_mass, node.l_mass] for node in nodes(river)]


def at_the_edges(rng, count, features=FEATURES, **settings):
    """Vectors of what splits tell apart: thresholds and the numbers next to them, both ends, and whatever between."""
    river = HalfSpaceTrees(**settings)
    river.learn_one(dict.fromkeys(features, 0.0))
    edges = {name: [0.0, -0.0, 1.0] for name in features}
    for node in nodes(river):
        if hasattr(node, "threshold"):
            near = node.threshold
            edges[node.feature] += [near, near, np.nextafter(near, 0.0), np.nextafter(near, 1.0)]
    columns = [rng.choice(edges[name], count) for name in features]
    between = rng.beta(1, 6, (count, len(features)))
    return np.where(rng.random(between.shape) < 0.7, np.stack(columns, axis=1), between)


def bits(number):
    return np.float64(number).tobytes()


def scored(own, x):
    halfspace.place(own.kept, x)
    return halfspace.score(own.kept)


def together(river, own, vectors, features=FEATURES):
    """Both score and learn; returns the scores once they agree."""
    scores = []
    for x in vectors:
        scores.append(scored(own, x))
        assert bits(scores[-1]) == bits(river.score_one(named(x, features)))
        halfspace.learn(own.kept)
        river.learn_one(named(x, features))
        assert halfspace.ready(own.kept) == (not river._first_window)
    return scores


@pytest.mark.parametrize("spread", [(1, 1), (1, 6), (0.2, 0.2)])
def test_scores_are_rivers(spread):
    vectors = np.random.default_rng(5).beta(*spread, (2100, len(FEATURES)))
    river, own = grown(**OURS)
    scores = together(river, own, vectors)
    assert set(scores[:250]) == {0.0}, "the first window"
    assert len(set(scores)) > 500, "enough to mean something"
    assert own.arrays()["masses"].tolist() == masses(river)


def test_a_number_at_a_threshold_goes_where_river_sends_it():
    vectors = at_the_edges(np.random.default_rng(6), 2100, **OURS)
    river, own = grown(**OURS)
    together(river, own, vectors)
    assert own.arrays()["masses"].tolist() == masses(river)


@pytest.mark.parametrize("corner", [0.0, 1.0])
def test_who_is_always_the_same_is_not_strange(corner):
    """All of a window in one leaf of each tree: the most mass there can be, and the least there can be beside it."""
    river, own = grown(**OURS)
    scores = together(river, own, np.full((600, len(FEATURES)), corner))
    assert bits(scores[-1]) == bits(0.0)
    far = np.full(len(FEATURES), 1.0 - corner)
    assert bits(scored(own, far)) == bits(river.score_one(named(far)))
    assert scored(own, far) > 0.9


@pytest.mark.parametrize(("trees", "height", "window", "width"), [(10, 8, 250, 3), (3, 1, 7, 1), (7, 4, 33, 20)])
def test_trees_of_other_shapes(trees, height, window, width):
    features = [f"f{place}" for place in range(width)]
    settings = {"n_trees": trees, "height": height, "window_size": window, "seed": 11}
    vectors = at_the_edges(np.random.default_rng(8), 3 * window + 100, features, **settings)
    river, own = grown(features, **settings)
    together(river, own, vectors, features)
    assert own.arrays()["masses"].tolist() == masses(river)


@pytest.mark.parametrize("learned", [0, 1, 100, 249, 250, 251, 600, 750])
def test_trees_go_on_after_a_restore(learned):
    """What is kept are River's own masses, node by node, and how far the window has come."""
    vectors = at_the_edges(np.random.default_rng(9), learned + 600, **OURS)
    river, own = grown(**OURS)
    together(river, own, vectors[:learned])
    kept = own.arrays()
    assert {name: array.dtype for name, array in kept.items()} == {"masses": np.int64, "progress": np.int64}
    assert kept["masses"].shape == (25 * 127, 2)
    if learned:
        assert kept["masses"].tolist() == masses(river)
    assert kept["progress"].tolist() == [river.counter, river._first_window]
    restored = grown(**OURS)[1]
    restored.load(kept)
    together(river, restored, vectors[learned:])
    assert not np.array_equal(kept["masses"], restored.arrays()["masses"]), "what is loaded is copied"
    halfspace.place(own.kept, vectors[0])
    halfspace.learn(own.kept)
    assert not np.array_equal(kept["masses"], own.arrays()["masses"]), "and what is kept"
