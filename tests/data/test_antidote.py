"""Antidote users: whom they stand by, what they rate, and what they never touch."""

import itertools

import numpy as np
import polars as pl
import pytest

from hardrank.data import AddProfile, Dataset, Patch
from hardrank.data.antidote import with_antidote
from hardrank.data.dataset import EVENT_COLUMNS
from hardrank.errors import DataError
from hardrank.testing.logs import GROUPS, taste_log


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def added(log: Dataset, real: int) -> pl.DataFrame:
    return log.events.filter(pl.col("user") >= real)


def log_of(histories: list[list[int]], items: int) -> Dataset:
    rows = [(u, i, None, None, 1.0) for u, h in enumerate(histories) for i in h]
    return Dataset(
        name="small",
        users=pl.DataFrame({"user_id": [f"u{u}" for u in range(len(histories))]}),
        items=pl.DataFrame({"item_id": [f"i{i}" for i in range(items)], "title": ["x"] * items}),
        events=pl.DataFrame(rows, schema=EVENT_COLUMNS, orient="row"),
    )


def test_real_users_and_their_events_stay_as_they_are() -> None:
    """S2-12: friendly users stand behind the real ones, and the log says so."""
    train = taste_log(users=40)
    made = with_antidote(train, users=7, length=5, rng=rng())
    assert made.n_users == 47
    assert made.users[:40].equals(train.users)
    assert made.events[: train.n_events].equals(train.events)
    assert added(made, 40).height == 35
    assert added(made, 40).select("user", "item").is_unique().all()
    assert "7 antidote users with 35 events" in made.notes[-1]


def test_profiles_reinforce_tastes_that_the_log_has() -> None:
    """Items of one profile are of one planted group far more often than by chance (1/3)."""
    train = taste_log(users=150)
    events = added(with_antidote(train, users=60, length=6, rng=rng()), train.n_users)
    groups = events.group_by("user").agg(pl.col("item") % GROUPS)["item"].to_list()
    pure = np.mean([max(np.bincount(g, minlength=GROUPS)) / len(g) for g in groups])
    assert pure > 0.7


def test_a_rare_target_gets_no_credit() -> None:
    """However sure its few raters' profiles are: fewer raters than the median item."""
    train = taste_log(users=100)
    fakes = [AddProfile(f"f{n}", ("i57", "i0", "i3", "i6"), (5.0,) * 4) for n in range(3)]
    poisoned = train.apply(Patch(tuple(fakes)))
    assert poisoned.counts[57] < np.median(poisoned.counts[poisoned.counts > 0])
    events = added(with_antidote(poisoned, users=100, length=8, rng=rng()), poisoned.n_users)
    assert 57 not in events["item"].to_list()


def test_the_fit_by_hand() -> None:
    """Two pairs that never meet: whoever the anchor is, the profile is its pair, since the
    other pair's fit is 0."""
    train = log_of([[0, 1]] * 3 + [[2, 3]] * 3, items=5)
    made = with_antidote(train, users=20, length=4, rng=rng())
    profiles = {tuple(sorted(h)) for h in histories(made, 6)}
    assert profiles == {(0, 1), (2, 3)}


def histories(log: Dataset, real: int) -> list[list[int]]:
    whole = log.histories()
    return [whole.history(q).tolist() for q in range(real, log.n_users)]


def test_ratings_are_the_items_means_on_the_logs_scale() -> None:
    train = taste_log(users=80)
    events = added(with_antidote(train, users=10, length=5, rng=rng()), train.n_users)
    means = train.events.group_by("item").agg(pl.col("rating").mean().alias("mean"))
    both = events.join(means, on="item")
    assert ((both["rating"] - both["mean"]).abs() <= 0.5 + 1e-6).all()
    assert set(events["rating"]) <= {1.0, 2.0, 3.0, 4.0, 5.0}


@pytest.mark.parametrize(("ratings", "times"), list(itertools.product([True, False], repeat=2)))
def test_logs_without_ratings_or_times(ratings: bool, times: bool) -> None:
    train = taste_log(users=30, ratings=ratings, times=times)
    events = added(with_antidote(train, users=4, length=5, rng=rng()), 30)
    assert (events["rating"].null_count() == 0) is ratings
    assert (events["time"].null_count() == 0) is times
    if times:
        low, high = (train.events["time"].sort()[at] for at in (0, -1))
        assert events["time"].is_between(low, high).all()
        for _, one in events.group_by("user", maintain_order=True):
            assert one["time"].is_sorted()


def test_same_rng_same_users_and_ids_are_new() -> None:
    train = taste_log(users=30)
    one, two = (with_antidote(train, users=4, length=5, rng=rng(3)) for _ in range(2))
    assert one.fingerprint == two.fingerprint
    again = with_antidote(one, users=2, length=5, rng=rng())
    assert again.users["user_id"].is_unique().all()


def test_what_makes_no_sense_is_refused() -> None:
    train = taste_log(users=30)
    for users, length in ((0, 5), (5, 0)):
        with pytest.raises(DataError, match="ask for one at least"):
            with_antidote(train, users=users, length=length, rng=rng())
    with pytest.raises(DataError, match="no user has two items"):
        with_antidote(log_of([[0], [1]], items=3), users=1, length=1, rng=rng())
