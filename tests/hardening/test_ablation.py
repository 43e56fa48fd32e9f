"""S0-51: every regulariser, added alone to one base, on one tiny world."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hardrank.context import RunContext
from hardrank.data.sources.marketplace import Marketplace
from hardrank.data.splits import LeaveOneOut
from hardrank.hardening import (
    SMART,
    TRADES,
    VAT,
    GradientPenalty,
    KLConsistency,
    LogitPairing,
    Ramp,
    RDrop,
)
from hardrank.models import Sasrec
from hardrank.perturbations import FGM, PGD, Gaussian
from hardrank.testing.objectives import TinyBatch, TinyNetwork
from hardrank.training import Step, Training

SPLIT = LeaveOneOut().split(Marketplace(users=60, items=60, seed=2).load())
TRAINING = Training(epochs=2, batch_size=120, patience=0, keep="last", precision="float32")
BASE = Sasrec(size=8, heads=1, length=10, training=TRAINING)

SOUGHT: dict[str, Any] = {
    "trades": TRADES(inner=PGD(steps=2), radius=0.2),
    "smart": SMART(inner=FGM(), radius=0.2),
    "vat": VAT(radius=0.2),
    "kl-consistency": KLConsistency(inner=Gaussian(), radius=0.2),
    "logit-pairing": LogitPairing(inner=FGM(), radius=0.2, pairing=1.0),
}
"""Toggles with a delta."""
TOGGLES: dict[str, Any] = {**SOUGHT, "r-drop": RDrop(), "gradient-penalty": GradientPenalty()}


@pytest.fixture(scope="module")
def base() -> Any:
    return BASE.fit(SPLIT.train, RunContext(seed=0), valid=SPLIT.valid)


def _row(base: Any, *, objective: Any = None, **training: Any) -> dict[str, np.ndarray]:
    """One row of the ablation: two more epochs from the base, one thing changed."""
    spec = replace(BASE, training=replace(TRAINING, **training))
    made = spec.fit(
        SPLIT.train, RunContext(seed=0), valid=SPLIT.valid, objective=objective, start=base
    )
    return made.arrays()


def test_each_toggle_has_a_row_of_its_own(base: Any) -> None:
    """S0-51: all train from one base, and each ends elsewhere than the control and the others.

    Weight 0 is the control to the last bit, so that a row differs by its toggle alone."""
    rows = {name: _row(base, objective=toggle) for name, toggle in TOGGLES.items()}
    rows |= {"control": _row(base), "weight-decay": _row(base, weight_decay=0.5)}
    flat = {k: np.concatenate([v.ravel() for v in row.values()]) for k, row in rows.items()}
    assert all(np.isfinite(row).all() for row in flat.values())
    assert len({row.tobytes() for row in flat.values()}) == len(flat)
    for name, toggle in TOGGLES.items():
        off = _row(base, objective=replace(toggle, weight=0.0))
        assert all(np.array_equal(v, rows["control"][k]) for k, v in off.items()), name


def test_weight_decay_shortens_the_weights(base: Any) -> None:
    lengths = [
        sum(float(np.square(v).sum()) for v in _row(base, weight_decay=decay).values())
        for decay in (0.0, 0.5, 5.0)
    ]
    assert lengths[0] > lengths[1] > lengths[2]


def _added(toggle: Any, progress: float, seed: int) -> float:
    """What the toggle adds to the plain loss, at a share `progress` of its radius."""
    network = TinyNetwork(seed)
    batch = TinyBatch(torch.eye(4)[:3] * 2, torch.tensor([0, 2, 5]))
    draws = torch.Generator().manual_seed(seed)
    step = Step(epoch=0, number=0, progress=progress, generator=draws)
    value = toggle(network, batch, step)
    return float((value - network.loss(batch)).detach())


@pytest.mark.parametrize("name", [n for n in SOUGHT if n != "logit-pairing"])
def test_a_divergence_is_0_at_delta_0_and_never_below(name: str) -> None:
    """S0-51."""
    toggle = replace(SOUGHT[name], radius_schedule=Ramp())
    for seed in range(5):
        assert _added(toggle, 0.0, seed) == 0.0
        assert _added(toggle, 0.9, seed) > 0.0


def test_pairing_adds_nothing_at_delta_0() -> None:
    """S0-51: beside the loss under attack, which there is the plain one again."""
    network = TinyNetwork()
    batch = TinyBatch(torch.eye(4)[:3] * 2, torch.tensor([0, 2, 5]))
    toggle = replace(SOUGHT["logit-pairing"], radius_schedule=Ramp())
    assert _added(toggle, 0.0, 0) == pytest.approx(float(network.loss(batch).detach()), rel=1e-6)
    apart = _added(toggle, 0.9, 0) - _added(replace(toggle, pairing=0.0), 0.9, 0)
    assert apart > 0


@pytest.mark.parametrize("name", ["r-drop", "gradient-penalty"])
def test_the_others_are_never_below_0(name: str) -> None:
    """S0-51. Two equal passes (here: without dropout) are no distance apart; a slope of a loss
    that is not at its least has a length."""
    for seed in range(5):
        added = _added(TOGGLES[name], 0.0, seed)
        assert added == 0.0 if name == "r-drop" else added > 0.0
