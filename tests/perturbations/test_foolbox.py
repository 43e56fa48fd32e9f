"""foolbox as oracle: same victim, same radius, losses that agree to 1e-3.

Traps of the oracle that this file avoids: foolbox wants bounds (here so wide that it never
clips), steps relative to the radius, and returns the last iterate.
"""

import pytest
import torch
from torch import Tensor, nn

from hardrank.perturbations import FGM, FGSM, PGD, Gaussian
from hardrank.perturbations.ball import Maximiser

foolbox = pytest.importorskip("foolbox")

RADIUS = 0.5


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def victim() -> tuple[nn.Module, Tensor, Tensor]:
    """A small random network, 64 inputs of 12 numbers, and its own (so, right) labels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 5)).eval()
        x = torch.randn(64, 12)
    net.requires_grad_(False)
    return net, x, net(x).argmax(1)


def theirs(attack: object, victim: tuple[nn.Module, Tensor, Tensor]) -> Tensor:
    net, x, y = victim
    model = foolbox.PyTorchModel(net, bounds=(-1e4, 1e4), device="cpu")
    raw, _, _ = attack(model, x, y, epsilons=RADIUS)  # type: ignore[operator]
    return nn.functional.cross_entropy(net(raw), y, reduction="none")


def ours(inner: Maximiser, victim: tuple[nn.Module, Tensor, Tensor]) -> Tensor:
    net, x, y = victim

    def loss(delta: Tensor) -> Tensor:
        return nn.functional.cross_entropy(net(x + delta), y, reduction="none")

    return loss(inner(loss, x, radius=RADIUS, generator=rng()))


STEPS = {"steps": 40, "rel_stepsize": 0.025 / 0.3, "random_start": False}
PAIRS = [
    (PGD(norm="l2", steps=40, step_size=0.025 / 0.3, random_start=False), "L2PGD", STEPS),
    (PGD(norm="linf", steps=40, step_size=0.025 / 0.3, random_start=False), "LinfPGD", STEPS),
    (FGSM(), "LinfFastGradientAttack", {"random_start": False}),
    (FGM(), "L2FastGradientAttack", {"random_start": False}),
]


@pytest.mark.parametrize(("inner", "name", "options"), PAIRS, ids=[p[1] for p in PAIRS])
def test_agrees_row_by_row(
    inner: Maximiser,
    name: str,
    options: dict[str, float],
    victim: tuple[nn.Module, Tensor, Tensor],
) -> None:
    expected = theirs(getattr(foolbox.attacks, name)(**options), victim)
    actual = ours(inner, victim)
    assert (actual >= expected - 1e-3).all(), "weaker than the oracle"
    assert abs(actual.mean() - expected.mean()) < 1e-3


def test_noise_has_the_strength_of_their_noise(victim: tuple[nn.Module, Tensor, Tensor]) -> None:
    """Different draws, so the mean over many: within three standard errors."""
    attack = foolbox.attacks.L2AdditiveGaussianNoiseAttack()
    torch.manual_seed(0)
    expected = torch.stack([theirs(attack, victim).mean() for _ in range(100)])
    net, x, y = victim

    def loss(delta: Tensor) -> Tensor:
        return nn.functional.cross_entropy(net(x + delta), y, reduction="none")

    generator = rng()
    actual = torch.stack(
        [loss(Gaussian()(loss, x, radius=RADIUS, generator=generator)).mean() for _ in range(100)]
    )
    error = (expected.var() / 100 + actual.var() / 100).sqrt()
    assert abs(actual.mean() - expected.mean()) < 3 * error
