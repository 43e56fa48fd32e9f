"""Generalised cross-entropy against its closed form (rows S1-09, S1-34)."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hardrank.errors import Unsupported
from hardrank.hardening import GeneralisedCrossEntropy, Ramp
from hardrank.testing.objectives import ObjectiveContract, TinyBatch, TinyNetwork
from hardrank.training import Plain, Step, check_objective

BATCH = TinyBatch(torch.eye(4)[:3] * 2, torch.tensor([0, 2, 5]))


class TestGeneralisedCrossEntropy(ObjectiveContract):
    objective = GeneralisedCrossEntropy()
    zero = GeneralisedCrossEntropy(q=0.0)


def step(progress: float = 0.5) -> Step:
    return Step(epoch=0, number=0, progress=progress, generator=torch.Generator())


def probabilities(network: TinyNetwork) -> Tensor:
    said = network.predictions(BATCH)
    return said.logits.softmax(1)[torch.arange(3), said.labels]


@settings(deadline=None, max_examples=30)
@given(st.floats(0.01, 1.0))
def test_value_is_one_minus_p_to_the_q_over_q(q: float) -> None:
    network = TinyNetwork().double()
    batch = TinyBatch(BATCH.queries.double(), BATCH.targets)
    said = network.predictions(batch)
    p = said.logits.softmax(1)[torch.arange(3), said.labels]
    value = GeneralisedCrossEntropy(q=q)(network, batch, step())
    torch.testing.assert_close(value, ((1 - p**q) / q).mean())


def test_gradient_is_p_to_the_q_times_that_of_cross_entropy() -> None:
    network = TinyNetwork()
    GeneralisedCrossEntropy(q=0.7)(network, BATCH, step()).backward()
    weights = probabilities(network).detach() ** 0.7
    said = network.predictions(BATCH)
    losses = F.cross_entropy(said.logits, said.labels, reduction="none")
    (expected,) = torch.autograd.grad((weights * losses).mean(), network.vectors)
    torch.testing.assert_close(network.vectors.grad, expected)


def test_q_of_one_is_the_mean_absolute_error_and_q_near_zero_cross_entropy() -> None:
    """Half of sum_c |p_c - [c = y]|; and the limit, to four digits."""
    network = TinyNetwork()
    said = network.predictions(BATCH)
    wanted = F.one_hot(said.labels, 6)
    half = (said.logits.softmax(1) - wanted).abs().sum(1).mean() / 2
    torch.testing.assert_close(GeneralisedCrossEntropy(q=1.0)(network, BATCH, step()), half)
    near = GeneralisedCrossEntropy(q=1e-5)(network, BATCH, step())
    torch.testing.assert_close(near, Plain()(network, BATCH, step()), rtol=1e-4, atol=0.0)


@pytest.mark.parametrize("q", [1e-6, 0.7, 1.0])
def test_a_hopeless_row_has_a_finite_loss_and_no_gradient(q: float) -> None:
    network = TinyNetwork()
    sure = TinyBatch(network.vectors.detach()[3:4, :] * 1e4, torch.tensor([0]))
    value = GeneralisedCrossEntropy(q=q)(network, sure, step())
    value.backward()
    assert torch.isfinite(value) and value <= 1 / q
    assert network.vectors.grad is not None and torch.isfinite(network.vectors.grad).all()
    if q > 0.5:
        assert float(network.vectors.grad.abs().max()) == 0


def test_q_follows_its_schedule() -> None:
    ramped = GeneralisedCrossEntropy(q=0.8, q_schedule=Ramp())
    network = TinyNetwork()
    assert torch.equal(ramped(network, BATCH, step(0.0)), Plain()(network, BATCH, step()))
    half = GeneralisedCrossEntropy(q=0.4)(network, BATCH, step())
    assert torch.equal(ramped(network, BATCH, step(0.5)), half)


def test_refused_with_alternatives_where_there_are_no_rows() -> None:
    class Pairs(nn.Module):
        sites = ("item-vectors",)

    with pytest.raises(Unsupported, match=r"generalised-cross-entropy.*'apr'"):
        check_objective(GeneralisedCrossEntropy(), Pairs())  # type: ignore[arg-type]
    check_objective(GeneralisedCrossEntropy(), TinyNetwork())


def test_half_precision_logits_are_read_in_single() -> None:
    network = TinyNetwork().bfloat16()
    batch = TinyBatch(BATCH.queries.bfloat16(), BATCH.targets)
    value = GeneralisedCrossEntropy()(network, batch, step())
    assert value.dtype == torch.float32
    value.backward()
    assert network.vectors.grad is not None and torch.isfinite(network.vectors.grad).all()
