"""Are probabilities what they say?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hardrank.types import Floats

__all__ = ["Temperature", "brier", "expected_calibration_error", "temperature"]

_FLATTEST = 1e-6
"""Least slope over standardised scores: probabilities never fall where scores rise."""


@dataclass(frozen=True)
class Temperature:
    """Scores as probabilities of relevance: sigmoid(score / temperature + bias)."""

    temperature: float
    """Above 0, in units of the score."""
    bias: float
    """Log-odds at a score of 0: implicit data has few clicks, and scores have no zero."""

    def probabilities(self, scores: ArrayLike) -> Floats:
        """In (0, 1), of the shape of the scores, in their order."""
        from scipy.special import expit

        wide = np.asarray(scores, dtype=np.float64)
        found: Floats = expit(wide / self.temperature + self.bias).astype(np.float32)
        return found


def temperature(scores: ArrayLike, relevant: ArrayLike) -> Temperature:
    """The temperature and bias of least negative log-likelihood on validation pairs.

    Guo et al., ICML 2017, arXiv:1706.04599, section 4.2 (temperature) and 4.1 (Platt scaling:
    with a bias). Convex in 1 / temperature and bias. Labels are smoothed as Platt (1999,
    section 2.1) does, so that separable pairs have an optimum; where scores say nothing, or the
    opposite, all get about the share of relevant pairs. scores: (N,) finite; relevant: (N,) 0
    or 1. Raises `ValueError` for no pairs.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    s, y = np.asarray(scores, dtype=np.float64), np.asarray(relevant, dtype=np.float64)
    if not len(s):
        raise ValueError("calibration of no samples")
    yes = float(y.sum())
    no = len(y) - yes
    target = np.where(y > 0, (yes + 1) / (yes + 2), 1 / (no + 2))
    middle, width = float(s.mean()), float(s.std()) or 1.0
    z = (s - middle) / width

    def loss(at: Floats) -> tuple[float, Floats]:
        logit = at[0] * z + at[1]
        gap = (expit(logit) - target) / len(y)
        value = float(np.mean(np.logaddexp(0.0, logit) - target * logit))
        return value, np.asarray([gap @ z, gap.sum()])

    start = np.asarray([1.0, np.log((yes + 1) / (no + 1))])
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[(_FLATTEST, None), (None, None)],
        options={"ftol": 1e-14, "gtol": 1e-10, "maxiter": 500},
    )  # fmt: skip
    slope, bias = (float(v) for v in found.x)
    return Temperature(width / slope, bias - slope * middle / width)


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
