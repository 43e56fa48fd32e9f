"""Every maximiser against losses whose maximum is known by hand."""

import itertools
import math
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

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
    Inner,
    Momentum,
    Norm,
    Uniform,
    absolute,
)
from hardrank.perturbations.ball import Maximiser, length, project, random_point

KINDS = get_args(get_args(Inner)[0])
ALL: list[Maximiser] = [
    Gaussian(),
    Gaussian(norm="linf", draws=3),
    Gaussian(norm="token-l2"),
    FGSM(),
    FGSM(random_start=True),
    FGM(),
    FGM(norm="token-l2"),
    PGD(steps=3),
    PGD(norm="linf", steps=3, random_start=True),
    PGD(norm="token-l2", steps=3, restarts=2, decay=0.5),
    PGD(steps=2, keep_best=False),
    Uniform(),
    Uniform(norm="l2", draws=3),
    Uniform(norm="token-l2"),
    RFGSM(),
    RFGSM(norm="l2", start=0.0),
    RFGSM(norm="token-l2", start=0.9),
    Momentum(steps=3),
    Momentum(norm="l2", steps=2, restarts=2, step_size=1.5),
    Momentum(norm="token-l2", steps=3, momentum=0.5),
    APGD(steps=4),
    APGD(norm="linf", steps=5, restarts=2),
    APGD(norm="token-l2", steps=3),
    CarliniWagner(steps=3, searches=2, threshold=0.5),
    CarliniWagner(norm="linf", steps=2, searches=2, learning_rate=1.0, threshold=9.0),
    CarliniWagner(norm="token-l2", steps=3, searches=1, threshold=0.5),
    LBFGS(steps=3, searches=2, threshold=0.5),
    LBFGS(norm="linf", steps=2, searches=4, threshold=9.0),
    LBFGS(norm="token-l2", steps=3, searches=2, memory=1, threshold=0.5),
    Ensemble(),
    Ensemble(norm="linf"),
    Ensemble(norm="token-l2"),
]
every = pytest.mark.parametrize("inner", ALL, ids=repr)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(w: Tensor) -> Any:
    return lambda delta: (delta * w).flatten(1).sum(1)


def curved(weight: Tensor) -> Any:
    """A loss with many bumps; row b sees delta[b] alone."""
    return lambda delta: torch.sin(3 * delta.flatten(1) @ weight).sum(1)


def test_all_members_of_the_registry_are_tested() -> None:
    assert {type(inner) for inner in ALL} == set(KINDS)


@pytest.mark.parametrize("inner", [PGD(steps=20), PGD(steps=1), PGD(restarts=3), FGM()])
def test_l2_reaches_radius_times_norm_on_a_linear_loss(inner: Maximiser) -> None:
    w = torch.randn(5, 4, 3, generator=rng(1))
    delta = inner(linear(w), torch.zeros(5, 4, 3), radius=0.3, generator=rng())
    torch.testing.assert_close(linear(w)(delta), 0.3 * w.flatten(1).norm(dim=1))


@pytest.mark.parametrize(
    "inner", [FGSM(), PGD(norm="linf", steps=20), PGD(norm="linf", random_start=True)]
)
def test_linf_reaches_radius_times_l1_norm_on_a_linear_loss(inner: Maximiser) -> None:
    w = torch.randn(5, 4, 3, generator=rng(1))
    delta = inner(linear(w), torch.zeros(5, 4, 3), radius=0.3, generator=rng())
    torch.testing.assert_close(linear(w)(delta), 0.3 * w.flatten(1).abs().sum(1))


@pytest.mark.parametrize("inner", [PGD(norm="token-l2", steps=20), FGM(norm="token-l2")])
def test_token_l2_gives_each_position_its_own_radius(inner: Maximiser) -> None:
    w = torch.randn(5, 4, 3, generator=rng(1))
    delta = inner(linear(w), torch.zeros(5, 4, 3), radius=0.3, generator=rng())
    torch.testing.assert_close(linear(w)(delta), 0.3 * w.norm(dim=-1).sum(1))


@pytest.mark.parametrize(("radius", "expected"), [(0.5, -0.25), (1.0, 0.0), (3.0, 0.0)])
def test_pgd_finds_the_peak_of_a_quadratic(radius: float, expected: float) -> None:
    """-||delta - p||^2 with ||p|| = 1: the peak, or the point of the ball nearest to it."""
    peak = torch.tensor([[0.6, 0.8], [-1.0, 0.0]])

    def loss(delta: Tensor) -> Tensor:
        return -(delta - peak).square().sum(1)

    pgd = PGD(steps=200, step_size=0.05, decay=1.0)
    delta = pgd(loss, peak, radius=radius, generator=rng())
    torch.testing.assert_close(loss(delta), torch.full((2,), expected), atol=1e-3, rtol=0)


def test_pgd_leaves_a_saddle_only_from_a_random_start() -> None:
    def loss(delta: Tensor) -> Tensor:
        return delta.square().sum(1)

    still = PGD()(loss, torch.ones(3, 2), radius=0.5, generator=rng())
    moved = PGD(random_start=True)(loss, torch.ones(3, 2), radius=0.5, generator=rng())
    assert torch.equal(still, torch.zeros(3, 2))
    torch.testing.assert_close(loss(moved), torch.full((3,), 0.25))


def test_a_random_start_steps_a_radius_and_a_quarter() -> None:
    """On an ascent of 1 a start s ends at min(s + 1.25, 1): at the wall for 5 starts of 8."""
    start = torch.zeros(20_000, 1)
    delta = FGSM(random_start=True)(lambda d: d.sum(1), start, radius=2.0, generator=rng())
    assert 0.5 <= delta.min() < 0.51
    assert abs((delta == 2.0).float().mean() - 0.625) < 0.015


@every
def test_radius_zero_is_exactly_zero_and_asks_nothing(inner: Maximiser) -> None:
    """S0-03: budget 0 returns the input bit for bit."""

    def loss(delta: Tensor) -> Tensor:
        raise AssertionError("asked")

    delta = inner(loss, torch.ones(2, 3), radius=0.0, generator=rng())
    assert torch.equal(delta, torch.zeros(2, 3))
    assert inner(loss, torch.ones(0, 3), radius=1.0, generator=rng()).shape == (0, 3)


@every
@pytest.mark.parametrize("radius", [-0.1, math.inf, math.nan])
def test_a_radius_that_bounds_nothing_is_refused(inner: Maximiser, radius: float) -> None:
    with pytest.raises(ValueError, match="radius must be finite and at least 0"):
        inner(linear(torch.ones(2, 3)), torch.ones(2, 3), radius=radius, generator=rng())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100, deadline=None)
@given(
    data=st.data(),
    shape=st.tuples(st.just(10), st.integers(1, 4), st.integers(1, 5)),
    radius=st.floats(1e-3, 1e3),
    size=st.sampled_from([1e-20, 1.0, 1e6]),
    seed=st.integers(0, 10_000),
)
def test_delta_is_inside_the_ball_and_the_mask(
    kind: type, data: Any, shape: tuple[int, int, int], radius: float, size: float, seed: int
) -> None:
    """S0-03, S0-14: 1,000 random rows for each kind, every one inside the declared budget and
    exactly zero where masked, even where the gradient is tiny, huge or masked out."""
    inner = data.draw(st.sampled_from([i for i in ALL if type(i) is kind]))
    like = torch.randn(shape, generator=rng(seed))
    mask = torch.rand(shape[:2], generator=rng(seed + 1)) < 0.7
    w = size * torch.randn(like[0].numel(), 3, generator=rng(seed + 2))
    delta = inner(curved(w), like, radius=radius, generator=rng(seed), mask=mask)
    assert delta.shape == like.shape
    assert not delta.requires_grad
    assert delta.isfinite().all()
    assert (length(delta, inner.norm) <= radius * (1 + 1e-6)).all()
    assert (delta[~mask] == 0).all()


@pytest.mark.parametrize("inner", [PGD(steps=20), FGM(), PGD(norm="linf", steps=20), FGSM()])
def test_masked_positions_take_nothing_of_the_radius(inner: Maximiser) -> None:
    """The gradient is largest where it is masked, yet all the radius goes elsewhere."""
    w = torch.tensor([[[100.0, 100.0], [3.0, 4.0]]])
    mask = torch.tensor([[False, True]])
    delta = inner(linear(w), torch.zeros(1, 2, 2), radius=2.0, generator=rng(), mask=mask)
    expected = 10.0 if inner.norm == "l2" else 14.0
    torch.testing.assert_close(linear(w)(delta), torch.tensor([expected]))


@every
def test_the_same_generator_gives_the_same_delta(inner: Maximiser) -> None:
    w, like = torch.randn(6, 2, generator=rng(3)), torch.ones(4, 6)
    state = torch.get_rng_state()
    one, two = (inner(curved(w), like, radius=0.5, generator=rng(7)) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(torch.get_rng_state(), state), "drew from the global generator"


def test_more_restarts_never_weaken_any_row() -> None:
    loss, like = curved(torch.randn(6, 4, generator=rng(3))), torch.ones(50, 6)
    values = [
        loss(PGD(steps=3, restarts=r)(loss, like, radius=1.0, generator=rng())) for r in range(1, 6)
    ]
    for fewer, more in itertools.pairwise(values):
        assert (more >= fewer).all()
    assert (values[-1] > values[0]).any()


@pytest.mark.parametrize("random_start", [True, False])
def test_more_steps_of_the_same_size_never_weaken_any_row(random_start: bool) -> None:
    loss, like = curved(torch.randn(6, 4, generator=rng(3))), torch.ones(50, 6)
    values = [
        loss(
            PGD(steps=steps, step_size=0.3, random_start=random_start)(
                loss, like, radius=1.0, generator=rng()
            )
        )
        for steps in (1, 2, 4, 8, 16)
    ]
    for fewer, more in itertools.pairwise(values):
        assert (more >= fewer).all()
    assert (values[-1] > values[0]).any()


def test_no_row_ends_weaker_than_unperturbed() -> None:
    """delta = 0 is a peak: every step is a mistake, and the answer is 0."""

    def loss(delta: Tensor) -> Tensor:
        return -delta.square().sum(1)

    pgd = PGD(steps=3, step_size=1.0, random_start=True)
    delta = pgd(loss, torch.ones(8, 3), radius=1.0, generator=rng())
    assert torch.equal(delta, torch.zeros(8, 3))


def test_more_draws_of_noise_never_weaken_any_row() -> None:
    loss, like = curved(torch.randn(6, 4, generator=rng(3))), torch.ones(50, 6)
    one, ten = (loss(Gaussian(draws=n)(loss, like, radius=1.0, generator=rng())) for n in (1, 10))
    assert (ten >= one).all()
    assert (ten > one).any()


def test_pgd_beats_one_step_beats_noise() -> None:
    loss, like = curved(0.3 * torch.randn(6, 4, generator=rng(3))), torch.ones(200, 6)
    noise, step, pgd = (
        loss(inner(loss, like, radius=1.0, generator=rng())).mean()
        for inner in (Gaussian(), FGM(), PGD(steps=20))
    )
    assert noise < step < pgd


@pytest.mark.parametrize(
    "inner",
    [
        PGD(steps=5),
        Momentum(steps=5),
        APGD(steps=9),
        CarliniWagner(steps=9, threshold=2.0),
        LBFGS(steps=9, threshold=2.0),
    ],
    ids=lambda i: i.kind,
)
def test_rows_do_not_see_each_other(inner: Any) -> None:
    """Row 0 alone and row 0 among others get the same delta."""
    w = torch.randn(6, 4, generator=rng(3))
    like = torch.randn(5, 6, generator=rng(4))
    alone = inner(curved(w), like[:1], radius=0.5, generator=rng())
    among = inner(curved(w), like, radius=0.5, generator=rng())
    torch.testing.assert_close(alone, among[:1])
    if hasattr(inner, "smallest"):
        alone, _ = inner.smallest(curved(w), like[:1])
        among, _ = inner.smallest(curved(w), like)
        torch.testing.assert_close(alone, among[:1])


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_scalar_loss_gives_each_row_its_own_ball(shape: tuple[int, ...]) -> None:
    """One loss for a whole catalogue of vectors (I, D): the maximum is the sum over rows."""
    w = torch.randn(7, 3, generator=rng(1))

    def loss(delta: Tensor) -> Tensor:
        return (delta * w).sum().reshape(shape)

    for inner in (
        *(PGD(steps=20), PGD(steps=20, restarts=3), FGM()),
        *(Momentum(norm="l2"), APGD(steps=10), Ensemble(), LBFGS(threshold=9.0)),
    ):
        delta = inner(loss, w, radius=0.3, generator=rng())
        torch.testing.assert_close((delta * w).sum(), 0.3 * w.norm(dim=1).sum())


def test_a_loss_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 3\); expected \(2,\)"):
        FGM()(lambda delta: delta * 2, torch.ones(2, 3), radius=1.0, generator=rng())


@pytest.mark.parametrize("inner", [PGD(), FGM(), FGSM(), Gaussian(draws=2)], ids=repr)
def test_a_constant_loss_is_flat_not_an_error(inner: Maximiser) -> None:
    """Neither a loss without a graph nor one whose graph leads elsewhere."""
    weight = torch.ones(1, requires_grad=True)
    for loss in (lambda d: torch.zeros(len(d)), lambda d: weight.expand(len(d))):
        delta = inner(loss, torch.ones(2, 3), radius=1.0, generator=rng())
        assert (length(delta, inner.norm) <= 1 + 1e-5).all()


@pytest.mark.parametrize(
    "inner",
    [
        *(PGD(steps=8), PGD(norm="linf", steps=8), FGM(), FGSM(), APGD(), APGD(norm="linf")),
        *(Momentum(norm="l2"), Momentum(), Ensemble(), Ensemble(norm="linf")),
    ],
)
def test_a_row_that_is_not_finite_leaves_the_others_alone(inner: Maximiser) -> None:
    w = torch.tensor([[3.0, 4.0], [1.0, 1.0], [3.0, 4.0]])
    sick = torch.tensor([1.0, math.nan, 1.0])
    delta = inner(lambda d: (d * w).sum(1) * sick, w, radius=1.0, generator=rng())
    assert delta.isfinite().all()
    expected = torch.full((2,), 5.0 if inner.norm == "l2" else 7.0)
    torch.testing.assert_close((delta * w).sum(1)[[0, 2]], expected)
    assert torch.equal(delta[1], torch.zeros(2))


def test_pgd_keeps_the_best_finite_point_before_an_overflow() -> None:
    """The loss is not finite past half the radius: what is kept lies before that."""

    def loss(delta: Tensor) -> Tensor:
        up = delta.sum(1)
        return torch.where(up > 0.5, torch.full_like(up, math.inf), up)

    pgd = PGD(norm="linf", steps=10, step_size=0.1)
    delta = pgd(loss, torch.zeros(3, 1), radius=1.0, generator=rng())
    torch.testing.assert_close(delta, torch.full((3, 1), 0.5), atol=0.11, rtol=0)
    assert loss(delta).isfinite().all()


@every
def test_parameters_keep_their_gradients_even_when_the_loss_raises(inner: Maximiser) -> None:
    """S0-09: no residue in `.grad`, neither of parameters nor of the clean values."""
    net = torch.nn.Linear(3, 1)
    net.weight.grad = torch.full_like(net.weight, 7.0)
    like = torch.ones(4, 3, requires_grad=True)
    inner(lambda d: net(like + d).squeeze(1), like, radius=0.5, generator=rng())

    def broken(delta: Tensor) -> Tensor:
        net(like + delta).sum()
        raise RuntimeError("the victim fell over")

    if getattr(inner, "draws", 2) > 1:  # a single draw asks nothing
        with pytest.raises(RuntimeError, match="fell over"):
            inner(broken, like, radius=0.5, generator=rng())
    assert torch.equal(net.weight.grad, torch.full_like(net.weight, 7.0))
    assert net.bias.grad is None
    assert like.grad is None


def test_works_inside_no_grad() -> None:
    with torch.no_grad():
        delta = FGM()(linear(torch.ones(1, 4)), torch.ones(1, 4), radius=1.0, generator=rng())
    torch.testing.assert_close(delta, torch.full((1, 4), 0.5))


@pytest.mark.parametrize("norm", ["l2", "linf", "token-l2"])
def test_random_points_fill_the_ball_uniformly(norm: Norm) -> None:
    """P(norm <= r/2) is 2^-d for d free coordinates; here d = 2 of 4 are free."""
    like, mask = torch.zeros(20_000, 2, 2), torch.tensor([[True, False]]).expand(20_000, 2)
    points = random_point(like, norm, 1.0, generator=rng(), mask=mask)
    inside = (length(points, norm)[:, 0] <= 0.5).float().mean()
    assert abs(inside - 0.25) < 0.02


@settings(max_examples=200, deadline=None)
@given(
    norm=st.sampled_from(["l2", "linf", "token-l2"]),
    radius=st.floats(1e-3, 1e3),
    size=st.sampled_from([1e-6, 1.0, 1e6]),
    seed=st.integers(0, 10_000),
)
def test_projection_is_idempotent(norm: Norm, radius: float, size: float, seed: int) -> None:
    """S1-14, to the last bit or two of a float."""
    once = project(size * torch.randn(5, 3, 4, generator=rng(seed)), norm, radius)
    torch.testing.assert_close(project(once, norm, radius), once, rtol=3e-7, atol=0)


def test_projection_keeps_what_is_inside_and_shortens_what_is_not() -> None:
    delta = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    expected = torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]])
    torch.testing.assert_close(project(delta, "l2", 1.0), expected)
    torch.testing.assert_close(project(delta, "linf", 1.0)[0], torch.tensor([1.0, 1.0]))


def test_a_share_means_comparable_strength_in_every_norm() -> None:
    """The corners of the cube touch the sphere."""
    corner = torch.full((1, 16), absolute(0.1, 5.0, "linf", 16))
    torch.testing.assert_close(corner.norm(), torch.tensor(0.5))
    assert absolute(0.1, 5.0, "l2", 16) == absolute(0.1, 5.0, "token-l2", 16) == 0.5


def test_restarts_without_a_judge_are_refused() -> None:
    with pytest.raises(ValidationError, match="restarts above 1 need keep_best"):
        PGD(restarts=2, keep_best=False)


def test_an_unknown_kind_or_key_is_refused() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Inner)
    assert adapter.validate_python({"kind": "pgd", "steps": 3}) == PGD(steps=3)
    for wrong in ({"kind": "pdg"}, {"kind": "pgd", "stepz": 3}, {"kind": "pgd", "steps": 0}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)
