"""Accuracy, precision, recall, F1, and the areas under ROC and precision-recall curves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ClassReport", "accuracy", "average_precision", "class_report", "roc_auc"]


@dataclass(frozen=True)
class ClassReport:
    """Each (C,). A ratio of nothing (class never predicted, or never true) is 0."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]


def accuracy(labels: ArrayLike, predicted: ArrayLike) -> float:
    """Share of equal entries; NaN for no samples."""
    y, p = np.asarray(labels), np.asarray(predicted)
    return float((y == p).mean()) if len(y) else float("nan")


def class_report(labels: ArrayLike, predicted: ArrayLike, classes: int) -> ClassReport:
    """Precision, recall, F1 and support of each of `classes` classes. labels, predicted: (N,)
    in 0..classes-1."""
    y, p = np.asarray(labels, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    right = np.bincount(y[y == p], minlength=classes)
    said, true = np.bincount(p, minlength=classes), np.bincount(y, minlength=classes)
    return ClassReport(
        precision=_ratio(right, said),
        recall=_ratio(right, true),
        f1=_ratio(2 * right, said + true),
        support=true.astype(np.int64),
    )


def roc_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """P(score of a positive > score of a negative) + half the ties (Mann-Whitney).

    labels: (N,) booleans or 0/1; scores: (N,). NaN when a class is absent.
    """
    y, s = np.asarray(labels, dtype=np.bool_), np.asarray(scores)
    positives, negatives = int(y.sum()), int((~y).sum())
    if not positives or not negatives:
        return float("nan")
    _, group, counts = np.unique(s, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mid_ranks = last - (counts - 1) / 2
    return float(
        (mid_ranks[group][y].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    )


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """sum over thresholds of (recall step) * precision, no interpolation; ties form one
    threshold. NaN when there is no positive."""
    y, s = np.asarray(labels, dtype=np.bool_), np.asarray(scores)
    if not y.any():
        return float("nan")
    order = np.argsort(-s, kind="stable")
    y, s = y[order], s[order]
    ends = np.append(np.flatnonzero(s[1:] != s[:-1]), len(s) - 1)
    found = np.cumsum(y)[ends]
    precision = found / (ends + 1)
    return float(np.diff(found, prepend=0) @ precision / found[-1])


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
