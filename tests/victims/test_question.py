"""The contract: what may be asked and answered, and what is refused with which words."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardrank.errors import VictimError
from hardrank.victims import Question, read_answer, read_rows


def question(queries: int = 2, candidates: int = 3) -> Question:
    return Question(
        histories=[["x"] * q for q in range(queries)],
        users=[None] * queries,
        items=[{"item_id": f"i{c}", "text": {"title": f"t{c}"}} for c in range(candidates)],
    )


def refused(answer: object, asked: Question | None = None) -> str:
    with pytest.raises(VictimError) as caught:
        read_answer(answer, asked or question(), "http://x/rank")
    assert str(caught.value).startswith("http://x/rank: ")
    return str(caught.value)


def test_a_question_as_json() -> None:
    asked = Question(
        histories=[["a", "b"], []], users=["u1", None],
        items=[{"item_id": "c", "text": {"title": "帽子 🧢"}}], k=5,
    )  # fmt: skip
    assert json.loads(asked.body()) == {
        "version": 1,
        "k": 5,
        "queries": [{"history": ["a", "b"], "user": "u1"}, {"history": [], "user": None}],
        "candidates": [{"item_id": "c", "text": {"title": "帽子 🧢"}}],
    }
    assert asked.size == 2


def test_scores_come_as_they_are() -> None:
    answers, scores = read_answer({"scores": [[1, 2.5, -3], [0, 0, 0]]}, question(), "x")
    assert answers == "scores"
    assert scores.tolist() == [[1.0, 2.5, -3.0], [0.0, 0.0, 0.0]]
    assert scores.dtype == np.float32


def test_ranks_become_minus_places_and_the_missing_share_the_last() -> None:
    answers, scores = read_answer({"ranked": [["i2", "i0", "i1"], ["i1"]]}, question(), "x")
    assert answers == "ranks"
    assert scores.tolist() == [[-1.0, -2.0, 0.0], [-3.0, 0.0, -3.0]]
    assert read_answer({"ranked": [[], []]}, question(), "x")[1].tolist() == [[-3.0] * 3] * 2


@given(st.permutations(range(6)), st.integers(0, 6))
def test_whatever_the_order_the_best_first_wins(order: list[int], n: int) -> None:
    asked = question(1, 6)
    scores = read_answer({"ranked": [[f"i{c}" for c in order[:n]]]}, asked, "x")[1][0]
    assert [int(-scores[c]) for c in order] == [*range(n), *([6] * (6 - n))]


def test_a_callable_may_answer_lists_arrays_or_ids() -> None:
    asked = question()
    for rows in ([[1, 2, 3], [4, 5, 6]], np.arange(1, 7).reshape(2, 3), ((1, 2, 3), (4, 5, 6))):
        answers, scores = read_rows(rows, asked, "m:f")
        assert (answers, scores.tolist()) == ("scores", [[1, 2, 3], [4, 5, 6]])
    for rows in ([["i0"], []], [[], []], np.array([["i1", "i0"], ["i0", "i1"]])):
        assert read_rows(rows, asked, "m:f")[0] == "ranks"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([[1, 2, 3]], "answered a list instead of a JSON object"),
        (None, "answered null instead of a JSON object"),
        ({}, "has: none"),
        ({"score": 1, "detail": "x"}, "has: 'score', 'detail'"),
        ({"scores": [[1, 2, 3]] * 2, "ranked": [[], []]}, "exactly one of 'scores' or 'ranked'"),
        ({"scores": 5}, "answered a number instead of a list with one row a query"),
        ({"scores": [[1, 2, 3]]}, "answered 1 rows for 2 queries"),
        ({"scores": [[1, 2, 3], [1, 2]]}, "scores[1] has 2 numbers for 3 candidates"),
        ({"scores": [[1, 2, 3], 4]}, "scores[1] is a number instead of a list of 3 numbers"),
        ({"scores": [[1, 2, 3], [1, None, 3]]}, "scores[1][1] is null instead of a number"),
        ({"scores": [[1, 2, 3], [1, "2", 3]]}, "scores[1][1] is text instead of a number"),
        ({"scores": [[True, False, True]] * 2}, "scores[0][0] is true instead of a number"),
        ({"scores": [[1, 2, float("nan")]] * 2}, "scores[0][2] (item 'i2') is nan"),
        ({"scores": [[1, 2, 3], [1, float("-inf"), 3]]}, "scores[1][1] (item 'i1') is -inf"),
        ({"scores": [[1, 2, 1e300]] * 2}, "scores[0][2] (item 'i2') is inf"),
        ({"ranked": [["i0"], "i1"]}, "ranked[1] is text instead of a list of item ids"),
        ({"ranked": [["i0"], [7]]}, "ranked[1][0] is a number instead of an item id"),
        ({"ranked": [["i0"], ["i9"]]}, "ranked[1][0] 'i9' is not among the candidates"),
        ({"ranked": [["i0", "i1", "i0"], []]}, "ranked[0] holds 'i0' twice"),
    ],
)
def test_what_the_contract_does_not_allow_is_named(answer: Any, said: str) -> None:
    assert said in refused(answer)
