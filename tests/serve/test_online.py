"""User vectors at once, item priors in minutes."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.serve.online import DecayedCounts, UserVectors
from hardrank.types import Floats


class Encoder:
    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def __call__(self, history: list[int]) -> Floats:
        self.calls.append(history)
        return np.array([sum(history)], dtype=np.float32)


def test_a_vector_is_made_once_for_each_state_of_a_history() -> None:
    encode = Encoder()
    users = UserVectors(encode)
    assert users.vector("a", "1", [4])[0] == 4
    assert users.vector("a", "1", [4])[0] == 4
    assert encode.calls == [[4]]
    assert users.vector("a", "2", [4, 5])[0] == 9, "the next request sees the new event"
    assert encode.calls == [[4], [4, 5]] and len(users) == 1


def test_the_user_not_asked_for_longest_goes_first() -> None:
    users = UserVectors(Encoder(), limit=2)
    for user in ("a", "b", "a", "c"):
        users.vector(user, "1", [1])
    assert "a" in users and "c" in users and "b" not in users


def test_an_erased_user_is_gone_also_when_just_being_encoded() -> None:
    inside, go = threading.Event(), threading.Event()

    def slowly(history: list[int]) -> Floats:
        inside.set()
        assert go.wait(10)
        return np.zeros(1, dtype=np.float32)

    users = UserVectors(slowly)
    thread = threading.Thread(target=users.vector, args=("a", "1", [1]))
    thread.start()
    assert inside.wait(10)
    assert users.erase("a") is False
    go.set()
    thread.join(10)
    assert "a" not in users and len(users) == 0
    assert not users._asked and not users._erased, "nor is the name kept anywhere"
    users.vector("a", "1", [1])
    assert users.erase("a") and "a" not in users


def test_a_new_model_forgets_all_and_an_error_leaves_nothing() -> None:
    users = UserVectors(Encoder())
    users.vector("a", "1", [1])
    users.clear()
    assert len(users) == 0

    def broken(_: list[int]) -> Floats:
        raise ValueError("no")

    failing = UserVectors(broken)
    with pytest.raises(ValueError, match="no"):
        failing.vector("a", "1", [])
    assert len(failing) == 0 and not failing._asked


events = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(0, 1e5), st.floats(0, 3)), max_size=30
)


@given(events=events)
@settings(max_examples=60, deadline=None)
def test_counts_are_the_sum_of_decayed_weights(events: list[tuple[str, float, float]]) -> None:
    counts = DecayedCounts(half_life=100.0)
    for item, time, weight in sorted(events, key=lambda e: e[1]):
        counts.add(item, time, weight=weight)
    now = 1e5 + 50
    for item in "abc":
        wanted = sum(w * 2 ** (-(now - t) / 100) for i, t, w in events if i == item)
        assert counts.count(item, now) == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_a_half_life_halves() -> None:
    counts = DecayedCounts(half_life=60.0)
    counts.add("a", 1e9)
    assert counts.count("a", 1e9) == pytest.approx(1.0)
    assert counts.count("a", 1e9 + 60) == pytest.approx(0.5)
    assert counts.prior(["a", "b"], 1e9) == pytest.approx([np.log(2), 0])


def test_one_user_cannot_make_a_bestseller() -> None:
    counts = DecayedCounts(half_life=3600.0)
    for n in range(1000):
        counts.add("target", float(n), user="mallory")
    for n in range(3):
        counts.add("liked", 1000.0, user=f"u{n}")
    assert counts.count("target", 1000.0) <= 1.0
    assert counts.top(2) == ["liked", "target"]
    counts.erase_user("mallory")
    assert all(pair[0] != "mallory" for pair in counts._given)
    counts.forget("liked")
    assert counts.top(2) == ["target"] and counts.count("liked", 1000.0) == 0


def test_memory_is_bounded_and_the_popular_stay() -> None:
    counts = DecayedCounts(limit=100)
    for _ in range(3):
        counts.add("hit", 0.0)
    for n in range(1000):
        counts.add(f"x{n}", 0.0, user=f"u{n}")
    assert len(counts._sums) <= 100 and len(counts._given) <= 100
    assert counts.top(1) == ["hit"]
