"""Boosted trees as plain arrays against scikit-learn's own."""

import numpy as np
import pytest
from safetensors.numpy import load, save
from sklearn.ensemble import GradientBoostingClassifier

from hardrank.detection.trees import Forest, exported, grown


def table(seed: int, rows: int = 200, columns: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.random((rows, columns))
    return x, (x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(0, 0.2, rows)) > 0.8


@pytest.mark.parametrize(("depth", "trees"), [(1, 5), (3, 40), (6, 20)])
def test_log_odds_are_those_of_scikit_learn(depth: int, trees: int) -> None:
    x, y = table(depth)
    model = GradientBoostingClassifier(
        init="zero", n_estimators=trees, max_depth=depth, random_state=0, subsample=0.8
    ).fit(x, y)
    other, _ = table(99, rows=500)
    ours = exported(model)(other)
    np.testing.assert_allclose(ours, model.decision_function(other), rtol=0, atol=1e-12)


def test_a_value_at_the_threshold_goes_where_scikit_learn_sends_it() -> None:
    x = np.repeat([[0.1], [0.2], [0.3], [0.4]], 10, axis=0)
    y = np.repeat([False, True, False, True], 10)
    model = GradientBoostingClassifier(init="zero", n_estimators=8, random_state=0).fit(x, y)
    forest = exported(model)
    cuts = np.unique(forest.threshold)[:, None]
    near = np.concatenate([cuts, cuts + 1e-9, cuts - 1e-9])
    np.testing.assert_allclose(forest(near), model.decision_function(near), rtol=0, atol=1e-12)


def test_a_forest_survives_a_file_without_pickle() -> None:
    x, y = table(1)
    forest = grown(
        x, y, np.ones(len(y)), trees=10, depth=3, learning_rate=0.1, subsample=0.7, seed=3
    )
    back = Forest.restore(load(save(forest.arrays())))
    np.testing.assert_array_equal(back(x), forest(x))
    assert back.left.dtype == np.int32


def test_same_seed_same_trees_and_another_seed_others() -> None:
    x, y = table(2)
    options = {"trees": 5, "depth": 2, "learning_rate": 0.1, "subsample": 0.5}
    one, two, other = (
        grown(x, y, np.ones(len(y)), seed=s, **options)  # type: ignore[arg-type]
        for s in (7, 7, 8)
    )
    np.testing.assert_array_equal(one.value, two.value)
    assert not np.array_equal(one(x), other(x))


def test_a_tree_worked_out_by_hand() -> None:
    """x0 <= 0.5: -1; else x1 <= 0.25: 2, else 3."""
    forest = Forest(
        left=np.array([[1, 1, 3, 3, 4]], np.int32),
        right=np.array([[2, 1, 4, 3, 4]], np.int32),
        feature=np.array([[0, 0, 1, 0, 0]], np.int32),
        threshold=np.array([[0.5, 0, 0.25, 0, 0]]),
        value=np.array([[0, -1.0, 0, 2.0, 3.0]]),
    )
    rows = np.array([[0.5, 0.9], [0.6, 0.25], [0.6, 0.3]])
    np.testing.assert_array_equal(forest(rows), [-1.0, 2.0, 3.0])
    assert forest(np.empty((0, 2))).shape == (0,)
