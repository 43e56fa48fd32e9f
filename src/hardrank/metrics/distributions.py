"""How far two samples or two histograms lie apart: what a forged profile is told by."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["jensen_shannon", "kolmogorov_smirnov", "total_variation"]

Doubles = NDArray[np.float64]


def total_variation(p: ArrayLike, q: ArrayLike) -> float:
    """Half the sum of absolute differences of two histograms over the same bins, each scaled
    to sum 1: 0 where they are alike, 1 where they share no bin. NaN where one is empty."""
    a, b = _shares(p), _shares(q)
    return float(np.abs(a - b).sum() / 2)


def jensen_shannon(p: ArrayLike, q: ArrayLike) -> float:
    """Jensen-Shannon divergence in bits, in [0, 1], of two histograms over the same bins (Lin,
    IEEE Transactions on Information Theory 37, 1991, section IV). NaN where one is empty."""
    a, b = _shares(p), _shares(q)
    middle = (a + b) / 2
    return (_relative_entropy(a, middle) + _relative_entropy(b, middle)) / 2


def kolmogorov_smirnov(first: ArrayLike, second: ArrayLike) -> float:
    """Greatest difference of the two empirical distribution functions, in [0, 1]. NaN where a
    sample is empty."""
    a, b = (np.sort(np.asarray(x, dtype=np.float64)) for x in (first, second))
    if not len(a) or not len(b):
        return float("nan")
    steps = np.concatenate([a, b])
    below = [np.searchsorted(x, steps, side="right") / len(x) for x in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


def _shares(counts: ArrayLike) -> Doubles:
    x = np.asarray(counts, dtype=np.float64)
    total = x.sum()
    return x / total if total > 0 else np.full(x.shape, np.nan)


def _relative_entropy(p: Doubles, q: Doubles) -> float:
    if np.isnan(p).any() or np.isnan(q).any():
        return float("nan")
    there = p > 0
    return float((p[there] * np.log2(p[there] / q[there])).sum())
