"""A rating model of the attacker's own: stationary, kin to the victim's, lists by hand."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from hardrank.errors import Unsupported
from hardrank.surrogates.ratings import RatingFactors, rating_factors
from hardrank.testing.logs import taste_log

LOG = taste_log(users=30, items=12, events=6)


def _loss(model: RatingFactors, weight: float) -> float:
    ratings = model.train.events["rating"].to_numpy().astype(float)
    users = model.users[model.train.events["user"].to_numpy()]
    items = model.items[model.train.event_items]
    score = (users[:, :-1] * items[:, :-1]).sum(1) + users[:, -1] + items[:, -1]
    norms = (model.users**2).sum() + (model.items**2).sum()
    return float(((ratings - ratings.mean() - score) ** 2).sum() + weight * norms)


def test_users_are_where_no_step_helps() -> None:
    """Users are solved for last: the loss is least in each of their numbers."""
    model = rating_factors(LOG, 0, size=3, weight=2.0, sweeps=4)
    least = _loss(model, 2.0)
    for user, column in ((0, 0), (7, 2), (11, 3)):
        for step in (0.01, -0.01):
            users = model.users.copy()
            users[user, column] += step
            assert _loss(replace(model, users=users), 2.0) > least


def test_sweeps_lower_the_loss() -> None:
    losses = [_loss(rating_factors(LOG, 0, sweeps=n), 12.0) for n in (1, 3, 8)]
    assert losses == sorted(losses, reverse=True)


def test_lists_hold_what_is_unseen_and_scored_best() -> None:
    """A slow twin: each user's best three of what neither he saw nor the caller forbids."""
    model = rating_factors(LOG, 3)
    expected = np.zeros(12, dtype=int)
    for user in range(30):
        seen = set(LOG.events.filter(pl.col("user") == user)["item"].to_list())
        mine = model.users[user]
        scores = {
            item: float(mine[:-1] @ v[:-1] + v[-1])
            for item, v in enumerate(model.items)
            if item not in seen and item != 4
        }
        for item in sorted(scores, key=lambda i: -scores[i])[:3]:
            expected[item] += 1
    assert model.listed(3, np.array([4])).tolist() == expected.tolist()
    assert model.listed(12, np.array([4]))[4] == 0


def test_a_log_without_ratings_is_refused() -> None:
    with pytest.raises(Unsupported, match="rating of every event"):
        rating_factors(taste_log(ratings=False), 0)
