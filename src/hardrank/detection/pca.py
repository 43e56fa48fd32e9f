"""Users who vary together: principal components of the users."""

from typing import Any, Literal

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from hardrank.data import Dataset
from hardrank.detection.parts import Log, Numbers, judged, read
from hardrank.types import Count, Floats, Ints, spec

__all__ = ["PcaSelect"]

_SMALL = 64
"""Users up to whom the components are computed from the dense matrix."""


@spec
class PcaSelect:
    """PCA variable selection: users with the smallest weights in the leading components.

    Mehta & Nejdl, UMUAI 19, 2009, section 4. Users are the variables: each row of the
    user-item matrix (0 where there is no event) is scaled to mean 0 and variance 1, and a
    user's score is minus the logarithm of the sum of his squared weights in the first
    `components` eigenvectors of the users' covariance. Random fillers go along with nobody; copied
    profiles, and an attack large enough to be a component of its own, hide from it. The paper
    removes as many users as were added; here nothing knows how many that were.
    """

    kind: Literal["pca-select"] = "pca-select"
    components: Count = 3
    """Leading principal components, as in the paper."""

    def __call__(self, dataset: Dataset) -> Floats:
        """(U,); NaN for users with fewer than two items, or with all of them."""
        log = read(dataset)
        out = np.full(log.n_users, np.nan)
        sd = _deviation(log)
        rows = np.flatnonzero((log.lengths >= 2) & (sd > 1e-12))
        if len(rows) > 1:
            out[rows] = -np.log(
                _weights(log, rows, sd[rows], min(self.components, len(rows) - 1)) + 1e-12
            )
        return judged(log, out)


def _deviation(log: Log) -> Numbers:
    mean = np.asarray(log.values.mean(axis=1)).ravel()
    square = np.asarray(log.values.multiply(log.values).mean(axis=1)).ravel()
    return np.asarray(np.sqrt(np.maximum(square - mean**2, 0.0)))


def _weights(log: Log, rows: Ints, sd: Numbers, k: int) -> Numbers:
    """(rows,) sums of squares in the first k eigenvectors of Z Z', Z the z-scored rows."""
    part = log.values[rows]
    mean, scale = np.asarray(part.mean(axis=1)).ravel(), 1 / sd

    def covariance(vector: Numbers) -> Numbers:
        flat = vector.ravel()
        items = part.T @ (scale * flat) - (scale * mean) @ flat
        out: Numbers = scale * (part @ items - mean * items.sum())
        return out

    n = len(rows)
    if n <= _SMALL:
        dense = np.column_stack([covariance(unit) for unit in np.eye(n)])
        vectors: Any = np.linalg.eigh(dense)[1][:, -k:]
    else:
        # a start that moves with the users: the answer is the same in any order
        start = scale / np.linalg.norm(scale)
        operator = LinearOperator((n, n), matvec=covariance, dtype=np.float64)
        vectors = eigsh(operator, k=k, v0=start)[1]
    return np.asarray((vectors**2).sum(axis=1))
