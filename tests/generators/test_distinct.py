"""Mass generation: valid, distinct to an exact check, and it says why it stopped."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.data import Dataset, Queries
from hardrank.errors import DataError
from hardrank.generators.distinct import mass_sample
from hardrank.generators.interest_generator import InterestGenerator
from hardrank.generators.near import Index, duplicate_share
from hardrank.types import Ints


class Says:
    """Draws what it is told, over and over."""

    def __init__(self, sets: Sequence[Sequence[int]]) -> None:
        self.sets, self.asked, self.keeps = sets, 0, list[Any]()

    def sample(
        self, conditions: Queries, rng: np.random.Generator, *, length: int | None = None,
        keep: float | None = None,
    ) -> list[Ints]:  # fmt: skip
        self.keeps.append(keep)
        made = [
            np.asarray(self.sets[(self.asked + n) % len(self.sets)], dtype=np.int64)
            for n in range(len(conditions))
        ]
        self.asked += len(made)
        return made


class Random:
    """Sets of eight of the first items, by the rng alone."""

    def __init__(self, items: int) -> None:
        self.items = items

    def sample(
        self, conditions: Queries, rng: np.random.Generator, *, length: int | None = None,
        keep: float | None = None,
    ) -> list[Ints]:  # fmt: skip
        return [rng.choice(self.items, size=length or 8, replace=False) for _ in conditions.users]


def _jaccard(one: Ints, other: Ints) -> float:
    a, b = set(one.tolist()), set(other.tolist())
    return len(a & b) / len(a | b)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.frozensets(st.integers(0, 14), min_size=1, max_size=10), max_size=25))
def test_the_index_finds_what_comparing_all_finds(sets: list[frozenset[int]]) -> None:
    """Its oracle compares each set with all that were kept; a miss has chance 1 in 1,000 or
    less, and the hashes are fixed."""
    index, kept = Index(15, 0.6), list[frozenset[int]]()
    for one in sets:
        wanted = any(len(one & k) / len(one | k) >= 0.6 for k in kept)
        (signature,) = index.signatures([np.array(sorted(one))])
        found = index.near(one, signature)
        assert (found is not None) <= wanted, "none is called near that is not"
        exact = any(one == k for k in kept)
        assert not exact or found is not None, "equal sets have equal signatures"
        if not wanted:
            kept.append(one)
            index.add(one, signature)


@pytest.mark.parametrize("similarity", [0.5, 0.8, 0.9])
def test_pairs_that_are_just_similar_enough_are_found(similarity: float) -> None:
    """At the threshold itself at least 99 % of 400 pairs share a band."""
    rng = np.random.default_rng(0)
    both = round(36 * similarity)  # of 36 different items of a pair
    found = 0
    for seed in range(400):
        pair = rng.permutation(500)[:36]
        one = pair[: both + (36 - both) // 2]
        other = np.r_[pair[:both], pair[both + (36 - both) // 2 :]]
        index = Index(500, _jaccard(one, other), seed)
        first, second = index.signatures([one, other])
        index.add(frozenset(one.tolist()), first)
        found += index.near(frozenset(other.tolist()), second) == 0
    assert found >= 396


def test_the_exact_check_counts_what_has_a_twin() -> None:
    profiles = [np.array(p) for p in ([0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 2, 4], [5, 6])]
    rng = np.random.default_rng(0)
    assert duplicate_share(profiles, 7, 1.0, rng) == (0.5, 4)
    assert duplicate_share(profiles, 7, 0.6, rng) == (0.75, 4)
    assert duplicate_share(profiles[:1], 7, 0.6, rng) == (0.0, 1)
    assert duplicate_share(profiles, 7, 1.0, rng, sample=3)[1] == 3


def test_what_is_invalid_or_repeated_is_left_out_and_counted(gan_log: Dataset) -> None:
    """S2-29: unknown items, repeats and wrong lengths; equal sets in another order."""
    told = Says([[0, 1, 2], [2, 1, 0], [3, 3, 4], [5, 60], [-1, 4], [6, 7, 8], [], list(range(30))])
    made = mass_sample([told], gan_log, np.random.default_rng(0), wanted=50, most=16, longest=20)
    assert [p.tolist() for p in made.profiles] == [[0, 1, 2], [6, 7, 8]]
    report = made.report
    assert (report.drawn, report.invalid, report.near) == (16, 10, 4)
    assert report.stopped == "the limit of 16 draws, with 2 profiles and 10.0% of the items"
    assert report.coverage == 6 / 60


def test_drawing_ends_where_nothing_new_comes(gan_log: Dataset) -> None:
    told = Says([[n, n + 1] for n in range(8)])
    made = mass_sample([told], gan_log, np.random.default_rng(0), wanted=500)
    assert made.report.kept == 8
    assert made.report.drawn == 1000
    assert made.report.stopped.startswith("hardly anything new is drawn, with 8 profiles")
    # a generator that still has something to say goes on beside one that has not
    mixed = mass_sample([Random(60), told], gan_log, np.random.default_rng(0), wanted=900)
    assert mixed.report.stopped == "reached"
    assert mixed.report.by_generator == (892, 8)


def test_it_goes_on_until_the_catalogue_is_covered(gan_log: Dataset) -> None:
    """S2-29: the target of coverage; more than wanted are kept then."""
    few, rng = Random(30), np.random.default_rng(0)
    short = mass_sample([few], gan_log, rng, wanted=3)
    assert (short.report.kept, short.report.stopped) == (3, "reached")
    assert 0 < short.report.coverage < 0.5
    more = mass_sample([few], gan_log, rng, wanted=3, coverage=0.5)
    assert more.report.stopped == "reached"
    assert more.report.kept > 3
    assert more.report.coverage == 0.5
    never = mass_sample([few], gan_log, rng, wanted=3, coverage=0.51, most=1500)
    assert never.report.stopped.startswith("the limit of 1500 draws")


def test_generators_take_turns(gan_log: Dataset) -> None:
    told = [Says([[g, 10 + n] for n in range(40)]) for g in range(2)]
    made = mass_sample(told, gan_log, np.random.default_rng(0), wanted=80, keeps=(None, 0.5))
    assert made.report.by_generator == (40, 40)
    assert [p[0] for p in made.profiles] == list(made.owners)
    assert told[0].keeps == told[1].keeps
    assert told[0].keeps[:1] == [None]
    twice = mass_sample(told[:1], gan_log, np.random.default_rng(0), wanted=1000, keeps=(None, 0.5))
    assert twice.report.kept == 40
    with pytest.raises(DataError, match="needs a generator"):
        mass_sample([], gan_log, np.random.default_rng(0))


def test_a_small_order_is_shared_by_all_generators(gan_log: Dataset) -> None:
    """A round is no larger than the order; rounds of a few draws are no reason to give up."""
    told = [Says([[g, 10 + n] for n in range(40)]) for g in range(4)]
    made = mass_sample(told, gan_log, np.random.default_rng(0), wanted=20)
    assert made.report.by_generator == (5, 5, 5, 5)
    slow = Says([[1, 2]] * 60 + [[3, 4], [5, 6]])
    found = mass_sample([slow], gan_log, np.random.default_rng(0), wanted=3, most=500)
    assert (found.report.kept, found.report.stopped) == (3, "reached")


def test_no_two_of_a_trained_generators_are_nearly_the_same(
    gan_log: Dataset, gan_model: InterestGenerator
) -> None:
    """S2-29: by comparison of all pairs; the same seed, the same profiles."""
    one, two = (
        mass_sample(
            [gan_model], gan_log, np.random.default_rng(5), wanted=300, similarity=0.6, length=10
        )
        for _ in range(2)
    )
    assert one.report == two.report
    assert [p.tolist() for p in one.profiles] == [p.tolist() for p in two.profiles]
    assert one.report.kept == 300
    assert one.report.near > 0, "there was something to leave out"
    worst = sum(_jaccard(a, b) >= 0.6 for a, b in combinations(one.profiles, 2))
    assert worst <= 1, "the index misses 1 in 1,000"
    assert one.report.duplicate_rate <= 0.01
