"""Curves on a linear model, whose worst case is known."""

import numpy as np
import pytest

from hardrank.audits.catalogue import full_ranks
from hardrank.audits.curves import degrade_curve, promote_curve
from hardrank.audits.measure import measure
from hardrank.data import Holdout, Queries
from hardrank.errors import Unsupported
from hardrank.perturbations import FGM, PGD, Gaussian

RADII = (0.0, 0.1, 0.3, 1.0, 4.0)


def world(make_vectors, seed: int = 0):
    rng = np.random.default_rng(seed)
    model = make_vectors(rng.normal(size=(60, 8)) + 0.3, rng.normal(size=(40, 8)))
    queries = Queries.of([[q % 40, (q + 7) % 40] for q in range(60)], users=range(60))
    return model, queries


def promoted(model, queries, inner=None, **more):
    return promote_curve(
        model, np.array([3, 9, 20]), queries, site="item-vectors", inner=inner or PGD(),
        radii=RADII, subject="m/control", seed=1, trial="pgd", k=5, **more,
    )  # fmt: skip


def test_promotion_shift_is_radius_times_gradient_norm(make_vectors) -> None:
    """A mean of scores is linear in the item: the best shift is radius * ||mean state||."""
    model, queries = world(make_vectors)
    table = promoted(model, queries)
    push = float(model.states.mean(0).norm())
    scale = float(model.vectors[[3, 9, 20]].norm(dim=-1).mean())
    eligible = {t: [q for q in range(60) if t not in queries.history(q)] for t in (3, 9, 20)}
    for row in table.to_dicts():
        users = eligible[int(row["sample"][1:])]
        unit = model.states.mean(0) / push
        expected = row["radius"] * scale * float((model.states[users] @ unit).mean())
        assert row["value"] == pytest.approx(expected, abs=1e-5)
        assert row["eligible"] == len(users)


def test_radius_zero_is_the_clean_model_and_curves_rise(make_vectors) -> None:
    model, queries = world(make_vectors)
    table = promoted(model, queries)
    clean = table.filter(radius=0.0)
    assert (clean["rank_after"] == clean["rank_before"]).all()
    assert (clean["hits_after"] == clean["hits_before"]).all()
    means = [
        measure(table, subject="m/control", audit="curve", metric="rank_after", trial="pgd",
                radius=r).value
        for r in RADII
    ]  # fmt: skip
    assert means == sorted(means, reverse=True)
    assert means[-1] < means[0]


def test_degrade_at_zero_equals_utility_and_falls_with_radius(make_vectors) -> None:
    model, queries = world(make_vectors)
    targets = np.array([(q * 3 + 11) % 40 for q in range(60)])
    targets = np.where([t in queries.history(q) for q, t in enumerate(targets)], 39, targets)
    holdout = Holdout(queries=queries, targets=targets)
    table = degrade_curve(
        model, holdout, site="history-vectors", inner=PGD(), radii=RADII, subject="m/control",
        seed=0, trial="pgd",
    )  # fmt: skip
    assert table.filter(radius=0.0)["rank"].to_list() == full_ranks(model, holdout).tolist()
    means = [table.filter(radius=r)["rank"].mean() for r in RADII]
    assert means == sorted(means)
    assert means[-1] > means[0] + 5
    area = measure(table, subject="m/control", audit="curve", metric="area(ndcg@10)", trial="pgd")
    assert area.n == 60


def test_queries_without_history_are_left_out_at_every_radius(make_vectors) -> None:
    model, _ = world(make_vectors)
    holdout = Holdout(
        queries=Queries.of([[1], [], [2]], users=[0, 1, 2]), targets=np.array([5] * 3)
    )
    table = degrade_curve(
        model, holdout, site="history-vectors", inner=FGM(), radii=(0, 0.1), subject="m/c",
        seed=0, trial="fgm", names=["a", "b", "c"],
    )  # fmt: skip
    assert table["sample"].to_list() == ["a", "c", "a", "c"]


def test_a_radius_draws_the_same_whatever_else_is_measured(make_vectors) -> None:
    model, queries = world(make_vectors)
    both = [
        promote_curve(model, np.array([3]), queries, site="item-vectors", inner=Gaussian(),
                      radii=radii, subject="m", seed=1, trial="noise").filter(radius=0.3)
        for radii in ((0.3,), (0.1, 0.3))
    ]  # fmt: skip
    assert both[0].equals(both[1])


def test_a_panel_may_be_smaller_than_the_audience(make_vectors) -> None:
    model, queries = world(make_vectors)
    wide, narrow = promoted(model, queries), promoted(model, queries, panel=queries.take(np.r_[:5]))
    assert narrow["eligible"].equals(wide["eligible"])
    assert narrow["value"].sum() < wide["value"].sum()


def test_models_without_gradients_are_refused(make_toy, make_vectors) -> None:
    toy = make_toy(["a", "b"], [{}])
    with pytest.raises(Unsupported, match="no gradients at 'item-vectors'"):
        promoted(toy, Queries.of([[0]], users=[0]))
    model, queries = world(make_vectors)
    with pytest.raises(Unsupported, match="'text-vectors'"):
        degrade_curve(
            model, Holdout(queries=queries, targets=np.zeros(60, int)), site="text-vectors",
            inner=PGD(), radii=(0.1,), subject="m", seed=0, trial="pgd",
        )  # fmt: skip
