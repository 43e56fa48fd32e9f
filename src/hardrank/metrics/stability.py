"""How alike a clean and an attacked list are."""

from collections.abc import Sequence

import numpy as np

from hardrank.types import Ranks

__all__ = ["jaccard", "jaccard_rows", "rbo", "rbo_rows"]


def rbo(a: Sequence[int], b: Sequence[int], *, p: float = 0.9) -> float:
    """Rank-biased overlap of two lists of equal length K, extrapolated: 1 for equal lists.

    Webber, Moffat, Zobel, "A similarity measure for indefinite rankings", TOIS 2010,
    eq. 32 with equal depths: `X_K/K p^K + (1-p)/p sum_d X_d/d p^d`. `p` in (0, 1) is the
    chance that a reader goes on to the next place.
    Raises `ValueError` when the lists differ in length, are empty, or repeat an item.
    """
    if len(a) != len(b) or not len(a):
        raise ValueError(f"lists must be non-empty and equally long (are {len(a)}, {len(b)})")
    if len(set(a)) != len(a) or len(set(b)) != len(b):
        raise ValueError("a list names an item twice")
    seen_a: set[int] = set()
    seen_b: set[int] = set()
    overlap, total = 0, 0.0
    for depth, (x, y) in enumerate(zip(a, b, strict=True), 1):
        overlap += (x in seen_b) + (y in seen_a) + (x == y)
        seen_a.add(x)
        seen_b.add(y)
        total += overlap / depth * p**depth
    return overlap / len(a) * p ** len(a) + (1 - p) / p * total


def jaccard(a: Sequence[int], b: Sequence[int]) -> float:
    """|a & b| / |a | b|; 1 for two empty lists."""
    left, right = set(a), set(b)
    return len(left & right) / len(left | right) if left or right else 1.0


def rbo_rows(a: Ranks, b: Ranks, *, p: float = 0.9) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(Q,) `rbo` of each pair of rows. a, b: (Q, K)."""
    return np.array([rbo(x, y, p=p) for x, y in zip(a.tolist(), b.tolist(), strict=True)])


def jaccard_rows(a: Ranks, b: Ranks) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(Q,) `jaccard` of each pair of rows. a, b: (Q, K)."""
    return np.array([jaccard(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)])
