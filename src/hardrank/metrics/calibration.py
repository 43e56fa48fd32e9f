"""Are probabilities what they say?"""

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["brier", "expected_calibration_error"]


def expected_calibration_error(
    probabilities: ArrayLike, labels: ArrayLike, *, bins: int = 15
) -> float:
    """ECE of the predicted class, in [0, 1]: |accuracy - confidence| averaged over bins.

    Guo et al., ICML 2017, eq. 3: `bins` equal-width, right-closed bins of the confidence
    max_c p_c, weighted by their share of samples. probabilities: (N, C), or (N,) for the
    positive class of two; labels: (N,) in 0..C-1. Raises `ValueError` for N = 0.
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if not len(y):
        raise ValueError("calibration of no samples")
    if p.ndim == 1:
        p = np.stack([1 - p, p], axis=1)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(y))


def brier(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean of sum_c (p_c - [y = c])^2, in [0, 2]. probabilities: (N, C); labels: (N,)."""
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    truth = np.zeros_like(p)
    truth[np.arange(len(y)), y] = 1.0
    return float(((p - truth) ** 2).sum(axis=1).mean())
