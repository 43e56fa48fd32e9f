"""How far two samples are apart: plain functions of numbers."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["jensen_shannon", "kolmogorov_smirnov", "total_variation"]

Shares = NDArray[np.float64]


def kolmogorov_smirnov(one: ArrayLike, other: ArrayLike) -> float:
    """Largest distance of the two distribution functions, in [0, 1]. Raises `ValueError` for an
    empty sample."""
    a, b = np.sort(np.asarray(one, np.float64)), np.sort(np.asarray(other, np.float64))
    if not len(a) or not len(b):
        raise ValueError("the distance of an empty sample")
    points = np.concatenate([a, b])
    below = np.searchsorted(a, points, "right") / len(a)
    return float(np.abs(below - np.searchsorted(b, points, "right") / len(b)).max())


def total_variation(one: ArrayLike, other: ArrayLike) -> float:
    """Half the sum of |p - q|, in [0, 1], of two rows of counts or weights."""
    p, q = _shares(one), _shares(other)
    return float(np.abs(p - q).sum() / 2)


def jensen_shannon(one: ArrayLike, other: ArrayLike) -> float:
    """Jensen-Shannon distance: the root of the divergence in bits, in [0, 1] (Endres &
    Schindelin 2003, IEEE Trans. Inf. Theory 49)."""
    p, q = _shares(one), _shares(other)
    middle = (p + q) / 2
    return float(np.sqrt(max((_bits(p, middle) + _bits(q, middle)) / 2, 0.0)))


def _shares(counts: ArrayLike) -> Shares:
    values = np.asarray(counts, np.float64)
    if not values.sum() > 0:
        raise ValueError("the distance of an empty sample")
    made: Shares = values / values.sum()
    return made


def _bits(p: Shares, q: Shares) -> float:
    some = p > 0
    return float((p[some] * np.log2(p[some] / q[some])).sum())
