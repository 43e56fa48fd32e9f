"""A loss, gradient or weight that is not finite ends training before it reaches a weight."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from hardrank.context import RunContext
from hardrank.data.sources.marketplace import Marketplace
from hardrank.data.splits import LeaveOneOut
from hardrank.errors import Diverged, HardrankError
from hardrank.models import Sasrec
from hardrank.testing.objectives import TinyBatch, TinyNetwork
from hardrank.training import Step, Training, train

BATCHES = 4
Place = tuple[int, int]
"""(epoch, batch), both from 0."""


@dataclass(frozen=True)
class Faulty:
    """The plain loss, but for one place. Two are equal whatever their fault, so that a run
    can go on without it."""

    loss: dict[Place, float] = field(default_factory=dict, repr=False)
    """Added to the loss there."""
    gradient: dict[Place, float] = field(default_factory=dict, repr=False)
    """Factor of the gradient there."""
    kind: str = "faulty"

    def __call__(self, network: Any, batch: Any, step: Step) -> Tensor:
        at = (step.epoch, step.number)
        value: Tensor = network.loss(batch) + self.loss.get(at, 0.0)
        if at in self.gradient:
            value = value + _Scaled.apply(value, self.gradient[at])  # type: ignore[no-untyped-call]
        return value


class _Scaled(torch.autograd.Function):
    """Zero, whose gradient is `factor`: a backward pass that breaks where no loss shows it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return torch.zeros_like(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None


def batches(order: np.random.Generator) -> Iterator[TinyBatch]:
    for _ in range(BATCHES):
        rows = torch.from_numpy(order.normal(size=(3, 4))).float()
        yield TinyBatch(rows, torch.from_numpy(order.integers(0, 6, 3)))


def fit(
    objective: Any, folder: Path | None = None, network: TinyNetwork | None = None, **options: Any
) -> TinyNetwork:
    network = network or TinyNetwork()
    made = {"epochs": 3, "learning_rate": 0.1, "patience": 0, "keep": "last"} | options
    train(
        network, batches, steps=BATCHES, options=Training(**made), objective=objective,
        validate=lambda: {"quality": 1.0}, run=RunContext(folder=folder), fingerprint="one",
    )  # fmt: skip
    return network


@pytest.mark.parametrize("planted", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_named_with_its_place(planted: float) -> None:
    wanted = rf"the loss is {planted} at epoch 2, step 7 \(batch 3 of the epoch\)"
    with pytest.raises(Diverged, match=wanted) as found:
        fit(Faulty(loss={(1, 2): planted}))
    assert isinstance(found.value, HardrankError)
    assert "lower learning_rate, or the radius or weight" in str(found.value)


@pytest.mark.parametrize("clip", [None, 5.0])
@pytest.mark.parametrize("planted", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_names_the_parameter(
    planted: float, clip: float | None
) -> None:
    wanted = r"gradient of 'vectors' is not finite at epoch 1, step 4 \(batch 4"
    with pytest.raises(Diverged, match=wanted):
        fit(Faulty(gradient={(0, 3): planted}), clip=clip)


def test_a_gradient_too_long_to_be_clipped_is_refused() -> None:
    """Its squares overflow: clipped by an infinite norm it would be zero."""
    with pytest.raises(Diverged, match="too large for its number format"):
        fit(Faulty(gradient={(0, 0): 1e30}))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_no_weight_is_touched_by_the_faulty_step(accumulate: int) -> None:
    """S1-12: checked before the optimiser moves anything."""
    place, network = (1, 2), TinyNetwork()
    seen: list[Tensor] = []

    class Watching(Faulty):
        def __call__(self, network: Any, batch: Any, step: Step) -> Tensor:
            seen.append(network.vectors.detach().clone())
            return super().__call__(network, batch, step)

    with pytest.raises(Diverged):
        fit(Watching(loss={place: math.nan}), network=network, accumulate=accumulate)
    assert torch.equal(network.vectors, seen[-1])
    assert bool(network.vectors.isfinite().all())


def test_the_last_good_epoch_is_kept_and_training_goes_on_from_it(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"epoch 2, the last good one, is kept in .*checkpoint"):
        fit(Faulty(loss={(2, 1): math.nan}), tmp_path, keep="best")
    tensors = load_file(tmp_path / "checkpoint.safetensors")
    assert all(bool(value.isfinite().all()) for value in tensors.values())
    assert {"network/vectors", "best/vectors"} <= set(tensors)
    log = json.loads((tmp_path / "training.json").read_text("utf-8"))
    assert (log["epoch"], len(log["history"])) == (2, 2)
    assert "the loss is nan at epoch 3, step 10" in log["finished"]
    healed = fit(Faulty(), tmp_path, keep="last")
    assert torch.equal(healed.vectors, fit(Faulty(), keep="last").vectors)


def test_an_epoch_that_ends_with_a_spoilt_weight_is_not_kept(tmp_path: Path) -> None:
    """The last step of an epoch has no later loss that would show it."""

    class Spoiling(Faulty):
        def __call__(self, network: Any, batch: Any, step: Step) -> Tensor:
            value = super().__call__(network, batch, step)
            if step.number == BATCHES - 1:
                network.vectors.data[2, 1] = math.inf
            return value

    with pytest.raises(Diverged, match="weight 'vectors' is not finite at epoch 1"):
        fit(Spoiling(), tmp_path)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_model_says_so_too(tmp_path: Path) -> None:
    """Through `spec.fit`: the user sees it, nothing is returned."""
    split = LeaveOneOut().split(Marketplace(users=80, items=60, seed=3).load())
    training = Training(epochs=3, batch_size=100, patience=0)
    spec = Sasrec(size=8, heads=1, length=10, training=training)
    run = RunContext(folder=tmp_path)
    with pytest.raises(Diverged, match="the loss is nan at epoch 2, step"):
        spec.fit(split.train, run, valid=split.valid, objective=Faulty(loss={(1, 0): math.nan}))
    (path,) = tmp_path.glob("*/checkpoint.safetensors")
    assert all(bool(v.isfinite().all()) for v in load_file(path).values())
