"""EASE: against its formula, against one regression per item, and on real data."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from hardrank.context import RunContext
from hardrank.data import EVENT_COLUMNS, Dataset, Queries, Slate
from hardrank.data.filtering import down_weight
from hardrank.data.sources import MovieLens
from hardrank.data.splits import LeaveOneOut
from hardrank.errors import BundleError, Diverged, Unsupported
from hardrank.models import Ease, Popularity
from hardrank.models.common import holdout_ndcg, whole
from hardrank.testing import dataset
from hardrank.testing.logs import GROUPS, taste_log

RUN = RunContext()


def seen(data: Dataset) -> NDArray[np.float64]:
    """(U, I) binary."""
    out = np.zeros((data.n_users, data.n_items))
    out[data.events["user"].to_numpy(), data.event_items] = 1
    return out


def closed_form(x: NDArray[np.float64], regularisation: float) -> NDArray[np.float64]:
    inverse = np.linalg.inv(x.T @ x + regularisation * np.eye(x.shape[1]))
    return np.eye(x.shape[1]) - inverse @ np.diag(1 / np.diag(inverse))


def test_two_items_by_hand() -> None:
    """X'X + I = [[3, 1], [1, 2]], its inverse [[2, -1], [-1, 3]] / 5: B_01 = 1/3, B_10 = 1/2."""
    model = Ease(regularisation=1).fit(dataset(["a", "b"], [[0, 1], [0]]), RUN)
    np.testing.assert_allclose(model.weights, [[0, 1 / 3], [1 / 2, 0]], rtol=1e-6)


@pytest.mark.parametrize("regularisation", [0.5, 20.0, 1000.0])
def test_is_its_formula(regularisation: float) -> None:
    data = taste_log(users=80, items=30)
    model = Ease(regularisation=regularisation).fit(data, RUN)
    np.testing.assert_allclose(
        model.weights, closed_form(seen(data), regularisation), rtol=1e-5, atol=1e-7
    )


def test_each_column_is_a_ridge_regression_on_the_other_items() -> None:
    """The slow twin: no inverse of the whole, one regression an item."""
    data = taste_log(users=50, items=15)
    x, model = seen(data), Ease(regularisation=7).fit(data, RUN)
    for item in range(data.n_items):
        others = np.arange(data.n_items) != item
        a = x[:, others].T @ x[:, others] + 7 * np.eye(data.n_items - 1)
        expected = np.linalg.solve(a, x[:, others].T @ x[:, item])
        np.testing.assert_allclose(model.weights[others, item], expected, rtol=1e-4, atol=1e-6)
        assert model.weights[item, item] == 0


def test_scores_are_sums_over_the_distinct_history() -> None:
    model = Ease(regularisation=5).fit(taste_log(users=50, items=15), RUN)
    queries = Queries.of([[3, 0, 3], [0, 3], []])
    scores = model.score(queries, Slate(items=np.array([7, 2])))
    expected = model.weights[0] + model.weights[3]
    np.testing.assert_allclose(scores, [expected[[7, 2]], expected[[7, 2]], [0, 0]], rtol=1e-6)


def test_a_user_of_half_weight_counts_as_half_a_user() -> None:
    """Everyone twice at weight 0.5 is everyone once."""
    once = taste_log(users=30, items=15)
    moved = once.events.with_columns(user=(pl.col("user") + 30).cast(pl.Int32))
    twice = replace(
        once,
        users=pl.DataFrame({"user_id": [f"u{n}" for n in range(60)]}),
        events=pl.concat([once.events, moved]),
    )
    halves = down_weight(twice, np.full(60, 0.5, dtype=np.float32)).dataset
    spec = Ease(regularisation=5)
    np.testing.assert_allclose(
        spec.fit(halves, RUN).weights, spec.fit(once, RUN).weights, rtol=1e-5, atol=1e-7
    )


def test_down_weighting_fades_a_user_out() -> None:
    """From as it was, at trust 1, to nearly as if it was not there."""
    data = taste_log(users=30, items=15)
    gone = Ease(regularisation=5).fit(data.where(pl.col("user") != 29), RUN).weights

    def distance(trust: float) -> float:
        given = np.ones(30, dtype=np.float32)
        given[29] = trust
        made = Ease(regularisation=5).fit(down_weight(data, given).dataset, RUN)
        return float(np.abs(made.weights - gone).max())

    assert distance(1.0) > distance(0.5) > distance(0.1) > distance(1e-6)
    assert distance(1e-6) < 1e-6


def test_user_norm_divides_each_row_by_its_length() -> None:
    data = taste_log(users=40, items=15)
    x = seen(data)
    for norm in (0.5, 1.0):
        rows = x / x.sum(axis=1, keepdims=True) ** norm
        found = Ease(regularisation=0.8, user_norm=norm).fit(data, RUN).weights
        np.testing.assert_allclose(found, closed_form(rows, 0.8), rtol=1e-5, atol=1e-7)


def test_a_repeated_event_counts_once_at_its_heaviest() -> None:
    plain = dataset(["a", "b", "c"], [[0, 1, 2], [0, 1]])
    repeated = dataset(["a", "b", "c"], [[0, 1, 0, 2], [0, 0, 1]])
    light = replace(
        repeated,
        events=repeated.events.with_columns(
            weight=pl.Series([1.0, 1.0, 0.2, 1.0, 0.3, 1.0, 1.0], dtype=pl.Float32)
        ),
    )
    expected = Ease(user_norm=0.5).fit(plain, RUN).weights
    assert np.array_equal(Ease(user_norm=0.5).fit(repeated, RUN).weights, expected)
    assert np.array_equal(Ease(user_norm=0.5).fit(light, RUN).weights, expected)


@pytest.mark.parametrize("user_norm", [0.0, 0.5])
def test_users_and_items_without_events_change_nothing(user_norm: float) -> None:
    spec = Ease(regularisation=2, user_norm=user_norm)
    some = spec.fit(dataset(["a", "b"], [[0, 1], [0]]), RUN).weights
    more = spec.fit(dataset(["a", "b", "never"], [[], [0, 1], [], [0]]), RUN).weights
    np.testing.assert_allclose(more[:2, :2], some, rtol=1e-6)
    assert (more[2] == 0).all() and (more[:, 2] == 0).all()


def test_smallest_worlds() -> None:
    one = Ease().fit(dataset(["a"], [[0]]), RUN)
    assert one.score(Queries.of([[0], []]), whole(one.items)).tolist() == [[0], [0]]
    assert one.top(Queries.of([[0], []]), 3).tolist() == [[-1], [0]]
    empty = replace(dataset(["a", "b"], [[0]]), events=pl.DataFrame(schema=EVENT_COLUMNS))
    assert (Ease().fit(empty, RUN).weights == 0).all()


def test_own_taste_comes_first() -> None:
    """Of the best three unseen items most are of the user's group; by popularity hardly any."""
    data = taste_log(users=150, items=90, events=10)
    groups = (np.arange(data.n_users) % GROUPS)[:, None]

    def own(spec: Any) -> float:
        top = spec.fit(data, RUN).top(data.histories(), 3)
        return float((top % GROUPS == groups).mean())

    assert own(Ease(regularisation=20)) > 0.6 and own(Popularity()) < 0.2


def test_the_order_of_users_does_not_matter() -> None:
    data = taste_log(users=40, items=15)
    turned = replace(
        data,
        users=data.users.reverse(),
        events=data.events.with_columns(user=39 - pl.col("user")).sort("user", maintain_order=True),
    )
    spec = Ease(regularisation=5, user_norm=0.5)
    np.testing.assert_allclose(
        spec.fit(turned, RUN).weights, spec.fit(data, RUN).weights, rtol=1e-5, atol=1e-7
    )


# What it refuses


def test_a_large_catalogue_is_refused_before_anything_is_allocated() -> None:
    data = dataset([f"item {n}" for n in range(30_001)], [[0, 1]])
    with pytest.raises(Unsupported, match=r"30,000 items are the most .*30,001.*'wmf'"):
        Ease().fit(data, RUN)


def test_a_matrix_without_inverse_is_named() -> None:
    with pytest.raises(Diverged, match="raise `regularisation`"):  # equal columns
        Ease(regularisation=1e-20).fit(dataset(["a", "b"], [[0, 1], [0, 1]]), RUN)


def test_an_objective_is_refused() -> None:
    with pytest.raises(Unsupported, match="ease minimises no such loss"):
        Ease().fit(dataset(["a", "b"], [[0, 1]]), RUN, objective=object())


def test_a_missing_array_is_named() -> None:
    with pytest.raises(BundleError, match="'weights' is missing"):
        Ease().restore({}, dataset(["a"], [[0]]).items, RUN)


def test_beats_popularity_on_movielens(data_folder: Path) -> None:
    split = LeaveOneOut().split(MovieLens(path=data_folder / "ml-100k/raw").load())
    floor = holdout_ndcg(Popularity().fit(split.train, RUN), split.test)
    found = holdout_ndcg(Ease().fit(split.train, RUN), split.test)
    assert found > 1.5 * floor and found > 0.068
