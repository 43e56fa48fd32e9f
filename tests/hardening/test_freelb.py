"""FreeLB: every ascent step of the adversary also teaches the weights."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from hardrank.context import RunContext
from hardrank.data.sources.marketplace import Marketplace
from hardrank.data.splits import LeaveOneOut
from hardrank.errors import Unsupported
from hardrank.hardening import Adversarial, FreeLB, Ramp
from hardrank.models import Sasrec
from hardrank.perturbations import PGD, ball
from hardrank.testing.objectives import ObjectiveContract, TinyBatch, TinyNetwork
from hardrank.training import Plain, Step, Training, check_objective

SITE = "item-vectors"
BATCH = TinyBatch(torch.eye(4)[:3] * 2, torch.tensor([0, 2, 5]))


class TestFreeLB(ObjectiveContract):
    objective = FreeLB(site=SITE, radius=0.1)
    zero = FreeLB(site=SITE, radius=0.1, weight=0.0)


class TestFreeLBBesideTheCleanLoss(ObjectiveContract):
    objective = FreeLB(site=SITE, radius=0.1, norm="linf", weight=0.5, steps=2)


def step(seed: int = 0, progress: float = 0.0) -> Step:
    draws = torch.Generator().manual_seed(seed)
    return Step(epoch=0, number=0, progress=progress, generator=draws)


def graded(network: Any, objective: Any, batch: Any = BATCH) -> tuple[Tensor, list[Any]]:
    """Value and gradients, None where there is none."""
    network.zero_grad()
    value = objective(network, batch, step())
    value.backward()
    return value.detach(), [p.grad for p in network.parameters()]


def test_one_point_at_zero_is_plain_training() -> None:
    """S0-50: the known gradient, to the last bit."""
    value, (gradient,) = graded(
        TinyNetwork(), FreeLB(site=SITE, radius=0.5, steps=1, random_start=False)
    )
    plain, (expected,) = graded(TinyNetwork(), Plain())
    assert torch.equal(value, plain)
    assert torch.equal(gradient, expected)


class Line(nn.Module):
    """log(1 + exp(-w.x))."""

    sites = ("text-vectors",)

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([3.0, -4.0]))

    def loss(self, batch: Tensor, deltas: Mapping[Any, Tensor] | None = None) -> Tensor:
        x = batch + deltas["text-vectors"] if deltas else batch
        return F.softplus(-(x @ self.w)).mean()

    def clean(self, site: str, batch: Tensor) -> Tensor:
        return batch

    def writable(self, site: str, batch: Tensor) -> None:
        return None


def test_two_points_by_hand() -> None:
    """Points 0 and -r w / ||w||: the mean of -sigmoid(-m) x over both, m = w.x + w.delta."""
    objective = FreeLB(site="text-vectors", radius=0.1, steps=2, step_size=1.0, random_start=False)
    x = torch.tensor([[0.6, 0.8]])
    value, (gradient,) = graded(Line(), objective, x)
    points = [x[0], x[0] - 0.1 * torch.tensor([0.6, -0.8])]
    margins = [1.8 - 3.2, 1.8 - 3.2 - 0.1 * 5]
    losses = [math.log1p(math.exp(-m)) for m in margins]
    assert float(value) == pytest.approx(sum(losses) / 2, abs=1e-6)
    slopes = [-point / (1 + math.exp(m)) for point, m in zip(points, margins, strict=True)]
    torch.testing.assert_close(gradient, (slopes[0] + slopes[1]) / 2)


def twin(network: Any, objective: FreeLB) -> Tensor:
    """The slow oracle: all graphs are kept, and one more backward pass goes over their mean."""
    like = network.clean(SITE, BATCH)
    radius = objective.radius * float(like.norm(dim=-1).mean())
    radius = radius / math.sqrt(like.shape[-1]) if objective.norm == "linf" else radius
    move = radius * (objective.step_size or 2.5 / objective.steps)
    delta, losses = torch.zeros_like(like), []
    for _ in range(objective.steps):
        delta = delta.detach().requires_grad_(True)
        losses.append(network.loss(BATCH, {SITE: delta}))
        (slope,) = torch.autograd.grad(losses[-1], delta, retain_graph=True)
        delta = delta + move * ball.ascent(slope, objective.norm, None)
        delta = ball.project(delta, objective.norm, radius)
    return torch.stack(losses).mean()


@settings(deadline=None, max_examples=50)
@given(
    norm=st.sampled_from(["l2", "linf", "token-l2"]),
    steps=st.integers(1, 5),
    radius=st.floats(0.01, 2.0),
    size=st.none() | st.floats(0.1, 2.0),
)
def test_it_equals_the_mean_over_all_kept_graphs(
    norm: Any, steps: int, radius: float, size: float | None
) -> None:
    objective = FreeLB(
        site=SITE, norm=norm, steps=steps, radius=radius, step_size=size, random_start=False
    )
    value, (gradient,) = graded(TinyNetwork(), objective)
    network = TinyNetwork()
    slow = twin(network, objective)
    slow.backward()
    torch.testing.assert_close(value, slow.detach())
    torch.testing.assert_close(gradient, network.vectors.grad)


@pytest.mark.parametrize("norm", ["l2", "linf", "token-l2"])
def test_the_start_is_uniform_in_the_cube_inside_the_ball(norm: Any) -> None:
    """U(-r, r) / sqrt(N), so its length is at most r and on average about r / sqrt(3)."""
    objective = FreeLB(site=SITE, norm=norm, radius=1.0)
    like = torch.zeros(200, 6, 4)
    mask = torch.ones(200, 6, dtype=torch.bool)
    mask[:, 3:] = False
    start = objective._start(like, mask, 2.0, torch.Generator().manual_seed(0))
    count = {"l2": 12, "token-l2": 4, "linf": 1}[norm]
    assert not start[:, 3:].any()
    free = start[:, :3].abs()
    assert float(free.max()) <= 2 / math.sqrt(count)
    assert float(free.mean()) == pytest.approx(1 / math.sqrt(count), rel=0.05)


class Counted(TinyNetwork):
    """Counts passes, and draws a number in each."""

    def __init__(self) -> None:
        super().__init__()
        self.forwards = self.backwards = 0
        self.drawn: set[float] = set()

    def loss(self, batch: TinyBatch, deltas: Mapping[Any, Tensor] | None = None) -> Tensor:
        self.forwards += 1
        self.drawn.add(float(torch.rand(())))
        loss = super().loss(batch, deltas)
        if loss.requires_grad:
            loss.register_hook(self._backward)
        return loss

    def _backward(self, _: Tensor) -> None:
        self.backwards += 1


def passes(objective: Any) -> tuple[int, int]:
    network = Counted()
    graded(network, objective)
    assert len(network.drawn) == 1, "dropout and negatives must be those of one step"
    return network.forwards, network.backwards


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_a_point_costs_one_pass_each_way(steps: int) -> None:
    """S0-50: K + K passes; three points cost a quarter of the passes of ten-step PGD."""
    objective = FreeLB(site=SITE, radius=0.1, steps=steps)
    assert passes(objective) == (steps, steps)
    mixed = FreeLB(site=SITE, radius=0.1, steps=steps, weight=0.5)
    assert passes(mixed) == (steps + 1, steps + 1)
    pgd = Adversarial(site=SITE, inner=PGD(steps=10), radius=0.1)
    forward, backward = passes(pgd)
    assert (forward, backward) == (13, 12)
    assert steps <= backward / 2


def test_a_mix_is_the_mean_and_half_of_the_loss_has_half_of_the_gradient() -> None:
    """The scalar it returns can be scaled, as accumulation does."""

    class Halved:
        def __call__(self, network: Any, batch: Any, at: Step) -> Tensor:
            loss: Tensor = FreeLB(site=SITE, radius=0.1)(network, batch, at)
            return loss / 2

    _, (full,) = graded(TinyNetwork(), FreeLB(site=SITE, radius=0.1))
    _, (plain,) = graded(TinyNetwork(), Plain())
    _, (mixed,) = graded(TinyNetwork(), FreeLB(site=SITE, radius=0.1, weight=0.5))
    _, (half,) = graded(TinyNetwork(), Halved())
    torch.testing.assert_close(mixed, (full + plain) / 2)
    torch.testing.assert_close(half, full / 2)
    assert not torch.allclose(full, plain)


def test_what_learns_nothing_gets_no_gradient() -> None:
    """Frozen parameters, and ones the loss does not reach: weight decay must pass them by."""

    class Odd(TinyNetwork):
        def __init__(self) -> None:
            super().__init__()
            self.unused, self.scale = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(4))
            self.vectors.requires_grad_(False)

        def predictions(self, batch: Any, deltas: Any = None) -> Any:
            queries = batch.queries * self.scale
            return super().predictions(TinyBatch(queries, batch.targets), deltas)

    _, (vectors, unused, scale) = graded(Odd(), FreeLB(site=SITE, radius=0.1))
    assert vectors is None and unused is None
    assert scale.abs().sum() > 0


def test_at_radius_zero_all_points_are_the_clean_one() -> None:
    objective = FreeLB(site=SITE, radius=0.5, steps=4, radius_schedule=Ramp())
    value, (gradient,) = graded(TinyNetwork(), objective)
    plain, (expected,) = graded(TinyNetwork(), Plain())
    torch.testing.assert_close(value, plain)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_trains_a_sequence_model(precision: Any) -> None:
    split = LeaveOneOut().split(Marketplace(users=80, items=60, seed=3).load())
    training = Training(epochs=2, batch_size=150, keep="last", precision=precision)
    spec = Sasrec(size=8, heads=1, length=10, training=training)

    def vectors(objective: Any) -> Any:
        run = RunContext(seed=1)
        return spec.fit(split.train, run, valid=split.valid, objective=objective).vectors.numpy()

    moved = vectors(FreeLB(site="history-vectors", radius=0.3, steps=2))
    assert np.isfinite(moved).all()
    assert np.array_equal(moved, vectors(FreeLB(site="history-vectors", radius=0.3, steps=2)))
    plain = vectors(None)
    assert not np.array_equal(moved, plain)
    assert np.array_equal(vectors(FreeLB(site="history-vectors", radius=0.3, weight=0)), plain)


def test_mistakes_are_refused() -> None:
    for wrong in ({"radius": 0.0}, {"steps": 0}, {"step_size": 0.0}, {"weight": 1.5}):
        with pytest.raises(ValidationError):
            FreeLB(**({"radius": 0.1} | wrong))
    with pytest.raises(Unsupported, match="'freelb': this model has no site 'token-embeddings'"):
        check_objective(FreeLB(radius=0.1), TinyNetwork())
