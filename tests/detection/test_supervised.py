"""Detectors that learn: what they transfer to, what they read, and how they are kept."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardrank.attacks.profiles.average_profiles import AverageProfiles
from hardrank.attacks.profiles.random_profiles import RandomProfiles
from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.detection.discriminator import GanDetector
from hardrank.detection.examples import LabelledLog, labelled, users_apart
from hardrank.detection.stored import load_detector
from hardrank.detection.supervised import BoostedDetector, LogisticDetector, balanced, ranked
from hardrank.detection.target_stage import TwoStage
from hardrank.errors import BundleError, DataError
from hardrank.metrics.detection import auroc
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.profiles import play_profiles

SPECS = [
    BoostedDetector(trees=30, held_out=0.4),
    LogisticDetector(held_out=0.4),
    TwoStage(base=LogisticDetector(held_out=0.4), false_alarms=0.05),
]
RUN = RunContext(seed=3)


def attacked(train: Dataset, attack: Any, seed: int = 0, profiles: int = 12) -> LabelledLog:
    threat = ThreatModel(
        surface="profiles", goal=Promote(items=("i59",)),
        budget=Budget(profiles=profiles, profile_events=12),
    )  # fmt: skip
    return labelled(train, play_profiles(attack, threat, train, target="i59", seed=seed))


@pytest.fixture(scope="module")
def train() -> Dataset:
    return taste_log(users=120)


@pytest.fixture(scope="module")
def random_log(train: Dataset) -> LabelledLog:
    return attacked(train, RandomProfiles())


@pytest.fixture(scope="module", params=SPECS, ids=lambda s: s.kind)
def fitted(request: pytest.FixtureRequest, random_log: LabelledLog) -> Any:
    return request.param.fit([random_log], RUN)


def turned(data: Dataset, order: np.ndarray) -> Dataset:
    """The same people in another order, and called something else."""
    place = np.argsort(order)
    events = data.events.with_columns(user=pl.Series(place[data.events["user"].to_numpy()]))
    names = pl.DataFrame({"user_id": [f"somebody {n}" for n in range(data.n_users)]})
    return replace(
        data, users=names,
        events=events.cast({"user": pl.Int32}).sort("user", maintain_order=True),
    )  # fmt: skip


def test_a_detector_that_learned_one_attack_finds_another(fitted: Any, train: Dataset) -> None:
    """S0-29: the family was not seen, nor were the users of the other log, nor its catalogue."""
    same_shop = attacked(train, AverageProfiles(), seed=5)
    assert auroc(fitted(same_shop.dataset), same_shop.fake) > 0.95
    other_shop = attacked(taste_log(users=90, items=75, seed=8), AverageProfiles(), profiles=8)
    assert auroc(fitted(other_shop.dataset), other_shop.fake) > 0.9


def test_neither_names_nor_places_of_users_are_read(fitted: Any, random_log: LabelledLog) -> None:
    order = np.random.default_rng(0).permutation(random_log.dataset.n_users)
    scores = fitted(turned(random_log.dataset, order))
    np.testing.assert_allclose(scores, fitted(random_log.dataset)[order], atol=1e-6)


def test_a_fitted_detector_survives_its_folder(
    fitted: Any, random_log: LabelledLog, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "kept")
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == [
        "arrays.safetensors", "spec.json",
    ]  # fmt: skip
    back = load_detector(tmp_path / "kept")
    np.testing.assert_array_equal(back(random_log.dataset), fitted(random_log.dataset))
    assert (back.spec, back.threshold) == (fitted.spec, fitted.threshold)


def test_the_threshold_keeps_its_promise_on_users_who_were_not_trained_on(
    fitted: Any, random_log: LabelledLog
) -> None:
    share = fitted.spec.false_alarms
    held_out = getattr(fitted.spec, "base", fitted.spec).held_out
    aside = users_apart(random_log, held_out, RUN.seed, "threshold") & ~random_log.fake
    scores = fitted(random_log.dataset)[aside]
    allowed = int(share * len(scores))
    assert 20 < len(scores) < 80
    assert (scores > fitted.threshold).sum() <= allowed
    assert (scores >= fitted.threshold).sum() > allowed, "a lower threshold would break it"


def test_reasons_name_features_that_raise_the_score(fitted: Any, random_log: LabelledLog) -> None:
    names, _ = ranked(random_log.dataset)
    fakes = np.flatnonzero(random_log.fake)
    for told in fitted.reasons(random_log.dataset, fakes, most=2):
        assert 1 <= len(told) <= 2
        assert all(t.split(" (")[0] in (*names, "item i59") for t in told)


def test_a_user_without_events_is_not_judged(fitted: Any, train: Dataset) -> None:
    silent = train.where(pl.col("user") != 5)
    scores = fitted(silent)
    assert np.isnan(scores[5])
    assert np.isfinite(np.delete(scores, 5)).all()


@pytest.mark.parametrize("spec", SPECS[:2], ids=lambda s: s.kind)
def test_same_seed_same_detector(spec: Any, random_log: LabelledLog) -> None:
    one, two = (spec.fit([random_log], RUN).arrays() for _ in range(2))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("spec", SPECS[:2], ids=lambda s: s.kind)
def test_hidden_labels_are_not_learned(spec: Any, random_log: LabelledLog) -> None:
    """Were they read, calling a third of the real users fake would change the detector."""
    hidden = users_apart(random_log, 0.3, 0, "tested") & ~random_log.fake
    honest = random_log.hiding(hidden)
    lied = replace(honest, fake=random_log.fake | hidden)
    one, two = (spec.fit([log], RUN).arrays() for log in (honest, lied))
    assert all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("spec", SPECS[:2], ids=lambda s: s.kind)
def test_nothing_to_learn_from_is_refused(spec: Any, random_log: LabelledLog) -> None:
    with pytest.raises(DataError, match="no example logs"):
        spec.fit([], RUN)
    everybody = np.ones(random_log.dataset.n_users, dtype=bool)
    with pytest.raises(DataError, match="too few real users"):
        spec.fit([random_log.hiding(everybody)], RUN)


def test_families_weigh_the_same_and_fakes_as_much_as_real_users() -> None:
    fake = np.array([False] * 6 + [True] * 4)
    families = np.array(["a"] * 9 + ["b"])
    weight = balanced(fake, families)
    assert weight.sum() == pytest.approx(10)
    assert weight[fake].sum() == pytest.approx(5)
    assert weight[9] == pytest.approx(weight[6:9].sum())


def test_ranks_are_of_the_users_of_the_log(train: Dataset) -> None:
    names, x = ranked(train)
    assert x.shape == (train.n_users, len(names))
    assert ((x > 0) & (x < 1)).all()
    lengths = np.diff(train.offsets)
    shown = x[:, names.index("length")]
    assert shown.mean() == pytest.approx(0.5)
    assert (np.argsort(lengths, kind="stable")[-1] == np.argsort(shown, kind="stable")[-1]).all()


def test_a_folder_without_a_detector_is_refused(fitted: Any, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"spec\.json is missing"):
        load_detector(tmp_path)
    fitted.save(tmp_path / "kept")
    (tmp_path / "kept" / "arrays.safetensors").write_bytes(b"nonsense")
    with pytest.raises(BundleError, match="does not hold a fitted detector"):
        load_detector(tmp_path / "kept")


def test_a_discriminator_is_a_detector(train: Dataset) -> None:
    """S2-05: what a generator's discriminator calls unreal is suspicious."""

    class Judge:
        def authenticity(self, queries: Any) -> Any:
            return -queries.lengths.astype(np.float32)

    silent = train.where(pl.col("user") != 5)
    scores = GanDetector(Judge())(silent)
    assert np.isnan(scores[5])
    lengths = np.diff(silent.offsets)
    np.testing.assert_array_equal(np.delete(scores, 5), np.delete(lengths, 5))
