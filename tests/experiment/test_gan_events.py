"""Drawn profiles have what the log's events have: the referee takes them, and `apply` leaves no
hole."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hardrank.data import AddProfile, Dataset, Patch
from hardrank.data.sources import MovieLens
from hardrank.experiment.gan_events import as_edits
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget
from hardrank.threats.profiles import check_profiles

DRAWN = [np.array([3, 1, 40]), np.array([7]), np.arange(20)[::-1].copy()]
BUDGET = Budget(profiles=50, profile_events=200)


def edits_of(patch: Patch) -> list[AddProfile]:
    made = [e for e in patch.edits if isinstance(e, AddProfile)]
    assert len(made) == len(patch)
    return made


def made(log: Dataset, seed: int = 0) -> Patch:
    return as_edits(log, DRAWN, "drawn", np.random.default_rng(seed))


def test_ratings_and_times_are_those_that_a_user_could_have() -> None:
    log = taste_log(users=60)
    patch = made(log)
    check_profiles(patch, BUDGET, log)
    ids = log.items["item_id"].to_list()
    for edit, rows in zip(edits_of(patch), DRAWN, strict=True):
        assert edit.item_ids == tuple(ids[i] for i in rows)
        assert edit.ratings is not None and edit.times is not None
        assert set(edit.ratings) <= set(log.events["rating"].unique().to_list())
        assert list(edit.times) == sorted(edit.times)
    after = log.apply(patch)
    assert after.events["rating"].null_count() == after.events["time"].null_count() == 0
    assert after.n_users == log.n_users + 3


def test_the_same_seed_gives_the_same_profiles() -> None:
    log = taste_log(users=60)
    assert made(log) == made(log)
    assert made(log) != made(log, seed=1)


def test_ratings_follow_each_items_own() -> None:
    """Item 3 is always loved, item 1 never: so do the profiles say."""
    log = taste_log(users=60)
    loved = pl.when(pl.col("item") == 3).then(5.0).when(pl.col("item") == 1).then(1.0)
    events = log.events.with_columns(rating=loved.otherwise(pl.col("rating")).cast(pl.Float32))
    found = edits_of(made(replace(log, events=events)))[0].ratings
    assert found is not None
    assert found[:2] == (5.0, 1.0)


@pytest.mark.parametrize("lacks", [("rating",), ("time",), ("rating", "time")])
def test_what_the_log_lacks_the_profiles_lack(lacks: tuple[str, ...]) -> None:
    log = taste_log(users=60)
    empty = [pl.lit(None, dtype=log.events[c].dtype).alias(c) for c in lacks]
    bare = replace(log, events=log.events.with_columns(empty))
    patch = made(bare)
    check_profiles(patch, BUDGET, bare)
    for edit in edits_of(patch):
        assert (edit.ratings is None) == ("rating" in lacks)
        assert (edit.times is None) == ("time" in lacks)


def test_movielens_stays_without_a_null(data_folder: Path) -> None:
    log = MovieLens(path=str(data_folder / "ml-100k" / "raw")).load()
    patch = made(log)
    check_profiles(patch, BUDGET, log)
    after = log.apply(patch)
    assert sum(after.events.null_count().row(0)) == 0
    new = after.events[log.n_events :]["rating"].to_numpy()
    assert set(new) <= {1.0, 2.0, 3.0, 4.0, 5.0}
