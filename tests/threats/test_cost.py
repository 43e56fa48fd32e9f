"""Edits are counted exactly, and every rule of a budget binds."""

from functools import lru_cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardrank.threats import Budget, Cost, count_edit
from hardrank.threats.cost import _table, affords, complaint, distance


def slow_distance(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """Levenshtein by its definition."""

    @lru_cache(None)
    def d(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        same = a[i - 1] == b[j - 1]
        return min(d(i - 1, j) + 1, d(i, j - 1) + 1, d(i - 1, j - 1) + (not same))

    return d(len(a), len(b))


letters = st.lists(st.sampled_from("abc"), max_size=9)


@given(letters, letters)
def test_distance_is_levenshtein(a: list[str], b: list[str]) -> None:
    assert distance(a, b) == slow_distance(tuple(a), tuple(b)) == distance(b, a)


@pytest.mark.parametrize(
    ("before", "after", "cost"),
    [
        ("red tea", "red tea", Cost()),
        ("red tea", "best red tea", Cost(words=1, word_share=1 / 3, characters=5)),
        ("red tea", "tea red", Cost(words=2, word_share=1.0, characters=4)),
        ("red tea", "red te\u0430", Cost(words=1, word_share=0.5, characters=1)),
        ("red tea", "", Cost(words=2, word_share=1.0, characters=7)),
        ("", "red", Cost(words=1, word_share=1.0, characters=3)),
        ("red tea", "red  tea", Cost(words=1, word_share=0.5, characters=1)),
        ("red tea", "redtea", Cost(words=2, word_share=1.0, characters=1)),
        ("Red tea", "red tea", Cost(words=1, word_share=0.5, characters=1)),
    ],
)
def test_known_costs(before: str, after: str, cost: Cost) -> None:
    assert count_edit(before, after) == cost


@given(st.text("ab ", max_size=40), st.data())
def test_few_edits_in_a_long_text_are_counted_exactly(text: str, data: st.DataObject) -> None:
    """Along the diagonals as in the table, at whatever distance the one gives way."""
    before, after = list(text * 5), list(text * 5)
    for place in data.draw(st.lists(st.integers(0, max(len(before) - 1, 0)), max_size=30)):
        way = data.draw(st.sampled_from("cdx"))
        after[place : place + (way != "c")] = [] if way == "d" else [way]
    assert distance(before, after) == _table(before, after)


@given(
    st.text("ab ", max_size=12),
    st.text("ab ", max_size=12),
    st.builds(
        Budget,
        words=st.none() | st.integers(0, 4),
        characters=st.none() | st.integers(0, 12),
        similarity=st.none() | st.floats(0, 1),
        whole_text=st.booleans(),
    ),
    st.none() | st.floats(0, 1),
)
def test_what_is_affordable_is_what_nobody_complains_about(
    before: str, after: str, budget: Budget, similarity: float | None
) -> None:
    expected = complaint(count_edit(before, after), budget, similarity) is None
    assert affords(before, after, budget, similarity) == expected


@given(st.text("ab ", max_size=12), st.text("ab ", max_size=12))
def test_only_no_edit_is_free(before: str, after: str) -> None:
    cost = count_edit(before, after)
    assert (cost.words == 0) == (cost.characters == 0) == (before == after)
    assert 0 <= cost.word_share <= 1


@pytest.mark.parametrize(
    ("budget", "similarity", "expected"),
    [
        (Budget(words=3), None, "5 words changed, budget 3"),
        (Budget(characters=20), None, "21 characters changed, budget 20"),
        (Budget(similarity=0.8), 0.25, "similarity 0.250, budget at least 0.8"),
        (Budget(similarity=0.8), float("nan"), "similarity nan, budget at least 0.8"),
        (Budget(words=3, whole_text=True), None, None),
        (Budget(words=3, whole_text=True, similarity=0.8), 0.1,
         "similarity 0.100, budget at least 0.8"),
        (Budget(words=5, characters=21, similarity=0.8), 0.8, None),
    ],
)  # fmt: skip
def test_complaints(budget: Budget, similarity: float | None, expected: str | None) -> None:
    assert complaint(Cost(5, 1.0, 21), budget, similarity) == expected
