"""BPR-MF: its triples, training through the common loop, and white-box views."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.context import RunContext
from hardrank.data import Queries
from hardrank.errors import DataError, Unsupported
from hardrank.hardening import APR, Adversarial, QualityFloor, StopAtRobustError
from hardrank.models import BprMf
from hardrank.models.bpr.triples import Triples
from hardrank.models.common import whole
from hardrank.perturbations import PGD
from hardrank.recommender import Differentiable, best, mask_seen
from hardrank.testing import dataset, toy_market
from hardrank.testing.pairs import Died, Dies
from hardrank.training import Plain

RUN = RunContext()
SPEC = BprMf(size=8, epochs=6, batch_size=32, learning_rate=0.02)


# Triples


@given(st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=1, max_size=6), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_each_event_once_against_an_item_that_is_not_the_users(
    owned: list[set[int]], seed: int
) -> None:
    """Users who have the whole catalogue are left out."""
    data = dataset([f"i{n}" for n in range(6)], [sorted(items) for items in owned])
    triples = Triples(data)
    seen = []
    for part in triples.batches(4, np.random.default_rng(seed)):
        assert 1 <= len(part.users) <= 4
        for user, liked, other in zip(part.users, part.liked, part.other, strict=True):
            assert int(other) not in owned[int(user)]
            seen.append((int(user), int(liked)))
    assert sorted(seen) == sorted(
        (u, i) for u, own in enumerate(owned) if len(own) < 6 for i in own
    )
    assert len(triples) == len(seen)


def test_the_other_item_is_uniform_also_for_whom_hardly_anything_is_left() -> None:
    """User 0 lacks 2 of 400 items: 20 blind draws mostly miss, a list of what is left does not."""
    titles = [f"i{n}" for n in range(400)]
    triples = Triples(dataset(titles, [list(range(398)), [0]]))
    drawn = np.concatenate(
        [
            part.other[part.users == 0].numpy()
            for epoch in range(3)
            for part in triples.batches(500, np.random.default_rng(epoch))
        ]
    )
    assert set(drawn.tolist()) == {398, 399}
    share = float((drawn == 398).mean())  # of 1,194 draws: 4 standard deviations are 0.058
    assert abs(share - 0.5) < 0.058


def test_a_market_where_everybody_has_everything_is_refused() -> None:
    with pytest.raises(DataError, match="no user lacks an item"):
        SPEC.fit(dataset(["a", "b"], [[0, 1], [1, 0]]), RUN)


# Training


def test_the_plain_objective_is_no_objective() -> None:
    """A control arm trains the same bits."""
    one, two = SPEC.fit(toy_market(), RUN), SPEC.fit(toy_market(), RUN, objective=Plain())
    assert all(np.array_equal(one.arrays()[n], two.arrays()[n]) for n in one.arrays())


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    run = replace(RUN, folder=tmp_path)
    with pytest.raises(Died):
        SPEC.fit(toy_market(), run, objective=Dies(3))
    assert list(tmp_path.glob("*/checkpoint.safetensors"))
    resumed = SPEC.fit(toy_market(), run, objective=Dies(99))
    whole_run = SPEC.fit(toy_market(), RUN)
    for name, array in whole_run.arrays().items():
        assert np.array_equal(resumed.arrays()[name], array)


def test_the_data_are_not_the_weights() -> None:
    """A start is copied, not written into."""
    begun = SPEC.fit(toy_market(), RUN)
    before = {name: array.copy() for name, array in begun.arrays().items()}
    SPEC.fit(toy_market(), RUN, start=begun, objective=APR(radius=0.2))
    assert all(np.array_equal(begun.arrays()[name], array) for name, array in before.items())


def test_a_stop_rule_it_cannot_judge_is_refused() -> None:
    """Before training, with the alternatives."""
    asked = Adversarial(
        site="item-vectors", inner=PGD(), radius=0.1, stop=(StopAtRobustError(target=0.2),)
    )
    with pytest.raises(Unsupported, match=r"no error under attack.*'quality-floor'"):
        SPEC.fit(toy_market(), RUN, objective=asked)
    floor = replace(asked, stop=(QualityFloor(loss=0.5),))
    assert SPEC.fit(toy_market(), RUN, objective=floor).users.shape == (30, 8)


# White box


QUERIES = Queries.of([[0, 4], [1], [2, 6], [3]], users=[0, -1, 2, 3])


def test_it_grants_gradients() -> None:
    model = SPEC.fit(toy_market(), RUN)
    assert isinstance(model, Differentiable)
    assert model.sites == ("item-vectors", "user-vectors")


@pytest.mark.parametrize("goal", ["promote", "demote", "degrade"])
def test_nothing_moved_scores_as_it_stands(goal: Any) -> None:
    model = SPEC.fit(toy_market(), RUN)
    items = np.array([5, 9, 13, 17])
    site: Any = "user-vectors" if goal == "degrade" else "item-vectors"
    scores = model.score(QUERIES, whole(model.items))
    found = model.perturbed_scores(site, goal, QUERIES, items, torch.zeros(4, 8))
    expected = scores if goal == "degrade" else scores[:, items]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_moved_item_scores_by_its_moved_vector() -> None:
    model = SPEC.fit(toy_market(), RUN)
    delta = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    items = np.array([5, 9])
    found = model.perturbed_scores("item-vectors", "promote", QUERIES, items, delta)
    factors = model.factors.copy()
    factors[items] += delta.numpy()
    # Profiles of folded-in users stand: 5 and 9 are in no history.
    expected = replace(model, factors=factors).score(QUERIES, whole(model.items))[:, items]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", ["exposure", "margin", "rank", "listwise"])
def test_climbing_the_surface_promotes_and_degrades(loss: Any) -> None:
    """S2-02: PGD with these gradients beats noise of the same length, in ranks."""
    model = SPEC.fit(toy_market(), RUN)
    queries = toy_market().histories()
    scores = mask_seen(model.score(queries, whole(model.items)), queries)
    last = int((np.argsort(np.argsort(-scores, axis=1), axis=1)).mean(axis=0).argmax())
    surface = model.surface("item-vectors", "promote", queries, np.array([last]), loss=loss)
    draws = torch.Generator().manual_seed(0)
    delta = PGD(steps=10)(surface.loss, surface.like, radius=surface.scale, generator=draws)
    moved = scores.copy()
    moved[:, [last]] = model.perturbed_scores(
        "item-vectors", "promote", queries, np.array([last]), delta
    )
    listed = [(best(mask_seen(s, queries), 10) == last).any(axis=1).mean() for s in (scores, moved)]
    assert listed[1] > listed[0]
    targets = best(scores, 1)[:, 0]
    own = model.surface("user-vectors", "degrade", queries, targets, loss=loss)
    delta = PGD(steps=10)(own.loss, own.like, radius=own.scale, generator=draws)
    attacked = model.perturbed_scores("user-vectors", "degrade", queries, targets, delta)
    kept = (best(mask_seen(attacked, queries), 1)[:, 0] == targets).mean()
    assert kept < 0.5


def test_other_surfaces_are_refused_with_those_there_are() -> None:
    """S4-05."""
    model, items = SPEC.fit(toy_market(), RUN), np.array([1, 2, 3, 4])
    for site, goal in (("user-vectors", "promote"), ("history-vectors", "degrade")):
        with pytest.raises(Unsupported, match="'degrade' at 'user-vectors'"):
            model.surface(site, goal, QUERIES, items)  # type: ignore[arg-type]
        with pytest.raises(Unsupported, match="'degrade' at 'user-vectors'"):
            model.perturbed_scores(site, goal, QUERIES, items, torch.zeros(4, 8))  # type: ignore[arg-type]
