"""Any objective killed in the middle of a batch and started again ends with the same bits."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hardrank import hardening
from hardrank.context import RunContext
from hardrank.data.sources.marketplace import Marketplace
from hardrank.data.splits import LeaveOneOut, Split
from hardrank.hardening import Adversarial, Part, Ramp
from hardrank.models import Sasrec
from hardrank.models.sequence.batches import Windows
from hardrank.perturbations import FGM, FGSM, PGD, Gaussian
from hardrank.training import Training

TRAINING = Training(epochs=3, batch_size=80, patience=0, keep="last", precision="float32")
SPEC = Sasrec(size=8, heads=1, length=10, training=TRAINING)
STEPS = PGD(steps=2, random_start=True)
"""Draws, so that its draws have to be the same after the kill."""
ATTACK = {"inner": STEPS, "radius": 0.1}

MINIMAL: dict[str, dict[str, Any]] = {
    "adversarial": ATTACK | {"site": "history-vectors", "weight_schedule": Ramp()},
    "apr": {"sites": ("item-vectors",), "radius": 0.1},
    "awp": ATTACK,
    "free": {"radius": 0.1, "replays": 2, "random_start": True},
    "freelb": {"radius": 0.1, "site": "item-vectors", "steps": 2},
    "generalised-cross-entropy": {},
    "gradient-penalty": {},
    "kl-consistency": {"radius": 0.1, "inner": Gaussian()},
    "logit-pairing": ATTACK,
    "mart": ATTACK,
    "mixture": {
        "parts": (
            Part(share=0.5, objective=Adversarial(inner=FGSM(random_start=True), radius=0.1)),
            Part(share=0.3, objective=Adversarial(inner=STEPS, radius=0.2)),
            Part(share=0.2, objective=Adversarial(inner=FGM(), radius=0.1, weight=0.0)),
        )
    },
    "r-drop": {},
    "reweighted": {"users": {"user-00000": 0.25}},
    "reweighted-cross-entropy": {},
    "sample-masking": ATTACK,
    "smart": ATTACK,
    "trades": ATTACK,
    "truncated-cross-entropy": {},
    "user-adaptive": {"radius": 0.1, "site": "history-vectors"},
    "vat": {"radius": 0.1},
}
"""kind -> what it takes to make one that a sequence model without text trains by."""

WITH_ATTACKS = {"discrete", "recognition", "text-augmentation"}
"""Trained on texts that attacks write, so not by a model without text and attacks."""
WITH_USERS = {"pama-cf"}
"""Need vectors of users, which no sequence model has; see `test_pamacf`."""

OBJECTIVES: dict[str, Any] = {
    made.kind: made
    for name in hardening.__all__
    if isinstance(made := getattr(hardening, name), type)
    and "__call__" in vars(made)
    and isinstance(getattr(made, "kind", None), str)
}


class Killed(Exception):
    """Stands for a kill in the middle of a batch."""


@cache
def split() -> Split:
    return LeaveOneOut().split(Marketplace(users=80, items=60, seed=3).load())


def fit(
    kind: str, folder: Path | None, *, spec: Sasrec = SPEC, valid: bool = False, **more: Any
) -> dict[str, NDArray[Any]]:
    """A fresh objective each time: nothing may survive in the object itself."""
    objective = OBJECTIVES[kind](**MINIMAL[kind], **more)
    data = split()
    model = spec.fit(
        data.train, RunContext(seed=1, folder=folder), valid=data.valid if valid else None,
        objective=objective,
    )  # fmt: skip
    return model.arrays()


def killed_at(epoch: int, batch: int, patch: pytest.MonkeyPatch) -> None:
    """Epoch and batch from 0."""
    whole, epochs = Windows.batches, iter(range(99))

    def batches(self: Windows, positions: int, rng: np.random.Generator) -> Iterator[Any]:
        now = next(epochs)
        for number, found in enumerate(whole(self, positions, rng)):
            if (now, number) == (epoch, batch):
                raise Killed
            yield found

    patch.setattr(Windows, "batches", batches)


def interrupted(kind: str, folder: Path, at: tuple[int, int], **how: Any) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        killed_at(*at, patch)
        with pytest.raises(Killed):
            fit(kind, folder, **how)
    return fit(kind, folder, **how)


def same(one: dict[str, NDArray[Any]], two: dict[str, NDArray[Any]]) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert np.array_equal(value, two[name]), f"'{name}' differs"


def test_every_exported_objective_is_here() -> None:
    lacking = sorted(set(OBJECTIVES) - set(MINIMAL) - WITH_ATTACKS - WITH_USERS)
    assert not lacking, f"add to MINIMAL how to make the smallest: {', '.join(lacking)}"
    gone = sorted(set(MINIMAL) - set(OBJECTIVES))
    assert not gone, f"MINIMAL names objectives that are not exported: {', '.join(gone)}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(set(OBJECTIVES) & set(MINIMAL)))
def test_killed_and_resumed_is_uninterrupted(kind: str, tmp_path: Path) -> None:
    """C3 for each objective: killed between two epochs and within one."""
    whole = fit(kind, tmp_path / "whole")
    same(interrupted(kind, tmp_path / "between", (1, 0)), whole)
    same(interrupted(kind, tmp_path / "within", (1, 2)), whole)


def test_so_with_all_that_the_loop_keeps(tmp_path: Path) -> None:
    """The most robust epoch, the running mean, accumulated batches, a warm-up."""
    training = replace(TRAINING, keep="robust", average=0.9, accumulate=2, warmup=5, epochs=4)
    how = {"spec": replace(SPEC, training=training), "valid": True}
    whole = fit("adversarial", tmp_path / "whole", **how)
    same(interrupted("adversarial", tmp_path / "within", (2, 3), **how), whole)


class Leaky:
    """Remembers more than an epoch, outside of what a checkpoint holds."""

    kind = "leaky"

    def __init__(self) -> None:
        self.calls = 0

    def __repr__(self) -> str:
        return "Leaky()"

    def __call__(self, network: Any, batch: Any, step: Any) -> Any:
        self.calls += 1
        return network.loss(batch) * self.calls


def test_an_objective_with_a_memory_of_its_own_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OBJECTIVES, "leaky", Leaky)
    monkeypatch.setitem(MINIMAL, "leaky", {})
    whole = fit("leaky", tmp_path / "whole")
    with pytest.raises(AssertionError, match="differs"):
        same(interrupted("leaky", tmp_path / "within", (1, 2)), whole)
