"""MART: boosted cross-entropy at the attacked point, and divergence where the model is wrong."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from hardrank.errors import Unsupported
from hardrank.hardening import MART, Adversarial, Ramp
from hardrank.perturbations import FGM, PGD, Gaussian, Inner
from hardrank.testing.objectives import ObjectiveContract, TinyBatch, TinyNetwork
from hardrank.training import Step, check_objective


def step(progress: float = 0.0, seed: int = 0) -> Step:
    draws = torch.Generator().manual_seed(seed)
    return Step(epoch=0, number=0, progress=progress, generator=draws)


@pytest.mark.parametrize("weight", [0.5, 1.0])
@pytest.mark.parametrize("inner", [PGD(steps=2), Gaussian()], ids=lambda inner: inner.kind)
class TestContract(ObjectiveContract):
    @pytest.fixture(autouse=True)
    def _choose(self, inner: Inner, weight: float) -> None:
        self.objective = MART(inner=inner, radius=0.1, weight=weight)
        self.zero = MART(inner=inner, radius=0.1, weight=0.0)


def by_hand(
    queries: Tensor, vectors: Tensor, delta: Tensor, right: Tensor, weight: float
) -> Tensor:
    """The paper's formula from probabilities, in double precision."""
    rows = torch.arange(len(right))
    p = (queries.double() @ vectors.double().T).softmax(1)
    q = (queries.double() @ (vectors.double() + delta).T).softmax(1)
    wrong = q.clone()
    wrong[rows, right] = 0.0
    boosted = -q[rows, right].log() - (1 - wrong.max(1).values).log()
    apart = (p * (p / q).log()).sum(1)
    return (boosted + weight * apart * (1 - p[rows, right])).mean()


@pytest.mark.parametrize("emphasis", [0.0, 5.0])
@pytest.mark.parametrize("right", [False, True], ids=["as drawn", "all ranked first"])
def test_value_and_gradient_are_those_of_the_formula(
    watched: Any, tiny_batch: TinyBatch, emphasis: float, right: bool
) -> None:
    """S1-09: also where the surest candidate is the right one, which is not to be pushed down."""
    if right:
        first = watched.predictions(tiny_batch).logits.argmax(1)
        tiny_batch = TinyBatch(tiny_batch.queries, first)
    objective = MART(inner=FGM(), radius=0.01 if right else 0.3, emphasis=emphasis)
    value = objective(watched, tiny_batch, step())
    value.backward()
    vectors = watched.vectors.detach().clone().requires_grad_()
    delta = watched.deltas[-1]
    twin = by_hand(tiny_batch.queries, vectors, delta, tiny_batch.targets, emphasis)
    twin.backward()
    torch.testing.assert_close(value.double(), twin, atol=1e-5, rtol=0)
    torch.testing.assert_close(watched.vectors.grad, vectors.grad, atol=1e-5, rtol=1e-4)


def test_two_classes_count_the_right_one_twice(logistic: Callable[[Tensor], Any]) -> None:
    """1 - p_wrong is p_right, so the boosted cross-entropy is twice the attacked one:
    2 log(1 + exp(-m + e ||w||)), delta* = -e w / ||w|| for label 1."""
    network, x = logistic(torch.tensor([3.0, -4.0])), torch.tensor([[0.6, 0.8]])
    objective = MART(site="text-vectors", inner=FGM(), radius=0.1, emphasis=0.0)
    value = float(objective(network, x, step()).detach())
    margin = 3 * 0.6 - 4 * 0.8
    assert value == pytest.approx(2 * math.log1p(math.exp(-margin + 0.5)), rel=1e-5)


def test_the_attack_climbs_the_loss_as_adversarial_training_does(
    watched: Any, tiny_batch: TinyBatch
) -> None:
    MART(inner=PGD(steps=3), radius=0.3)(watched, tiny_batch, step())
    ours = watched.deltas[-1]
    Adversarial(inner=PGD(steps=3), radius=0.3)(watched, tiny_batch, step())
    assert torch.equal(ours, watched.deltas[-1])


def test_rows_that_are_right_weigh_less(watched: Any) -> None:
    """Of two rows moved alike, the divergence of the surer one is scaled by what it lacks."""
    sure, unsure = torch.tensor([[30.0, 0, 0, 0]]), torch.tensor([[0.1, 0, 0, 0]])
    best = int((sure @ watched.vectors.T).argmax())
    added = []
    for query in (sure, unsure):
        batch = TinyBatch(query, torch.tensor([best]))
        values = [
            float(MART(inner=FGM(), radius=0.3, emphasis=e)(watched, batch, step()).detach())
            for e in (0.0, 1.0)
        ]
        p = (query @ watched.vectors.T).log_softmax(1)
        q = (query @ (watched.vectors + watched.deltas[-1]).T).log_softmax(1)
        apart = float((p.exp() * (p - q)).sum().detach())
        added.append((values[1] - values[0]) / apart)
        lacks = 1 - float(p[0, best].exp().detach())
        assert added[-1] == pytest.approx(lacks, abs=1e-3)
    assert added[0] < 0.1 < 0.5 < added[1]


def test_a_share_keeps_the_clean_loss(tiny_batch: TinyBatch) -> None:
    network = TinyNetwork()
    whole = MART(inner=FGM(), radius=0.3)(network, tiny_batch, step())
    quarter = MART(inner=FGM(), radius=0.3, weight=0.25)(network, tiny_batch, step())
    torch.testing.assert_close(quarter, 0.75 * network.loss(tiny_batch) + 0.25 * whole)
    ramp = MART(inner=FGM(), radius=0.3, weight_schedule=Ramp())
    torch.testing.assert_close(ramp(network, tiny_batch, step(progress=0.25)), quarter)


def test_certain_mistakes_stay_finite(tiny_batch: TinyBatch) -> None:
    """log(1 - p) where p is 1 in single precision."""
    network = TinyNetwork()
    batch = TinyBatch(tiny_batch.queries * 200, tiny_batch.targets)
    value = MART(inner=FGM(), radius=0.3)(network, batch, step())
    value.backward()
    assert network.vectors.grad is not None
    assert bool(value.isfinite()) and bool(network.vectors.grad.isfinite().all())
    assert float(value.detach()) > 100


def test_refused_before_training(pairwise: Any) -> None:
    with pytest.raises(Unsupported, match="'mart' compares whole rankings"):
        check_objective(MART(inner=FGM(), radius=0.1), pairwise)
    with pytest.raises(Unsupported, match="no site 'text-vectors'"):
        check_objective(MART(site="text-vectors", inner=FGM(), radius=0.1), TinyNetwork())
    with pytest.raises(ValidationError, match="weight"):
        MART(inner=FGM(), radius=0.1, weight=1.5)
