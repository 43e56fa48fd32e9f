"""Input-gradient penalty: by hand on a logistic model, by differences on a tiny ranking."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hardrank.errors import Unsupported
from hardrank.hardening import GradientPenalty, Ramp
from hardrank.testing.objectives import ObjectiveContract, TinyBatch, TinyNetwork
from hardrank.training import Step, check_objective


def step(progress: float = 0.0) -> Step:
    return Step(epoch=0, number=0, progress=progress, generator=torch.Generator())


class TestContract(ObjectiveContract):
    objective = GradientPenalty()
    zero = GradientPenalty(weight=0.0)


def test_penalty_and_its_gradient_are_analytic_on_a_logistic_model(
    logistic: Callable[[Tensor], Any],
) -> None:
    """S1-17: at x of norm s and label 1, with g = 1 - sigmoid(w . x), the loss rises by g w,
    so the penalty is (s g)^2 ||w||^2 and its gradient by w
    2 s^2 (g^2 w - g^2 (1 - g) ||w||^2 x)."""
    w, x = torch.tensor([3.0, -4.0]), torch.tensor([[1.2, 1.6]])
    network = logistic(w)
    value = GradientPenalty(site="text-vectors", weight=0.7)(network, x, step())
    value.backward()
    margin = 3 * 1.2 - 4 * 1.6
    g = 1 / (1 + math.exp(margin))
    assert float(value.detach()) == pytest.approx(
        math.log1p(math.exp(-margin)) + 0.7 * (2 * g) ** 2 * 25, rel=1e-5
    )
    penalised = 2 * 4 * (g * g * w - g * g * (1 - g) * 25 * x[0])
    torch.testing.assert_close(network.w.grad, -g * x[0] + 0.7 * penalised, atol=1e-5, rtol=1e-5)


def test_gradient_is_that_of_differences(tiny_batch: TinyBatch) -> None:
    network = TinyNetwork().double()
    batch = TinyBatch(tiny_batch.queries.double(), tiny_batch.targets)

    def value() -> float:
        # The scale is held fixed, so it must not move with the weights here either.
        scale = float(network.vectors.detach().norm(dim=1).mean())
        objective = GradientPenalty(weight=2.0)
        return float((objective(network, batch, step()) - network.loss(batch)).detach()) / scale**2

    scale = float(network.vectors.detach().norm(dim=1).mean())
    GradientPenalty(weight=2.0)(network, batch, step()).backward()
    ours, network.vectors.grad = network.vectors.grad, None
    network.loss(batch).backward()
    assert ours is not None and network.vectors.grad is not None
    ours = (ours - network.vectors.grad) / scale**2
    for row, column in ((0, 0), (2, 3), (5, 1)):
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                network.vectors[row, column] += sign * 1e-5
            ends.append(value())
            with torch.no_grad():
                network.vectors[row, column] -= sign * 1e-5
        assert float(ours[row, column]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


def test_it_is_the_rise_of_the_loss_under_the_worst_small_step(tiny_batch: TinyBatch) -> None:
    """To first order the loss rises by radius * sqrt(penalty) over a ball around all items."""
    network = TinyNetwork()
    penalty = GradientPenalty()(network, tiny_batch, step()) - network.loss(tiny_batch)
    delta = torch.zeros(6, 4, requires_grad=True)
    base = network.loss(tiny_batch, {"item-vectors": delta})
    (slope,) = torch.autograd.grad(base, delta)
    move = 1e-2 * float(network.vectors.detach().norm(dim=1).mean()) * slope / slope.norm()
    rise = network.loss(tiny_batch, {"item-vectors": move}) - base
    assert float((rise / 1e-2).detach()) == pytest.approx(
        math.sqrt(float(penalty.detach())), rel=0.05
    )


def test_training_flattens_the_loss(tiny_batch: TinyBatch) -> None:
    slopes = []
    for weight in (0.0, 0.1, 1.0):
        network = TinyNetwork()
        optimiser = torch.optim.SGD(network.parameters(), lr=0.05)
        for _ in range(50):
            optimiser.zero_grad()
            GradientPenalty(weight=weight)(network, tiny_batch, step()).backward()
            optimiser.step()
        rest = GradientPenalty()(network, tiny_batch, step()) - network.loss(tiny_batch)
        slopes.append(float(rest.detach()))
    assert slopes[0] > 1.2 * slopes[1] > 1.2 * slopes[2]


def test_masked_positions_do_not_count(logistic: Callable[[Tensor], Any]) -> None:
    network, x = logistic(torch.tensor([3.0, -4.0])), torch.tensor([[1.2, 1.6], [0.1, 0.1]])
    network.writable = lambda site, batch: torch.tensor([False, False])
    value = GradientPenalty(site="text-vectors")(network, x, step())
    assert torch.equal(value, network.loss(x))


def test_weight_follows_its_schedule(tiny_batch: TinyBatch) -> None:
    network, base = TinyNetwork(), float(TinyNetwork().loss(tiny_batch).detach())
    half = float(GradientPenalty(weight_schedule=Ramp())(network, tiny_batch, step(0.5)).detach())
    full = float(GradientPenalty()(network, tiny_batch, step(0.5)).detach())
    assert half - base == pytest.approx((full - base) / 2, rel=1e-4)


def test_a_model_of_pairs_is_asked_for_its_own_loss() -> None:
    """u . i of one pair, loss -log sigmoid: the penalty is (s g)^2 ||u||^2, s = ||i||."""
    u, i = torch.tensor([3.0, -4.0]), torch.tensor([0.6, 0.8])

    class Pair(torch.nn.Module):
        sites = ("item-vectors",)

        def __init__(self) -> None:
            super().__init__()
            self.u = torch.nn.Parameter(u.clone())

        def loss(self, batch: None, deltas: Any = None) -> Tensor:
            moved = i + (deltas or {}).get("item-vectors", torch.zeros(1, 2))
            return -torch.nn.functional.logsigmoid(moved @ self.u).mean()

        def clean(self, site: str, batch: None) -> Tensor:
            return i[None]

        def writable(self, site: str, batch: None) -> None:
            return None

    network = Pair()
    check_objective(GradientPenalty(), network)
    added = GradientPenalty()(network, None, step()) - network.loss(None)
    g = 1 / (1 + math.exp(3 * 0.6 - 4 * 0.8))
    assert float(added.detach()) == pytest.approx(g * g * 25, rel=1e-5)


def test_refused_before_training() -> None:
    with pytest.raises(Unsupported, match="no site 'text-vectors'"):
        check_objective(GradientPenalty(site="text-vectors"), TinyNetwork())
