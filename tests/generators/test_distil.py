"""A smaller generator that draws as a larger one does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hardrank.attacks.profiles.interest_gan import InterestGanProfiles
from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.errors import ConfigError
from hardrank.generators.dense import weights_of
from hardrank.generators.distil import cost, distance, distil
from hardrank.generators.interest_gan import InterestGan, Slim
from hardrank.generators.interest_generator import InterestGenerator
from hardrank.generators.pressure import Promotion
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.profiles import play_profiles

SLIM = Slim(size=2, width=4)


class First:
    """Fake users with item 1 bring the target up."""

    def promotion(self, selection: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return -selection[:, 1].mean()


def test_at_a_quarter_of_the_parameters_it_keeps_the_gain(
    gan_log: Dataset, small_gan: InterestGan, gan_model: InterestGenerator
) -> None:
    """S2-28: of a generator that learned to draw item 1, the distilled one draws it as often,
    to a tenth, on a planted log."""
    pressure = Promotion(surrogate=First(), targets=np.array([57]), profiles=16, length=8, beta=5.0)
    aimed = replace(small_gan, warmup=0, alarms="stop", average=0.0).fit(
        gan_log, RunContext(seed=1), pressure=pressure, start=gan_model
    )
    small = distil(aimed, gan_log, RunContext(seed=2), slim=SLIM, steps=400)
    assert weights_of(small.generator) <= 0.25 * weights_of(aimed.generator)
    users = gan_log.histories()

    def share(model: InterestGenerator) -> float:
        return float(
            np.mean([1 in d for d in model.sample(users, np.random.default_rng(0), length=7)])
        )

    gain, kept = (share(m) - share(gan_model) for m in (aimed, small))
    assert gain > 0.2
    assert kept >= 0.9 * gain
    assert distance(aimed, small, gan_log, seed=0) < 0.5 * distance(
        aimed, gan_model, gan_log, seed=0
    )


def test_the_loss_falls_and_the_same_seed_gives_the_same_weights(
    gan_log: Dataset, gan_model: InterestGenerator
) -> None:
    one, two = (
        distil(gan_model, gan_log, RunContext(seed=4), slim=SLIM, steps=100) for _ in range(2)
    )
    assert one.fingerprint == two.fingerprint
    assert [r["step"] for r in one.history] == [50, 100]
    assert one.history[1]["loss_divergence"] < one.history[0]["loss_divergence"]
    assert distance(one, one, gan_log, seed=0) == 0.0


def test_the_teacher_keeps_every_bit_and_lends_its_discriminator(
    gan_log: Dataset, gan_model: InterestGenerator
) -> None:
    before = gan_model.fingerprint
    small = distil(gan_model, gan_log, RunContext(), slim=SLIM, steps=5)
    assert gan_model.fingerprint == before
    users = gan_log.histories()
    assert np.array_equal(small.authenticity(users), gan_model.authenticity(users))


def test_a_student_as_large_as_its_teacher_is_refused(
    gan_log: Dataset, gan_model: InterestGenerator
) -> None:
    with pytest.raises(ConfigError, match="parameters, the teacher has 917; lower size or width"):
        distil(gan_model, gan_log, RunContext(), slim=Slim(size=8, width=16))


def test_it_is_saved_loaded_and_aimed_like_any_other(
    gan_log: Dataset, small_gan: InterestGan, gan_model: InterestGenerator, tmp_path: Path
) -> None:
    small = distil(gan_model, gan_log, RunContext(), slim=SLIM, steps=20)
    small.save(tmp_path)
    again = InterestGenerator.load(tmp_path)
    assert again.spec == replace(small_gan, slim=SLIM)
    assert again.fingerprint == small.fingerprint
    went_on = replace(again.spec, steps=10).fit(gan_log, RunContext(), start=again)
    assert went_on.fingerprint != small.fingerprint


def test_a_small_generator_trains_from_the_start(gan_log: Dataset, small_gan: InterestGan) -> None:
    """What distillation has to beat: the same sizes, the same full discriminator."""
    spec = replace(small_gan, slim=SLIM, steps=10)
    made = spec.fit(gan_log, RunContext())
    assert made.generator.vectors.shape == (60, 2)
    assert made.critic.features.shape == (60, 8 + 2)
    users = gan_log.histories()
    assert [len(d) for d in made.sample(users, np.random.default_rng(0))] == users.lengths.tolist()


def test_cost_counts_what_is_learned_and_what_is_held(
    gan_log: Dataset, gan_model: InterestGenerator
) -> None:
    found = cost(gan_model, gan_log, draws=20)
    # 60 x 8 vectors and 60 biases; (8 + 1 + 4) x 16 + 16 and 16 x 9 + 9 of the body
    assert found.parameters == 60 * 8 + 60 + 224 + 153
    assert found.numbers == found.parameters + 60 * 8 + 60
    assert found.seconds > 0


def test_the_attack_draws_from_the_distilled_one() -> None:
    """Inside its budget, deterministic, and not what the large one draws."""
    log = taste_log(users=40, items=30, events=8)
    attack = InterestGanProfiles(
        gan=InterestGan(size=8, noise=4, width=16, steps=10, warmup=2, batch_size=16), steps=4,
        beta=0.0, distilled=Slim(size=1, width=2),
    )  # fmt: skip
    threat = ThreatModel(
        goal=Promote(items="random:1"), surface="profiles", log="log",
        budget=Budget(profiles=5, profile_events=6),
    )  # fmt: skip
    one, two = (play_profiles(attack, threat, log, target="i29", seed=4).patch for _ in range(2))
    assert one == two
    assert len(one) == 5
