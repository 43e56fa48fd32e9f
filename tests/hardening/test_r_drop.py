"""R-Drop: two draws of dropout, one ranking."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hardrank.errors import Unsupported
from hardrank.hardening import Ramp, RDrop
from hardrank.hardening.divergence import symmetric_kl
from hardrank.testing.objectives import ObjectiveContract, TinyBatch, TinyNetwork
from hardrank.training import Plain, Predictions, Step, check_objective
from hardrank.types import Site


def step(progress: float = 0.0, seed: int = 0) -> Step:
    draws = torch.Generator().manual_seed(seed)
    return Step(epoch=0, number=0, progress=progress, generator=draws)


class Dropping(TinyNetwork):
    """With dropout on the queries; keeps every row of logits that it gave."""

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        self.drop = nn.Dropout(share)
        self.said: list[Tensor] = []

    def predictions(
        self, batch: TinyBatch, deltas: Mapping[Site, Tensor] | None = None
    ) -> Predictions:
        said = super().predictions(TinyBatch(self.drop(batch.queries), batch.targets), deltas)
        self.said.append(said.logits)
        return said


class TestContract(ObjectiveContract):
    objective = RDrop()
    zero = RDrop(weight=0.0)


def test_value_is_the_loss_and_half_of_both_directions(tiny_batch: TinyBatch) -> None:
    """S0-51: the loss and the first prediction share one draw, the second has its own."""
    network = Dropping()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        value = RDrop(weight=4.0)(network, tiny_batch, step())
    of_loss, one, other = network.said
    assert torch.equal(of_loss, one) and not torch.equal(one, other)
    expected = nn.functional.cross_entropy(one, tiny_batch.targets)
    apart = symmetric_kl(one, other).mean()
    assert float(apart.detach()) > 0.01
    torch.testing.assert_close(value, expected + 4.0 * apart / 2)


def test_both_passes_are_taught(tiny_batch: TinyBatch) -> None:
    """By a double-precision twin of the two recorded predictions."""
    network = Dropping()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        RDrop()(network, tiny_batch, step()).backward()
    ours, network.vectors.grad = network.vectors.grad, None
    with torch.random.fork_rng():
        torch.manual_seed(3)
        RDrop()(network, tiny_batch, step())
    _, one, other = network.said[-3:]
    p, q = one.double().log_softmax(1), other.double().log_softmax(1)
    apart = ((p.exp() - q.exp()) * (p - q)).sum(1).mean() / 2
    (nn.functional.cross_entropy(one, tiny_batch.targets) + apart).backward()
    assert network.vectors.grad is not None
    torch.testing.assert_close(ours, network.vectors.grad, atol=1e-6, rtol=1e-4)


def test_later_steps_draw_what_they_would_draw_in_plain_training(tiny_batch: TinyBatch) -> None:
    after = []
    for objective in (Plain(), RDrop()):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            objective(Dropping(), tiny_batch, step())
            after.append(torch.rand(3))
    assert torch.equal(*after)


def test_the_second_draw_is_the_step_s_own(tiny_batch: TinyBatch) -> None:
    network = Dropping()
    for seed in (0, 0, 1):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            RDrop()(network, tiny_batch, step(seed=seed))
    first, again, other = network.said[2::3]
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_without_dropout_in_force_it_adds_exactly_nothing(tiny_batch: TinyBatch) -> None:
    network = Dropping().eval()
    assert torch.equal(RDrop(weight=9.0)(network, tiny_batch, step()), network.loss(tiny_batch))


def test_weight_follows_its_schedule(tiny_batch: TinyBatch) -> None:
    network = Dropping()
    RDrop(weight_schedule=Ramp())(network, tiny_batch, step(progress=0.0))
    assert len(network.said) == 1  # nothing but the plain loss
    RDrop(weight_schedule=Ramp())(network, tiny_batch, step(progress=0.5))
    assert len(network.said) == 4


def test_refused_before_training(pairwise: Any) -> None:
    """With what to do instead."""
    with pytest.raises(Unsupported, match="'r-drop' compares whole rankings"):
        check_objective(RDrop(), pairwise)
    with pytest.raises(Unsupported, match=r"this model has none; set `dropout` above 0"):
        check_objective(RDrop(), TinyNetwork())
    with pytest.raises(Unsupported, match="has none"):
        check_objective(RDrop(), Dropping(0.0))
    sampling = Dropping()
    sampling.negatives = 20
    with pytest.raises(Unsupported, match=r"set `negatives = 0`.*or use 'kl-consistency'"):
        check_objective(RDrop(), sampling)
    check_objective(RDrop(), Dropping())
