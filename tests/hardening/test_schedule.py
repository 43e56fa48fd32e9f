"""Schedules: ramps rise and never fall, phases follow their plan."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from hardrank.context import RunContext
from hardrank.hardening import Adversarial, Constant, Phase, Phases, Ramp, Schedule
from hardrank.perturbations import FGM, PGD, Inner
from hardrank.testing.objectives import TinyBatch, TinyNetwork
from hardrank.training import Plain, Step, Training, train
from hardrank.training.objective import begins

share = st.floats(0, 1)


@given(low=share, high=share, until=st.floats(0.01, 1), one=share, two=share)
def test_a_ramp_never_falls_and_stays_within_its_ends(
    low: float, high: float, until: float, one: float, two: float
) -> None:
    """S1-58."""
    low, high, one, two = *sorted((low, high)), *sorted((one, two))
    ramp = Ramp(start_share=low, end_share=high, until=until)
    assert ramp.at(0) == low
    assert low <= ramp.at(one) <= ramp.at(two) + 1e-12
    assert ramp.at(1) == pytest.approx(high)


def test_a_ramp_is_a_straight_line_then_flat() -> None:
    ramp = Ramp(start_share=0.2, end_share=0.8, until=0.5)
    at = [ramp.at(p) for p in (0, 0.25, 0.5, 0.75, 1)]
    assert at == pytest.approx([0.2, 0.5, 0.8, 0.8, 0.8])


def test_constant_is_full_strength_throughout() -> None:
    assert [Constant().at(p) for p in (0, 0.5, 1)] == [1, 1, 1]


@pytest.mark.parametrize(
    "wrong", [{"start_share": 0.9, "end_share": 0.1}, {"until": 0.0}, {"start_share": -0.1}]
)
def test_a_ramp_that_falls_or_has_no_length_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Ramp(**wrong)


PLAN = Phases(phases=(Phase(share=0.0, until=0.25), Phase(share=0.5, until=0.75), Phase(share=1.0)))


def test_phases_follow_the_plan() -> None:
    """S1-45: the step at which a stretch ends belongs to the next."""
    at = [PLAN.at(p) for p in (0, 0.2, 0.25, 0.5, 0.7499, 0.75, 1)]
    assert at == [0, 0, 0.5, 0.5, 0.5, 1, 1]


def test_when_a_schedule_leaves_0() -> None:
    assert PLAN.begins == 0.25
    two = Phases(phases=(Phase(share=0, until=0.2), Phase(share=0, until=0.4), Phase(share=1)))
    assert two.begins == 0.4
    falls = Phases(phases=(Phase(share=1, until=0.5), Phase(share=0)))
    never = Phases(phases=(Phase(share=0),))
    assert [s.begins for s in (Constant(), Ramp(), falls, never)] == [0, 0, 0, 0]
    plain = Adversarial(inner=FGM(), radius=0.1)
    one = replace(plain, weight_schedule=PLAN)
    both = replace(one, radius_schedule=two)
    assert [begins(objective) for objective in (one, both)] == [0.25, 0.4]
    assert begins(plain) == begins(Plain()) == 0


def test_phases_are_spelled_in_toml() -> None:
    raw = {"kind": "phases", "phases": [
        {"share": 0, "until": 0.25}, {"share": 0.5, "until": 0.75}, {"share": 1},
    ]}  # fmt: skip
    assert TypeAdapter(Schedule).validate_python(raw) == PLAN


@pytest.mark.parametrize("ends", [(0.5,), (0.6, 0.4, 1.0), (0.5, 0.5, 1.0), (1.0, 1.0), ()])
def test_phases_that_do_not_cover_training_in_order_are_refused(ends: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        Phases(phases=tuple(Phase(share=1.0, until=end) for end in ends))


class Traced(TinyNetwork):
    """Notes for each loss whether its input was perturbed."""

    def __init__(self) -> None:
        super().__init__()
        self.trace: list[str] = []

    def loss(self, batch: TinyBatch, deltas: Mapping[Any, Tensor] | None = None) -> Tensor:
        delta = (deltas or {}).get("item-vectors")
        searched = delta is not None and delta.requires_grad
        self.trace.append("search" if searched else "clean" if delta is None else "attacked")
        return super().loss(batch, deltas)


def executed(objective: Adversarial, epochs: int = 4) -> list[list[str]]:
    """What the network was asked for, batch by batch: four batches an epoch."""
    network, marks = Traced(), []

    def batches(order: np.random.Generator) -> Any:
        for _ in range(4):
            marks.append(len(network.trace))
            yield TinyBatch(torch.eye(4)[:2], torch.tensor([0, 1]))

    options = Training(epochs=epochs, patience=0, keep="last")
    train(network, batches, steps=4, options=options, objective=objective, run=RunContext())
    marks.append(len(network.trace))
    return [network.trace[a:b] for a, b in pairwise(marks)]


def test_what_runs_is_what_was_planned() -> None:
    """S1-45: clean warm-up, then mixed, then hard, in a real training of 16 steps."""
    objective = Adversarial(
        inner=FGM(), radius=0.1, form="mix", weight_schedule=PLAN, radius_schedule=Constant()
    )
    clean, mixed = ["clean"], ["search", "clean", "attacked"]
    assert executed(objective) == [clean] * 4 + [mixed] * 12


def test_the_mixed_stretch_weighs_both_losses_as_planned() -> None:
    """S1-45: hard training is the loss under attack alone."""

    def value(progress: float, weight_schedule: Any, weight: float) -> Tensor:
        objective = Adversarial(
            inner=FGM(), radius=0.1, form="mix", weight=weight, weight_schedule=weight_schedule
        )
        step = Step(epoch=0, number=0, progress=progress, generator=torch.Generator())
        batch = TinyBatch(torch.eye(4)[:2], torch.tensor([0, 1]))
        return objective(TinyNetwork(), batch, step).detach()

    for progress, share in ((0.1, 0.0), (0.5, 0.5), (0.9, 1.0)):
        assert torch.equal(value(progress, PLAN, 1.0), value(progress, Constant(), share))


def test_the_number_of_inner_steps_follows_its_schedule() -> None:
    """S1-58: K(t), here from one step to four; each epoch has four batches."""
    inner = PGD(steps=4, keep_best=False)
    objective = Adversarial(inner=inner, radius=0.1, steps_schedule=Ramp())
    searches = [batch.count("search") for batch in executed(objective)]
    wanted = [max(1, round(4 * n / 16)) for n in range(16)]
    assert searches == wanted == sorted(searches)
    assert (searches[0], searches[-1]) == (1, 4)


@settings(max_examples=50)
@given(one=share, two=share, steps=st.integers(1, 20))
def test_inner_steps_never_fall_on_a_ramp(one: float, two: float, steps: int) -> None:
    """S1-58: monotone, at least one, at the end all of them."""
    one, two = sorted((one, two))
    objective = Adversarial(inner=PGD(steps=steps), radius=0.1, steps_schedule=Ramp())

    def at(progress: float) -> int:
        return int(objective.inner_at(progress).steps)  # type: ignore[union-attr]

    assert 1 <= at(one) <= at(two) <= steps == at(1.0)


@pytest.mark.parametrize("inner", [FGM(), PGD(steps=5)])
def test_without_a_schedule_the_inner_maximiser_is_the_same(inner: Inner) -> None:
    assert Adversarial(inner=inner, radius=0.1).inner_at(0.3) is inner


def test_steps_cannot_be_scheduled_where_there_are_none() -> None:
    with pytest.raises(ValidationError, match="'fgm' has no `steps`"):
        Adversarial(inner=FGM(), radius=0.1, steps_schedule=Ramp())
