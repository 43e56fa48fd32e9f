"""Groups of vectors, as many as held-out vectors bear out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hardrank.types import Floats, Ints

__all__ = ["Groups", "grouped", "k_means", "silhouette"]

Doubles = NDArray[np.float64]
_STARTS = 4
"""First centres that are tried; the tightest outcome counts."""
_ROUNDS = 100
_FOLDS = 5
_LOOKED_AT = 2000
"""Held vectors in one silhouette, at most: it compares all pairs."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Groups:
    """K groups, each by its centre."""

    centres: Doubles
    """(K, D)."""
    tried: Mapping[int, float] = field(default_factory=dict)
    """Number of groups -> its mean silhouette on held points; empty if the number was given."""

    def __len__(self) -> int:
        return len(self.centres)

    def distances(self, points: Floats) -> Doubles:
        """(N, K) squared distance of each point to each centre, each of its point alone."""
        x = points.astype(np.float64)
        return np.stack([((x - centre) ** 2).sum(1) for centre in self.centres], axis=1)

    def assign(self, points: Floats) -> Ints:
        """(N,) the nearest group of each point, of equals the first."""
        return np.asarray(self.distances(points).argmin(1), dtype=np.int64)


def grouped(
    points: Floats, rng: np.random.Generator, *, number: int | None = None, least: int = 2,
    most: int = 12,
) -> Groups:  # fmt: skip
    """k-means groups of (N, D) points, largest first, equals by centre.

    number: of groups; None tries `least` to `most` (fewer where points are few) and takes the
    best mean silhouette of held points (Rousseeuw, J. Comput. Appl. Math. 20, 1987; five
    folds, each placed by centres that were fitted to the others).
    """
    distinct = len(np.unique(points, axis=0))
    most = max(min(most, distinct // 2), 1)
    tried: dict[int, float] = {}
    if number is None:
        tried = {k: _held(points, k, rng) for k in range(min(least, most), most + 1)}
        number = max(tried, key=lambda k: (tried[k], -k))
    centres = k_means(points, min(number, distinct), rng)
    sizes = np.bincount(Groups(centres=centres).assign(points), minlength=len(centres))
    order = sorted(range(len(centres)), key=lambda k: (-sizes[k], *centres[k]))
    return Groups(centres=centres[order], tried=tried)


def k_means(
    points: Floats, number: int, rng: np.random.Generator, *, starts: int = _STARTS
) -> Doubles:
    """(K, D) centres by Lloyd's algorithm from k-means++ starts (Arthur & Vassilvitskii, SODA
    2007). One thread and fixed order of sums: the same points and rng, the same bits."""
    x = points.astype(np.float64)
    found = [_lloyd(x, _spread_start(x, number, rng)) for _ in range(starts)]
    return min(found, key=lambda pair: pair[0])[1]


def silhouette(points: Floats, labels: Ints) -> Doubles:
    """(N,) of each point in [-1, 1]; all 0 where there are not two groups to compare."""
    from sklearn.metrics import silhouette_samples

    distinct = len(np.unique(labels))
    if not 2 <= distinct < len(points):
        return np.zeros(len(points))
    return np.asarray(silhouette_samples(points.astype(np.float64), labels), dtype=np.float64)


def _held(points: Floats, number: int, rng: np.random.Generator) -> float:
    fold = rng.permutation(np.arange(len(points)) % _FOLDS)
    scores = []
    for held in range(_FOLDS):
        centres = k_means(points[fold != held], number, rng, starts=2)
        shown = points[_some(np.flatnonzero(fold == held), rng)]
        scores.append(float(silhouette(shown, Groups(centres=centres).assign(shown)).mean()))
    return float(np.mean(scores))


def _some(rows: Ints, rng: np.random.Generator) -> Ints:
    """At most `_LOOKED_AT` of them, drawn: the first ones are alike where points are sorted."""
    if len(rows) <= _LOOKED_AT:
        return rows
    return np.sort(rng.choice(rows, size=_LOOKED_AT, replace=False))


def _spread_start(x: Doubles, number: int, rng: np.random.Generator) -> Doubles:
    """k-means++: each next centre is drawn by its squared distance to those before."""
    chosen = [int(rng.integers(len(x)))]
    near = ((x - x[chosen[0]]) ** 2).sum(1)
    for _ in range(number - 1):
        total = float(near.sum())
        odds = near / total if total > 0 else None
        chosen.append(int(rng.choice(len(x), p=odds)))
        near = np.minimum(near, ((x - x[chosen[-1]]) ** 2).sum(1))
    return x[chosen].copy()


def _lloyd(x: Doubles, centres: Doubles) -> tuple[float, Doubles]:
    """Sum of squared distances, and centres; an empty group keeps its centre."""
    labels = np.full(len(x), -1)
    squares = (x**2).sum(1)
    for _ in range(_ROUNDS):
        apart = squares[:, None] - 2 * x @ centres.T + (centres**2).sum(1)
        nearest = apart.argmin(1)
        if np.array_equal(nearest, labels):
            break
        labels = nearest
        counts = np.bincount(labels, minlength=len(centres))
        for d in range(x.shape[1]):
            sums = np.bincount(labels, weights=x[:, d], minlength=len(centres))
            centres[counts > 0, d] = sums[counts > 0] / counts[counts > 0]
    return float(((x - centres[labels]) ** 2).sum()), centres
