"""Divergences of rows of logits: closed forms, twins in double precision, gradients."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hardrank.hardening import divergence as module
from hardrank.hardening.divergence import divergence, kl, symmetric_kl

ROWS = st.lists(st.floats(-30, 30, width=32), min_size=4, max_size=4)


def of(*probabilities: float) -> Tensor:
    return torch.tensor([probabilities]).log() + 3.0  # a softmax does not see the shift


def twin(p: Tensor, q: Tensor, forward: float, reverse: float) -> Tensor:
    """As defined, in double precision, by automatic differentiation."""
    p, q = p.double().log_softmax(1), q.double().log_softmax(1)
    one, other = (p.exp() * (p - q)).sum(1), (q.exp() * (q - p)).sum(1)
    return forward * one + reverse * other


def drawn(*shape: int, seed: int = 0, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_two_known_distributions() -> None:
    """KL((1/2, 1/4, 1/4) || (1/4, 1/4, 1/2)) = 1/2 ln 2 - 1/4 ln 2, and the same back."""
    p, q = of(0.5, 0.25, 0.25), of(0.25, 0.25, 0.5)
    torch.testing.assert_close(kl(p, q), torch.tensor([0.25 * math.log(2)]))
    torch.testing.assert_close(symmetric_kl(p, q), torch.tensor([0.5 * math.log(2)]))


def test_the_direction_matters() -> None:
    p, q = of(0.5, 0.5), of(0.9, 0.1)
    there = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    back = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert float(kl(p, q)) == pytest.approx(there, rel=1e-5)
    assert float(kl(q, p)) == pytest.approx(back, rel=1e-5)
    assert float(divergence(p, q, forward=2.0, reverse=3.0)) == pytest.approx(
        2 * there + 3 * back, rel=1e-5
    )


@given(ROWS, ROWS)
@settings(deadline=None)
def test_never_negative_and_the_value_of_its_twin(one: list[float], other: list[float]) -> None:
    """S0-51."""
    p, q = torch.tensor([one]), torch.tensor([other])
    for weights in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
        value = divergence(p, q, forward=weights[0], reverse=weights[1])
        assert float(value) >= 0
        torch.testing.assert_close(value.double(), twin(p, q, *weights), rtol=1e-4, atol=1e-6)


@given(ROWS)
@settings(deadline=None)
def test_exactly_zero_for_equal_logits(row: list[float]) -> None:
    """S0-51."""
    p = torch.tensor([row])
    assert float(symmetric_kl(p, p.clone())) == 0.0


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.3, 2.0)])
def test_both_gradients_are_the_derivatives(weights: tuple[float, float]) -> None:
    p, q = (drawn(3, 5, seed=s).double().requires_grad_() for s in (0, 1))
    assert torch.autograd.gradcheck(
        lambda a, b: divergence(a, b, forward=weights[0], reverse=weights[1]), (p, q)
    )


def test_a_constant_side_gets_no_gradient() -> None:
    p, q = drawn(3, 5), drawn(3, 5, seed=1).requires_grad_()
    symmetric_kl(p, q).sum().backward()
    ours = q.grad
    q.grad = None
    twin(p, q, 1.0, 1.0).sum().backward()
    torch.testing.assert_close(ours, q.grad)
    assert not symmetric_kl(p, p).requires_grad


def test_near_distributions_keep_their_digits() -> None:
    """Value and gradient where terms that cancel would leave noise: 12,000 candidates, logits
    0.0001 apart. The direction of this gradient is all that VAT has to go by."""
    p = drawn(4, 12_000)
    q = (p + drawn(4, 12_000, seed=1, scale=1e-4)).requires_grad_()
    value = kl(p, q)
    (gradient,) = torch.autograd.grad(value.sum(), q)
    expected = twin(p, q, 1.0, 0.0)
    (wanted,) = torch.autograd.grad(expected.sum(), q)
    torch.testing.assert_close(value.double(), expected, rtol=1e-2, atol=0)
    assert float(torch.cosine_similarity(gradient.flatten(), wanted.flatten(), 0)) > 0.9999
    with torch.no_grad():
        naive = (p.softmax(1) * (p.log_softmax(1) - q.log_softmax(1))).sum(1)
        assert float(((naive - expected) / expected).abs().max()) > 1.0


def test_extreme_logits_stay_finite() -> None:
    p = torch.tensor([[1e4, 0.0, -1e4], [0.0, 0.0, 0.0]])
    q = torch.tensor([[-1e4, 0.0, 1e4], [500.0, 0.0, -500.0]]).requires_grad_()
    value = symmetric_kl(p, q)
    value.sum().backward()
    assert q.grad is not None
    assert value.isfinite().all() and q.grad.isfinite().all()
    assert float(value[0].detach()) == pytest.approx(4e4)


def test_tiles_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for size in (1, 3 * 7 * 4, 1 << 20):
        monkeypatch.setattr(module, "_TILE_BYTES", size)
        p, q = (drawn(10, 7, seed=s).requires_grad_() for s in (0, 1))
        value = symmetric_kl(p, q)
        (value * torch.arange(10)).sum().backward()
        results.append((value.detach(), p.grad, q.grad))
    for other in results[1:]:
        for mine, theirs in zip(results[0], other, strict=True):
            torch.testing.assert_close(mine, theirs)


def test_narrow_logits_are_read_in_single_precision() -> None:
    p, q = drawn(3, 9).bfloat16(), drawn(3, 9, seed=1).bfloat16().requires_grad_()
    value = kl(p, q)
    value.sum().backward()
    assert value.dtype == torch.float32
    assert q.grad is not None and q.grad.dtype == torch.bfloat16
    torch.testing.assert_close(value, kl(p.float(), q.float()))
