"""How often a target is shown: exposure, its gain, and mean rank.

Eligible are the users who never interacted with the target. ER@k(t) = share of eligible
users whose top k holds t; the mean over targets is what is reported.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["exposure", "exposure_gain", "gini", "mean_rank", "ratio"]

Doubles = NDArray[np.float64]


def exposure(hits: ArrayLike, eligible: ArrayLike) -> Doubles:
    """(T,) hits / eligible, NaN for a target that nobody is eligible for."""
    return ratio(hits, eligible)


def ratio(part: ArrayLike, whole: ArrayLike) -> Doubles:
    """(T,) part / whole, NaN where whole is 0."""
    h, e = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    out = np.full(np.broadcast(h, e).shape, np.nan)
    np.divide(h, e, out=out, where=e > 0)
    return out


def exposure_gain(before: ArrayLike, after: ArrayLike, eligible: ArrayLike) -> Doubles:
    """(T,) ER after - ER before, from hit counts over the same eligible users."""
    return exposure(after, eligible) - exposure(before, eligible)


def mean_rank(ranks: ArrayLike, eligible: ArrayLike) -> Doubles:
    """(T,) mean over eligible users. ranks: (U, T); eligible: (U, T) booleans."""
    r, e = np.asarray(ranks, dtype=np.float64), np.asarray(eligible, dtype=np.bool_)
    total = np.where(e, r, 0.0).sum(axis=0)
    count = e.sum(axis=0)
    return ratio(total, count)


def gini(shown: ArrayLike) -> float:
    """Inequality of exposure: 0 when all items are shown alike, towards 1 when one takes all.

    shown: (I,) how often each item was shown, >= 0. NaN when nothing was shown.
    """
    x = np.sort(np.asarray(shown, dtype=np.float64))
    if x.sum() == 0:
        return float("nan")
    n = len(x)
    return float((2 * np.arange(1, n + 1) - n - 1) @ x / (n * x.sum()))
