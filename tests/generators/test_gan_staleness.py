"""Draws of each checkpoint before the discriminator of each, and the alarm (S3-68)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.generators.bags import trainable
from hardrank.generators.health import stale
from hardrank.generators.interest_gan import InterestGan
from hardrank.generators.interest_generator import InterestGenerator, networks
from hardrank.generators.loop import fit
from hardrank.generators.networks import Critic, Generator
from hardrank.generators.staleness import Ageing, transfer_matrix


@pytest.fixture(scope="module")
def spec(small_gan: InterestGan) -> InterestGan:
    """Checkpoints are 50 steps apart: a fifth of 180 would be 36, and 50 are the least."""
    return replace(small_gan, steps=200)


@pytest.fixture(scope="module")
def model(gan_log: Dataset, spec: InterestGan) -> InterestGenerator:
    return spec.fit(gan_log, RunContext(seed=3))


@pytest.fixture
def pair(gan_log: Dataset, spec: InterestGan) -> tuple[Ageing, Generator, Critic]:
    features = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
    generator, critic = networks(spec, features, torch.zeros(60), 1)
    return Ageing.of(trainable(gan_log), spec.noise, 7), generator, critic


def test_staleness_is_a_fall_of_more_than_a_fifth() -> None:
    assert stale(0.5, 0.41, rounds=(4, 8)) is None
    assert stale(0.0, 0.0, rounds=(4, 8)) is None
    found = stale(0.5, 0.39, rounds=(4, 8))
    assert found is not None
    assert (found.kind, found.fatal) == ("stale", False)
    assert found.says.startswith("stale: round 8: the discriminator takes a draw of round 4 for")
    assert "with chance 0.39, in round 4 it was 0.50; draws do not keep: draw anew" in found.says


def test_a_transfer_matrix_asks_everybody_of_everybody() -> None:
    assert transfer_matrix([1, 2], [3, 5, 7], lambda g, r: g * r).tolist() == [
        [3.0, 5.0, 7.0], [6.0, 10.0, 14.0],
    ]  # fmt: skip


def test_checkpoints_are_some_rounds_apart_and_not_in_the_warm_up(
    pair: tuple[Ageing, Generator, Critic],
) -> None:
    ageing, generator, critic = pair
    weights = dict(generator.named_parameters())
    for number, step in enumerate(range(50, 1001, 50), 1):
        if ageing.due(step, first=200, last=1000):
            ageing.look(generator, weights, critic, step=step, number=number)
    assert ageing.steps == [250, 450, 650, 850, 1000]
    assert ageing.rounds == [5, 9, 13, 17, 20]


def test_success_is_the_chance_to_look_more_real_than_a_real_profile(
    monkeypatch: pytest.MonkeyPatch, pair: tuple[Ageing, Generator, Critic]
) -> None:
    """A discriminator that counts item 0 alone: worked out from who holds it."""
    ageing, _, critic = pair
    monkeypatch.setattr(Critic, "plain", lambda self, sets: sets[:, 0])
    judge = ageing.judge(critic)
    n, holds = len(ageing.sets), float(ageing.sets[:, 0].mean())
    all_hold, none_hold = torch.zeros(n, 1), torch.full((n, 2), 60)
    assert ageing.success(all_hold, judge) == pytest.approx(1 - holds / 2)
    assert ageing.success(none_hold, judge) == pytest.approx((1 - holds) / 2)


def test_draws_are_as_long_as_the_real_profiles_and_hold_nothing_twice(
    pair: tuple[Ageing, Generator, Critic],
) -> None:
    ageing, generator, critic = pair
    ageing.look(generator, dict(generator.named_parameters()), critic, step=1, number=1)
    dense = ageing._dense(ageing.draws[0])
    assert dense.unique().tolist() == [0.0, 1.0]
    assert dense.sum(1).tolist() == ageing.sets.sum(1).tolist()


def test_a_discriminator_that_learned_on_raises_the_alarm_once(
    monkeypatch: pytest.MonkeyPatch, pair: tuple[Ageing, Generator, Critic]
) -> None:
    """Planted: each checkpoint's discriminator sees through all draws better than the last."""
    ageing, generator, critic = pair
    weights = dict(generator.named_parameters())

    def success(self: Ageing, draws: Tensor, judge: Any) -> float:
        return [0.5, 0.45, 0.3, 0.1][self.judges.index(judge)]

    monkeypatch.setattr(Ageing, "success", success)
    found = [ageing.look(generator, weights, critic, step=n, number=n) for n in range(1, 5)]
    assert [f is not None for f in found] == [False, False, True, False]
    assert found[2] is not None
    assert "round 3: the discriminator takes a draw of round 2" in found[2].says


def test_training_measures_it_and_the_folder_keeps_it(
    model: InterestGenerator, tmp_path: Path
) -> None:
    assert [row["round"] for row in model.transfer] == [3, 8, 13, 18]
    success = np.asarray([row["success"] for row in model.transfer])
    assert success.shape == (4, 4)
    assert (success > 0).all() and (success < 1).all()
    model.save(tmp_path)
    assert InterestGenerator.load(tmp_path).transfer == model.transfer


def test_looking_changes_no_weight(
    monkeypatch: pytest.MonkeyPatch, gan_log: Dataset, spec: InterestGan
) -> None:
    """Spectral norm, whose buffers a look in training mode would move, included."""
    turning = replace(spec, spectral=True, steps=90)
    with_it = turning.fit(gan_log, RunContext(seed=3))
    monkeypatch.setattr(Ageing, "due", lambda *_, **__: False)
    without = turning.fit(gan_log, RunContext(seed=3))
    assert len(with_it.transfer) == 2
    assert without.transfer == ()
    assert with_it.fingerprint == without.fingerprint


@pytest.mark.parametrize("spectral", [False, True])
def test_a_killed_training_goes_on_to_the_same_matrix(
    gan_log: Dataset, spec: InterestGan, tmp_path: Path, spectral: bool
) -> None:
    class Killed(Exception):
        pass

    def kill(entry: Any) -> None:
        if entry["round"] == 11:
            raise Killed

    spec = replace(spec, spectral=spectral, steps=140)
    run = RunContext(seed=3, folder=tmp_path)
    with pytest.raises(Killed):
        fit(spec, gan_log, run, hook=kill)
    again, whole = fit(spec, gan_log, run), fit(spec, gan_log, RunContext(seed=3))
    assert [row["round"] for row in again.transfer] == [3, 8, 13]
    assert again.transfer == whole.transfer
    assert again.warnings == whole.warnings
    assert again.fingerprint == whole.fingerprint


def test_the_alarm_stands_among_the_warnings(
    monkeypatch: pytest.MonkeyPatch, gan_log: Dataset, spec: InterestGan
) -> None:
    """Planted: the draws of all checkpoints but the newest are seen through."""

    def seen_through(self: Ageing, draws: Tensor, judge: Any) -> float:
        return 0.1 if self.draws[-1] is not draws and judge is self.judges[-1] else 0.5

    monkeypatch.setattr(Ageing, "success", seen_through)
    made = replace(spec, steps=90).fit(gan_log, RunContext(seed=3))
    assert len(made.warnings) == 1
    assert made.warnings[0].startswith("stale: round 8: the discriminator takes a draw of round 3")
