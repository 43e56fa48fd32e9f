"""How well scores tell few positives from many negatives, at the false alarms one can bear.

Scores: higher is more suspicious,
-inf for who is never flagged.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hardrank.errors import DataError
from hardrank.metrics import classification

__all__ = [
    "Judged",
    "auroc",
    "average_precision",
    "bootstrap_judged",
    "recall_at_fpr",
    "roc_curve",
    "threshold_at_fpr",
]

Doubles = NDArray[np.float64]
Statistic = Callable[[Doubles, NDArray[np.bool_]], float]
"""From scores (N,) and labels (N,) to a number, NaN where it is not defined."""


@dataclass(frozen=True, eq=False)
class Judged:
    """The scores of one log. The same negatives may stand in many logs."""

    scores: Doubles
    """(N,)"""
    labels: NDArray[np.bool_]
    """(N,) True for a positive."""
    who: NDArray[np.int64]
    """(N,) number of the negative, equal in all logs it stands in; of positives it is not read."""


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """P(score of a positive > score of a negative) + half the ties. scores, labels: (N,); NaN
    when a class is absent."""
    return classification.roc_auc(labels, scores)


def average_precision(scores: ArrayLike, labels: ArrayLike) -> float:
    """sum over thresholds of (recall step) * precision; ties form one threshold. scores, labels:
    (N,); NaN when there is no positive. Chance gives the share of positives."""
    return classification.average_precision(labels, scores)


def threshold_at_fpr(negatives: ArrayLike, fpr: float) -> float:
    """Lowest of the scores (or -inf) above which at most a share `fpr` of the negatives lies.

    negatives: (N,) scores; fpr in [0, 1]. Flagged is who is above, so a tie with the threshold
    is not. Raises `DataError` for no negatives or another share.
    """
    s = np.sort(np.asarray(negatives, dtype=np.float64))[::-1]
    if not len(s) or not 0 <= fpr <= 1:
        raise DataError(f"a threshold needs negatives (has {len(s)}) and a share (is {fpr})")
    allowed = int(np.floor(fpr * len(s) + 1e-9))
    return float(s[allowed]) if allowed < len(s) else -np.inf


def recall_at_fpr(scores: ArrayLike, labels: ArrayLike, fpr: float) -> float:
    """Share of positives above the threshold that flags at most a share `fpr` of negatives.

    scores: (N,); labels: (N,) booleans. A positive that ties with the threshold is missed, and
    so is one that is never flagged (-inf). NaN when a class is absent.
    """
    y, s = np.asarray(labels, dtype=np.bool_), np.asarray(scores, dtype=np.float64)
    if y.all() or not y.any():
        return float("nan")
    return float((s[y] > threshold_at_fpr(s[~y], fpr)).mean())


def roc_curve(scores: ArrayLike, labels: ArrayLike) -> tuple[Doubles, Doubles, Doubles]:
    """False positive rate, recall and score of each point, from (0, 0) at inf to (1, 1).

    scores: (N,); labels: (N,) booleans. Equal scores make one point: with a score of `t[n]` or
    more flagged, rates are `fpr[n]` and `tpr[n]`. Raises `DataError` when a class is absent.
    """
    y, s = np.asarray(labels, dtype=np.bool_), np.asarray(scores, dtype=np.float64)
    if y.all() or not y.any():
        raise DataError("a curve needs positives and negatives")
    order = np.argsort(-s, kind="stable")
    y, s = y[order], s[order]
    ends = np.append(np.flatnonzero(s[1:] != s[:-1]), len(s) - 1)
    found, wrong = np.cumsum(y)[ends], np.cumsum(~y)[ends]
    tpr, fpr = np.append(0.0, found / found[-1]), np.append(0.0, wrong / wrong[-1])
    return fpr, tpr, np.append(np.inf, s[ends])


def bootstrap_judged(
    logs: Sequence[Judged],
    statistics: Sequence[Statistic],
    rng: np.random.Generator,
    *,
    draws: int = 500,
) -> Doubles:
    """(len(statistics), 3): each statistic's mean over the logs and its 95 % bounds.

    A draw takes logs, negatives and each log's positives with replacement; a negative drawn
    twice is twice in every log (negatives and logs are crossed: Owen, Annals of Applied
    Statistics 1(2), 2007). Undefined draws count as beyond either bound. Raises `DataError`
    for no logs.
    """
    if not logs:
        raise DataError("no log was judged")
    value = _means(logs, statistics)
    size = max(int(log.who[~log.labels].max(initial=-1)) for log in logs) + 1
    crowd = np.unique(np.concatenate([log.who[~log.labels] for log in logs]))
    drawn = np.empty((draws, len(statistics)))
    for n in range(draws):
        times = np.bincount(rng.choice(crowd, size=len(crowd)), minlength=size)
        chosen = rng.integers(0, len(logs), size=len(logs))
        drawn[n] = _means([_resampled(logs[c], times, rng) for c in chosen], statistics)
    cut = int(np.floor(0.025 * draws))
    low = np.sort(np.where(np.isnan(drawn), -np.inf, drawn), axis=0)[cut]
    high = np.sort(np.where(np.isnan(drawn), np.inf, drawn), axis=0)[draws - 1 - cut]
    return np.stack([value, low, high], axis=1)


def _means(logs: Sequence[Judged], statistics: Sequence[Statistic]) -> Doubles:
    found = [[statistic(log.scores, log.labels) for statistic in statistics] for log in logs]
    return np.asarray(np.mean(found, axis=0), dtype=np.float64)


def _resampled(log: Judged, times: NDArray[np.intp], rng: np.random.Generator) -> Judged:
    negatives, positives = np.flatnonzero(~log.labels), np.flatnonzero(log.labels)
    rows = np.repeat(negatives, times[log.who[negatives]])
    if len(positives):
        rows = np.concatenate([rows, rng.choice(positives, size=len(positives))])
    return Judged(log.scores[rows], log.labels[rows], log.who[rows])
