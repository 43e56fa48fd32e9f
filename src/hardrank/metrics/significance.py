"""Is a paired difference real? Tests that assume no distribution.

Where few distinct differences occur (ranks of a top 10 give some hundred), how many of each
change their sign is binomial: drawing those counts is the same test, a hundred times cheaper.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

__all__ = ["Side", "sign_flip"]

Side = Literal["two-sided", "less", "greater"]
_EXACT = 14
"""Differences up to which all 2^n sign patterns are counted instead of drawn."""
_CELLS = 2 * 10**7
"""Numbers drawn in all: a second or so."""


def sign_flip(
    differences: ArrayLike,
    rng: np.random.Generator,
    *,
    side: Side = "two-sided",
    draws: int = 9999,
) -> float:
    """p of the sign-flip permutation test that paired differences are symmetric about 0.

    differences: (N,), NaN where missing; zeros say nothing and are left out. Up to 14 others:
    exact, over all sign patterns; of differences of one size too (of yes-or-no answers this is
    McNemar's exact test, Psychometrika 12, 1947). Beyond: (1 + draws at least as extreme) /
    (1 + draws), which is never 0 (Phipson and Smyth, 2010); of more than 2,000 distinct sizes
    fewer draws are made, 999 at least. `greater`: the mean is above 0. NaN without a difference
    that is there, 1 where all of them are 0.
    """
    d = np.asarray(differences, dtype=np.float64)
    d = d[~np.isnan(d)]
    if not len(d):
        return float("nan")
    d = d[d != 0]
    if not len(d):
        return 1.0
    seen = float(d.sum())
    if len(d) <= _EXACT:
        return float(_extreme(_patterns(len(d)) @ d, seen, side).mean())
    sizes, counts = np.unique(np.abs(d), return_counts=True)
    if len(sizes) == 1:
        return float(binomtest(int((d > 0).sum()), len(d), 0.5, alternative=side).pvalue)
    draws, beyond = max(min(draws, _CELLS // len(counts)), min(draws, 999)), 0
    for start in range(0, draws, rows := max(1, _CELLS // 10 // len(counts))):
        positive = rng.binomial(counts, 0.5, size=(min(rows, draws - start), len(counts)))
        beyond += int(_extreme((2 * positive - counts) @ sizes, seen, side).sum())
    return (1 + beyond) / (1 + draws)


def _extreme(sums: NDArray[np.float64], seen: float, side: Side) -> NDArray[np.bool_]:
    slack = 1e-9 * max(abs(seen), 1e-300)  # equal sums in another order of addition
    if side == "greater":
        return sums >= seen - slack
    if side == "less":
        return sums <= seen + slack
    return np.abs(sums) >= abs(seen) - slack


def _patterns(n: int) -> NDArray[np.float64]:
    """(2^n, n) every pattern of signs."""
    bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    signs: NDArray[np.float64] = (2 * bits - 1).astype(np.float64)
    return signs
