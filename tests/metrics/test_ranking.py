"""Ranks, and what is read off them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hardrank.metrics.exposure import exposure, exposure_gain, gini, mean_rank
from hardrank.metrics.ranking import hit, ndcg, ranks_of_scores, ranks_of_targets, reciprocal


def slow_rank(row: list[float], target: int) -> int:
    """The definition, word for word."""
    return 1 + sum(1 for j, s in enumerate(row) if j != target and not s < row[target])


@given(
    arrays(np.float32, (5, 7), elements=st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0, np.nan])),
    arrays(np.int64, 5, elements=st.integers(0, 6)),
)
def test_ranks_equal_the_definition(scores: np.ndarray, targets: np.ndarray) -> None:
    expected = [slow_rank(scores[q].tolist(), t) for q, t in enumerate(targets)]
    assert ranks_of_targets(scores, targets).tolist() == expected


def test_ties_and_nan_count_against_the_model() -> None:
    scores = np.array([[1, 1, 1, 0], [np.nan, 5, 3, 1], [np.nan, 1, 2, 3]], dtype=np.float32)
    assert ranks_of_targets(scores, np.array([0, 1, 0])).tolist() == [3, 2, 4]


def test_rank_of_a_value_that_stands_in_no_column() -> None:
    scores = np.array([[3, 2, 1]], dtype=np.float32)
    assert ranks_of_scores(scores, np.array([2.5], np.float32)).tolist() == [1]  # one is not below
    assert ranks_of_scores(scores, np.array([9.0], np.float32)).tolist() == [0]


def test_metrics_of_known_ranks() -> None:
    ranks = np.array([1, 3, 10, 11, np.nan])
    np.testing.assert_array_equal(hit(ranks, 10), [1, 1, 1, 0, np.nan])
    np.testing.assert_allclose(ndcg(ranks, 10), [1, 0.5, 1 / np.log2(11), 0, np.nan])
    np.testing.assert_allclose(reciprocal(ranks), [1, 1 / 3, 0.1, 1 / 11, np.nan])


def test_exposure_of_a_hand_made_case() -> None:
    """S1-18: the denominator is the eligible users; a target without any has no exposure."""
    np.testing.assert_allclose(exposure([1, 0, 0], [4, 2, 0]), [0.25, 0, np.nan])
    np.testing.assert_allclose(exposure_gain([1, 0], [3, 2], [4, 2]), [0.5, 1.0])
    eligible = np.array([[True, False], [True, False]])
    np.testing.assert_allclose(mean_rank([[2, 9], [4, 9]], eligible), [3, np.nan])


def test_gini_between_equal_and_winner_takes_all() -> None:
    assert gini([3, 3, 3, 3]) == 0
    assert gini([0, 0, 0, 8]) == pytest.approx(0.75)  # 1 - 1/n
    assert np.isnan(gini([0, 0]))
