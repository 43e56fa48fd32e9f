"""Symmetric consistency with a random or an adversarial neighbour."""

from typing import Any

import pytest
import torch

from hardrank.errors import Unsupported
from hardrank.hardening import KLConsistency, Ramp
from hardrank.hardening.divergence import kl, symmetric_kl
from hardrank.perturbations import FGM, PGD, Gaussian, Inner, Uniform
from hardrank.testing.objectives import ObjectiveContract, TinyBatch, TinyNetwork
from hardrank.training import Step, check_objective


def step(progress: float = 0.0, seed: int = 0) -> Step:
    draws = torch.Generator().manual_seed(seed)
    return Step(epoch=0, number=0, progress=progress, generator=draws)


@pytest.mark.parametrize("inner", [Gaussian(), Uniform(draws=2), PGD(steps=2)], ids=repr)
class TestContract(ObjectiveContract):
    @pytest.fixture(autouse=True)
    def _choose(self, inner: Inner) -> None:
        self.objective = KLConsistency(inner=inner, radius=0.1)
        self.zero = KLConsistency(inner=inner, radius=0.1, weight=0.0)


def test_value_is_that_of_both_directions(watched: Any, tiny_batch: TinyBatch) -> None:
    """S0-51."""
    value = KLConsistency(radius=0.3, weight=2.0)(watched, tiny_batch, step())
    (delta,) = watched.deltas
    here = watched.predictions(tiny_batch).logits
    there = watched.predictions(tiny_batch, {"item-vectors": delta}).logits
    both = kl(here, there).mean() + kl(there, here).mean()
    assert float(both.detach()) > 0.001
    torch.testing.assert_close(value, watched.loss(tiny_batch) + 2.0 * both)


def test_the_gradient_is_that_of_a_fixed_neighbour(watched: Any, tiny_batch: TinyBatch) -> None:
    KLConsistency(inner=FGM(), radius=0.3)(watched, tiny_batch, step()).backward()
    (delta,), ours = watched.deltas, watched.vectors.grad.clone()
    watched.vectors.grad = None
    here = watched.predictions(tiny_batch).logits.double().log_softmax(1)
    there = watched.predictions(tiny_batch, {"item-vectors": delta}).logits
    there = there.double().log_softmax(1)
    apart = ((here.exp() - there.exp()) * (here - there)).sum(1).mean()
    (watched.loss(tiny_batch) + apart).backward()
    torch.testing.assert_close(ours, watched.vectors.grad, atol=1e-6, rtol=1e-4)


def test_noise_is_drawn_from_the_step_alone(watched: Any, tiny_batch: TinyBatch) -> None:
    objective = KLConsistency(radius=0.3)
    for seed in (0, 0, 1):
        objective(watched, tiny_batch, step(seed=seed))
    first, again, other = watched.deltas
    assert torch.equal(first, again) and not torch.equal(first, other)
    bound = 0.3 * float(watched.vectors.detach().norm(dim=1).mean())
    assert float(first.norm(dim=1).max()) <= bound * (1 + 1e-5)


def test_a_searched_neighbour_is_farther_than_noise(tiny_batch: TinyBatch) -> None:
    for seed in range(10):
        network = TinyNetwork(seed)
        noise, found = (
            float(KLConsistency(inner=i, radius=0.2)(network, tiny_batch, step()).detach())
            for i in (Gaussian(), PGD(steps=5))
        )
        assert found > noise


def test_radius_zero_adds_exactly_nothing(tiny_batch: TinyBatch) -> None:
    """S0-51: the KL term is 0 at delta = 0."""
    network = TinyNetwork()
    for inner in (Gaussian(), PGD()):
        objective = KLConsistency(inner=inner, radius=1.0, radius_schedule=Ramp())
        assert torch.equal(objective(network, tiny_batch, step()), network.loss(tiny_batch))


def test_training_draws_the_rankings_together(tiny_batch: TinyBatch) -> None:
    """A hundred steps at a high weight: the same noise moves the ranking less."""
    noise = torch.randn(6, 4, generator=torch.Generator().manual_seed(9)) * 0.3
    apart = {}
    for weight in (0.0, 20.0):
        network = TinyNetwork()
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
        for number in range(100):
            optimiser.zero_grad()
            objective = KLConsistency(radius=0.3, weight=weight)
            objective(network, tiny_batch, step(seed=number)).backward()
            optimiser.step()
        with torch.no_grad():
            moved = network.predictions(tiny_batch, {"item-vectors": noise}).logits
            apart[weight] = float(
                symmetric_kl(network.predictions(tiny_batch).logits, moved).mean()
            )
    assert apart[20.0] < 0.9 * apart[0.0]


def test_refused_before_training(pairwise: Any) -> None:
    with pytest.raises(Unsupported, match="'kl-consistency' compares whole rankings"):
        check_objective(KLConsistency(radius=0.1), pairwise)
    with pytest.raises(Unsupported, match="no site 'text-vectors'"):
        check_objective(KLConsistency(site="text-vectors", radius=0.1), TinyNetwork())
