"""foolbox as oracle: same victim, same radius, losses that agree to 1e-3.

Traps of the oracle that this file avoids: foolbox wants bounds (here so wide that it never
clips), steps relative to the radius, and returns the last iterate.
"""

import pytest
import torch
from torch import Tensor, nn

from hardrank.perturbations import (
    FGM,
    FGSM,
    LBFGS,
    PGD,
    CarliniWagner,
    Gaussian,
    Momentum,
    Uniform,
)
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


MOMENTUM = {"steps": 10, "rel_stepsize": 0.1, "random_start": False}


@pytest.mark.parametrize(
    ("inner", "name"),
    [
        (Momentum(norm="l2"), "L2MomentumIterativeFastGradientMethod"),
        (Momentum(norm="linf"), "LinfMomentumIterativeFastGradientMethod"),
    ],
)
def test_momentum_agrees_in_the_mean(
    inner: Maximiser, name: str, victim: tuple[nn.Module, Tensor, Tensor]
) -> None:
    """Theirs sums raw gradients, not such of L1 norm one as the paper does, so that rows differ
    a little either way."""
    expected = theirs(getattr(foolbox.attacks, name)(**MOMENTUM), victim)
    actual = ours(inner, victim)
    torch.testing.assert_close(actual.mean(), expected.mean(), rtol=2e-3, atol=0)


@pytest.mark.parametrize("seeker", [CarliniWagner(), LBFGS()], ids=lambda s: s.kind)
@pytest.mark.parametrize(
    "attack",
    [
        foolbox.attacks.DDNAttack(steps=200),
        foolbox.attacks.L2CarliniWagnerAttack(steps=200, binary_search_steps=6),
    ],
    ids=lambda a: type(a).__name__,
)
def test_nobody_finds_a_shorter_way(
    seeker: CarliniWagner | LBFGS, attack: object, victim: tuple[nn.Module, Tensor, Tensor]
) -> None:
    """Mean norm over all rows, all flipped by both. The bounds set their units: near the data
    here, as they search in vain within wide ones."""
    net, x, y = victim
    model = foolbox.PyTorchModel(net, bounds=(-6, 6), device="cpu")
    raw, _, flipped = attack(model, x, y, epsilons=None)  # type: ignore[operator]

    def margin(delta: Tensor) -> Tensor:
        logits = net(x + delta)
        own = logits.gather(1, y[:, None])[:, 0]
        return logits.scatter(1, y[:, None], -torch.inf).amax(1) - own

    delta, reached = seeker.smallest(margin, x)
    assert flipped.all() and reached.all()
    assert (net(x + 1.001 * delta).argmax(1) != y).all()
    assert delta.norm(dim=1).mean() <= 1.01 * (raw - x).norm(dim=1).mean()


@pytest.mark.parametrize(
    ("noise", "name"),
    [
        (Gaussian(), "L2AdditiveGaussianNoiseAttack"),
        (Uniform(norm="l2"), "L2AdditiveUniformNoiseAttack"),
        (Uniform(norm="linf"), "LinfAdditiveUniformNoiseAttack"),
    ],
)
def test_noise_has_the_strength_of_their_noise(
    noise: Maximiser, name: str, victim: tuple[nn.Module, Tensor, Tensor]
) -> None:
    """Different draws, so the mean over many: within three standard errors."""
    attack = getattr(foolbox.attacks, name)()
    torch.manual_seed(0)
    expected = torch.stack([theirs(attack, victim).mean() for _ in range(100)])
    net, x, y = victim

    def loss(delta: Tensor) -> Tensor:
        return nn.functional.cross_entropy(net(x + delta), y, reduction="none")

    generator = rng()
    actual = torch.stack(
        [loss(noise(loss, x, radius=RADIUS, generator=generator)).mean() for _ in range(100)]
    )
    error = (expected.var() / 100 + actual.var() / 100).sqrt()
    assert abs(actual.mean() - expected.mean()) < 3 * error
