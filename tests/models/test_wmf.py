"""Implicit least squares: each half-step against a slow twin, and on real data."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hardrank.context import RunContext
from hardrank.data import EVENT_COLUMNS, Dataset, Queries, Slate
from hardrank.data.filtering import down_weight
from hardrank.data.sources import MovieLens
from hardrank.data.splits import LeaveOneOut
from hardrank.errors import BundleError, Unsupported
from hardrank.models import Popularity, Wmf
from hardrank.models.common import holdout_ndcg, whole
from hardrank.models.least_squares import Groups, ridge_rows
from hardrank.models.wmf import WmfRecommender
from hardrank.testing import dataset
from hardrank.testing.logs import GROUPS, taste_log

RUN = RunContext()
Numbers = NDArray[np.float64]


def evidence(data: Dataset) -> Numbers:
    """(U, I) r: summed weights."""
    out = np.zeros((data.n_users, data.n_items))
    at = data.events["user"].to_numpy(), data.event_items
    np.add.at(out, at, data.events["weight"].to_numpy())
    return out


def mixed(data: Dataset) -> Dataset:
    """Weights of 0.3, 1 and 0.9, and every tenth event twice."""
    weight = pl.Series(np.resize([0.3, 1.0, 0.9, 1.0], data.n_events), dtype=pl.Float32)
    events = data.events.with_columns(weight=weight)
    events = pl.concat([events, events.gather_every(10)]).sort("user", maintain_order=True)
    return replace(data, events=events)


def slow_rows(r: Numbers, vectors: Numbers, spec: Wmf) -> Numbers:
    """(N, D) the paper's equation 4 with whole matrices, a row at a time; r (N, M)."""
    out = []
    for row in r:
        c = np.diag(1 + spec.confidence * row)
        preference = np.minimum(row, 1) * (1 + spec.confidence) / np.diag(c)
        preference[row >= 1] = 1
        a = vectors.T @ c @ vectors + spec.regularisation * np.eye(vectors.shape[1])
        out.append(np.linalg.solve(a, vectors.T @ c @ preference))
    return np.array(out)


def loss(r: Numbers, users: Numbers, items: Numbers, spec: Wmf) -> float:
    """The sum over all pairs; below r = 1 a pair is an event with share r."""
    scores, share = users @ items.T, np.minimum(r, 1)
    event = (1 + spec.confidence * np.maximum(r, 1)) * (1 - scores) ** 2
    pairs = share * event + (1 - share) * scores**2
    return float(pairs.sum() + spec.regularisation * ((users**2).sum() + (items**2).sum()))


def halves(spec: Wmf, data: Dataset) -> Any:
    """The two half-steps as functions of the other side."""
    r = evidence(data)
    u, i = np.nonzero(r)
    by_user, by_item = Groups.of(u, data.n_users), Groups.of(i, data.n_items)
    return (
        lambda items: spec.half_step(by_user, i, r[u, i], items),
        lambda users: spec.half_step(by_item, u, r[u, i], users),
    )


@pytest.mark.parametrize("confidence", [0.0, 2.0, 40.0])
def test_a_half_step_solves_its_normal_equations(confidence: float) -> None:
    """The slow twin, with repeated events and weights below 1."""
    data = mixed(taste_log(users=40, items=20))
    spec = Wmf(factors=5, regularisation=0.7, confidence=confidence)
    items = np.random.default_rng(0).normal(size=(20, 5))
    users_of, items_of = halves(spec, data)
    users = users_of(items)
    np.testing.assert_allclose(users, slow_rows(evidence(data), items, spec), rtol=1e-9)
    expected = slow_rows(evidence(data).T, users, spec)
    np.testing.assert_allclose(items_of(users), expected, rtol=1e-9, atol=1e-12)


def test_the_loss_never_rises() -> None:
    data, spec = mixed(taste_log(users=40, items=20)), Wmf(factors=4, regularisation=0.5)
    r, items = evidence(data), np.random.default_rng(1).normal(size=(20, 4))
    users_of, items_of = halves(spec, data)
    users, losses = np.zeros((40, 4)), []
    for _ in range(8):
        losses.append(loss(r, users, items, spec))
        users = users_of(items)
        losses.append(loss(r, users, items, spec))
        items = items_of(users)
    assert all(after <= before + 1e-9 for before, after in pairwise(losses))
    assert losses[-1] < 0.9 * losses[1]


def test_fit_is_its_half_steps() -> None:
    """From the factors of a `start`, as many sweeps as asked."""
    data = mixed(taste_log(users=40, items=20))
    spec = Wmf(factors=4, sweeps=3)
    start = replace(spec, sweeps=1).fit(data, RUN)
    users_of, items_of = halves(spec, data)
    items = start.vectors.astype(np.float64)
    for _ in range(3):
        items = items_of(users_of(items))
    np.testing.assert_allclose(spec.fit(data, RUN, start=start).vectors, items, rtol=1e-4)


def test_one_user_and_one_item_by_hand() -> None:
    """(v^2 (1 + a) + l) p = (1 + a) v, with v = 2, a = 3, l = 4: p = 8 / 20."""
    data = dataset(["a"], [[0]])
    spec = Wmf(factors=1, regularisation=4, confidence=3)
    model = WmfRecommender(items=data.items, vectors=np.array([[2.0]], np.float32), spec=spec)
    np.testing.assert_allclose(model.profiles(Queries.of([[0], []])), [[0.4], [0]], rtol=1e-6)
    scores = model.score(Queries.of([[0]]), Slate(items=np.array([0, 0])))
    np.testing.assert_allclose(scores, [[0.8, 0.8]], rtol=1e-6)


def test_a_query_is_a_user_with_that_history() -> None:
    """Whoever asks, in whatever order, a repetition counted as evidence."""
    data = taste_log(users=40, items=20)
    model = Wmf(factors=6).fit(data, RUN)
    r = np.zeros((2, 20))
    r[0, [3, 7, 9]] = 1
    r[1, 4] = 2
    expected = slow_rows(r, model.vectors.astype(np.float64), model.spec)
    queries = Queries.of([[9, 3, 7], [4, 4]], users=[-1, 5])
    np.testing.assert_allclose(model.profiles(queries), expected, rtol=1e-4, atol=1e-7)
    others = Queries.of([[3, 7, 9], [4, 4]], users=[0, 10_000])
    assert np.array_equal(model.profiles(others), model.profiles(queries))


def test_down_weighting_fades_a_user_out() -> None:
    data = taste_log(users=30, items=15)
    spec = Wmf(factors=3, sweeps=4)
    gone = spec.fit(data.where(pl.col("user") != 29), RUN).vectors

    def distance(trust: float) -> float:
        given = np.ones(30, dtype=np.float32)
        given[29] = trust
        made = spec.fit(down_weight(data, given).dataset, RUN)
        return float(np.abs(made.vectors - gone).max())

    assert distance(1.0) > distance(0.4) > distance(0.05) > distance(1e-6)
    assert distance(1e-6) < 1e-5


def test_users_and_items_without_events() -> None:
    data = dataset(["a", "b", "c", "never"], [[0, 1], [], [1, 2], []])
    model = Wmf(factors=3, regularisation=0.1).fit(data, RUN)
    assert (model.vectors[3] == 0).all() and (model.vectors[:3] != 0).any()
    scores = model.score(Queries.of([[], [3], [0]]), whole(data.items))
    assert (scores[:2] == 0).all() and scores[2, 0] > 0 and scores[2, 3] == 0
    less = Wmf(factors=3, regularisation=0.1).fit(
        dataset(["a", "b", "c", "never"], [[0, 1], [1, 2]]), RUN
    )
    np.testing.assert_allclose(less.vectors, model.vectors, rtol=1e-5, atol=1e-7)


def test_a_log_without_events_scores_everything_alike() -> None:
    empty = replace(dataset(["a", "b"], [[0]]), events=pl.DataFrame(schema=EVENT_COLUMNS))
    model = Wmf(factors=2).fit(empty, RUN)
    assert (model.score(Queries.of([[0]]), whole(empty.items)) == 0).all()


def test_own_taste_comes_first() -> None:
    """Chance is a third; by popularity it is hardly any."""
    data = taste_log(users=150, items=90, events=10)
    model = Wmf(factors=3, regularisation=5, confidence=5).fit(data, RUN)
    top = model.top(data.histories(), 3)
    assert (top % GROUPS == (np.arange(data.n_users) % GROUPS)[:, None]).mean() > 0.7


def test_seed_decides() -> None:
    data, spec = taste_log(users=20, items=12), Wmf(factors=3, sweeps=2)
    first, same, other = (spec.fit(data, RunContext(seed=s)).vectors for s in (1, 1, 2))
    assert np.array_equal(first, same) and not np.allclose(first, other)


def test_a_start_from_a_log_with_fewer_users() -> None:
    """One sweep from a trained start is nearer to the end than one from chance."""
    data, spec = taste_log(users=60, items=20), Wmf(factors=4, regularisation=1, sweeps=40)
    start = spec.fit(data.where(pl.col("user") < 50), RUN)
    users_of, _ = halves(spec, data)

    def reached(model: WmfRecommender) -> float:
        items = model.vectors.astype(np.float64)
        return loss(evidence(data), users_of(items), items, spec)

    once = replace(spec, sweeps=1)
    warm, cold = once.fit(data, RUN, start=start), once.fit(data, RUN)
    assert reached(warm) < reached(start) and reached(warm) < 0.98 * reached(cold)
    with pytest.raises(Unsupported, match="equal shape"):
        Wmf(factors=5).fit(data, RUN, start=start)
    with pytest.raises(Unsupported, match="equal shape"):
        Wmf(factors=4).fit(taste_log(users=60, items=21), RUN, start=start)
    with pytest.raises(Unsupported, match="equal shape"):
        spec.fit(data, RUN, start=Popularity().fit(data, RUN))


def test_what_it_refuses() -> None:
    data = dataset(["a", "b"], [[0, 1]])
    with pytest.raises(Unsupported, match="wmf minimises no such loss"):
        Wmf().fit(data, RUN, objective=object())
    with pytest.raises(BundleError, match="'vectors' is missing"):
        Wmf().restore({}, data.items, RUN)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=12),
    size=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_ridge_rows_are_single_regressions(lengths: list[int], size: int, seed: int) -> None:
    """The oracle: one `solve` a row. And a row alone is the row in company, to the last bit."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(np.repeat(np.arange(len(lengths)), lengths))
    columns = rng.integers(7, size=len(rows))
    weights, pulls = rng.uniform(0.1, 3, len(rows)), rng.normal(size=len(rows))
    vectors, base = rng.normal(size=(7, size)), 0.5 * np.eye(size)
    given = {"weights": weights, "pulls": pulls}
    found = ridge_rows(
        Groups.of(rows, len(lengths)), columns, **given, vectors=vectors, base=base
    )  # fmt: skip
    for n in range(len(lengths)):
        mine = rows == n
        near = vectors[columns[mine]]
        a = base + near.T @ (near * weights[mine][:, None])
        expected = np.linalg.solve(a, near.T @ pulls[mine])
        np.testing.assert_allclose(found[n], expected, rtol=1e-8, atol=1e-10)
        alone = ridge_rows(
            Groups.of(np.zeros(mine.sum(), np.int64), 1), columns[mine], weights=weights[mine],
            pulls=pulls[mine], vectors=vectors, base=base,
        )  # fmt: skip
        assert np.array_equal(alone[0], found[n])


def test_beats_popularity_on_movielens(data_folder: Path) -> None:
    split = LeaveOneOut().split(MovieLens(path=data_folder / "ml-100k/raw").load())
    floor = holdout_ndcg(Popularity().fit(split.train, RUN), split.test)
    found = holdout_ndcg(Wmf(factors=32).fit(split.train, RUN), split.test)
    assert found > 1.5 * floor and found > 0.068
