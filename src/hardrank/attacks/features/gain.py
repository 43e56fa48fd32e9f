"""What numbers are worth to the attacker: what all feature attacks share."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hardrank.threats import Demote, Promote
from hardrank.threats.features import FeatureRankView, FeatureScoreView
from hardrank.types import Floats, Ints

__all__ = ["Gain", "gain_of"]

Gain = Callable[[Floats], NDArray[np.float64]]
"""(N, F) -> (N,); N queries."""


def gain_of(view: FeatureRankView, goal: Promote | Demote) -> tuple[Gain, float]:
    """The gain, and that of the features as they are.

    The log soft exposure of `hardrank.attacks.aim`: of margins to the k-th score where scores
    are seen, of log(k + 1/2) - log(rank) else; negative to demote.
    """
    sign = 1.0 if isinstance(goal, Promote) else -1.0
    if isinstance(view, FeatureScoreView):
        scored = view
        standing = view.standing_margins().astype(np.float64)
        spread = _spread(standing)

        def by_score(values: Floats) -> NDArray[np.float64]:
            return sign * _soft(scored.margins(values).astype(np.float64) / spread)

        return by_score, float(sign * _soft(standing[:, None] / spread)[0])
    now = _log_margin(view.standing_ranks(), view.k)
    spread = _spread(now)

    def by_rank(values: Floats) -> NDArray[np.float64]:
        return sign * _soft(_log_margin(view.ranks(values), view.k) / spread)

    return by_rank, float(sign * _soft(now[:, None] / spread)[0])


def _log_margin(ranks: Ints, k: int) -> NDArray[np.float64]:
    out: NDArray[np.float64] = np.log(k + 0.5) - np.log(ranks.astype(np.float64))
    return out


def _spread(margins: NDArray[np.float64]) -> float:
    known = margins[np.isfinite(margins)]
    spread = float(known.std()) if known.size else 0.0
    return spread if spread > 0 else 1.0


def _soft(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) of (E, N)."""
    if not len(margins):
        return np.zeros(margins.shape[1])
    out: NDArray[np.float64] = np.logaddexp.reduce(-np.logaddexp(0.0, -margins), axis=0)
    return out
