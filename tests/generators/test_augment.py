"""Generated events for sparse users and tampered histories: what moves, and what must not."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.data import Dataset, Queries
from hardrank.data.dataset import EVENT_COLUMNS
from hardrank.errors import DataError
from hardrank.generators.augment import (
    PopularProposer,
    Proposer,
    augmented,
    edited,
    with_edited_copies,
)
from hardrank.generators.interest_generator import InterestGenerator
from hardrank.testing.logs import taste_log


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def log_of(histories: list[list[int]], *, items: int = 8, rated: bool = True) -> Dataset:
    """Times 100, 200, ... of each user; ratings 1, 2, 3, ..."""
    rows = [
        (u, i, 100 * (n + 1), float(n + 1) if rated else None, 1.0)
        for u, h in enumerate(histories)
        for n, i in enumerate(h)
    ]
    return Dataset(
        name="small",
        users=pl.DataFrame({"user_id": [f"u{u}" for u in range(len(histories))]}),
        items=pl.DataFrame({"item_id": [f"i{i}" for i in range(items)], "title": ["x"] * items}),
        events=pl.DataFrame(rows, schema=EVENT_COLUMNS, orient="row"),
    )


@dataclass
class Scripted:
    """Always says the same, and remembers what it was asked."""

    says: list[int]
    asked: Any = None

    def sample(
        self, conditions: Queries, rng: Any, *, length: int | None = None, keep: float | None = None
    ) -> list[Any]:
        self.asked = (conditions, length, keep)
        out = []
        for q in range(len(conditions)):
            size = len(conditions.history(q)) if keep is not None else length
            out.append(np.array(self.says[:size], dtype=np.int64))
        return out


def history(log: Dataset, user: int) -> list[int]:
    return log.histories().history(user).tolist()


def test_only_sparse_users_get_events_and_none_that_they_have() -> None:
    """S2-13: user 0 has 3 events, user 1 five, user 2 none. Of 1, 6, 7, 5 the first is known."""
    train = log_of([[0, 1, 2], [0, 1, 2, 3, 4], []])
    says = Scripted([1, 6, 7, 5, 4, 3])
    made = augmented(train, says, rng(), add=2, weight=0.25)
    assert history(made, 0) == [0, 1, 6, 7, 2]
    assert history(made, 1) == [0, 1, 2, 3, 4]
    assert history(made, 2) == []
    weights = made.events["weight"].to_list()
    assert weights == [1.0, 1.0, 0.25, 0.25, 1.0] + [1.0] * 5
    assert "2 generated events were added to 1 users" in made.notes[-1]
    assert [says.asked[0].history(q).tolist() for q in range(len(says.asked[0]))] == [[0, 1, 2]]


def test_places_times_and_ratings() -> None:
    """Before the last: the time of the event before. First: that of the first. Ratings 1, 2, 3
    have the lower median 2, and 1, 2 have 1."""
    train = log_of([[0, 1, 2], [3, 4], [5]])
    made = augmented(train, Scripted([6, 7, 0, 1, 2]), rng(), add=1)
    assert [history(made, u) for u in range(3)] == [[0, 1, 6, 2], [3, 6, 4], [6, 5]]
    new = made.events.filter(pl.col("item") == 6)
    assert new["time"].to_list() == [200, 100, 100]
    assert new["rating"].to_list() == [2.0, 1.0, 1.0]
    first = augmented(train, Scripted([6, 7, 0, 1, 2]), rng(), add=1, place="first")
    assert [history(first, u) for u in range(3)] == [[6, 0, 1, 2], [6, 3, 4], [6, 5]]
    assert first.events.filter(pl.col("item") == 6)["time"].to_list() == [100, 100, 100]


def test_logs_without_ratings_get_none() -> None:
    made = augmented(log_of([[0, 1]], rated=False), Scripted([6, 7, 5]), rng(), add=1)
    assert made.events["rating"].null_count() == 3


def test_real_events_are_all_there_in_their_order(gan_model: InterestGenerator) -> None:
    """S2-13: without the generated ones the log is the old one; never an item twice."""
    train = taste_log(users=60, items=60, events=4)
    for proposer in (gan_model, PopularProposer(train.counts)):
        made = augmented(train, proposer, rng(), add=3, weight=0.5)
        assert made.events.filter(pl.col("weight") == 1.0).equals(train.events)
        assert made.events.select("user", "item").is_unique().all()
        sparse = np.flatnonzero((train.histories().lengths < 5) & (train.histories().lengths > 0))
        grown = made.histories().lengths - train.histories().lengths
        assert len(sparse) and (grown[sparse] == 3).all() and grown.sum() == 3 * len(sparse)
        for user in range(train.n_users):
            times = made.events.filter(pl.col("user") == user)["time"]
            assert times.is_sorted()
            assert history(made, user)[-1] == history(train, user)[-1]


def test_a_small_catalogue_gives_what_it_has(gan_model: InterestGenerator) -> None:
    train = log_of([[0, 1], [2, 3, 4, 5, 0, 1]], items=6)
    made = augmented(train, PopularProposer(train.counts), rng(), add=10)
    assert sorted(history(made, 0)) == [0, 1, 2, 3, 4, 5]


def test_without_sparse_users_nothing_is_asked() -> None:
    says = Scripted([1])
    made = augmented(log_of([[0, 1, 2, 3, 4]]), says, rng())
    assert says.asked is None and made.n_events == 5
    assert "No user has fewer than 5 events" in made.notes[-1]


def test_the_generator_never_sees_what_is_held_out() -> None:
    """Its conditions are the training histories and nothing more."""
    whole = taste_log(users=30, events=5)
    last = np.isin(np.arange(whole.n_events), whole.offsets[1:] - 1)
    train = whole.where(pl.Series(~last))
    says = Scripted(list(range(59, 0, -1)))
    augmented(train, says, rng(), fewer_than=50, add=1)
    conditions = says.asked[0]
    for q, user in enumerate(conditions.users.tolist()):
        assert conditions.history(q).tolist() == history(train, user)


@pytest.mark.parametrize("bad", [{"weight": 0.0}, {"weight": 1.1}, {"add": 0}, {"fewer_than": 1}])
def test_numbers_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="augmentation: weight must lie"):
        augmented(log_of([[0]]), Scripted([1]), rng(), **bad)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=8), min_size=1, max_size=5),
    st.floats(0, 1), st.integers(0, 99),
)  # fmt: skip
def test_edits_stay_within_their_budget(histories: list[list[int]], keep: float, seed: int) -> None:
    """S4-08: inside the budget, 100 %; what stays has its place; the barred item never enters."""
    queries = Queries.of(histories, list(range(len(histories))))
    barred = np.array([(max(h) + 1) % 12 for h in histories])
    proposer = PopularProposer(np.arange(12) + 1)
    made = edited(queries, proposer, rng(seed), keep=keep, barred=barred)
    assert made.users.tolist() == queries.users.tolist()
    for q, before in enumerate(histories):
        own, after = list(dict.fromkeys(before)), made.history(q).tolist()
        assert len(after) == len(set(after)) == len(own)
        same = sum(a == b for a, b in zip(own, after, strict=True))
        assert same >= np.ceil(keep * len(own) - 1e-9)
        assert barred[q] not in set(after) - set(own)


def test_edits_of_the_generator_stay_within_their_budget(
    gan_log: Dataset, gan_model: InterestGenerator
) -> None:
    """S4-08."""
    queries = gan_log.histories()
    barred = np.full(len(queries), 3)
    made = edited(queries, gan_model, rng(), keep=0.7, barred=barred)
    changed = 0
    for q in range(len(queries)):
        before, after = queries.history(q), made.history(q)
        assert len(np.unique(after)) == len(before)
        assert (before == after).sum() >= np.ceil(0.7 * len(before) - 1e-9)
        assert 3 in before or 3 not in after
        changed += int((before != after).sum())
    assert changed > 0


def test_keeping_all_changes_nothing(gan_log: Dataset, gan_model: InterestGenerator) -> None:
    queries = gan_log.histories()
    for proposer in (gan_model, PopularProposer(gan_log.counts)):
        made = edited(queries, proposer, rng(), keep=1.0)
        assert made.fingerprint == queries.fingerprint


def test_copies_by_hand() -> None:
    """User 0 has two events and is copied with the last one real; user 1 has one and is not."""
    train = log_of([[0, 1, 2], [3]])
    made = with_edited_copies(train, Scripted([6, 1, 2]), rng(), keep=0.5, weight=0.5)
    assert made.events[:4].equals(train.events)
    assert made.n_users == 3 and history(made, 2) == [6, 1, 2]
    new = made.events[4:]
    assert new["time"].to_list() == [100, 200, 300]
    assert new["rating"].to_list() == [1.0, 2.0, 3.0]
    assert new["weight"].to_list() == [0.5] * 3
    assert made.users["user_id"].to_list() == ["u0", "u1", "copy-0"]


def test_a_copy_never_has_its_last_item_twice() -> None:
    """The proposer says item 2, the last one: what stood there stays."""
    made = with_edited_copies(log_of([[0, 1, 2]]), Scripted([2, 1]), rng(), keep=0.5)
    assert history(made, 1) == [0, 1, 2]


def test_copies_keep_what_comes_next(gan_log: Dataset, gan_model: InterestGenerator) -> None:
    """S4-08: each copy ends as its user does, with no item twice; same rng, same log."""
    made = with_edited_copies(gan_log, gan_model, rng(1), keep=0.8)
    again = with_edited_copies(gan_log, gan_model, rng(1), keep=0.8)
    assert made.fingerprint == again.fingerprint
    assert made.n_users == 2 * gan_log.n_users
    assert made.events.select("user", "item").is_unique().all()
    for user in range(gan_log.n_users):
        own, copy = history(gan_log, user), history(made, gan_log.n_users + user)
        assert own[-1] == copy[-1] and len(own) == len(copy)
    with pytest.raises(DataError, match="a copy's weight"):
        with_edited_copies(gan_log, gan_model, rng(), keep=0.5, weight=0.0)


def test_the_control_draws_by_popularity() -> None:
    """Item 1 is ten times as popular as item 2; item 3 is nobody's."""
    proposer: Proposer = PopularProposer(np.array([0, 100, 10, 0]))
    drawn = proposer.sample(Queries.of([[0]] * 500), rng(), length=1)
    first = np.bincount(np.concatenate(drawn), minlength=4)
    assert first[0] == first[3] == 0
    assert 0.86 < first[1] / 500 < 0.95
    assert [len(p) for p in proposer.sample(Queries.of([[0]]), rng(), length=4)] == [2]
