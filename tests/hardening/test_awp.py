"""Adversarial weight perturbation: the gradient where the weights are at their worst."""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from hardrank.context import RunContext
from hardrank.data.sources.marketplace import Marketplace
from hardrank.data.splits import LeaveOneOut
from hardrank.errors import Unsupported
from hardrank.hardening import AWP, Ramp, StopAtRobustError
from hardrank.models import Sasrec
from hardrank.perturbations import FGM, PGD
from hardrank.testing.objectives import ObjectiveContract, TinyBatch, TinyNetwork
from hardrank.training import Plain, Step, Training, check_objective

BATCH = TinyBatch(torch.eye(4)[:3] * 2, torch.tensor([0, 2, 5]))


class TestAWP(ObjectiveContract):
    objective = AWP()
    zero = AWP(weight=0.0)


class TestAWPWithAnAttack(ObjectiveContract):
    objective = AWP(gamma=0.1, inner=PGD(steps=2, random_start=True), radius=0.1, weight=0.5)


def step(progress: float = 0.0) -> Step:
    draws = torch.Generator().manual_seed(0)
    return Step(epoch=0, number=0, progress=progress, generator=draws)


def graded(network: Any, objective: Any, batch: Any = BATCH) -> tuple[Tensor, list[Any]]:
    """Value and gradients, None where there is none."""
    network.zero_grad()
    value = objective(network, batch, step())
    value.backward()
    return value.detach(), [p.grad for p in network.parameters()]


class Line(nn.Module):
    """log(1 + exp(-W x)), W of one row."""

    sites = ("text-vectors",)

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[3.0, -4.0]]))

    def loss(self, batch: Tensor, deltas: Mapping[Any, Tensor] | None = None) -> Tensor:
        x = batch + deltas["text-vectors"] if deltas else batch
        return F.softplus(-(x @ self.w.t())).mean()

    def clean(self, site: str, batch: Tensor) -> Tensor:
        return batch

    def writable(self, site: str, batch: Tensor) -> None:
        return None


@pytest.mark.parametrize("attacked", [False, True])
def test_direction_and_size_by_hand(attacked: bool) -> None:
    """S2-02: the loss falls along x, so v = -gamma ||W|| x / ||x||, and the margin at W + v
    is W x - gamma ||W|| ||x||; with x moved to x - e W / ||W|| first, where there is an attack."""
    x, w = torch.tensor([0.3, 0.4]), torch.tensor([3.0, -4.0])
    objective = AWP(gamma=0.2)
    if attacked:
        objective = AWP(gamma=0.2, site="text-vectors", inner=FGM(), radius=0.1)
    value, (gradient,) = graded(Line(), objective, x[None])
    worst = x - 0.1 * 0.5 * w / 5 if attacked else x
    margin = float(w @ worst) - 0.2 * 5 * float(worst.norm())
    assert float(value) == pytest.approx(math.log1p(math.exp(-margin)), abs=1e-6)
    torch.testing.assert_close(gradient[0], -worst / (1 + math.exp(margin)))


class Deep(nn.Module):
    """Two layers with dropout, a bias and a layer of zeros; remembers its weights at each call."""

    sites = ()

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 1, bias=False)
            self.still = nn.Parameter(torch.zeros(4, 8))
            nn.init.constant_(self.first.bias, 0.5)
        self.seen: list[dict[str, Tensor]] = []
        self.drawn: list[float] = []
        self.forwards = self.backwards = 0
        self.failing = False

    def loss(self, batch: TinyBatch, deltas: Mapping[Any, Tensor] | None = None) -> Tensor:
        self.seen.append({n: p.detach().clone() for n, p in self.named_parameters()})
        self.drawn.append(float(torch.rand(())))
        self.forwards += 1
        if self.failing and self.forwards == 2:
            raise RuntimeError("fell over")
        hidden = F.dropout(self.first(batch.queries).tanh(), 0.3, training=True)
        # A product of the parameter itself, whose graph holds no view of its moved memory.
        margins = ((hidden + batch.queries @ self.still) * self.last.weight).sum(dim=1)
        loss = F.softplus(-margins).mean()
        loss.register_hook(self._backward)
        return loss

    def _backward(self, _: Tensor) -> None:
        self.backwards += 1


def digest(network: nn.Module) -> str:
    sha = hashlib.sha256()
    for name, value in network.state_dict().items():
        sha.update(name.encode() + value.numpy().tobytes() + str(value.data_ptr()).encode())
    return sha.hexdigest()


def test_each_layer_moves_by_its_own_length() -> None:
    """S2-02: gamma of its norm; biases and layers of zeros stay, and the loss rises."""
    network = Deep()
    graded(network, AWP(gamma=0.03))
    before, moved = network.seen
    for name in ("first.weight", "last.weight"):
        length = float((moved[name] - before[name]).norm() / before[name].norm())
        assert length == pytest.approx(0.03, rel=1e-4)
    assert torch.equal(moved["first.bias"], before["first.bias"])
    assert not moved["still"].any()


def test_the_loss_is_higher_where_the_weights_are_moved() -> None:
    plain, _ = graded(TinyNetwork(), Plain())
    values = [float(graded(TinyNetwork(), AWP(gamma=g))[0]) for g in (0.001, 0.01, 0.1)]
    assert [float(plain), *values] == sorted([float(plain), *values])
    assert values[0] > float(plain)


def test_the_gradient_is_that_of_a_network_with_the_moved_weights() -> None:
    """The slow oracle: another network, whose weights are w + v."""
    network, other = Deep(), Deep()
    torch.manual_seed(1)
    value, gradients = graded(network, AWP(gamma=0.5))
    other.load_state_dict(network.seen[1])
    torch.manual_seed(1)
    expected, others = graded(other, Plain())
    assert torch.equal(value, expected)
    for one, two in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("failing", [False, True])
def test_weights_come_back_to_the_last_bit_and_byte(failing: bool) -> None:
    """S2-02: by hash of their bytes and addresses, also after an error while they are moved."""
    network = Deep()
    network.failing = failing
    before = digest(network)
    if failing:
        with pytest.raises(RuntimeError, match="fell over"):
            AWP(gamma=0.5)(network, BATCH, step())
    else:
        AWP(gamma=0.5)(network, BATCH, step()).backward()
    assert digest(network) == before


def test_a_graph_from_before_is_still_good() -> None:
    """Weights are exchanged and not written to: who computed a loss earlier may go on."""
    network = TinyNetwork()
    earlier = network.loss(BATCH)
    AWP(gamma=0.5)(network, BATCH, step())
    (after,) = torch.autograd.grad(earlier, network.vectors)
    torch.testing.assert_close(after, graded(TinyNetwork(), Plain())[1][0])


def test_two_passes_each_way_that_draw_the_same_dropout() -> None:
    """S0-50: with the clean loss three."""
    for weight, passes in ((1.0, 2), (0.5, 3)):
        network = Deep()
        torch.manual_seed(1)
        graded(network, AWP(weight=weight))
        assert (network.forwards, network.backwards) == (passes, passes)
        assert len(set(network.drawn)) == 1


def test_modules_that_only_share_their_parameters_are_moved() -> None:
    """As the live layers of an encoder, whose module is no submodule of the network."""

    class Sharing(Line):
        def __init__(self) -> None:
            super().__init__()
            self.outside = (nn.Linear(2, 1, bias=False),)
            self.outside[0].weight.data = self.w.data
            self.w = self.outside[0].weight

        def loss(self, batch: Tensor, deltas: Mapping[Any, Tensor] | None = None) -> Tensor:
            return F.softplus(-self.outside[0](batch)).mean()

    x = torch.tensor([[0.3, 0.4]])
    for one, two in zip(
        graded(Sharing(), AWP(gamma=0.2), x), graded(Line(), AWP(gamma=0.2), x), strict=True
    ):
        torch.testing.assert_close(one, two)


def test_frozen_parameters_do_not_move() -> None:
    network = Deep()
    network.first.requires_grad_(False)
    _, gradients = graded(network, AWP(gamma=0.1))
    assert torch.equal(network.seen[1]["first.weight"], network.seen[0]["first.weight"])
    assert not torch.equal(network.seen[1]["last.weight"], network.seen[0]["last.weight"])
    names = [name for name, _ in network.named_parameters()]
    given = {name for name, gradient in zip(names, gradients, strict=True) if gradient is not None}
    assert given == {"last.weight", "still"}


def test_a_gradient_too_small_to_square_still_has_a_direction() -> None:
    class Flat(TinyNetwork):
        def loss(self, batch: Any, deltas: Any = None) -> Tensor:
            self.at = self.vectors.detach().clone()
            return 1e-30 * super().loss(batch, deltas)

    network = Flat()
    graded(network, AWP(gamma=0.1))
    moved = float((network.at - network.vectors.detach()).norm() / network.vectors.detach().norm())
    assert moved == pytest.approx(0.1, rel=1e-3)


def test_a_schedule_at_zero_moves_nothing() -> None:
    objective = AWP(gamma=0.5, inner=FGM(), radius=0.5, radius_schedule=Ramp())
    value, (gradient,) = graded(TinyNetwork(), objective)
    plain, (expected,) = graded(TinyNetwork(), Plain())
    assert torch.equal(value, plain)
    assert torch.equal(gradient, expected)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_trains_a_sequence_model(precision: Any) -> None:
    """S1-61: with the rules and the attack of adversarial training."""
    split = LeaveOneOut().split(Marketplace(users=80, items=60, seed=3).load())
    training = Training(epochs=2, batch_size=150, keep="last", precision=precision)
    spec = Sasrec(size=8, heads=1, length=10, training=training)

    def vectors(objective: Any) -> Any:
        run = RunContext(seed=1)
        return spec.fit(split.train, run, valid=split.valid, objective=objective).vectors.numpy()

    moved = vectors(AWP(gamma=0.05))
    assert np.isfinite(moved).all()
    assert np.array_equal(moved, vectors(AWP(gamma=0.05)))
    plain = vectors(None)
    assert not np.array_equal(moved, plain)
    assert np.array_equal(vectors(AWP(weight=0.0)), plain)
    stop = (StopAtRobustError(target=1.0),)
    attacked = vectors(AWP(inner=FGM(), radius=0.2, site="history-vectors", stop=stop))
    assert np.isfinite(attacked).all()


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValidationError, match="both inner and radius"):
        AWP(inner=FGM())
    with pytest.raises(ValidationError, match="both inner and radius"):
        AWP(radius=0.1)
    with pytest.raises(ValidationError, match="judge by that attack"):
        AWP(stop=(StopAtRobustError(target=0.5),))
    for wrong in ({"gamma": 0.0}, {"gamma": 1.0}, {"weight": 2.0}):
        with pytest.raises(ValidationError):
            AWP(**wrong)
    attacked = AWP(inner=FGM(), radius=0.1, site="text-vectors")
    with pytest.raises(Unsupported, match="'awp': this model has no site 'text-vectors'"):
        check_objective(attacked, TinyNetwork())
    check_objective(AWP(site="text-vectors"), TinyNetwork())  # a site that nothing is added at
