"""The loop around any objective: accumulation, clipping, averaging, which epoch is kept."""

import ast
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

import hardrank
from hardrank.context import RunContext
from hardrank.errors import Unsupported
from hardrank.hardening import Constant, Phase, Phases, Ramp
from hardrank.testing.objectives import TinyBatch, TinyNetwork
from hardrank.training import Step, Training, train
from hardrank.training.average import Average
from hardrank.training.finite import gradient_norm

BATCHES = 6


def batches_of(size: int) -> Any:
    """The same 12 rows in the same order, in batches of `size`."""

    def batches(order: np.random.Generator) -> Iterator[TinyBatch]:
        rows = torch.from_numpy(order.normal(size=(12, 4))).float()
        targets = torch.from_numpy(order.integers(0, 6, 12))
        for start in range(0, 12, size):
            yield TinyBatch(rows[start : start + size], targets[start : start + size])

    return batches


def fit(
    network: nn.Module | None = None, *, size: int = 2, folder: Path | None = None,
    objective: Any = None, rows: list[dict[str, float]] | None = None, **options: Any,
) -> tuple[Any, Any]:  # fmt: skip
    """(network, progress). rows: what validation says, epoch by epoch."""
    network = network or TinyNetwork()
    made = {"epochs": 3, "learning_rate": 0.05, "patience": 0, "keep": "last"} | options
    said = iter(rows or [])
    done = train(
        network, batches_of(size), steps=12 // size, options=Training(**made),
        objective=objective, validate=(lambda: next(said)) if rows else None,
        run=RunContext(folder=folder), fingerprint="one",
    )  # fmt: skip
    return network, done.progress


# Accumulation


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_accumulated_batches_are_one_large_batch(size: int) -> None:
    """The loss is a mean over rows, so equal parts have the mean of their gradients."""
    large, one = fit(size=12)
    small, many = fit(size=size, accumulate=12 // size)
    torch.testing.assert_close(small.vectors, large.vectors, rtol=1e-4, atol=1e-6)
    assert one.steps == many.steps == 3
    assert [r["loss"] for r in one.history] == pytest.approx([r["loss"] for r in many.history])


def test_a_last_group_that_is_short_counts_each_of_its_batches_the_same() -> None:
    """Five batches by four: four, then one alone, which is not divided by four."""
    network, progress = fit(size=3, accumulate=3, epochs=1, learning_rate=0.01)
    assert progress.steps == 2

    by_hand = TinyNetwork()
    optimiser = torch.optim.AdamW(by_hand.parameters(), lr=0.01, weight_decay=0.0)
    from hardrank.context import derive

    parts = list(batches_of(3)(np.random.default_rng(derive(0, "order", 0))))
    for group in (parts[:3], parts[3:]):
        optimiser.zero_grad()
        loss: Tensor = torch.stack([by_hand.loss(part) for part in group]).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(by_hand.parameters(), 5.0)
        optimiser.step()
    torch.testing.assert_close(network.vectors, by_hand.vectors)


def test_an_objective_that_replays_does_not_accumulate() -> None:
    @dataclass(frozen=True)
    class Replayed:
        kind: str = "replayed"
        replays: int = 2

        def __call__(self, network: Any, batch: Any, step: Step) -> Tensor:
            value: Tensor = network.loss(batch)
            return value

    assert fit(objective=Replayed())[1].steps == 3 * 2 * BATCHES
    with pytest.raises(Unsupported, match="`accumulate` must be 1"):
        fit(objective=Replayed(), accumulate=2)


# Clipping


@settings(max_examples=50, deadline=None)
@given(size=st.floats(1e-3, 1e6), limit=st.floats(1e-2, 1e3), seed=st.integers(0, 2**16))
def test_clipped_gradients_are_within_the_limit(size: float, limit: float, seed: int) -> None:
    """S1-12: at most max_norm (1 + 1e-6), in double precision; a shorter one is untouched."""
    network = TinyNetwork()
    generator = torch.Generator().manual_seed(seed)
    network.vectors.grad = torch.randn(6, 4, generator=generator) * size
    before = network.vectors.grad.clone()
    named = dict(network.named_parameters())
    nn.utils.clip_grads_with_norm_(named.values(), limit, gradient_norm(named))
    after = float(network.vectors.grad.double().norm())
    assert after <= limit * (1 + 1e-6)
    if float(before.double().norm()) < limit * (1 - 1e-5):
        assert torch.equal(network.vectors.grad, before)


def test_the_loop_clips_what_the_optimiser_sees() -> None:
    """S1-12."""
    seen: list[float] = []

    class Watched(TinyNetwork):
        def loss(self, batch: Any, deltas: Any = None) -> Tensor:
            if self.vectors.grad is not None:
                seen.append(float(self.vectors.grad.double().norm()))
            return super().loss(batch, deltas) * 100

    made = torch.optim.AdamW.step

    def step(self: Any, closure: Any = None) -> Any:
        (parameter,) = self.param_groups[0]["params"]
        seen.append(float(parameter.grad.double().norm()))
        return made(self, closure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", step)
        fit(Watched(), clip=0.25)
    assert len(seen) == 3 * BATCHES
    assert max(seen) <= 0.25 * (1 + 1e-6) and min(seen) > 0.24


_OF_PARAMETERS = {
    ("clip_grads_with_norm_", "learning.values()"),
    ("clip_grad_norm_", "model.parameters()"),
    ("clip_grad_norm_", "network.parameters()"),  # of a detector
    ("clip_grads_with_norm_", "parameters"),  # of one player of a generator's game
}


def test_only_gradients_of_parameters_are_clipped() -> None:
    """S1-12: every call in the package that clips gradients, and what it clips."""
    found = set()
    for path in Path(hardrank.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func).rpartition(".")[2]
                if name.startswith("clip_grad"):
                    found.add((name, ast.unparse(node.args[0])))
    assert found == _OF_PARAMETERS


# Running mean of the weights


def test_the_mean_is_what_the_formula_says() -> None:
    """S0-46."""
    parameter = nn.Parameter(torch.tensor([0.0]))
    average = Average({"p": parameter}, 0.5)
    with torch.no_grad():
        for steps, value in enumerate([1.0, 2.0, 3.0]):
            parameter.fill_(value)
            average.update(steps)
    # d = min(0.5, (1 + n) / (10 + n)) = 1/10, 2/11, 3/12
    mean = 0.9
    for share, value in ((2 / 11, 2.0), (3 / 12, 3.0)):
        mean = share * mean + (1 - share) * value
    assert float(average.means["p"]) == pytest.approx(mean)
    with average.installed():
        assert parameter.item() == pytest.approx(mean)
    assert parameter.item() == 3.0


def test_the_mean_is_the_result_and_does_not_change_the_training(tmp_path: Path) -> None:
    """S0-46: the weights that learn are the same with and without it, to the last bit."""
    from safetensors.torch import load_file

    fit(folder=tmp_path / "plain")
    mean, _ = fit(folder=tmp_path / "mean", average=0.9)
    plain, kept = (load_file(tmp_path / n / "checkpoint.safetensors") for n in ("plain", "mean"))
    assert torch.equal(plain["network/vectors"], kept["network/vectors"])
    assert torch.equal(mean.vectors, kept["mean/vectors"])
    assert not torch.equal(mean.vectors, plain["network/vectors"])


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_resumed_mean_is_the_same(tmp_path: Path, keep: str) -> None:
    """S0-46: the mean is in the checkpoint."""
    rows = [{"quality": float(q)} for q in (1, 2, 3)]
    whole, _ = fit(average=0.9, rows=rows, keep=keep)
    with pytest.raises(Killed):
        fit(average=0.9, rows=rows, keep=keep, folder=tmp_path, objective=_Dies((1, 3)))
    resumed, progress = fit(average=0.9, rows=rows[1:], keep=keep, folder=tmp_path)
    assert progress.epoch == 3
    assert torch.equal(resumed.vectors, whole.vectors)


def test_what_validates_is_the_mean() -> None:
    """S0-46: where the last epoch is the best, keeping the best or the last is the same."""
    rows = [{"quality": float(q)} for q in (1, 2, 3)]
    best, last = (fit(average=0.9, rows=rows, keep=keep)[0] for keep in ("best", "last"))
    assert torch.equal(best.vectors, last.vectors)


# Which epoch is kept

ROWS = [
    {"quality": 0.5, "robust_error": 0.9},
    {"quality": 0.4, "robust_error": 0.3},
    {"quality": 0.6, "robust_error": 0.5},
]


def test_the_most_robust_epoch_is_kept_and_the_gap_reported(tmp_path: Path) -> None:
    """S1-61, S0-19: one row an epoch with the clean and the robust series."""
    robust, progress = fit(rows=ROWS, keep="robust", folder=tmp_path)
    second, _ = fit(epochs=2)  # the learning rate is constant: two epochs are the first two
    assert torch.equal(robust.vectors, second.vectors)
    assert (progress.best_epoch, progress.best_value) == (2, -0.3)
    log = json.loads((tmp_path / "training.json").read_text("utf-8"))
    assert log["kept_epoch"] == 2
    assert log["robust"] == {
        "best_error": 0.3, "best_epoch": 2, "last_error": 0.5, "last_epoch": 3, "gap": 0.2,
    }  # fmt: skip
    assert [(r["epoch"], r["quality"], r["robust_error"]) for r in log["history"]] == [
        (1, 0.5, 0.9), (2, 0.4, 0.3), (3, 0.6, 0.5),
    ]  # fmt: skip


@pytest.mark.parametrize(("keep", "kept"), [("best", 3), ("last", 3), ("robust", 2)])
def test_the_log_names_the_kept_epoch(tmp_path: Path, keep: str, kept: int) -> None:
    fit(rows=ROWS, keep=keep, folder=tmp_path)
    assert json.loads((tmp_path / "training.json").read_text("utf-8"))["kept_epoch"] == kept


def test_patience_waits_for_what_is_kept() -> None:
    rows = [{"quality": q, "robust_error": e} for q, e in ((1, 0.2), (2, 0.3), (3, 0.3))]
    _, progress = fit(rows=rows * 2, keep="robust", patience=2, epochs=6)
    assert progress.epoch == 3
    assert "no better validation value in 2" in progress.finished


@dataclass(frozen=True)
class _Warmed:
    """Plain training with a schedule of its own."""

    weight_schedule: Any
    kind: str = "warmed"

    def __call__(self, network: Any, batch: Any, step: Step) -> Tensor:
        loss: Tensor = network.loss(batch) * (1 + self.weight_schedule.at(step.progress))
        return loss


@pytest.mark.parametrize(("until", "kept"), [(0.2, 2), (0.25, 2), (0.26, 3), (0.5, 3), (0.9, 4)])
def test_an_epoch_before_the_objective_began_is_never_the_best(until: float, kept: int) -> None:
    """Four epochs, the first by far the best: of those that the objective shaped from their
    first step on the best is kept, and without one the last weights."""
    rows = [{"quality": q} for q in (9.0, 3.0, 2.0, 1.0)]
    plan = Phases(phases=(Phase(share=0.0, until=until), Phase(share=1.0)))
    options: dict[str, Any] = {"rows": rows, "keep": "best", "epochs": 4}
    chosen, progress = fit(objective=_Warmed(plan), **options)
    assert progress.best_epoch == (0 if until == 0.9 else kept)
    assert torch.equal(chosen.vectors, _at_the_end_of(kept, plan).vectors)


def _at_the_end_of(epoch: int, plan: Any) -> Any:
    """Weights after so many of four epochs."""
    network, found = TinyNetwork(), list[Tensor]()

    def validate() -> dict[str, float]:
        found.append(network.vectors.detach().clone())
        return {"quality": 0.0}

    train(
        network, batches_of(2), steps=6, objective=_Warmed(plan), validate=validate,
        options=Training(epochs=4, learning_rate=0.05, patience=0, keep="last"),
        run=RunContext(),
    )  # fmt: skip
    with torch.no_grad():
        network.vectors.copy_(found[epoch - 1])
    return network


def test_without_a_schedule_the_first_epoch_may_be_the_best() -> None:
    """As with a schedule that never rests at 0, or always does."""
    rows = [{"quality": q} for q in (9.0, 3.0, 2.0)]
    resting = Phases(phases=(Phase(share=0.0),))
    for objective in (None, _Warmed(Constant()), _Warmed(Ramp()), _Warmed(resting)):
        assert fit(objective=objective, rows=rows, keep="best")[1].best_epoch == 1


def test_patience_does_not_wait_for_what_may_not_be_kept() -> None:
    rows = [{"quality": q} for q in (9.0, 8.0, 1.0, 0.9, 0.8, 2.0)]
    plan = Phases(phases=(Phase(share=0.0, until=1 / 3), Phase(share=1.0)))
    _, progress = fit(objective=_Warmed(plan), rows=rows, keep="best", epochs=6, patience=2)
    assert (progress.best_epoch, progress.epoch) == (3, 5)


def test_keeping_the_most_robust_needs_a_robust_error() -> None:
    with pytest.raises(Unsupported, match="needs validation data"):
        fit(keep="robust")
    with pytest.raises(Unsupported, match="reports no robust error"):
        fit(keep="robust", rows=[{"quality": 1.0}])


def test_catastrophic_over_fitting_is_logged_and_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """S1-61."""
    rows = [
        {"quality": 0.5, "robust_error": 0.4, "single_step_error": 0.35},
        {"quality": 0.5, "robust_error": 0.9, "single_step_error": 0.10},
        {"quality": 0.5, "robust_error": 0.95, "single_step_error": 0.05},
    ]
    with caplog.at_level(logging.WARNING, logger="hardrank"):
        fit(rows=rows, folder=tmp_path)
    log = json.loads((tmp_path / "training.json").read_text("utf-8"))
    assert "since epoch 1 the error under many steps rose from 0.4 to 0.9" in log["warning"]
    assert [r.getMessage() for r in caplog.records] == [log["warning"]]
    assert log["finished"] == "all epochs done"


@pytest.mark.parametrize("wrong", [{"accumulate": 0}, {"average": 1.0}, {"keep": "first"}])
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Training(**wrong)


class Killed(Exception):
    """Stands for a kill in the middle of a batch."""


@dataclass(frozen=True)
class _Dies:
    place: tuple[int, int]
    kind: str = "plain"

    def __call__(self, network: Any, batch: Any, step: Step) -> Tensor:
        if (step.epoch, step.number) == self.place:
            raise Killed
        value: Tensor = network.loss(batch)
        return value
