"""LightGCN: its graph and its propagation by hand, training through the common loop."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from hardrank.context import RunContext
from hardrank.data import Holdout, Queries
from hardrank.data.filtering import down_weight
from hardrank.data.sources import MovieLens
from hardrank.data.splits import LeaveOneOut
from hardrank.errors import BundleError, DataError, Unsupported
from hardrank.hardening import APR, Adversarial, StopAtRobustError
from hardrank.models import BprMf, LightGcn, Popularity
from hardrank.models.bpr.triples import BprBatch
from hardrank.models.common import holdout_ndcg, whole
from hardrank.models.graph.edges import normalised, propagated
from hardrank.models.graph.network import GraphNetwork
from hardrank.perturbations import PGD
from hardrank.recommender import Differentiable
from hardrank.testing import dataset, toy_market
from hardrank.testing.logs import GROUPS, taste_log
from hardrank.testing.pairs import Died, Dies
from hardrank.training import Plain

RUN = RunContext()
SPEC = LightGcn(size=8, epochs=6, batch_size=32)


# The graph


def test_the_graph_by_hand() -> None:
    """User 0 has items 0 and 1, user 1 has item 0: degrees 2, 1 and 2, 1, 0."""
    graph = normalised(dataset(["a", "b", "never"], [[0, 1, 0], [0]])).toarray()
    root = 1 / np.sqrt(2)
    half = np.array([[1 / 2, root, 0], [root, 0, 0]])
    expected = np.block([[np.zeros((2, 2)), half], [half.T, np.zeros((3, 3))]])
    np.testing.assert_allclose(graph, expected, rtol=1e-6)
    assert np.array_equal(graph, graph.T)


def test_a_distrusted_user_hardly_moves_an_item() -> None:
    data = taste_log(users=20, items=12)
    trust = np.ones(20, dtype=np.float32)
    trust[3] = 1e-6
    row = normalised(down_weight(data, trust).dataset).toarray()[20:]
    assert (row[:, 3] < 1e-2).all()
    others = np.setdiff1d(np.arange(32), [3])
    gone = normalised(data.where(pl.col("user") != 3)).toarray()
    np.testing.assert_allclose(row[:, others], gone[20:][:, others], atol=1e-5)


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_propagation_is_the_mean_of_powers(layers: int) -> None:
    """Values and gradients, against dense matrices that torch differentiates itself."""
    graph = normalised(taste_log(users=15, items=10))
    dense = torch.from_numpy(graph.toarray())
    vectors = torch.randn(25, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weight = torch.randn(25, 4, generator=torch.Generator().manual_seed(1))
    mean = sum(torch.linalg.matrix_power(dense, k) for k in range(layers + 1)) / (layers + 1)
    found, expected = propagated(graph, vectors, layers), mean @ vectors
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    slopes = (torch.autograd.grad((made * weight).sum(), vectors)[0] for made in (found, expected))
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-6)


# The network


def network(layers: int = 2, penalty: float = 0.0) -> GraphNetwork:
    draw = torch.Generator().manual_seed(0)
    data = taste_log(users=15, items=12)
    users, items = torch.randn(15, 4, generator=draw), torch.randn(12, 4, generator=draw)
    return GraphNetwork(users, items, normalised(data), layers=layers, penalty=penalty)


BATCH = BprBatch(torch.tensor([0, 3, 3]), torch.tensor([1, 2, 0]), torch.tensor([5, 6, 7]))


def test_the_loss_by_hand() -> None:
    made = network(penalty=0.5)
    users, items = (table.detach() for table in made.tables())
    u, i, j = users[BATCH.users], items[BATCH.liked], items[BATCH.other]
    plain = torch.log1p(torch.exp(-(u * i).sum(1) + (u * j).sum(1)))
    torch.testing.assert_close(made.user_losses(BATCH), plain)
    drawn = made.users[BATCH.users], made.items[BATCH.liked], made.items[BATCH.other]
    norms = sum(part.square().sum(1) for part in drawn)
    torch.testing.assert_close(made.loss(BATCH), (plain + 0.25 * norms).mean())


@pytest.mark.parametrize("site", ["item-vectors", "user-vectors"])
def test_a_delta_moves_the_vectors_after_propagation(site: Any) -> None:
    made = network()
    clean = made.clean(site, BATCH)
    delta = torch.zeros_like(clean)
    assert torch.equal(made.loss(BATCH, {site: delta}), made.loss(BATCH))
    delta[9] = 5.0  # neither in the batch
    assert torch.equal(made.loss(BATCH, {site: delta}), made.loss(BATCH))
    delta[1 if site == "item-vectors" else 3] = 1.0
    users, items = (table.detach() for table in made.tables())
    if site == "item-vectors":
        items = items + delta
    else:
        users = users + delta
    u, i, j = users[BATCH.users], items[BATCH.liked], items[BATCH.other]
    expected = -torch.nn.functional.logsigmoid((u * (i - j)).sum(1)).mean()
    torch.testing.assert_close(made.loss(BATCH, {site: delta}), expected)


# The model


def test_the_model_is_its_propagated_vectors() -> None:
    data = taste_log(users=20, items=12)
    model = replace(SPEC, layers=3).fit(data, RUN)
    graph = normalised(data).toarray()
    first = np.concatenate([model.first_users, model.first_items])
    nodes = sum(np.linalg.matrix_power(graph, k) @ first for k in range(4)) / 4
    np.testing.assert_allclose(model.users, nodes[:20], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.factors, nodes[20:], rtol=1e-4, atol=1e-6)
    known = model.score(data.histories(), whole(data.items))
    np.testing.assert_allclose(known, model.users @ model.factors.T, rtol=1e-4, atol=1e-5)
    stranger = model.score(Queries.of([[2, 5], []]), whole(data.items))
    folded = model.factors[[2, 5]].mean(axis=0) @ model.factors.T
    np.testing.assert_allclose(stranger, [folded, 0 * folded], rtol=1e-4, atol=1e-5)


def test_own_taste_comes_first() -> None:
    data = taste_log(users=150, items=90, events=10)
    model = LightGcn(size=8, epochs=60, batch_size=512).fit(data, RUN)
    top = model.top(data.histories(), 3)
    assert (top % GROUPS == (np.arange(data.n_users) % GROUPS)[:, None]).mean() > 0.7


def test_neighbours_teach_whom_comparisons_do_not() -> None:
    """Layers matter: item vectors of one group come near each other by the graph alone."""
    data = taste_log(users=150, items=60)
    untrained = {
        n: LightGcn(size=64, layers=n, epochs=1, learning_rate=1e-9).fit(data, RUN) for n in (0, 2)
    }
    groups = np.arange(57) % GROUPS

    def gap(layers: int) -> float:
        unit = untrained[layers].factors[:57]
        unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
        same = groups[:, None] == groups
        near = unit @ unit.T
        return float(near[same & ~np.eye(57, dtype=bool)].mean() - near[~same].mean())

    assert gap(2) > 0.025 and abs(gap(0)) < 0.015


def test_further_users_begin_where_they_would_and_leave_others_there() -> None:
    """A log with fake users is trained from the same start as the clean one."""
    few, more = taste_log(users=20, items=12), taste_log(users=30, items=12)
    still = replace(SPEC, epochs=1, learning_rate=1e-12, penalty=0.0)
    one, two = still.fit(few, RUN), still.fit(more, RUN)
    np.testing.assert_allclose(one.first_users, two.first_users[:20], atol=1e-8)
    np.testing.assert_allclose(one.first_items, two.first_items, atol=1e-8)


def test_users_and_items_without_events() -> None:
    data = dataset(["a", "b", "c", "never"], [[0, 1], [], [1, 2]])
    model = replace(SPEC, layers=2).fit(data, RUN)
    assert all(np.isfinite(a).all() for a in model.arrays().values())
    assert model.known.tolist() == [True, False, True]
    np.testing.assert_allclose(model.factors[3], model.first_items[3] / 3, rtol=1e-6)


def test_begins_from_given_vectors_and_leaves_them() -> None:
    data = toy_market()
    begun = LightGcn(size=8, epochs=20).fit(data, RUN)
    before = {name: array.copy() for name, array in begun.arrays().items()}
    still = LightGcn(size=8, epochs=1, learning_rate=1e-12)
    again = still.fit(data, RUN, start=begun)
    np.testing.assert_allclose(again.factors, begun.factors, atol=1e-6)
    SPEC.fit(data, RUN, start=begun)
    assert all(np.array_equal(begun.arrays()[name], array) for name, array in before.items())
    for other in (Popularity().fit(data, RUN), BprMf(size=8, epochs=1).fit(data, RUN)):
        with pytest.raises(Unsupported, match="equal shape"):
            SPEC.fit(data, RUN, start=other)
    with pytest.raises(Unsupported, match="equal shape"):
        LightGcn(size=4).fit(data, RUN, start=begun)


def test_seed_decides_and_plain_is_no_objective() -> None:
    data = toy_market()
    one, two = SPEC.fit(data, RUN), SPEC.fit(data, RUN, objective=Plain())
    assert all(np.array_equal(one.arrays()[n], two.arrays()[n]) for n in one.arrays())
    assert not np.allclose(one.factors, SPEC.fit(data, RunContext(seed=1)).factors)


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    run = replace(RUN, folder=tmp_path)
    with pytest.raises(Died):
        SPEC.fit(toy_market(), run, objective=Dies(3))
    resumed = SPEC.fit(toy_market(), run, objective=Dies(99))
    for name, array in SPEC.fit(toy_market(), RUN).arrays().items():
        assert np.array_equal(resumed.arrays()[name], array)


@pytest.mark.parametrize("site", ["item-vectors", "user-vectors"])
def test_it_can_be_hardened(site: Any) -> None:
    """Adversarial training finds the site and changes the weights."""
    plain = SPEC.fit(toy_market(), RUN)
    hard = SPEC.fit(toy_market(), RUN, objective=APR(sites=(site,), radius=0.5))
    assert not np.allclose(plain.factors, hard.factors)
    assert all(np.isfinite(a).all() for a in hard.arrays().values())


def test_it_keeps_the_best_epoch() -> None:
    split = LeaveOneOut().split(toy_market())
    spec = replace(SPEC, epochs=8, patience=8)
    by_epoch = [
        holdout_ndcg(replace(spec, epochs=n).fit(split.train, RUN), split.valid)
        for n in range(1, 9)
    ]
    chosen = holdout_ndcg(spec.fit(split.train, RUN, valid=split.valid), split.valid)
    assert chosen == max(by_epoch) > min(by_epoch)


# White box


def test_white_box_views() -> None:
    """At the sites of the vectors after propagation; a zero delta is the clean score."""
    data, model = toy_market(), SPEC.fit(toy_market(), RUN)
    assert isinstance(model, Differentiable)
    queries, items = data.histories(), np.array([3, 8])
    surface = model.surface("item-vectors", "promote", queries, items)
    scores = model.perturbed_scores(
        "item-vectors", "promote", queries, items, torch.zeros_like(surface.like)
    )
    expected = model.score(queries, whole(data.items))[:, items]
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    delta = torch.zeros_like(surface.like, requires_grad=True)
    (slope,) = torch.autograd.grad(surface.loss(delta).sum(), delta)
    assert (surface.loss(0.1 * slope) > surface.loss(torch.zeros_like(slope))).all()
    with pytest.raises(Unsupported, match="light-gcn has no surface for goal 'degrade'"):
        model.surface("item-vectors", "degrade", queries, items)
    with pytest.raises(Unsupported, match="light-gcn has no surface"):
        model.perturbed_scores("user-vectors", "promote", queries, items, delta)


# What it refuses


def test_what_it_refuses() -> None:
    with pytest.raises(DataError, match="no user lacks an item"):
        SPEC.fit(dataset(["a", "b"], [[0, 1], [1, 0]]), RUN)
    asked = Adversarial(
        site="item-vectors", inner=PGD(), radius=0.1, stop=(StopAtRobustError(target=0.2),)
    )
    with pytest.raises(Unsupported, match=r"no error under attack.*'quality-floor'"):
        SPEC.fit(toy_market(), RUN, objective=asked)
    arrays = SPEC.fit(toy_market(), RUN).arrays()
    for name in arrays:
        with pytest.raises(BundleError, match=f"'{name}' is missing"):
            SPEC.restore(
                {k: v for k, v in arrays.items() if k != name}, toy_market().items, RUN
            )  # fmt: skip


@pytest.mark.slow
def test_beats_popularity_on_movielens(data_folder: Path) -> None:
    split = LeaveOneOut().split(MovieLens(path=data_folder / "ml-100k/raw").load())
    floor = holdout_ndcg(Popularity().fit(split.train, RUN), split.test)
    model = LightGcn(epochs=25).fit(split.train, RUN)
    assert holdout_ndcg(model, split.test) > 1.3 * floor
    strangers = replace(split.test.queries, users=np.full(len(split.test), -1))
    assert holdout_ndcg(model, Holdout(queries=strangers, targets=split.test.targets)) > floor
