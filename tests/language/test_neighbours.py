"""Embedding neighbours: cosines that a person can check, and the embedded encoder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hardrank.context import RunContext
from hardrank.errors import DataError
from hardrank.language.neighbours import Neighbours

ANGLES = {"red": 0.0, "crimson": 10.0, "scarlet": 20.0, "pink": 40.0, "green": 90.0, "blue": 170.0}


class Circle:
    """Words as points of a circle; unknown ones lie opposite of red."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str], *, keep: bool = True) -> np.ndarray:
        self.asked += texts
        at = np.radians([ANGLES.get(t, 180.0) for t in texts])
        return np.stack([np.cos(at), np.sin(at)], axis=1).astype(np.float32).reshape(-1, 2)


@pytest.fixture
def circle() -> Circle:
    return Circle()


@pytest.fixture
def near(circle: Circle) -> Neighbours:
    return Neighbours.fit(
        ["Red", "crimson,", "scarlet", "RED", "pink", "green", "42", "🎉"], circle
    )


def test_nearest_first_without_itself(near: Neighbours) -> None:
    assert near.words == ("red", "crimson", "scarlet", "pink", "green")
    found = near.of("red", 10, least=0.5)
    assert [w for w, _ in found] == ["crimson", "scarlet", "pink"]
    np.testing.assert_allclose([c for _, c in found], np.cos(np.radians([10, 20, 40])), atol=1e-6)
    assert near.of("red", 1) == found[:1]
    assert near.of("red", 10, least=0.95) == [found[0]]
    assert near.of("red", 0) == []


def test_case_marks_and_unknown_words(near: Neighbours, circle: Circle) -> None:
    assert near.of("(Red),", 1)[0][0] == "(Crimson),"
    assert near.of("RED", 1)[0][0] == "CRIMSON"
    assert [w for w, _ in near.of("blue", 9, least=0.1)] == ["green"]
    assert circle.asked.count("blue") == 1  # asked on demand
    assert near.of("nothing", 3) == []


def test_a_batch_is_one_call_and_equals_one_by_one(near: Neighbours, circle: Circle) -> None:
    words = ["red", "Pink", "green!", "", "红", "\ud800", "x" * 10_000] * 200
    expected = [near.of(w, 2, least=0.0) for w in words[:7]] * 200
    circle.asked.clear()
    assert near.of_many(words, 2, least=0.0) == expected
    assert len(circle.asked) == len(words)
    assert near.of_many([], 2) == []


def test_an_empty_vocabulary(circle: Circle) -> None:
    assert Neighbours.fit([], circle).of("red", 3) == []


def test_the_embedded_encoder_knows_related_words(tmp_path: Path) -> None:
    vocabulary = ("shampoo", "conditioner", "lotion", "hammer", "drill", "wrench", "red", "crimson")
    run = RunContext(cache=tmp_path)
    near = Neighbours.fit(vocabulary, run=run)
    assert near.of("Red", 1)[0][0] == "Crimson"
    assert {w for w, _ in near.of("spanner", 3, least=0.1)} == {"hammer", "drill", "wrench"}
    assert {w for w, _ in near.of("shampoo", 2, least=0.1)} == {"lotion", "conditioner"}
    assert near.of("🎉", 3, least=0.99) == []
    with pytest.raises(DataError):
        Neighbours.fit(vocabulary, "absent", run=run)
