"""The variational generator: its loss, resume, conditions, draws, health, and its attack."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from hardrank.attacks.profiles.interest_vae import InterestVaeProfiles
from hardrank.context import RunContext
from hardrank.data import AddProfile, Dataset, Queries
from hardrank.errors import BundleError, DataError, Diverged
from hardrank.generators import interest_vae_training as training
from hardrank.generators.health import Monitor
from hardrank.generators.interest_autoencoder import Autoencoder, InterestAutoencoder
from hardrank.generators.interest_vae import InterestVae
from hardrank.generators.pressure import Promotion
from hardrank.generators.quality import measure
from hardrank.surrogates import EaseSurrogate
from hardrank.testing.logs import GROUPS, taste_log
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.profiles import play_profiles

SMALL = InterestVae(
    noise=4, width=16, steps=60, every=10, anneal=20, batch_size=32, learning_rate=1e-2,
    average=0.9,
)  # fmt: skip


@pytest.fixture(scope="module")
def model(gan_log: Dataset) -> InterestAutoencoder:
    return SMALL.fit(gan_log, RunContext(seed=3))


class Linear:
    """Every fake user with item 1 brings the target up; it learns along, the more the more
    items it was shown."""

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def promotion(self, selection: Tensor, targets: Tensor) -> Tensor:
        return -self.weight * selection[:, 1].mean()

    def adapted(self, selection: Tensor) -> "Linear":
        return Linear(1.0 + float(selection[:, :20].sum()) / 1000)


def _aim() -> Promotion:
    return Promotion(surrogate=Linear(), targets=np.array([57]), profiles=8, length=10)


def test_the_loss_is_that_of_the_paper() -> None:
    """A decoder that says the same of all items: log I for each; KL by numerical integration."""
    made = Autoencoder(5, noise=1, width=3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
        made.codes.bias.copy_(torch.tensor([0.5, np.log(0.25)]))  # mean 1/2, deviation 1/2
    sets = torch.tensor([[1.0, 0, 1, 0, 0], [0, 0, 0, 0, 1]])
    likelihood, divergence = training.losses(made, sets, torch.zeros(2, 1))
    assert likelihood.tolist() == pytest.approx([2 * np.log(5), np.log(5)])
    z = np.linspace(-12, 12, 200_001)
    own, prior = (
        np.exp(-((z - m) ** 2) / (2 * s * s)) / (s * np.sqrt(2 * np.pi))
        for m, s in ((0.5, 0.5), (0.0, 1.0))
    )
    inside = own > 1e-300
    wanted = float((own[inside] * np.log(own[inside] / prior[inside])).sum() * (z[1] - z[0]))
    assert divergence.tolist() == pytest.approx([wanted, wanted], rel=1e-4)


def test_noise_moves_the_code_by_the_deviation() -> None:
    """Kingma & Welling: z = mean + deviation * noise."""
    made = Autoencoder(4, noise=2, width=3)
    sets = torch.ones(1, 4)
    mean, spread = made.encode(sets)
    noise = torch.tensor([[1.0, -2.0]])
    assert torch.equal(made(sets, noise), made.decode(mean + torch.exp(spread / 2) * noise))
    never = torch.tensor([False, True, False, False])
    assert made(sets, noise, never)[0, 1] < -1e8


def test_the_weight_of_the_kl_term_rises_and_stays(gan_log: Dataset) -> None:
    rows: list[Any] = []
    replace(SMALL, steps=40, anneal=20, kl=0.4).fit(gan_log, RunContext(), hook=rows.append)
    # means over steps 1..10, 11..20, then all of it
    assert [r["weight_kl"] for r in rows] == pytest.approx([0.11, 0.31, 0.4, 0.4])
    assert rows[-1]["loss_likelihood"] < rows[0]["loss_likelihood"]


def test_what_is_drawn_depends_on_the_condition(gan_log: Dataset) -> None:
    """S2-34: profiles follow their own users' group and not a stranger's."""
    made = replace(SMALL, steps=150).fit(gan_log, RunContext(seed=0))
    drawn = made.sample(gan_log.histories(), np.random.default_rng(0), length=8)
    share = np.array([[(d % GROUPS == g).mean() for g in range(GROUPS)] for d in drawn])
    users = np.arange(120) % GROUPS
    own, other = share[np.arange(120), users].mean(), share[np.arange(120), (users + 1) % 3].mean()
    assert own > other + 0.15


def test_draws_keep_the_surface_of_the_gan(gan_log: Dataset, model: InterestAutoencoder) -> None:
    """The same noise the same profile; lengths, edits and forbidden items as asked."""
    noise = np.random.default_rng(4).standard_normal((6, 4)).astype(np.float32)
    users = gan_log.histories().take(np.arange(6))
    one, two = (model.sample(users, np.random.default_rng(s), noise=noise) for s in (1, 2))
    assert [d.tolist() for d in one] == [d.tolist() for d in two]
    assert [len(d) for d in one] == users.lengths.tolist()
    (edit,) = model.sample(
        users.take(np.array([2])), np.random.default_rng(0), keep=0.5, never=np.array([59])
    )
    own = users.history(2).tolist()
    assert 59 not in set(edit.tolist()) - set(own)
    assert sum(i in own for i in edit.tolist()) == (len(own) + 1) // 2
    assert model.sample(Queries.of([]), np.random.default_rng(0)) == []
    with pytest.raises(DataError, match="61 items from 60"):
        model.sample(users, np.random.default_rng(0), length=61)


def test_it_judges_nothing_and_says_so(gan_log: Dataset, model: InterestAutoencoder) -> None:
    """A VAE has no discriminator: no such method, and no such figure."""
    assert not hasattr(model, "authenticity")
    assert not hasattr(model, "consistency")
    quality = measure(model, gan_log, np.random.default_rng(0), samples=60)
    assert quality.auroc_own is None
    assert quality.unique > 0.9


def test_kill_and_resume_gives_the_same_weights(gan_log: Dataset, tmp_path: Path) -> None:
    """To the last bit, with a recommender that learns along."""
    spec = replace(SMALL, steps=40)

    class Killed(Exception):
        pass

    def kill(row: Any) -> None:
        if row["step"] == 30:
            raise Killed

    whole = spec.fit(gan_log, RunContext(seed=5), pressure=_aim())
    with pytest.raises(Killed):
        spec.fit(gan_log, RunContext(seed=5, folder=tmp_path), pressure=_aim(), hook=kill)
    steps: list[int] = []
    run, pressure = RunContext(seed=5, folder=tmp_path), _aim()
    again = spec.fit(gan_log, run, pressure=pressure, hook=lambda row: steps.append(row["step"]))
    assert steps == [30, 40], "it went on, and did not begin again"
    assert again.fingerprint == whole.fingerprint
    assert again.history[-1]["change_recommender"] == whole.history[-1]["change_recommender"] > 0
    other = spec.fit(gan_log, RunContext(seed=6, folder=tmp_path))
    assert other.fingerprint == spec.fit(gan_log, RunContext(seed=6)).fingerprint


def test_nobody_elses_random_numbers_are_drawn(
    gan_log: Dataset, model: InterestAutoencoder
) -> None:
    """Training, restoring and drawing leave the global state alone, and do not read it."""
    before = torch.get_rng_state()
    again = SMALL.fit(gan_log, RunContext(seed=3))
    SMALL.restore(again.arrays()).sample(gan_log.histories(), np.random.default_rng(0))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(int(before[0]) + 1)
    assert SMALL.fit(gan_log, RunContext(seed=3)).fingerprint == model.fingerprint


def test_saved_and_loaded_it_draws_the_same(
    gan_log: Dataset, model: InterestAutoencoder, tmp_path: Path
) -> None:
    model.save(tmp_path)
    again = InterestAutoencoder.load(tmp_path)
    assert (again.spec, again.history) == (model.spec, model.history)
    assert again.fingerprint == model.fingerprint
    one, two = (m.sample(gan_log.histories(), np.random.default_rng(7)) for m in (again, model))
    assert [d.tolist() for d in one] == [d.tolist() for d in two]
    with pytest.raises(DataError, match="do not fit the spec"):
        replace(SMALL, width=17).restore(model.arrays())
    (tmp_path / "weights.safetensors").write_bytes(b"broken")
    with pytest.raises(BundleError, match="holds no interest autoencoder"):
        InterestAutoencoder.load(tmp_path)


def test_a_collapsed_posterior_stops_training(gan_log: Dataset, tmp_path: Path) -> None:
    """A KL term that outweighs all makes every user's code the prior's; the last good weights
    stay where they are asked for."""
    heavy = replace(SMALL, kl=1e4, anneal=0, steps=600, every=50, learning_rate=3e-2)
    with pytest.raises(Diverged, match="posterior: the encoder says nothing of the user"):
        heavy.fit(gan_log, RunContext(seed=1, folder=tmp_path))
    good = SMALL.fit(gan_log, RunContext(seed=1))
    kept = replace(heavy, alarms="stop").fit(gan_log, RunContext(seed=1), start=good)
    assert "posterior" in kept.warnings[0]
    assert "training ended there" in kept.warnings[0]


def test_the_monitor_knows_what_can_go_wrong_with_a_vae() -> None:
    row = {
        "spread": 0.3, "overlap": 0.2, "overlap_real": 0.2, "gradient_generator": 1.0,
        "change_generator": 1.0, "loss_kl": 3.0,
    }  # fmt: skip
    for wrong, kind in (
        ({"loss_kl": 0.0}, "posterior"), ({"overlap": 0.9}, "collapse"),
        ({"change_generator": 0.0}, "frozen"),
    ):  # fmt: skip
        monitor = Monitor(game="vae")
        said = [monitor.check(row | wrong) for _ in range(3)]
        assert [[a.kind for a in s] for s in said] == [[], [], [kind]]
        assert not monitor.well
    assert Monitor(game="vae").check(row) == []


def test_numbers_that_are_not_finite_stop_training(
    gan_log: Dataset, model: InterestAutoencoder, monkeypatch: Any
) -> None:
    """The reason is named; weights from before it are the result where they are wanted."""
    real = training.losses

    def broken(*arguments: Any) -> Any:
        likelihood, divergence = real(*arguments)
        return likelihood * float("nan"), divergence

    monkeypatch.setattr(training, "losses", broken)
    with pytest.raises(Diverged, match=r"step 1: loss_generator is not finite; nothing is kept"):
        SMALL.fit(gan_log, RunContext())
    kept = replace(SMALL, alarms="stop").fit(gan_log, RunContext(), start=model)
    assert kept.fingerprint == model.fingerprint
    assert "loss_generator is not finite" in kept.warnings[0]


def test_wrong_sizes_are_refused(gan_log: Dataset, model: InterestAutoencoder) -> None:
    with pytest.raises(DataError, match="other dimensions"):
        replace(SMALL, width=17).fit(gan_log, RunContext(), start=model)
    for wrong in ({"dropout": 1.0}, {"average": 1.0}, {"noise": 0}):
        with pytest.raises(ValidationError):
            InterestVae(**wrong)  # type: ignore[arg-type]


def _selection(attack: InterestVaeProfiles, log: Dataset, target: str) -> np.ndarray:
    threat = ThreatModel(
        goal=Promote(items="random:1"), surface="profiles", log="log",
        budget=Budget(profiles=12, profile_events=9),
    )  # fmt: skip
    match = play_profiles(attack, threat, log, target=target, seed=1)
    out = np.zeros((len(match.patch), log.n_items), dtype=np.float32)
    for n, edit in enumerate(match.patch.edits):
        assert isinstance(edit, AddProfile)
        out[n, [log.item_rows[i] for i in edit.item_ids]] = 1
    return out


def test_beta_buys_exposure_in_the_attackers_recommender() -> None:
    """S2-34, S2-10: the other generator, the same attack: only the weight of the recommender's
    term differs."""
    log = taste_log(users=120, items=60, events=12)
    vae = replace(SMALL, steps=40)
    attack = InterestVaeProfiles(vae=vae, surrogate=EaseSurrogate(weight=20.0), steps=40)
    blind = replace(attack, beta=0.0, surrogate=EaseSurrogate())
    surrogate = attack.surrogate.fit(log, RunContext())
    aim = torch.tensor([log.item_rows["i59"]])
    without, made = (_selection(a, log, "i59") for a in (blind, attack))
    losses = [float(surrogate.promotion(torch.as_tensor(s), aim)) for s in (without, made)]
    assert losses[1] < 0.8 * losses[0]
    assert np.array_equal(made, _selection(attack, log, "i59"))
