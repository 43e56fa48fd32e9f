"""Adversarial logit pairing: mixed adversarial training and a squared distance of scores."""

from typing import Any

import pytest
import torch

from hardrank.errors import Unsupported
from hardrank.hardening import Adversarial, LogitPairing, Ramp
from hardrank.perturbations import FGM, PGD, Gaussian, Inner
from hardrank.testing.objectives import ObjectiveContract, TinyBatch, TinyNetwork
from hardrank.training import Step, check_objective


def step(progress: float = 0.0, seed: int = 0) -> Step:
    draws = torch.Generator().manual_seed(seed)
    return Step(epoch=0, number=0, progress=progress, generator=draws)


@pytest.mark.parametrize("inner", [PGD(steps=2), Gaussian()], ids=lambda inner: inner.kind)
class TestContract(ObjectiveContract):
    @pytest.fixture(autouse=True)
    def _choose(self, inner: Inner) -> None:
        self.objective = LogitPairing(inner=inner, radius=0.1)
        self.zero = LogitPairing(inner=inner, radius=0.1, weight=0.0)


def test_without_pairing_it_is_adversarial_training(tiny_batch: TinyBatch) -> None:
    network = TinyNetwork()
    ours = LogitPairing(inner=PGD(), radius=0.2, weight=0.7, pairing=0.0)
    theirs = Adversarial(inner=PGD(), radius=0.2, weight=0.7)
    assert torch.equal(*(o(network, tiny_batch, step()) for o in (ours, theirs)))


def test_value_and_gradient_are_those_of_the_formula(watched: Any, tiny_batch: TinyBatch) -> None:
    """S1-09: scores move by Q delta', so the pairing is the mean of its squares, and, delta
    being fixed, its gradient by the item vectors is 0."""
    objective = LogitPairing(inner=FGM(), radius=0.3, weight=0.7, pairing=4.0)
    value = objective(watched, tiny_batch, step())
    value.backward()
    ours, watched.vectors.grad = watched.vectors.grad, None
    delta = watched.deltas[-1]
    moved = (tiny_batch.queries @ delta.T).square().mean()
    assert float(moved) > 0.01
    without = Adversarial(inner=FGM(), radius=0.3, weight=0.7)(watched, tiny_batch, step())
    without.backward()
    torch.testing.assert_close(value, without + 0.7 * 4.0 * moved)
    torch.testing.assert_close(ours, watched.vectors.grad, atol=1e-5, rtol=1e-4)


def test_both_sides_are_taught(tiny_batch: TinyBatch) -> None:
    """Where the scores are no linear function of the weights: of W^3, the pairing's gradient
    is that of a double-precision twin."""

    class Cubic(TinyNetwork):
        def predictions(self, batch: TinyBatch, deltas: Any = None) -> Any:
            said = super().predictions(batch, deltas)
            return type(said)(logits=said.logits**3, labels=said.labels)

    network = Cubic()
    grads = []
    for pairing in (0.0, 1.0):
        network.vectors.grad = None
        LogitPairing(inner=Gaussian(), radius=0.3, pairing=pairing)(
            network, tiny_batch, step()
        ).backward()
        assert network.vectors.grad is not None
        grads.append(network.vectors.grad.double())
    size = 0.3 * float(network.vectors.detach().norm(dim=1).mean())
    drawn = torch.randn(6, 4, generator=step().generator)
    delta = size * drawn / drawn.norm(dim=1, keepdim=True)
    vectors = network.vectors.detach().double().requires_grad_()
    queries = tiny_batch.queries.double()
    apart = ((queries @ vectors.T) ** 3 - (queries @ (vectors + delta).T) ** 3).square().mean()
    (expected,) = torch.autograd.grad(apart, vectors)
    torch.testing.assert_close(grads[1] - grads[0], expected, atol=1e-3, rtol=1e-3)


def test_radius_zero_pairs_a_point_with_itself(tiny_batch: TinyBatch) -> None:
    network = TinyNetwork()
    objective = LogitPairing(inner=PGD(), radius=1.0, radius_schedule=Ramp(), pairing=9.0)
    torch.testing.assert_close(objective(network, tiny_batch, step()), 2 * network.loss(tiny_batch))


def test_refused_before_training(pairwise: Any) -> None:
    with pytest.raises(Unsupported, match="'logit-pairing' compares whole rankings"):
        check_objective(LogitPairing(inner=FGM(), radius=0.1), pairwise)
    with pytest.raises(Unsupported, match="no site 'text-vectors'"):
        check_objective(LogitPairing(site="text-vectors", inner=FGM(), radius=0.1), TinyNetwork())
