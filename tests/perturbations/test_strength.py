"""How strong each attack is, and what it costs: exact maxima, orders of strength, passes."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hardrank.perturbations import (
    APGD,
    FGM,
    FGSM,
    LBFGS,
    PGD,
    RFGSM,
    CarliniWagner,
    Ensemble,
    Gaussian,
    Momentum,
    Norm,
    Uniform,
)
from hardrank.perturbations.apgd import _checkpoints
from hardrank.perturbations.ball import Maximiser, length

NORMS: tuple[Norm, ...] = ("l2", "linf", "token-l2")
norms = pytest.mark.parametrize("norm", NORMS)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def network() -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """(loss, like): the cross-entropy of 500 rows of 2 x 6 under a random network."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = nn.Sequential(nn.Flatten(), nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 5))
        x = torch.randn(500, 2, 6)
    net.requires_grad_(False)
    for layer in (net[1], net[3]):
        layer.weight.mul_(4)  # type: ignore[union-attr,operator]
    y = net(x).argmax(1)
    return lambda delta: nn.functional.cross_entropy(net(x + delta), y, reduction="none"), x


def reached(inner: Maximiser, network: Any, radius: float) -> Tensor:
    loss, like = network
    found: Tensor = loss(inner(loss, like, radius=radius, generator=rng()))
    return found


@norms
def test_every_climber_is_exact_on_a_linear_loss(norm: Norm) -> None:
    """radius * the dual norm of w: L2, L1, the sum over positions of L2; masked parts take
    nothing of it."""
    w = torch.randn(5, 4, 3, generator=rng(1))
    mask = torch.tensor([True, True, False, True]).expand(5, 4)
    free = w * mask[..., None]
    dual = {
        "l2": free.flatten(1).norm(dim=1),
        "linf": free.flatten(1).abs().sum(1),
        "token-l2": free.norm(dim=-1).sum(1),
    }[norm]

    def loss(delta: Tensor) -> Tensor:
        return (delta * w).flatten(1).sum(1)

    climbers = (Momentum(norm=norm), APGD(norm=norm, steps=10), Ensemble(norm=norm))
    for inner in (*climbers, RFGSM(norm=norm, start=0.0)):
        delta = inner(loss, torch.zeros(5, 4, 3), radius=0.3, generator=rng(), mask=mask)
        torch.testing.assert_close(loss(delta), 0.3 * dual, rtol=1e-4, atol=1e-5)


@norms
@pytest.mark.parametrize("radius", [0.4, 5.0])
def test_apgd_finds_the_peak_of_a_quadratic(norm: Norm, radius: float) -> None:
    """-||delta - p||^2: the peak where the ball holds it, else the point nearest to it, which
    is the peak cut to the ball."""
    peak = torch.randn(6, 3, 2, generator=rng(2))
    nearest = peak.clamp(-radius, radius)
    if norm != "linf":
        nearest = peak * (radius / length(peak, norm)).clamp_max(1)

    def loss(delta: Tensor) -> Tensor:
        return -(delta - peak).square().flatten(1).sum(1)

    way = loss(nearest) - loss(torch.zeros_like(peak))
    for inner, part in ((APGD(norm=norm, steps=100), 0.998), (Ensemble(norm=norm), 0.99)):
        delta = inner(loss, peak, radius=radius, generator=rng())
        assert (loss(delta) - loss(torch.zeros_like(peak)) >= part * way).all()


@norms
@pytest.mark.parametrize("steps", [20, 50, 100])
def test_apgd_beats_pgd_of_equal_steps_where_the_slopes_differ(norm: Norm, steps: int) -> None:
    """A quadratic of condition 10,000: PGD's one step size is wrong for most of it."""
    weight = torch.logspace(-2, 2, 12)
    peak = torch.randn(64, 12, generator=rng(4))

    def loss(delta: Tensor) -> Tensor:
        return -(weight * (delta - peak).square()).sum(1)

    apgd, pgd = (
        loss(inner(loss, peak, radius=1.0, generator=rng())).mean()
        for inner in (APGD(norm=norm, steps=steps), PGD(norm=norm, steps=steps))
    )
    assert apgd > pgd


def test_the_checkpoints_are_those_of_the_paper() -> None:
    """p = 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99 of the steps, rounded up."""
    assert sorted(_checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert sorted(_checkpoints(10)) == [3, 5, 6, 7, 8, 9, 10]
    assert _checkpoints(1) == {1}


def test_a_random_step_then_the_gradient_is_where_the_paper_puts_it() -> None:
    """On an ascent of 1: half the radius left or right, then half of it right: 0 or 1."""
    delta = RFGSM()(lambda d: d.sum(1), torch.zeros(2000, 1), radius=2.0, generator=rng())
    assert set(delta.flatten().tolist()) == {0.0, 2.0}
    assert abs((delta == 2.0).float().mean() - 0.5) < 0.04


def test_momentum_coasts_through_a_flat_place_where_pgd_stops() -> None:
    """A slope of 1 up to 0.25, none up to 0.75, then a slope of 1 again."""

    def loss(delta: Tensor) -> Tensor:
        up = delta.sum(1)
        return up.clamp_max(0.25) + (up - 0.75).clamp_min(0)

    about = {"norm": "linf", "steps": 10, "step_size": 0.1}
    still, coasting = (
        loss(inner(loss, torch.zeros(1, 1), radius=1.0, generator=rng()))
        for inner in (PGD(**about), Momentum(**about))  # type: ignore[arg-type]
    )
    torch.testing.assert_close(still, torch.tensor([0.25]))
    torch.testing.assert_close(coasting, torch.tensor([0.5]))


def test_uniform_noise_reaches_the_surface_and_spreads_evenly_inside_the_cube() -> None:
    """Of one coordinate of two, the smaller one is uniform on (-radius, radius)."""
    delta = Uniform()(lambda d: d.sum(1), torch.zeros(20_000, 2), radius=3.0, generator=rng())
    torch.testing.assert_close(delta.abs().amax(1), torch.full((20_000,), 3.0))
    smaller = delta.abs().amin(1)
    assert abs(smaller.mean() - 1.5) < 0.03
    sphere = Uniform(norm="l2")(lambda d: d.sum(1), torch.zeros(9, 4), radius=3.0, generator=rng())
    torch.testing.assert_close(sphere.norm(dim=1), torch.full((9,), 3.0))


@norms
@pytest.mark.parametrize("radius", [0.1, 0.3])
def test_noise_below_one_step_below_pgd_below_the_ensemble(
    norm: Norm, radius: float, network: Any
) -> None:
    """S1-13: at equal norm, mean loss of 500 rows."""
    step = FGSM() if norm == "linf" else FGM(norm=norm)
    order = (
        *(Gaussian(norm=norm), Uniform(norm=norm)),
        *(step, PGD(norm=norm, steps=20), Ensemble(norm=norm)),
    )
    gauss, even, one, pgd, worst = (reached(i, network, radius).mean() for i in order)
    assert max(gauss, even) < one <= pgd <= worst
    assert pgd > one


@norms
def test_more_steps_never_weaken(norm: Norm, network: Any) -> None:
    """S0-15: mean loss of 500 rows over 1, 3, 10 and 50 steps, tolerance 1e-3."""
    climbers: tuple[Callable[[int], Maximiser], ...] = (
        lambda k: PGD(norm=norm, steps=k),
        lambda k: PGD(norm=norm, steps=k, random_start=True),
        lambda k: APGD(norm=norm, steps=k),
        lambda k: Momentum(norm=norm, steps=k),
    )
    for climber in climbers:
        means = [float(reached(climber(k), network, 0.3).mean()) for k in (1, 3, 10, 50)]
        for fewer, more in itertools.pairwise(means):
            assert more >= fewer - 1e-3
        assert means[-1] > means[0]


@pytest.mark.parametrize("kind", [PGD, APGD, Momentum])
def test_five_restarts_are_at_least_one(kind: Any, network: Any) -> None:
    """S1-14: on every row, and better on some."""
    one, five = (reached(kind(steps=4, restarts=n), network, 1.0) for n in (1, 5))
    assert (five >= one).all()
    assert (five > one).any()


@norms
def test_the_ensemble_is_at_least_each_member_on_every_row(norm: Norm, network: Any) -> None:
    """S0-49: worst case per sample, and nothing to tune."""
    whole = Ensemble(norm=norm)
    worst = reached(whole, network, 1.0)
    members = torch.stack([reached(member, network, 1.0) for member in whole.members])
    assert (worst >= members).all()
    torch.testing.assert_close(worst, members.amax(0))
    assert len(set(members.argmax(0).tolist())) > 1, "one member alone would do"
    assert {f for f in Ensemble.__dataclass_fields__ if not f.startswith("_")} == {"kind", "norm"}


COSTS: list[tuple[Maximiser, int, int]] = [
    (Gaussian(), 0, 0),
    (Uniform(draws=3), 0, 3),
    (FGM(), 1, 0),
    (FGSM(), 1, 0),
    (RFGSM(), 1, 0),
    (PGD(steps=5, restarts=2), 10, 2),
    (PGD(steps=5, keep_best=False), 5, 0),
    (Momentum(steps=5, restarts=2), 10, 2),
    (APGD(steps=5, restarts=2), 10, 2),
    (CarliniWagner(steps=5, searches=3, threshold=1e-3), 16, 9),
    (LBFGS(steps=5, searches=3, threshold=1e-3), 16, 9),
    (Ensemble(), 151, 9),
]


@pytest.mark.parametrize(("inner", "gradients", "forwards"), COSTS, ids=lambda v: repr(v)[:14])
def test_no_pass_is_wasted(inner: Maximiser, gradients: int, forwards: int) -> None:
    """The counts that the docstrings promise."""
    asked = {True: 0, False: 0}
    w = torch.randn(3, 4, generator=rng(1))

    def loss(delta: Tensor) -> Tensor:
        asked[torch.is_grad_enabled()] += 1
        return torch.sin(delta * w).sum(1)

    inner(loss, w, radius=0.5, generator=rng())
    assert (asked[True], asked[False]) == (gradients, forwards)
