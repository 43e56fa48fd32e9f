"""SMART: smoothness, and nearness to the predictions of averaged weights."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hardrank.errors import Unsupported
from hardrank.hardening import SMART, KLConsistency, Ramp
from hardrank.hardening.divergence import symmetric_kl
from hardrank.perturbations import FGM, PGD, Inner
from hardrank.testing.objectives import ObjectiveContract, TinyBatch, TinyNetwork
from hardrank.training import Predictions, Step, check_objective
from hardrank.types import Site


def step(memory: dict[str, Any] | None = None, *, number: int = 0, progress: float = 0.0) -> Step:
    draws = torch.Generator().manual_seed(number)
    memory = {} if memory is None else memory
    return Step(epoch=0, number=number, progress=progress, generator=draws, memory=memory)


@pytest.mark.parametrize("inner", [PGD(steps=2), FGM()], ids=lambda inner: inner.kind)
class TestContract(ObjectiveContract):
    @pytest.fixture(autouse=True)
    def _choose(self, inner: Inner) -> None:
        self.objective = SMART(inner=inner, radius=0.1)
        self.zero = SMART(inner=inner, radius=0.1, weight=0.0)


class TestContractInTheMiddle(ObjectiveContract):
    """With averaged weights that differ from the present ones."""

    objective = SMART(inner=FGM(), radius=0.1)

    def step(self) -> Step:
        kept = {"vectors": torch.ones(6, 4)}
        return step({"smart": kept}, number=3)


def test_the_first_step_of_an_epoch_is_smoothness_alone(tiny_batch: TinyBatch) -> None:
    """The average begins at the present weights; then SMART is `kl-consistency`."""
    network = TinyNetwork()
    whole = SMART(inner=FGM(), radius=0.2, proximity=5.0)(network, tiny_batch, step())
    smooth = KLConsistency(inner=FGM(), radius=0.2)(network, tiny_batch, step())
    torch.testing.assert_close(whole, smooth, atol=1e-7, rtol=0)


def test_the_average_and_the_nearness_are_those_of_the_paper(tiny_batch: TinyBatch) -> None:
    """theta' <- m theta' + (1 - m) theta; nearness is J(p(theta), p(theta')), added on top."""
    network, memory = TinyNetwork(), {}
    objective = SMART(inner=FGM(), radius=0.2, weight=2.0, proximity=3.0, momentum=0.75)
    without = SMART(inner=FGM(), radius=0.2, weight=2.0, proximity=0.0)
    draws = torch.Generator().manual_seed(1)
    average = network.vectors.detach().clone()
    for number in range(4):
        average = 0.75 * average + 0.25 * network.vectors.detach()
        value = objective(network, tiny_batch, step(memory, number=number))
        bare = without(network, tiny_batch, step(number=number))
        logits = network.predictions(tiny_batch).logits
        near = symmetric_kl(logits, tiny_batch.queries @ average.T).mean()
        assert number == 0 or float(near.detach()) > 1e-4
        torch.testing.assert_close(value, bare + 2.0 * 3.0 * near, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(memory["smart"]["vectors"], average)
        with torch.no_grad():
            network.vectors += 0.3 * torch.randn(6, 4, generator=draws)


def test_the_averaged_side_is_a_constant(tiny_batch: TinyBatch) -> None:
    network = TinyNetwork()
    kept = torch.ones(6, 4)
    objective = SMART(inner=FGM(), radius=0.2, momentum=0.5)
    objective(network, tiny_batch, step({"smart": {"vectors": kept}})).backward()
    ours, network.vectors.grad = network.vectors.grad, None
    constant = tiny_batch.queries @ (0.5 * torch.ones(6, 4) + 0.5 * network.vectors.detach()).T
    bare = SMART(inner=FGM(), radius=0.2, proximity=0.0)(network, tiny_batch, step())
    near = symmetric_kl(network.predictions(tiny_batch).logits, constant).mean()
    (bare + near).backward()
    torch.testing.assert_close(ours, network.vectors.grad, atol=1e-6, rtol=1e-4)


class Shared(TinyNetwork):
    """Reads its weights through a module that is no part of it, and can fall over."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "outside", nn.ParameterDict({"vectors": self.vectors}))
        self.seen: list[Tensor] = []
        self.failing = False

    def predictions(
        self, batch: TinyBatch, deltas: Mapping[Site, Tensor] | None = None
    ) -> Predictions:
        vectors: Any = self.outside["vectors"]  # type: ignore[index]
        self.seen.append(vectors.detach().clone())
        if self.failing:
            raise RuntimeError("fell over")
        return Predictions(
            logits=batch.queries @ (vectors + (deltas or {}).get("item-vectors", 0.0)).T,
            labels=batch.targets,
        )


@pytest.mark.parametrize("failing", [False, True])
def test_weights_that_others_share_stand_in_and_come_back(
    tiny_batch: TinyBatch, failing: bool
) -> None:
    network, kept = Shared(), torch.full((6, 4), 7.0)
    network.failing = failing
    where, before = network.vectors.data_ptr(), network.vectors.detach().clone()
    objective = SMART(inner=FGM(), radius=0.2, momentum=0.5)
    moment = step({"smart": {"vectors": kept}})
    if failing:
        with pytest.raises(RuntimeError, match="fell over"):
            objective(network, tiny_batch, moment)
    else:
        objective(network, tiny_batch, moment)
        assert all(torch.equal(seen, before) for seen in network.seen[1:])
    torch.testing.assert_close(network.seen[0], 3.5 + 0.5 * before)
    assert network.vectors.data_ptr() == where and torch.equal(network.vectors, before)


def test_only_weights_that_learn_are_kept(tiny_batch: TinyBatch) -> None:
    network, memory = TinyNetwork(), {}
    network.extra = nn.Parameter(torch.ones(3), requires_grad=False)
    SMART(inner=FGM(), radius=0.2)(network, tiny_batch, step(memory))
    assert set(memory["smart"]) == {"vectors"}
    memory.clear()
    SMART(inner=FGM(), radius=0.2, proximity=0.0)(network, tiny_batch, step(memory))
    SMART(inner=FGM(), radius=0.2, weight=0.0)(network, tiny_batch, step(memory))
    assert memory == {}


def test_radius_zero_leaves_nearness_alone(tiny_batch: TinyBatch) -> None:
    """S0-51: the KL term is 0 at delta = 0."""
    network = TinyNetwork()
    objective = SMART(inner=PGD(), radius=1.0, radius_schedule=Ramp(), proximity=0.0)
    assert torch.equal(objective(network, tiny_batch, step()), network.loss(tiny_batch))


def test_nearness_slows_the_ranking_down(tiny_batch: TinyBatch) -> None:
    """The same 20 steps end nearer to where they began."""
    moved = {}
    for proximity in (0.0, 30.0):
        network, memory = TinyNetwork(), {}
        before = network.predictions(tiny_batch).logits.detach()
        optimiser = torch.optim.SGD(network.parameters(), lr=0.05)
        for number in range(20):
            optimiser.zero_grad()
            objective = SMART(inner=FGM(), radius=0.01, proximity=proximity)
            objective(network, tiny_batch, step(memory, number=number)).backward()
            optimiser.step()
        after = network.predictions(tiny_batch).logits.detach()
        moved[proximity] = float(symmetric_kl(before, after).mean())
    assert moved[30.0] < 0.5 * moved[0.0]


def test_refused_before_training(pairwise: Any) -> None:
    with pytest.raises(Unsupported, match="'smart' compares whole rankings"):
        check_objective(SMART(inner=FGM(), radius=0.1), pairwise)
    with pytest.raises(Unsupported, match="no site 'text-vectors'"):
        check_objective(SMART(site="text-vectors", inner=FGM(), radius=0.1), TinyNetwork())
