"""Full ranking of held-out items, tile by tile."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hardrank.audits.catalogue import full_ranks, popularity_groups, tiles
from hardrank.audits.utility import utility
from hardrank.data import Holdout, Queries, Slate

TITLES = ["red", "blue", "red blue", "green", "red"]
TASTES = [{"red": 1.0}, {"blue": 2.0, "green": 1.0}, {}]


def holdout() -> Holdout:
    return Holdout(
        queries=Queries.of([[0], [2, 1], []], users=[0, 1, 2]), targets=np.array([2, 3, 1])
    )


def test_ranks_by_hand(make_toy) -> None:
    # User 0 saw i0; i2 ties with i4: rank 2. User 1 saw what is blue: green is best.
    # User 2 likes nothing: all five tie, and the target is last.
    table = utility(
        make_toy(TITLES, TASTES), holdout(), subject="toy/control", seed=4,
        groups=["head", "tail", "tail", "head", "cold"], names=["ann", "bob", "cy"],
    )  # fmt: skip
    assert table["rank"].to_list() == [2, 1, 5]
    assert table["sample"].to_list() == ["ann", "bob", "cy"]
    assert table["group"].to_list() == ["tail", "head", "tail"]
    assert set(table["seed"]) == {4}


def test_tiles_do_not_matter_and_seen_items_are_masked(make_toy) -> None:
    toy = make_toy(TITLES, TASTES)
    for rows in (1, 2, 3, 100):
        assert full_ranks(toy, holdout(), rows=rows).tolist() == [2, 1, 5]
    (_, _, scores), *_ = tiles(toy, holdout().queries)
    assert np.isneginf(scores).nonzero()[1].tolist() == [0, 1, 2]


def test_a_query_of_nobody_has_a_number(make_toy) -> None:
    nobody = Holdout(queries=Queries.of([[0]]), targets=np.array([1]))
    toy = make_toy(TITLES, [{}])
    assert utility(toy, nobody, subject="t", seed=0)["sample"].to_list() == ["#0"]


def test_popularity_groups_by_hand() -> None:
    # 20 events. Items with 1 event hold 3/20, with up to 2 hold 7/20 >= 1/4: tail is <= 2.
    # From the top: 8/20, then 8 + 5 = 13/20 >= 1/2: head is >= 5.
    counts = np.array([8, 5, 2, 2, 1, 1, 1, 0])
    assert popularity_groups(counts, tail_share=0.25) == ["head", "head", *["tail"] * 5, "cold"]
    assert popularity_groups(np.array([9, 4, 1, 1]), tail_share=0.25) == [
        "head",
        "tail",
        "tail",
        "tail",
    ]
    assert popularity_groups(np.array([0, 0])) == ["cold", "cold"]
    assert popularity_groups(np.array([3, 3])) == ["tail", "tail"]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_groups_follow_popularity(counts: list[int]) -> None:
    order = {"cold": 0, "tail": 1, "mid": 2, "head": 3}
    labels = popularity_groups(np.array(counts))
    pairs = sorted(zip(counts, (order[g] for g in labels), strict=True))
    assert [g for _, g in pairs] == sorted(g for _, g in pairs)
    assert all((c == 0) == (g == "cold") for c, g in zip(counts, labels, strict=True))
    tail = sum(c for c, g in zip(counts, labels, strict=True) if g == "tail")
    assert tail >= 0.15 * sum(counts)


def test_a_score_array_that_may_not_be_written_is_copied(make_toy) -> None:
    toy = make_toy(TITLES, TASTES)
    frozen = toy.score(holdout().queries, Slate(items=np.arange(5)))
    frozen.flags.writeable = False

    class Frozen:
        items = toy.items

        def score(self, queries: Queries, slate: Slate) -> np.ndarray:
            return frozen

    assert full_ranks(Frozen(), holdout()).tolist() == [2, 1, 5]
    assert np.isfinite(frozen).all()
