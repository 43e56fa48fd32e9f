"""Scores of detectors: thresholds, recall at few false alarms, curves, intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.metrics import roc_curve as sklearn_curve

from hardrank.errors import DataError
from hardrank.metrics.detection import (
    Judged,
    auroc,
    average_precision,
    bootstrap_judged,
    recall_at_fpr,
    roc_curve,
    threshold_at_fpr,
)

scored = st.lists(
    st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40
).filter(lambda rows: len({y for _, y in rows}) == 2)  # fmt: skip


def split(rows: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([s for s, _ in rows], dtype=float), np.array([y for _, y in rows])


@given(scored)
def test_areas_are_those_of_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    scores, labels = split(rows)
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    expected = average_precision_score(labels, scores)
    assert average_precision(scores, labels) == pytest.approx(expected, abs=1e-12)


@given(scored)
def test_the_curve_is_that_of_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    scores, labels = split(rows)
    for ours, theirs in zip(
        roc_curve(scores, labels),
        sklearn_curve(labels, scores, drop_intermediate=False),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@given(scored, st.floats(0, 1))
def test_recall_is_the_best_that_any_threshold_allows(
    rows: list[tuple[int, bool]], fpr: float
) -> None:
    """The slow twin tries every threshold; flagged is who is above it."""
    scores, labels = split(rows)
    best = 0.0
    for threshold in [-np.inf, *scores]:
        flagged = scores > threshold
        if flagged[~labels].mean() <= fpr + 1e-9:
            best = max(best, float(flagged[labels].mean()))
    assert recall_at_fpr(scores, labels, fpr) == best


def test_ties_count_against_the_detector() -> None:
    labels = np.array([True, True, False, False])
    assert recall_at_fpr([3, 2, 2, 1], labels, 0.0) == 0.5
    assert recall_at_fpr([2, 2, 2, 2], labels, 0.5) == 0.0
    assert recall_at_fpr([-np.inf, 2, 1, 0], labels, 0.0) == 0.5, "never flagged, never found"


def test_a_threshold_lets_so_many_above_it_and_no_more() -> None:
    negatives = np.arange(100.0)
    assert threshold_at_fpr(negatives, 0.01) == 98.0
    assert (negatives > threshold_at_fpr(negatives, 0.05)).sum() == 5
    assert threshold_at_fpr(negatives, 1.0) == -np.inf
    with pytest.raises(DataError, match="needs negatives"):
        threshold_at_fpr([], 0.01)


def test_nothing_is_said_of_an_absent_class() -> None:
    assert np.isnan(recall_at_fpr([1.0, 2.0], [True, True], 0.1))
    assert np.isnan(auroc([1.0], [True]))
    with pytest.raises(DataError, match="positives and negatives"):
        roc_curve([1.0, 2.0], [False, False])


def test_the_bootstrap_brackets_the_value_and_repeats() -> None:
    rng = np.random.default_rng(0)
    logs = []
    for _ in range(3):
        labels = np.arange(120) >= 100
        scores = rng.normal(size=120) + 1.5 * labels
        logs.append(Judged(scores, labels, np.arange(120)))
    found = bootstrap_judged(logs, [auroc], np.random.default_rng(1), draws=200)
    again = bootstrap_judged(logs, [auroc], np.random.default_rng(1), draws=200)
    np.testing.assert_array_equal(found, again)
    value, low, high = found[0]
    assert value == pytest.approx(np.mean([auroc(g.scores, g.labels) for g in logs]))
    assert low < value < high
    # DeLong's standard error of one log is near 0.05; negatives shared by logs keep it wide
    assert 0.05 < high - low < 0.25


def test_a_perfect_detector_has_no_interval_to_doubt_it_and_no_log_is_an_error() -> None:
    labels = np.arange(50) >= 40
    log = Judged(labels.astype(float), labels, np.arange(50))
    found = bootstrap_judged([log], [auroc], np.random.default_rng(0), draws=50)
    np.testing.assert_array_equal(found, [[1.0, 1.0, 1.0]])
    with pytest.raises(DataError, match="no log"):
        bootstrap_judged([], [auroc], np.random.default_rng(0))
