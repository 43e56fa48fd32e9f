"""List overlap and text distances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardrank.metrics.stability import jaccard, jaccard_rows, rbo, rbo_rows
from hardrank.metrics.stealth import cosine_rows, edit_distance, word_share, words_edited

lists = st.permutations(list(range(8))).map(lambda p: p[:5])


@given(lists, lists, st.floats(0.1, 0.95))
def test_rbo_is_symmetric_bounded_and_one_for_equal_lists(
    a: list[int], b: list[int], p: float
) -> None:
    """S0-07: with no attack every stability metric is exactly at its maximum."""
    assert rbo(a, a, p=p) == pytest.approx(1, abs=1e-12)
    assert rbo(a, b, p=p) == pytest.approx(rbo(b, a, p=p))
    assert -1e-12 <= rbo(a, b, p=p) <= 1 + 1e-12


def test_rbo_of_small_lists_by_hand() -> None:
    # K = 2, p = 1/2: overlaps X = (0, 2) for swapped lists: 1 * 1/4 + 1 * (0 + 1 * 1/4).
    assert rbo([1, 2], [2, 1], p=0.5) == pytest.approx(0.5)
    assert rbo([1, 2], [3, 4], p=0.5) == 0
    # X = (1, 1): 1/2 * 1/4 + 1 * (1/2 + 1/2 * 1/4)
    assert rbo([1, 2], [1, 3], p=0.5) == pytest.approx(0.75)


def test_rbo_refuses_lists_it_is_not_defined_for() -> None:
    for a, b in (([1], [1, 2]), ([], []), ([1, 1], [1, 2])):
        with pytest.raises(ValueError, match="list"):
            rbo(a, b)


def test_rows() -> None:
    a, b = np.array([[1, 2], [3, 4]]), np.array([[1, 2], [5, 4]])
    np.testing.assert_allclose(jaccard_rows(a, b), [1, 1 / 3])
    np.testing.assert_allclose(rbo_rows(a, b, p=0.5), [1, rbo([3, 4], [5, 4], p=0.5)])
    assert jaccard([], []) == 1


def slow_distance(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


@given(st.text("abc ", max_size=12), st.text("abc ", max_size=12))
def test_edit_distance_equals_the_table(a: str, b: str) -> None:
    assert edit_distance(a, b) == slow_distance(a, b)
    assert edit_distance(a.split(), b.split()) <= max(len(a.split()), len(b.split()))


def test_edit_distance_of_long_texts() -> None:
    a, b = "sharp knife " * 200, "sharp knives " * 200
    assert edit_distance(a, b) == 400  # f -> v, and an s, in each


def test_words() -> None:
    assert words_edited("red shoe", "best red shoe sale") == 2
    assert words_edited("red shoe", "blue shoe") == 1
    assert word_share("red shoe", "best red shoe sale") == 0.5
    assert word_share("", "") == 0


def test_cosine_of_zero_is_zero() -> None:
    a = np.array([[1.0, 0], [0, 0], [1, 1]])
    b = np.array([[2.0, 0], [1, 0], [-1, -1]])
    np.testing.assert_allclose(cosine_rows(a, b), [1, 0, -1])
