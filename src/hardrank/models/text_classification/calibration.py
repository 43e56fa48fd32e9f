"""Temperature scaling: one number that makes probabilities mean what they say."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from hardrank.metrics.calibration import expected_calibration_error
from hardrank.types import Floats, Ints

__all__ = ["Calibration", "fit_temperature", "scaled"]

_RANGE = (-6.0, 6.0)
"""Of the logarithm of the temperature."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What scaling did on the validation texts it was fitted on."""

    temperature: float = 1.0
    """Above 1 the raw network was over-confident."""
    ece_before: float = float("nan")
    """Expected calibration error, 15 bins, of the raw network."""
    ece_after: float = float("nan")
    n: int = 0
    """Validation texts; 0 where there were none and nothing was scaled."""


def scaled(logits: Floats, temperature: float) -> Floats:
    """(N, C) probabilities, softmax(logits / temperature)."""
    narrow: Floats = np.exp(log_softmax(logits.astype(np.float64) / temperature, axis=1)).astype(
        np.float32
    )
    return narrow


def fit_temperature(logits: Floats, labels: Ints) -> Calibration:
    """The temperature of least negative log-likelihood (convex in its inverse).

    Guo et al., ICML 2017, arXiv:1706.04599, section 4.2. Ours smooths the labels as Platt
    (1999, section 2.1) does, to (N + 1) / (N + C) and 1 / (N + C): without that, separable
    validation texts have their optimum at temperature 0. Classes keep their order, so no
    decision changes. logits: (N, C), labels: (N,).
    """
    if not len(labels):
        return Calibration()
    wide = logits.astype(np.float64)
    n, classes = wide.shape
    targets = np.full_like(wide, 1 / (n + classes))
    targets[np.arange(n), labels] = (n + 1) / (n + classes)

    def loss(log_temperature: float) -> float:
        logs = log_softmax(wide / np.exp(log_temperature), axis=1)
        return float(-(targets * logs).sum(axis=1).mean())

    found = minimize_scalar(loss, bounds=_RANGE, method="bounded", options={"xatol": 1e-6})
    temperature = float(np.exp(found.x))
    return Calibration(
        temperature=temperature,
        ece_before=expected_calibration_error(scaled(logits, 1.0), labels),
        ece_after=expected_calibration_error(scaled(logits, temperature), labels),
        n=len(labels),
    )
