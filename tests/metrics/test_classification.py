"""Classification and calibration against scikit-learn (S1-19: equal to 1e-9)."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from hardrank.metrics.calibration import brier, expected_calibration_error
from hardrank.metrics.classification import accuracy, average_precision, class_report, roc_auc

pairs = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.1001, 0.5, 0.9])), min_size=1
)


@given(pairs)
def test_areas_equal_sklearn(rows: list[tuple[int, float]]) -> None:
    labels, scores = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    if labels.min() == labels.max():
        assert np.isnan(roc_auc(labels, scores))
    else:
        assert roc_auc(labels, scores) == pytest.approx(
            oracle.roc_auc_score(labels, scores), abs=1e-9
        )
    if labels.any():
        assert average_precision(labels, scores) == pytest.approx(
            oracle.average_precision_score(labels, scores), abs=1e-9
        )
    else:
        assert np.isnan(average_precision(labels, scores))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1))
def test_class_report_equals_sklearn(rows: list[tuple[int, int]]) -> None:
    labels, said = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    ours = class_report(labels, said, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        p, r, f, n = oracle.precision_recall_fscore_support(
            labels, said, labels=[0, 1, 2], zero_division=0
        )
    for mine, theirs in zip((ours.precision, ours.recall, ours.f1, ours.support), (p, r, f, n),
                            strict=True):  # fmt: skip
        np.testing.assert_allclose(mine, theirs, atol=1e-9)
    assert accuracy(labels, said) == pytest.approx(oracle.accuracy_score(labels, said))


def test_ece_by_hand() -> None:
    # Two bins of confidence: (.5, .75] holds .6 (right) and .7 (wrong), (.75, 1] holds .9 (right).
    p = np.array([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1]])
    y = np.array([0, 0, 0])
    expected = (abs((1 - 0.6) + (0 - 0.7)) + abs(1 - 0.9)) / 3
    assert expected_calibration_error(p, y, bins=4) == pytest.approx(expected)
    assert expected_calibration_error(p[:, 1], y, bins=4) == pytest.approx(expected)
    assert brier(p, y) == pytest.approx((0.32 + 0.98 + 0.02) / 3)
    with pytest.raises(ValueError, match="no samples"):
        expected_calibration_error(np.empty((0, 2)), np.empty(0))


def test_a_calibrated_coin_has_little_ece_and_a_boaster_has_much() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, 20000)
    y = (rng.uniform(0, 1, 20000) < p).astype(int)
    assert expected_calibration_error(p, y) < 0.02
    assert expected_calibration_error((p > 0.5) * 0.98 + 0.01, y) > 0.2
