"""Alarms: what is planted is found in five rounds or fewer (S2-35)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.errors import Diverged
from hardrank.generators.health import Monitor, overlap, unique_share
from hardrank.generators.interest_gan import InterestGan
from hardrank.generators.networks import Critic, Generator

Patch = pytest.MonkeyPatch
Rounds = Callable[[str], int]


@pytest.fixture
def rounds(gan_log: Dataset, small_gan: InterestGan) -> Callable[[str], int]:
    def until(words: str) -> int:
        """Trains until the alarm; gives the rounds that it took."""
        seen: list[int] = []
        with pytest.raises(Diverged, match=words):
            small_gan.fit(
                gan_log, RunContext(seed=1), hook=lambda entry: seen.append(entry["round"])
            )
        return max(seen)

    return until


def _wrap(patch: Patch, owner: type, name: str, change: Callable[[Tensor], Tensor]) -> None:
    old = getattr(owner, name)
    patch.setattr(owner, name, lambda self, *a, **k: change(old(self, *a, **k)))


def test_a_frozen_generator_is_found(monkeypatch: Patch, rounds: Rounds) -> None:
    """Its draws are detached, so that no gradient reaches it: the planted bug of a toolbox."""
    _wrap(monkeypatch, Generator, "forward", lambda logits: logits.detach())
    assert rounds("frozen: no gradient reaches the generator") <= 5


def test_a_detached_discriminator_is_found(monkeypatch: Patch, rounds: Rounds) -> None:
    old = Critic.plain
    monkeypatch.setattr(Critic, "plain", lambda self, sets: old(self, sets.detach()))
    monkeypatch.setattr(Critic, "pair", lambda self, a, b: self.pair_of(
        *self.interests(a.detach(), b.detach())))  # fmt: skip
    monkeypatch.setattr("hardrank.generators.steps.gradient_penalty",
                        lambda *_: torch.zeros(()))  # fmt: skip
    assert rounds("detached: no gradient passes through the discriminator") <= 5


def test_a_constant_generator_is_found(monkeypatch: Patch, rounds: Rounds) -> None:
    """It learns, but says the same of everybody: mode collapse."""
    _wrap(monkeypatch, Generator, "forward", lambda logits: logits * 1e-9 + logits.mean(0))
    assert rounds("collapse: the generator gives all users") <= 5


def test_draws_that_are_all_alike_are_found(monkeypatch: Patch, rounds: Rounds) -> None:
    _wrap(monkeypatch, Generator, "forward", lambda logits: logits + 40 * torch.linspace(
        1, 0, logits.shape[1]))  # fmt: skip
    assert rounds("collapse: two draws share") <= 5


def test_a_dead_discriminator_is_found(monkeypatch: Patch, rounds: Rounds) -> None:
    _wrap(monkeypatch, Critic, "plain", lambda logits: logits * 0)
    assert rounds("dead-critic: the discriminator gives all profiles the same") <= 5


def test_a_number_that_is_not_finite_stops_training_at_once(
    monkeypatch: Patch, tmp_path: Path, gan_log: Dataset, small_gan: InterestGan
) -> None:
    """The last good round stays, and the reason is named."""
    old, calls = Critic.plain, [0]

    def late(self: Critic, sets: Tensor) -> Tensor:
        calls[0] += 1
        return old(self, sets) * (float("nan") if calls[0] > 80 else 1.0)

    monkeypatch.setattr(Critic, "plain", late)
    with pytest.raises(Diverged, match=r"loss_\w+ is not finite; the last good round is kept"):
        small_gan.fit(gan_log, RunContext(seed=1, folder=tmp_path))
    assert (tmp_path / "checkpoint.safetensors").is_file()


def test_with_stop_training_ends_with_the_last_good_weights(
    monkeypatch: Patch, gan_log: Dataset, small_gan: InterestGan
) -> None:
    old, calls = Critic.plain, [0]

    def late(self: Critic, sets: Tensor) -> Tensor:
        calls[0] += 1
        return old(self, sets) * (float("nan") if calls[0] > 80 else 1.0)

    monkeypatch.setattr(Critic, "plain", late)
    model = replace(small_gan, alarms="stop").fit(gan_log, RunContext(seed=1))
    assert "not finite" in model.warnings[-1]
    assert all(bool(p.isfinite().all()) for p in model.generator.parameters())


def test_an_unbalanced_game_is_noted_and_goes_on() -> None:
    row = {
        "spread": 0.5, "overlap": 0.2, "overlap_real": 0.2, "gradient_generator": 1.0,
        "change_generator": 1.0, "change_critic": 1.0, "verdicts": 1.0, "through": 0.1,
        "accuracy_real": 1.0, "accuracy_fake": 1.0,
    }  # fmt: skip
    monitor = Monitor()
    found = [monitor.check(row) for _ in range(5)]
    assert [[a.kind for a in alarms] for alarms in found] == [[], [], ["unbalanced"], [], []]
    assert not found[2][0].fatal
    assert monitor.well
    monitor.check(row | {"overlap": 0.9})
    assert not monitor.well


def test_overlap_and_uniqueness_by_hand() -> None:
    sets = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 1]], dtype=bool)
    assert overlap(sets) == pytest.approx((2 / 2 + 0 / 1 + 1 / 1) / 3)
    assert overlap(sets[:1]) == 0.0
    assert unique_share([np.array([1, 2]), np.array([2, 1]), np.array([3])]) == pytest.approx(2 / 3)
