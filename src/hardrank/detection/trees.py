"""Boosted trees as plain arrays: grown by scikit-learn, read and walked by numpy alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Forest", "exported", "grown"]

Doubles = NDArray[np.float64]
_EMPTY = -2
"""What scikit-learn writes where a leaf has no feature."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Forest:
    """T trees of at most M nodes each, node 0 the root. A leaf is its own child."""

    left: NDArray[np.int32]
    """(T, M) where a row goes whose feature is at most the threshold."""
    right: NDArray[np.int32]
    """(T, M) where all others go."""
    feature: NDArray[np.int32]
    """(T, M) column that a node looks at; 0 in a leaf."""
    threshold: Doubles
    """(T, M)"""
    value: Doubles
    """(T, M) what a leaf adds to the log-odds; 0 elsewhere."""

    def __call__(self, x: Doubles) -> Doubles:
        """(N,) log-odds. x: (N, F), compared in single precision, as scikit-learn does."""
        single = np.ascontiguousarray(x, dtype=np.float32)
        rows, out = np.arange(len(single)), np.zeros(len(single))
        for tree in range(len(self.left)):
            out += self.value[tree][self._leaves(tree, single, rows)]
        return out

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]]) -> "Forest":
        """The inverse of `arrays`. Raises `KeyError` for an array that is missing."""
        return cls(**{name: arrays[name] for name in cls.__dataclass_fields__})

    def _leaves(
        self, tree: int, x: NDArray[np.float32], rows: NDArray[np.intp]
    ) -> NDArray[np.int32]:
        node = np.zeros(len(x), dtype=np.int32)
        while True:
            goes = x[rows, self.feature[tree][node]] <= self.threshold[tree][node]
            following = np.where(goes, self.left[tree][node], self.right[tree][node])
            if (following == node).all():
                return node
            node = following


def exported(model: Any) -> Forest:
    """From a fitted `GradientBoostingClassifier` of two classes that began at zero log-odds
    (`init="zero"`): its public arrays alone."""
    trees = [stage[0].tree_ for stage in model.estimators_]
    shape = len(trees), max(tree.node_count for tree in trees)
    left = np.tile(np.arange(shape[1], dtype=np.int32), (shape[0], 1))
    right, feature = left.copy(), np.zeros(shape, dtype=np.int32)
    threshold, value = np.zeros(shape), np.zeros(shape)
    for n, tree in enumerate(trees):
        inner = np.flatnonzero(tree.feature != _EMPTY)
        leaf = np.flatnonzero(tree.feature == _EMPTY)
        left[n, inner], right[n, inner] = tree.children_left[inner], tree.children_right[inner]
        feature[n, inner], threshold[n, inner] = tree.feature[inner], tree.threshold[inner]
        value[n, leaf] = model.learning_rate * tree.value[leaf, 0, 0]
    return Forest(left=left, right=right, feature=feature, threshold=threshold, value=value)


def grown(
    x: Doubles, y: NDArray[np.bool_], weight: Doubles, *, trees: int, depth: int,
    learning_rate: float, subsample: float, seed: int,
) -> Forest:  # fmt: skip
    """Gradient boosting of the log-loss (Friedman, Annals of Statistics 29(5), 2001).

    x: (N, F); y: (N,) both classes; weight: (N,) above 0; subsample: share of rows of a tree.
    """
    from sklearn.ensemble import GradientBoostingClassifier

    model = GradientBoostingClassifier(
        init="zero", n_estimators=trees, max_depth=depth, learning_rate=learning_rate,
        subsample=subsample, max_features="sqrt", random_state=seed % 2**32,
    )  # fmt: skip
    return exported(model.fit(x, y, sample_weight=weight))
