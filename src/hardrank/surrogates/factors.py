"""Weighted matrix factorisation by alternating least squares: the half-sweeps.

Hu, Koren and Volinsky, ICDM 2008: an event weighs 1 + alpha, a missing one 1, so that a row
r of touched items solves (V'V + alpha V' diag(r) V + weight I) p = (1 + alpha) V' r.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hardrank.context import derive

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Ridge", "begun", "fold", "half", "outer", "settled", "sums"]

Array = NDArray[Any]
"""Of single or of double numbers."""
_CHUNK = 2048


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """How a row of events is solved for."""

    alpha: float
    weight: float


def begun(items: int, size: int, seed: int, round_: int = 0) -> Array:
    """(I, D) random item vectors that sweeps begin from; others for each round."""
    rng = np.random.default_rng(derive(seed, "surrogate", "factors", round_))
    return 0.1 * rng.standard_normal((items, size))


def outer(vectors: Any) -> Any:
    """(N, D) -> (N, D * D) each vector times itself; arrays or tensors."""
    return (vectors[:, :, None] * vectors[:, None, :]).reshape(len(vectors), vectors.shape[1] ** 2)


def sums(rows: Any, other: Array, ridge: Ridge) -> tuple[Array, Array]:
    """Left and right sides (N, D, D), (N, D) of the N systems, without what all share.

    rows: (N, M) SciPy CSR of ones; other: (M, D).
    """
    size = other.shape[1]
    left = (rows @ outer(other)).reshape(-1, size, size) * ridge.alpha
    return left, (rows @ other) * (1 + ridge.alpha)


def half(rows: Any, other: Array, ridge: Ridge) -> Array:
    """(N, D) vectors of all rows, given those of the other side, (M, D)."""
    shared = other.T @ other + ridge.weight * np.eye(other.shape[1], dtype=other.dtype)
    out = []
    for start in range(0, rows.shape[0], _CHUNK):
        left, right = sums(rows[start : start + _CHUNK], other, ridge)
        out.append(np.linalg.solve(left + shared, right[..., None])[..., 0])
    return np.concatenate(out)


def settled(touched: Any, items: Array, ridge: Ridge, sweeps: int) -> tuple[Array, Array]:
    """User (U, D) and item (I, D) vectors after so many sweeps from these item vectors.

    The users come last: they are solved for the items as they stand.
    """
    across = touched.T.tocsr()
    users = half(touched, items, ridge)
    for _ in range(sweeps):
        items = half(across, users, ridge)
        users = half(touched, items, ridge)
    return users, items


def fold(selection: "Tensor", items: "Tensor", ridge: Ridge) -> "Tensor":
    """(P, D) vectors of fake users, differentiable in their selection (P, I)."""
    import torch

    size = items.shape[1]
    shared = items.T @ items + ridge.weight * torch.eye(size, dtype=items.dtype)
    left = (selection @ outer(items)).reshape(len(selection), size, size)
    left = left * ridge.alpha + shared
    right = (selection @ items) * (1 + ridge.alpha)
    out: Tensor = torch.linalg.solve(left, right[..., None])[..., 0]
    return out
