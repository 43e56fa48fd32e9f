"""Bootstrap intervals over samples (users, targets) and seeds.

A value is missing (NaN) where a seed does not have a sample. Samples and seeds are crossed:
a draw takes N samples and, with more than one seed, S seeds, both with replacement, and
every seed drawn sees the same samples (the pigeonhole bootstrap; Owen, Annals of Applied
Statistics 1(2), 2007). Comparisons draw the same samples and seeds on both sides.

A bootstrap only sees how often each distinct column of values is drawn, and those counts
are multinomial. Metrics of a top 10 take eleven values, so drawing the counts is exact and
a hundred times cheaper than drawing 22,000 users two thousand times.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Interval",
    "bootstrap",
    "bootstrap_difference",
    "bootstrap_mean",
    "bootstrap_reduction",
    "pooled",
    "reduction",
    "wilson",
]

Doubles = NDArray[np.float64]
Statistic = Callable[[Sequence[Doubles]], Doubles]
"""From the pooled mean of each matrix, arrays of one shape, to the number of interest."""

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Interval:
    """A value between its 2.5 % and 97.5 % bounds. NaN: not defined; infinite: no bound."""

    value: float
    low: float
    high: float


def pooled(values: ArrayLike) -> float:
    """Mean of all values that are there; NaN when none is."""
    v = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(v)
    return float(v[known].mean()) if known.any() else float("nan")


def bootstrap_mean(values: ArrayLike, rng: np.random.Generator, draws: int = 2000) -> Interval:
    """Interval of the pooled mean. values: (S, N) or (N,), NaN where missing."""
    return bootstrap([values], lambda means: means[0], rng, draws=draws)


def bootstrap_difference(
    values: ArrayLike, versus: ArrayLike, rng: np.random.Generator, draws: int = 2000
) -> Interval:
    """Interval of mean(values) - mean(versus), paired by seed and sample."""
    return bootstrap([values, versus], _difference, rng, draws=draws)


def bootstrap_reduction(
    values: ArrayLike, versus: ArrayLike, rng: np.random.Generator, draws: int = 2000
) -> Interval:
    """Interval of 1 - mean(values) / mean(versus), paired: robustness drop (attacked versus
    clean), price (hardened versus control) and defence effect (gains, hardened versus control).

    Not defined where mean(versus) <= 0; draws in which that happens count as beyond either
    bound, so an effect on a control that hardly moved gets an honest, wide interval.
    """
    return bootstrap([values, versus], reduction, rng, draws=draws)


def bootstrap(
    matrices: Sequence[ArrayLike],
    statistic: Statistic,
    rng: np.random.Generator,
    *,
    draws: int = 2000,
) -> Interval:
    """Percentile interval of `statistic` of the pooled means of M matrices of one shape.

    matrices: (S, N) or (N,) each. Draws without a defined statistic (a mean of nothing)
    count as beyond either bound. Raises `ValueError` when shapes differ.
    """
    stack = np.stack([np.atleast_2d(np.asarray(m, dtype=np.float64)) for m in matrices])
    value = float(statistic([np.array([pooled(m)]) for m in stack])[0])
    if stack.size == 0 or np.isnan(value):
        return Interval(value, float("nan"), float("nan"))
    totals, counts = _drawn(stack, rng, draws)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = statistic(list(totals / counts))
    low = np.sort(np.where(np.isnan(drawn), -np.inf, drawn))
    high = np.sort(np.where(np.isnan(drawn), np.inf, drawn))
    cut = int(np.floor(0.025 * draws))
    return Interval(value, float(low[cut]), float(high[draws - 1 - cut]))


def wilson(successes: float, n: int) -> Interval:
    """Wilson score interval of a proportion (JASA 1927): not empty at 0 or n of n."""
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    p, z = successes / n, _Z95
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return Interval(p, float(max(0.0, middle - half)), float(min(1.0, middle + half)))


def reduction(means: Sequence[Doubles]) -> Doubles:
    """1 - a / b for each entry of two arrays; NaN where b is not above 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(means[1] > 0, 1 - means[0] / means[1], np.nan)


def _difference(means: Sequence[Doubles]) -> Doubles:
    return means[0] - means[1]


def _drawn(stack: Doubles, rng: np.random.Generator, draws: int) -> tuple[Doubles, Doubles]:
    """Sums of values, and how many, for each matrix and draw: two (M, draws). stack: (M, S, N)."""
    matrices, seeds, samples = stack.shape
    rows = stack.reshape(matrices * seeds, samples)
    known = ~np.isnan(rows)
    columns, counts = np.unique(
        np.concatenate([np.where(known, rows, 0.0), known]), axis=1, return_counts=True
    )
    out = np.empty((draws, len(columns)))
    step = max(1, 2**21 // len(counts))
    for start in range(0, draws, step):
        n = min(step, draws - start)
        out[start : start + n] = _weights(counts, n, rng) @ columns.T
    sums = out.reshape(draws, 2, matrices, seeds)
    chosen = np.ones((draws, seeds))
    if seeds > 1:
        chosen = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws).astype(np.float64)
    totals = np.einsum("dvms,ds->vmd", sums, chosen)
    return totals[0], totals[1]


def _weights(counts: NDArray[np.intp], draws: int, rng: np.random.Generator) -> Doubles:
    """(draws, distinct) how often each distinct column is drawn."""
    total = int(counts.sum())
    if len(counts) * 4 < total:
        return rng.multinomial(total, counts / total, size=draws).astype(np.float64)
    owner = np.repeat(np.arange(len(counts)), counts)
    drawn = rng.integers(0, total, size=(draws, total), dtype=np.int32)
    return np.stack([np.bincount(owner[row], minlength=len(counts)) for row in drawn]).astype(
        np.float64
    )
