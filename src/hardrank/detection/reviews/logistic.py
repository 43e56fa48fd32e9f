"""Logistic regression with an L2 penalty: convex, so one answer and no seed."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit

__all__ = ["fit_logistic"]

Doubles = NDArray[np.float64]


def fit_logistic(
    features: sparse.csr_matrix | Doubles, labels: NDArray[np.bool_], *, penalty: float
) -> tuple[Doubles, float]:
    """(V,) weights w and bias b that minimise

        mean of weighted log(1 + exp(-y (x w + b))) + penalty / 2 * ||w||^2,  y = +-1

    Each class has half of the weight, whatever its size. features: (N, V). L-BFGS in float64
    from zero. Raises `ValueError` when a class is absent.
    """
    n = len(labels)
    if not 0 < labels.sum() < n:
        raise ValueError("both classes need an example")
    signs = np.where(labels, 1.0, -1.0)
    weights = np.where(labels, 0.5 / labels.sum(), 0.5 / (n - labels.sum()))

    def loss(at: Doubles) -> tuple[float, Doubles]:
        w, b = at[:-1], at[-1]
        margins = signs * (features @ w + b)
        pull = -signs * weights * expit(-margins)
        value = float(weights @ np.logaddexp(0.0, -margins)) + penalty / 2 * float(w @ w)
        return value, np.append(features.T @ pull + penalty * w, pull.sum())

    start = np.zeros(features.shape[1] + 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B",
                     options={"maxiter": 1000, "ftol": 1e-10, "gtol": 1e-7})  # fmt: skip
    return np.asarray(found.x[:-1]), float(found.x[-1])
