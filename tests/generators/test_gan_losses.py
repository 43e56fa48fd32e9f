"""The value function and the losses of both players."""

import numpy as np
import pytest
import torch

from hardrank.generators.losses import (
    critic_loss,
    deceiving_loss,
    gradient_penalty,
    mode_seeking,
    value,
)


def test_a_discriminator_that_cannot_tell_has_minus_two_log_two() -> None:
    """S4-14: D = 0.5 gives -2 log 2."""
    assert float(value(torch.zeros(7), torch.zeros(3))) == pytest.approx(-2 * np.log(2))


def test_the_value_is_an_expectation_and_the_discriminator_climbs_it() -> None:
    """S4-14, against the reversed sign: descending the critic's loss brings real above fake."""
    real, fake = torch.tensor([0.3, 0.1]), torch.tensor([0.2])
    twice = value(real.repeat(5), fake.repeat(9))
    assert float(twice) == pytest.approx(float(value(real, fake)))
    logits = torch.zeros(2, requires_grad=True)
    for _ in range(50):
        loss = critic_loss("non-saturating", logits[:1], logits[1:])
        (slope,) = torch.autograd.grad(loss, logits)
        logits = (logits - 0.5 * slope).detach().requires_grad_(True)
    best, worst = logits.tolist()
    assert best > 1 > -1 > worst


@pytest.mark.parametrize("kind", ["non-saturating", "wasserstein", "hinge"])
def test_each_player_wants_what_the_other_does_not(kind: str) -> None:
    fake = torch.tensor([0.1], requires_grad=True)
    (critic,) = torch.autograd.grad(critic_loss(kind, torch.zeros(1), fake), fake)  # type: ignore[arg-type]
    (liar,) = torch.autograd.grad(deceiving_loss(kind, fake), fake)  # type: ignore[arg-type]
    assert critic > 0 > liar


def test_huge_logits_stay_finite() -> None:
    """No probability is ever taken, so none is 0 or 1 in a logarithm."""
    big = torch.tensor([200.0, -200.0])
    assert float(critic_loss("non-saturating", -big, big)) == pytest.approx(200.0)
    assert float(deceiving_loss("non-saturating", big)) == pytest.approx(100.0)


def test_the_penalty_of_a_linear_critic_is_known() -> None:
    """D(x) = w . x: R1 is mean(w^2) |x|^2; between real and fake (|w| scaled - 1)^2."""
    w = torch.tensor([3.0, 0.0, 4.0, 0.0])
    real = torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    draws = torch.Generator().manual_seed(0)
    found = gradient_penalty("hinge", lambda x: x @ w, real, real, draws)
    assert float(found) == pytest.approx(25 / 4 * 4)
    found = gradient_penalty("wasserstein", lambda x: x @ w, real, real, draws)
    assert float(found) == pytest.approx((5.0 - 1) ** 2)


def test_mode_seeking_is_least_where_noise_matters() -> None:
    one, other = torch.tensor([[0.0, 9.0]]), torch.tensor([[9.0, 0.0]])
    z, y = torch.zeros(1, 3), torch.ones(1, 3)
    assert float(mode_seeking(one, other, z, y)) < 1 < float(mode_seeking(one, one, z, y))
    assert float(mode_seeking(one, one, z, y)) == pytest.approx(1 / 0.05)
