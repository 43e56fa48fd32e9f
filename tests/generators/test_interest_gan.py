"""The interest GAN: order of play, resume, conditions, draws, checks before training."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from hardrank.context import RunContext
from hardrank.data import Dataset, Queries
from hardrank.errors import BundleError, DataError
from hardrank.generators import loop
from hardrank.generators.bags import Bags, item_vectors, popularity
from hardrank.generators.interest_gan import GAN_SMALL, InterestGan
from hardrank.generators.interest_generator import InterestGenerator, networks
from hardrank.generators.pressure import Promotion
from hardrank.generators.quality import auroc
from hardrank.generators.steps import (
    batch_of,
    critic_step,
    fakes_of,
    generator_step,
    step_seed,
)
from hardrank.testing.logs import GROUPS, taste_log


def _bits(network: torch.nn.Module) -> bytes:
    return b"".join(v.detach().numpy().tobytes() for v in network.state_dict().values())


def _rows(sets: Sequence[Any]) -> list[list[int]]:
    return [s.tolist() for s in sets]


class Linear:
    """A surrogate in which every fake user with item 1 brings the target up; see weights."""

    def promotion(self, selection: Tensor, targets: Tensor) -> Tensor:
        return -selection[:, 1].mean()


class Learning(Linear):
    """It learns along: each round it adapts to the profiles."""

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def promotion(self, selection: Tensor, targets: Tensor) -> Tensor:
        return self.weight * super().promotion(selection, targets)

    def adapted(self, selection: Tensor) -> "Learning":
        return Learning(1.0 + float(selection.sum()) / 1000)


@pytest.mark.parametrize("spectral", [False, True])
@pytest.mark.parametrize("loss", ["non-saturating", "wasserstein", "hinge"])
def test_each_step_changes_one_player_alone(
    gan_log: Dataset, small_gan: InterestGan, spectral: bool, loss: Any
) -> None:
    """S2-11: the critic's step on cut fakes, then a fresh forward for the generator; weights
    and buffers of the other one keep every bit, under anomaly mode."""
    spec = replace(small_gan, spectral=spectral, loss=loss)
    bags = Bags.of(gan_log.histories(), gan_log.n_items)
    features = torch.as_tensor(item_vectors(gan_log, spec.size))
    made, critic = networks(spec, features, torch.as_tensor(popularity(gan_log.counts)), 0)
    judges = torch.optim.Adam(critic.parameters())
    climbs = torch.optim.Adam(made.parameters())
    batch = batch_of(bags, np.arange(16), np.random.default_rng(0))
    with torch.autograd.set_detect_anomaly(True):
        before = _bits(made), _bits(critic)
        fakes = fakes_of(made, batch, spec, step_seed(0, "critic", 0))
        critic_step(critic, judges, batch, fakes, spec, step_seed(0, "penalty", 0))
        between = _bits(made), _bits(critic)
        assert between[0] == before[0]
        assert between[1] != before[1]
        fakes = fakes_of(made, batch, spec, step_seed(0, "generator", 0))
        said = generator_step(
            made, critic, climbs, batch, fakes, spec, step_seed(0, "more", 0),
            adversarial=1.0, pressure=None,
        )  # fmt: skip
    assert _bits(critic) == between[1]
    assert _bits(made) != between[0]
    assert said["through"] > 0, "S2-05: the generator learns through the discriminator"
    assert all(p.grad is None for p in critic.parameters())


def test_a_batch_splits_each_user_and_fakes_keep_the_counts(
    gan_log: Dataset, small_gan: InterestGan, gan_model: InterestGenerator
) -> None:
    bags = Bags.of(gan_log.histories(), gan_log.n_items)
    batch = batch_of(bags, np.arange(20), np.random.default_rng(1))
    assert torch.equal(batch.whole, batch.past + batch.recent)
    assert batch.whole.sum(1).tolist() == bags.lengths[:20].tolist()
    assert float((batch.seen * batch.held).sum()) == 0
    assert min(batch.seen.sum(1).min(), batch.held.sum(1).min()) >= 1
    fakes = fakes_of(gan_model.generator, batch, small_gan, step_seed(0, "x", 0))
    assert fakes.whole.detach().round().sum(1).tolist() == bags.lengths[:20].tolist()
    assert float((fakes.new.detach().round() * batch.seen).sum()) == 0


def test_all_five_steps_are_logged_each_round_and_the_recommender_moves(
    gan_log: Dataset, small_gan: InterestGan, tmp_path: Path, caplog: Any
) -> None:
    """S4-11"""
    entries: list[Any] = []
    pressure = Promotion(surrogate=Learning(), targets=np.array([57]), profiles=8, length=10)
    with caplog.at_level(logging.DEBUG, "hardrank"):
        small_gan.fit(
            gan_log, RunContext(seed=2, folder=tmp_path), pressure=pressure, hook=entries.append
        )
    names = ["prepare", "generate", "discriminator", "generator", "recommender"]
    assert [(e["round"], e["name"]) for e in entries] == [
        (r, n) for r in range(1, 7) for n in names
    ]
    assert entries[4]["change_recommender"] > 0
    assert isinstance(pressure.current, Learning)
    assert pressure.current.weight > 1
    assert len((tmp_path / "rounds.jsonl").read_text().splitlines()) == 30
    assert sum("interest-gan round" in r.message for r in caplog.records) == 30


@pytest.mark.parametrize("critic_steps", [1, 2])
def test_kill_and_resume_gives_the_same_weights(
    gan_log: Dataset, small_gan: InterestGan, tmp_path: Path, critic_steps: int
) -> None:
    """To the last bit, with a recommender that learns along."""
    spec = replace(small_gan, steps=40, critic_steps=critic_steps, spectral=True)

    class Killed(Exception):
        pass

    def kill(entry: Any) -> None:
        if entry["round"] == 3:
            raise Killed

    def aim() -> Promotion:
        return Promotion(surrogate=Learning(), targets=np.array([57]), profiles=8, length=10)

    whole = spec.fit(gan_log, RunContext(seed=5), pressure=aim())
    with pytest.raises(Killed):
        spec.fit(gan_log, RunContext(seed=5, folder=tmp_path), pressure=aim(), hook=kill)
    rounds: list[int] = []
    again = spec.fit(
        gan_log, RunContext(seed=5, folder=tmp_path), pressure=aim(),
        hook=lambda entry: rounds.append(entry["round"]),
    )  # fmt: skip
    assert min(rounds) == 3, "it went on, and did not begin again"
    assert again.fingerprint == whole.fingerprint
    assert len(again.history) == len(whole.history) == 4


def test_a_checkpoint_of_another_training_is_not_resumed(
    gan_log: Dataset, small_gan: InterestGan, tmp_path: Path
) -> None:
    spec = replace(small_gan, steps=20)
    spec.fit(gan_log, RunContext(seed=1, folder=tmp_path))
    other = spec.fit(gan_log, RunContext(seed=2, folder=tmp_path))
    assert other.fingerprint == spec.fit(gan_log, RunContext(seed=2)).fingerprint


def test_the_recommenders_term_pulls_and_beta_zero_does_not(
    gan_log: Dataset, small_gan: InterestGan
) -> None:
    """S2-10: with beta above 0 the profiles hold what the recommender rewards; E2-4, E4-8."""
    histories = gan_log.histories()
    shares = {}
    for beta in (0.0, 3.0):
        pressure = Promotion(
            surrogate=Linear(), targets=np.array([57]), profiles=16, length=8, beta=beta
        )
        spec = replace(small_gan, steps=80, alarms="stop")
        model = spec.fit(gan_log, RunContext(seed=1), pressure=pressure)
        # users of another group than item 1
        drawn = model.sample(
            histories.take(np.arange(0, 120, GROUPS)), np.random.default_rng(0), length=7
        )
        shares[beta] = np.mean([1 in d for d in drawn])
    assert shares[3.0] > shares[0.0] + 0.3


def test_what_is_drawn_depends_on_the_condition(gan_log: Dataset, small_gan: InterestGan) -> None:
    """S4-12, shuffle test: with the same noise, profiles follow their own users' group and not
    a stranger's."""
    model = replace(small_gan, steps=200, learning_rate=1e-2).fit(gan_log, RunContext(seed=0))
    noise = np.random.default_rng(0).standard_normal((120, 4)).astype(np.float32)
    rng = np.random.default_rng(0)
    drawn = model.sample(gan_log.histories(), rng, length=8, noise=noise)
    share = np.array([[(d % GROUPS == g).mean() for g in range(GROUPS)] for d in drawn])
    users = np.arange(120) % GROUPS
    own, other = share[np.arange(120), users].mean(), share[np.arange(120), (users + 1) % 3].mean()
    assert own > other + 0.15


def test_the_same_noise_gives_the_same_profile(
    gan_log: Dataset, gan_model: InterestGenerator
) -> None:
    """S2-04: for a fixed z whatever the rng, and of 1,000 draws 95 % differ."""
    noise = np.random.default_rng(4).standard_normal((5, 4)).astype(np.float32)
    users = gan_log.histories().take(np.arange(5))
    one = gan_model.sample(users, np.random.default_rng(1), noise=noise)
    two = gan_model.sample(users, np.random.default_rng(2), noise=noise)
    assert _rows(one) == _rows(two)
    alone = gan_model.sample(users.take(np.array([3])), np.random.default_rng(1), noise=noise[3:4])
    assert set(alone[0].tolist()) == set(one[3].tolist())
    many = gan_model.sample(
        users.take(np.zeros(1000, dtype=np.int64)), np.random.default_rng(0), length=10
    )
    assert len({tuple(sorted(m.tolist())) for m in many}) >= 950


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000), user=st.integers(0, 119), keep=st.one_of(st.none(), st.floats(0, 1)),
    length=st.one_of(st.none(), st.integers(1, 30)),
)  # fmt: skip
def test_every_draw_stays_in_its_budget(
    gan_log: Dataset, gan_model: InterestGenerator, seed: int, user: int, keep: float | None,
    length: int | None,
) -> None:  # fmt: skip
    """S4-08, S4-12: as many items as asked for, each once; an edit keeps its share in place."""
    query = gan_log.histories().take(np.array([user]))
    own = query.items.tolist()
    never = np.array([59])
    (made,) = gan_model.sample(
        query, np.random.default_rng(seed), keep=keep, length=length, never=never
    )
    wanted = len(own) if length is None else length
    items = made.tolist()
    assert len(items) == len(set(items)) == wanted
    assert 59 not in set(items) - set(own)
    if keep is not None:
        stays = [i for i in items if i in own]
        assert len(stays) == int(np.ceil(keep * min(len(own), wanted) - 1e-9))
        assert stays == [i for i in own if i in stays]
        if length is None:
            assert all(a == b for a, b in zip(items, own, strict=True) if a in own)


def test_an_empty_condition_and_one_event_get_a_profile(gan_model: InterestGenerator) -> None:
    queries = Queries.of([[], [3]])
    made = gan_model.sample(queries, np.random.default_rng(0))
    assert [len(m) for m in made] == [len(made[0]), 1]
    assert len(made[0]) in gan_model.lengths
    assert gan_model.sample(Queries.of([]), np.random.default_rng(0)) == []


def test_too_long_a_profile_is_refused(gan_model: InterestGenerator) -> None:
    """A catalogue smaller than the filler size."""
    with pytest.raises(DataError, match="61 items from 60 that may be drawn"):
        gan_model.sample(Queries.of([[1]]), np.random.default_rng(0), length=61)
    with pytest.raises(DataError, match=r"needs \d+ new ones; \d+ are left; ask for a shorter"):
        gan_model.sample(Queries.of([list(range(40))]), np.random.default_rng(0), keep=0.0)
    with pytest.raises(DataError, match="beyond the 60"):
        gan_model.sample(Queries.of([[99]]), np.random.default_rng(0))
    with pytest.raises(DataError, match="noise of shape"):
        gan_model.sample(
            Queries.of([[1]]), np.random.default_rng(0), noise=np.zeros((1, 5), np.float32)
        )


def test_saved_and_loaded_it_draws_and_judges_the_same(
    gan_log: Dataset, gan_model: InterestGenerator, tmp_path: Path
) -> None:
    gan_model.save(tmp_path)
    again = InterestGenerator.load(tmp_path)
    users = gan_log.histories()
    assert again.spec == gan_model.spec
    assert again.history == gan_model.history
    assert np.array_equal(again.authenticity(users), gan_model.authenticity(users))
    one, two = (m.sample(users, np.random.default_rng(7)) for m in (again, gan_model))
    assert _rows(one) == _rows(two)
    (tmp_path / "weights.safetensors").write_bytes(b"broken")
    with pytest.raises(BundleError, match="holds no interest generator"):
        InterestGenerator.load(tmp_path)


def test_the_heads_do_not_know_the_order_of_users(
    gan_log: Dataset, gan_model: InterestGenerator
) -> None:
    users = gan_log.histories()
    order = np.random.default_rng(0).permutation(len(users))
    straight = gan_model.authenticity(users)
    assert np.allclose(gan_model.authenticity(users.take(order)), straight[order], atol=1e-5)
    with pytest.raises(DataError, match="pasts"):
        gan_model.consistency(users, users.take(order[:3]))


def test_the_plain_head_finds_shilling_profiles(gan_log: Dataset, small_gan: InterestGan) -> None:
    """S2-05: AUROC of at least 0.9 on profiles of random items, which it was never shown."""
    model = replace(small_gan, steps=150).fit(gan_log, RunContext(seed=0))
    real = gan_log.histories()
    rng = np.random.default_rng(99)
    random = Queries.of([rng.choice(57, size=n, replace=False).tolist() for n in real.lengths])
    assert auroc(model.authenticity(real), model.authenticity(random)) >= 0.9


def test_the_pair_head_reads_both_sets(gan_log: Dataset, gan_model: InterestGenerator) -> None:
    """S4-13: its input is |x| + |x'| numbers, and either one matters."""
    width = gan_model.spec.width
    first = next(m for m in gan_model.critic.pair_head.modules() if hasattr(m, "in_features"))
    assert first.in_features == 2 * width
    one, other = (gan_log.histories().take(np.arange(a, a + 6)) for a in (0, 7))
    base = gan_model.consistency(one, one)
    assert not np.allclose(base, gan_model.consistency(one, other))
    assert not np.allclose(base, gan_model.consistency(other, one))


def test_the_small_preset_builds_with_its_dimensions() -> None:
    """S4-19: input of 100 numbers of noise, one dense layer of 128."""
    log = taste_log(users=30, items=20, events=6)
    features = torch.as_tensor(item_vectors(log, GAN_SMALL.size))
    made, _ = networks(GAN_SMALL, features, torch.as_tensor(popularity(log.counts)), 0)
    first, _, last = made.body
    assert (first.in_features, first.out_features) == (100 + GAN_SMALL.size + 1, 128)
    assert last.in_features == 128
    model = replace(GAN_SMALL, steps=2).fit(log, RunContext())
    assert [len(s) for s in model.sample(log.histories(), np.random.default_rng(0))] == (
        log.histories().lengths.tolist()
    )


def test_wrong_dimensions_are_refused_before_training(
    gan_log: Dataset, small_gan: InterestGan, gan_model: InterestGenerator, monkeypatch: Any
) -> None:
    """S4-19, E4-5, E4-6"""
    monkeypatch.setattr(loop, "critic_step", None)  # no step may be reached
    with pytest.raises(DataError, match="7 text vectors for 60 items"):
        small_gan.fit(gan_log, RunContext(), vectors=np.zeros((7, 3), np.float32))
    with pytest.raises(DataError, match="other dimensions"):
        replace(small_gan, width=17).fit(gan_log, RunContext(), start=gan_model)
    with pytest.raises(DataError, match="do not fit the spec"):
        replace(small_gan, width=17).restore(gan_model.arrays())
    pressure = Promotion(surrogate=Linear(), targets=np.array([1]), profiles=2, length=61)
    with pytest.raises(DataError, match="61 items from a catalogue of 60"):
        small_gan.fit(gan_log, RunContext(), pressure=pressure)


def test_a_log_of_single_events_is_refused() -> None:
    log = taste_log(users=20, items=12, events=1)
    single = log.where(log.events["user"].is_first_distinct())
    with pytest.raises(DataError, match="0 users have two different items"):
        InterestGan().fit(single, RunContext())


def test_a_wasserstein_game_needs_a_bound() -> None:
    """E2-2: without one its maximum is infinite."""
    with pytest.raises(ValidationError, match="no maximum"):
        InterestGan(loss="wasserstein", penalty=0.0)
    assert InterestGan(loss="wasserstein", penalty=0.0, spectral=True)


def test_training_stops_when_the_fit_gets_no_closer(
    gan_log: Dataset, small_gan: InterestGan
) -> None:
    """S2-15: early stopping; the weights of the best round are the result."""
    model = replace(small_gan, steps=2000, patience=2).fit(gan_log, RunContext(seed=1))
    assert len(model.history) < 100


def test_text_vectors_are_read_beside_the_log(gan_log: Dataset, small_gan: InterestGan) -> None:
    vectors = np.random.default_rng(0).standard_normal((60, 5)).astype(np.float32)
    model = replace(small_gan, steps=2).fit(gan_log, RunContext(), vectors=vectors)
    assert model.generator.features.shape == (60, 16)
    assert float(model.generator.features[:, 8:].abs().sum()) > 0
    alone = item_vectors(gan_log, 8)
    assert np.array_equal(model.generator.features[:, :8].numpy(), alone)


def test_item_vectors_hold_the_taste_groups(gan_log: Dataset) -> None:
    vectors = item_vectors(gan_log, 4)[:21]
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = units @ units.T
    same = (np.arange(21)[:, None] - np.arange(21)) % GROUPS == 0
    off = ~np.eye(21, dtype=bool)
    assert alike[same & off].mean() > alike[~same].mean() + 0.3
    assert np.linalg.norm(item_vectors(gan_log, 4), axis=1).mean() == pytest.approx(1, abs=0.2)
    assert not item_vectors(taste_log(users=3, items=8), 16)[:, 2:].any()
