"""Ratings with biases: each half-step against its normal equations, and on real data."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from hardrank.context import RunContext
from hardrank.data import EVENT_COLUMNS, Dataset, Queries, Slate
from hardrank.data.filtering import down_weight
from hardrank.data.sources import MovieLens
from hardrank.errors import BundleError, DataError, Unsupported
from hardrank.models import Popularity, RatingMf
from hardrank.models.common import whole
from hardrank.models.rating_mf import RatingMfRecommender
from hardrank.testing import dataset
from hardrank.testing.logs import GROUPS, taste_log

RUN = RunContext()
Numbers = NDArray[np.float64]


def rated(histories: list[list[int]], ratings: list[float], *, items: int = 4) -> Dataset:
    data = dataset([f"item {n}" for n in range(items)], histories)
    column = pl.Series(ratings, dtype=pl.Float32)
    return replace(data, events=data.events.with_columns(rating=column))


def columns(data: Dataset) -> tuple[Numbers, ...]:
    """User rows, item rows, ratings, weights."""
    return tuple(data.events[n].to_numpy() for n in ("user", "item", "rating", "weight"))


def predicted(users: Numbers, vectors: Numbers, mean: float) -> Numbers:
    products = users[:, :-1] @ vectors[:, :-1].T
    return np.asarray(mean + users[:, -1:] + vectors[:, -1] + products)


def loss(data: Dataset, users: Numbers, vectors: Numbers, mean: float, spec: RatingMf) -> float:
    u, i, ratings, weights = columns(data)
    errors = weights * (ratings - predicted(users, vectors, mean)[u, i]) ** 2
    return float(errors.sum() + spec.regularisation * ((users**2).sum() + (vectors**2).sum()))


def slow_rows(data: Dataset, other: Numbers, mean: float, spec: RatingMf, side: int) -> Numbers:
    """(N, D + 1) one regression a row, an event at a time."""
    rows, across = columns(data)[side], columns(data)[1 - side]
    _, _, ratings, weights = columns(data)
    out = np.zeros(((data.n_users, data.n_items)[side], other.shape[1]))
    for n in range(len(out)):
        a, b = spec.regularisation * np.eye(other.shape[1]), np.zeros(other.shape[1])
        for e in np.flatnonzero(rows == n):
            feature = np.append(other[across[e], :-1], 1.0)
            a += weights[e] * np.outer(feature, feature)
            b += weights[e] * (ratings[e] - mean - other[across[e], -1]) * feature
        out[n] = np.linalg.solve(a, b)
    return out


def slow_fit(
    data: Dataset, vectors: Numbers, spec: RatingMf
) -> tuple[Numbers, Numbers, list[float]]:
    """Users, items and the loss after each half-step."""
    _, _, ratings, weights = columns(data)
    mean, losses = float(np.average(ratings, weights=weights)), []
    for _ in range(spec.sweeps):
        users = slow_rows(data, vectors, mean, spec, 0)
        losses.append(loss(data, users, vectors, mean, spec))
        vectors = slow_rows(data, users, mean, spec, 1)
        losses.append(loss(data, users, vectors, mean, spec))
    return slow_rows(data, vectors, mean, spec, 0), vectors, losses


def uneven(users: int = 25, items: int = 15) -> Dataset:
    """With weights below 1 and a repeated, differently rated event."""
    data = taste_log(users=users, items=items, events=8)
    weight = pl.Series(np.resize([1.0, 0.4, 0.8], data.n_events), dtype=pl.Float32)
    again = data.events[5:6].with_columns(rating=pl.lit(2.5, pl.Float32))
    events = pl.concat([data.events.with_columns(weight=weight), again])
    return replace(data, events=events.sort("user", maintain_order=True))


def test_is_its_slow_twin_and_the_loss_never_rises() -> None:
    data, spec = uneven(), RatingMf(factors=3, regularisation=1.5, sweeps=4)
    start = replace(spec, sweeps=1).fit(data, RUN)
    users, vectors, losses = slow_fit(data, start.vectors.astype(np.float64), spec)
    model = spec.fit(data, RUN, start=start)
    np.testing.assert_allclose(model.users, users, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(model.vectors, vectors, rtol=1e-3, atol=1e-5)
    assert all(after <= before + 1e-9 for before, after in pairwise(losses))
    assert losses[-1] < losses[0]
    expected = predicted(users, vectors, float(model.level[0]))
    np.testing.assert_allclose(
        model.score(data.histories(), whole(data.items)), expected, rtol=1e-4
    )


def test_a_trained_user_has_no_gradient_left() -> None:
    """The last half-step is the users': their normal equations hold for the final items."""
    data, spec = uneven(), RatingMf(factors=3, regularisation=2.0, sweeps=3)
    model = spec.fit(data, RUN)
    u, i, ratings, weights = columns(data)
    users, vectors = model.users.astype(np.float64), model.vectors.astype(np.float64)
    errors = weights * (predicted(users, vectors, model.level[0])[u, i] - ratings)
    features = np.column_stack([vectors[:, :-1], np.ones(data.n_items)])
    gradient = spec.regularisation * users
    np.add.at(gradient, u, errors[:, None] * features[i])
    assert np.abs(gradient).max() < 1e-4


def test_biases_by_hand() -> None:
    """With factors held at 0, mean 3 and regularisation 1: user 0 rated 5 and 4, b = (2 + 1) / 3;
    user 1 rated 1 and 2, b = (-2 - 1) / 3. Item 0 then has 5 - 3 - 1 and 1 - 3 + 1: b = 0."""
    data = rated([[0, 1], [0, 2]], [5, 4, 1, 2])
    spec = RatingMf(factors=2, regularisation=1, sweeps=1)
    begun = spec.fit(data, RUN)
    flat = replace(begun, vectors=np.zeros_like(begun.vectors))
    model = spec.fit(data, RUN, start=flat)
    assert (model.vectors[:, :-1] == 0).all() and (model.users[:, :-1] == 0).all()
    np.testing.assert_allclose(model.vectors[:, -1], [0, 0, 0, 0], atol=1e-7)
    np.testing.assert_allclose(model.users[:, -1], [1, -1], rtol=1e-6)
    scores = model.score(data.histories(), whole(data.items))
    np.testing.assert_allclose(scores, [[4] * 4, [2] * 4], rtol=1e-6)
    assert model.level.tolist() == [3.0, np.sqrt(2.5)]


def test_few_ratings_move_an_item_little() -> None:
    """Its bias is n / (n + regularisation) of what others do not explain."""
    biases = []
    for n in (1, 4, 16):
        data = rated([[1] for _ in range(200)] + [[0]] * n, [3.0] * 200 + [5.0] * n)
        spec = RatingMf(factors=1, regularisation=8, sweeps=1)
        begun = spec.fit(data, RUN)
        flat = spec.fit(data, RUN, start=replace(begun, vectors=np.zeros_like(begun.vectors)))
        left = 5 - flat.level[0] - flat.users[200, -1]
        users = (5 - flat.level[0]) / 9  # each of them rated once
        biases.append(flat.vectors[0, -1])
        np.testing.assert_allclose(biases[-1], (5 - flat.level[0] - users) * n / (n + 8), rtol=1e-5)
        assert left > 0
    assert biases[0] < biases[1] < biases[2]


def test_equal_ratings_give_that_rating() -> None:
    data = rated([[0, 1], [1, 2], [2]], [4.0] * 5)
    model = RatingMf(factors=2).fit(data, RUN)
    everyone = Queries.of([[0, 1], [1, 2], [2], [], [0]], users=[0, 1, 2, -1, -1])
    assert (model.score(everyone, whole(data.items)) == 4.0).all()
    assert model.level.tolist() == [4.0, 0.0]


def test_smallest_worlds() -> None:
    one = RatingMf(factors=1).fit(rated([[0]], [2.0], items=1), RUN)
    assert one.score(Queries.of([[0]], users=[0]), whole(one.items)).tolist() == [[2.0]]
    gaps = rated([[], [0, 1], [], [1]], [1, 5, 4])
    model = RatingMf(factors=2).fit(gaps, RUN)
    assert model.known.tolist() == [False, True, False, True]
    assert (model.users[[0, 2]] == 0).all() and (model.vectors[2:] == 0).all()
    scores = model.score(gaps.histories(), whole(gaps.items))
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores[0, 2:], model.level[0], rtol=1e-6)


def test_a_known_user_is_answered_from_its_ratings() -> None:
    """The query's history is not read then; a user whose events were all dropped is folded in."""
    data = taste_log(users=20, items=15).where(pl.col("user") != 7)
    model = RatingMf(factors=3).fit(data, RUN)
    slate = whole(data.items)
    asked = model.score(Queries.of([[0], [5, 6], [3], [3], [3]], users=[2, 2, 7, -1, 999]), slate)
    assert np.array_equal(asked[0], asked[1])
    assert np.array_equal(asked[2], asked[3]) and np.array_equal(asked[3], asked[4])
    assert not np.array_equal(asked[0], asked[2])


def test_a_stranger_is_taken_to_like_its_history() -> None:
    """p = (sum q q' + l I)^-1 sum s q, with s the deviation of all ratings; no bias."""
    data = taste_log(users=40, items=20)
    model = RatingMf(factors=3, regularisation=2).fit(data, RUN)
    factors, biases = model.vectors[:, :-1].astype(np.float64), model.vectors[:, -1]
    near = factors[[4, 9]]
    ratings = data.events["rating"].to_numpy().astype(np.float64)
    p = np.linalg.solve(near.T @ near + 2 * np.eye(3), ratings.std() * near.sum(axis=0))
    found = model.score(Queries.of([[4, 9, 4], []]), Slate(items=np.array([3, 1])))
    np.testing.assert_allclose(found[0], (ratings.mean() + biases + factors @ p)[[3, 1]], rtol=1e-5)
    np.testing.assert_allclose(found[1], (ratings.mean() + biases)[[3, 1]], rtol=1e-5)


@pytest.mark.parametrize("known", [True, False], ids=["known", "strangers"])
def test_own_taste_is_rated_higher(known: bool) -> None:
    """Own items are rated 4 or 5 and others 1 to 3: the rarely rated ones too are told apart."""
    data = taste_log(users=150, items=45)
    model = RatingMf(factors=4, regularisation=2).fit(data, RUN)
    queries = data.histories()
    if not known:
        queries = replace(queries, users=np.full(len(queries), -1))
    scores = model.score(queries, whole(data.items))[:, : 45 - GROUPS]
    own = np.arange(45 - GROUPS) % GROUPS == (np.arange(data.n_users) % GROUPS)[:, None]
    gaps = (scores * own).sum(1) / own.sum(1) - (scores * ~own).sum(1) / (~own).sum(1)
    assert (gaps > 0.1).mean() > 0.9


def test_scores_are_not_clipped() -> None:
    data = taste_log(users=150, items=45)
    model = RatingMf(factors=4, regularisation=0.2, sweeps=20).fit(data, RUN)
    assert model.score(data.histories(), whole(data.items)).max() > 5


def test_two_events_of_half_weight_are_one() -> None:
    one = taste_log(users=20, items=12)
    lighter = down_weight(one, np.full(20, 0.5, dtype=np.float32)).dataset
    events = pl.concat([lighter.events, lighter.events]).sort("user", maintain_order=True)
    spec = RatingMf(factors=3)
    twice = spec.fit(replace(lighter, events=events), RUN)
    np.testing.assert_allclose(twice.vectors, spec.fit(one, RUN).vectors, rtol=1e-4, atol=1e-6)


def test_down_weighting_fades_a_user_out() -> None:
    data, spec = taste_log(users=30, items=15), RatingMf(factors=2, sweeps=4)
    gone = spec.fit(data.where(pl.col("user") != 29), RUN).vectors

    def distance(trust: float) -> float:
        given = np.ones(30, dtype=np.float32)
        given[29] = trust
        return float(np.abs(spec.fit(down_weight(data, given).dataset, RUN).vectors - gone).max())

    assert distance(1.0) > distance(0.3) > distance(1e-6)
    assert distance(1e-6) < 1e-5


def test_begins_from_given_items() -> None:
    data, spec = taste_log(users=60, items=20), RatingMf(factors=3, sweeps=60)
    start = spec.fit(data, RUN)
    fewer = data.where(pl.col("user") < 50)
    once = replace(spec, sweeps=1)

    def left(model: RatingMfRecommender) -> float:
        users, vectors = (a.astype(np.float64) for a in (model.users, model.vectors))
        return loss(fewer, users, vectors, float(model.level[0]), spec)

    assert left(once.fit(fewer, RUN, start=start)) < 0.98 * left(once.fit(fewer, RUN))
    for other in (Popularity().fit(data, RUN), RatingMf(factors=4).fit(data, RUN)):
        with pytest.raises(Unsupported, match="equal shape"):
            spec.fit(data, RUN, start=other)


def test_seed_decides() -> None:
    data, spec = taste_log(users=20, items=12), RatingMf(factors=3, sweeps=2)
    first, same, other = (spec.fit(data, RunContext(seed=s)) for s in (1, 1, 2))
    assert np.array_equal(first.vectors, same.vectors)
    assert not np.allclose(first.vectors, other.vectors)


def test_a_log_without_ratings_is_refused() -> None:
    plain = taste_log(users=10, items=12, ratings=False)
    with pytest.raises(DataError, match=r"field 'rating'.*(\d+) of \1 events.*'wmf' or 'ease'"):
        RatingMf().fit(plain, RUN)
    some = taste_log(users=10, items=12).events.with_columns(
        rating=pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise(pl.col("rating"))
    )
    with pytest.raises(DataError, match=r"1 of \d+ events have no rating; .*drop the events"):
        RatingMf().fit(replace(plain, events=some), RUN)
    none = replace(plain, events=pl.DataFrame(schema=EVENT_COLUMNS))
    with pytest.raises(DataError, match="there are no events"):
        RatingMf().fit(none, RUN)


def test_what_it_refuses() -> None:
    data = rated([[0]], [3.0])
    with pytest.raises(Unsupported, match="rating-mf minimises no such loss"):
        RatingMf().fit(data, RUN, objective=object())
    arrays = RatingMf().fit(data, RUN).arrays()
    for name in arrays:
        with pytest.raises(BundleError, match=f"'{name}' is missing"):
            RatingMf().restore({k: v for k, v in arrays.items() if k != name}, data.items, RUN)


def test_error_on_movielens(data_folder: Path) -> None:
    """On a random tenth of the ratings; 1.126 is their standard deviation."""
    data = MovieLens(path=data_folder / "ml-100k/raw").load()
    held = np.random.default_rng(0).random(data.n_events) < 0.1
    model = RatingMf().fit(data.where(pl.Series(~held)), RUN)
    u, i, ratings, _ = (column[held] for column in columns(data))
    scores = model.score(data.histories(), whole(data.items))
    assert np.sqrt(np.mean((scores[u, i] - ratings) ** 2)) < 0.93
