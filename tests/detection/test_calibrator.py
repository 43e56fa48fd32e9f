"""The calibrator: it reads order and texts, keeps its promises, and survives its folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F

from hardrank.attacks.profiles.average_profiles import AverageProfiles
from hardrank.attacks.profiles.random_profiles import RandomProfiles
from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.data.dataset import EVENT_COLUMNS
from hardrank.detection import AnyDetector
from hardrank.detection.calibrator import Calibrator, FittedCalibrator
from hardrank.detection.calibrator_network import built, loss, profiles_of, scored
from hardrank.detection.calibrator_reading import (
    CHANNELS,
    TextReader,
    event_channels,
    read_profiles,
)
from hardrank.detection.calibrator_training import lesson_of, pushed_items
from hardrank.detection.examples import LabelledLog, labelled, users_apart
from hardrank.detection.parts import Log, read
from hardrank.detection.stored import load_detector
from hardrank.detection.supervised import BoostedDetector
from hardrank.errors import DataError, SchemaError
from hardrank.experiment.detect import detector_of, fit_detector, scan_log
from hardrank.experiment.detect_spec import load_fitting
from hardrank.metrics.detection import auroc
from hardrank.testing.detectors import DetectorContract, reordered
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.profiles import play_profiles

SPEC = Calibrator(steps=80, batch_size=16, size=16, held_out=0.4)
BLIND = replace(SPEC, fields=())
RUN = RunContext(seed=3)
NOTHING = TextReader("minilm", (), 64)
TITLES = TextReader("minilm", ("title",), 64)


def attacked(train: Dataset, attack: Any, seed: int = 0, profiles: int = 12) -> LabelledLog:
    threat = ThreatModel(
        surface="profiles", goal=Promote(items=("i59",)),
        budget=Budget(profiles=profiles, profile_events=12),
    )  # fmt: skip
    return labelled(train, play_profiles(attack, threat, train, target="i59", seed=seed))


def log_of(histories: list[list[int]], titles: list[str]) -> Dataset:
    rows = [(u, i, None, None, 1.0) for u, items in enumerate(histories) for i in items]
    return Dataset(
        name="planted", synthetic=True,
        users=pl.DataFrame({"user_id": [f"u{n}" for n in range(len(histories))]}),
        items=pl.DataFrame({"item_id": [f"i{n}" for n in range(len(titles))], "title": titles}),
        events=pl.DataFrame(rows, schema=EVENT_COLUMNS, orient="row"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def train() -> Dataset:
    return taste_log(users=120)


@pytest.fixture(scope="module")
def random_log(train: Dataset) -> LabelledLog:
    return attacked(train, RandomProfiles())


@pytest.fixture(scope="module", params=[SPEC, BLIND], ids=["texts", "no texts"])
def fitted(request: pytest.FixtureRequest, random_log: LabelledLog) -> FittedCalibrator:
    made: FittedCalibrator = request.param.fit([random_log], RUN)
    return made


class TestFittedCalibrator(DetectorContract):
    """C7: a detector that has learned keeps the contract of all others."""

    @pytest.fixture(autouse=True)
    def _trained(self, fitted: FittedCalibrator) -> None:
        type(self).detector = fitted


def test_it_finds_an_attack_and_a_shop_that_it_never_saw(
    fitted: FittedCalibrator, train: Dataset
) -> None:
    """S0-29: neither the family nor the users of the other log were seen, nor its catalogue."""
    same_shop = attacked(train, AverageProfiles(), seed=5)
    assert auroc(fitted(same_shop.dataset), same_shop.fake) > 0.95
    other_shop = attacked(taste_log(users=90, items=75, seed=8), AverageProfiles(), profiles=8)
    assert auroc(fitted(other_shop.dataset), other_shop.fake) > 0.9


# Order and texts


def episodes(seed: int, users: int = 150, fakes: int = 30) -> LabelledLog:
    """People see the parts of a series one after the other; fakes see as many, in any order.

    Each starts somewhere in one of three series of 20 and skips some parts, so that the sets of
    real and fake users follow one law.
    """
    rng = np.random.default_rng(seed)
    histories = []
    for user in range(users + fakes):
        chosen = np.sort(rng.choice(20, size=8, replace=False)) + 20 * int(rng.integers(3))
        histories.append((rng.permutation(chosen) if user >= users else chosen).tolist())
    fake = np.arange(users + fakes) >= users
    return LabelledLog(log_of(histories, [f"thing {n}" for n in range(60)]), fake, "shuffled")


def test_order_alone_is_read() -> None:
    """Features of a profile as a set say nothing here, and the calibrator is sure."""
    one, other = episodes(0), episodes(1)
    told = BLIND.fit([one], RUN)(other.dataset)
    assert auroc(told, other.fake) > 0.98
    unordered = BoostedDetector(trees=30, held_out=0.4).fit([one], RUN)(other.dataset)
    assert 0.3 < auroc(unordered, other.fake) < 0.7


THEMES = {
    "cooking": ["soup", "roast", "bread", "salad", "sauce", "cake", "stew", "grill"],
    "astronomy": ["stars", "planets", "comets", "galaxy", "telescope", "moon", "orbit", "nebula"],
    "football": ["goal", "striker", "keeper", "league", "penalty", "coach", "stadium", "derby"],
    "gardening": ["roses", "lawn", "compost", "seeds", "hedge", "tulips", "pruning", "soil"],
}


def shelves(seed: int, users: int = 100, fakes: int = 25) -> LabelledLog:
    """Nobody shares an item with anybody; people read on one subject, fakes on any."""
    rng = np.random.default_rng(seed)
    names = list(THEMES)
    titles: list[str] = []
    histories = []
    for user in range(users + fakes):
        subject = names[int(rng.integers(4))]
        chosen = []
        for _ in range(6):
            about = subject if user < users else names[int(rng.integers(4))]
            word = THEMES[about][int(rng.integers(8))]
            chosen.append(len(titles))
            titles.append(f"{about}: {word}, volume {int(rng.integers(30))}")
        histories.append(chosen)
    return LabelledLog(log_of(histories, titles), np.arange(users + fakes) >= users, "mixed")


def test_texts_alone_are_read() -> None:
    one, other = shelves(0), shelves(1)
    told = SPEC.fit([one], RUN)(other.dataset)
    assert auroc(told, other.fake) > 0.95
    wordless = BLIND.fit([one], RUN)(other.dataset)
    assert 0.3 < auroc(wordless, other.fake) < 0.7
    by_hand = BoostedDetector(trees=30, held_out=0.4).fit([one], RUN)(other.dataset)
    assert 0.3 < auroc(by_hand, other.fake) < 0.7


# What is read of an event


def small(*histories: list[int]) -> Log:
    return read(log_of([list(h) for h in histories], [f"t{n}" for n in range(6)]))


def column(log: Log, name: str) -> np.ndarray:
    found: np.ndarray = event_channels(log)[:, CHANNELS.index(name)]
    return found


def test_direction_is_what_all_others_do() -> None:
    """Two others go from 0 to 1 and one from 1 to 0; what a user does himself is left out."""
    log = small([0, 1], [0, 1], [1, 0], [0, 1, 0])
    found = column(log, "direction")
    # first of three who go forth, one of whom comes back; two others go forth
    assert found.tolist() == pytest.approx([
        0, (2 - 2) / 5, 0, (2 - 2) / 5, 0, (3 - 1) / 5, 0, (1 - 2) / 4, (2 - 1) / 4,
    ])  # fmt: skip


def test_place_and_length() -> None:
    log = small([0, 1, 2], [3], [4, 5, 0])
    assert column(log, "place").tolist() == [-1, 0, 1, -1, -1, 0, 1]
    by_length = column(log, "length")
    assert by_length[3] < 0 < by_length[0] == by_length[6]


def test_only_the_newest_events_are_read_and_the_oldest_first(train: Dataset) -> None:
    reading = read_profiles(train, NOTHING)
    rows = np.array([4, 9])
    cut = profiles_of(reading, rows, 3)
    assert cut.lengths.tolist() == [3, 3]
    histories = train.histories()
    assert cut.items.tolist() == [
        *histories.history(4)[-3:].tolist(), *histories.history(9)[-3:].tolist(),
    ]  # fmt: skip
    whole = profiles_of(reading, rows, 1000)
    assert whole.lengths.tolist() == [len(histories.history(u)) for u in rows.tolist()]


def test_a_profile_scores_the_same_beside_longer_ones(train: Dataset) -> None:
    """Padding is in no mean, in no maximum and in no state."""
    reading = read_profiles(train, NOTHING)
    network = built(len(CHANNELS), 0, 8, 0.0, seed=1)
    together = scored(network, profiles_of(reading, np.arange(20), 100))
    for user in range(20):
        alone = scored(network, profiles_of(reading, np.array([user]), 100))
        assert alone[0] == pytest.approx(together[user], abs=1e-5)


def test_equal_texts_have_one_vector_and_empty_ones_none() -> None:
    titles = ["a red car", "", "a red car", "chess openings"]
    vectors = TITLES(log_of([[0, 1, 2, 3]], titles))
    assert (vectors[1] == 0).all()
    np.testing.assert_array_equal(vectors[0], vectors[2])
    np.testing.assert_allclose(np.linalg.norm(vectors[[0, 3]], axis=1), 1, atol=1e-5)
    assert not vectors.flags.writeable


def test_what_an_attack_pushes_is_disguised(random_log: LabelledLog) -> None:
    """The target is in every fake profile; in what is learned from, its text is in few."""
    data = random_log.dataset
    target = data.item_rows["i59"]
    assert np.flatnonzero(pushed_items(random_log)).tolist() == [target]
    lesson = lesson_of([random_log], TITLES, SPEC, RUN)
    owner = np.repeat(lesson.fake, lesson.profiles.lengths)
    shown = lesson.profiles.items == target
    held = (data.event_items == target) & random_log.fake[data.events["user"].to_numpy()]
    assert held.sum() == 12 and (shown & owner).sum() <= 2
    honest = lesson.profiles.items[~owner]
    assert len(honest) and set(honest.tolist()) <= set(data.event_items.tolist())


# What is learned


def test_without_entropy_the_loss_is_weighted_cross_entropy() -> None:
    rng = torch.Generator().manual_seed(0)
    odds = 4 * torch.randn(50, generator=rng)
    fake = (torch.rand(50, generator=rng) < 0.3).float()
    weight = torch.rand(50, generator=rng)
    plain = F.binary_cross_entropy_with_logits(odds, fake, weight=weight)
    torch.testing.assert_close(loss(odds, fake, weight, 0.0), plain)


def test_entropy_is_of_real_users_alone() -> None:
    """At p = 1/2 it is ln 2; a fake has none; its gradient moves a real user to his side."""
    even, one = torch.zeros(1), torch.ones(1)
    assert float(loss(even, 1 - one, one, 0.5)) == pytest.approx(1.5 * np.log(2))
    assert float(loss(even, one, one, 0.5)) == pytest.approx(np.log(2))
    odds = torch.tensor([2.0, -2.0], requires_grad=True)
    real = torch.zeros(2)
    extra = loss(odds, real, torch.ones(2), 1.0) - loss(odds, real, torch.ones(2), 0.0)
    (slope,) = torch.autograd.grad(extra, odds)
    assert slope[0] < 0 < slope[1], "less entropy further out"
    p = 1 / (1 + np.exp(-2.0))
    assert float(extra.detach()) == pytest.approx(-p * np.log(p) - (1 - p) * np.log(1 - p))


def test_entropy_decides_probabilities(random_log: LabelledLog) -> None:
    def undecided(entropy: float) -> float:
        p = replace(BLIND, entropy=entropy, steps=60).fit([random_log], RUN)(random_log.dataset)
        p = np.clip(p[~random_log.fake].astype(np.float64), 1e-6, 1 - 1e-6)
        return float((-p * np.log(p) - (1 - p) * np.log(1 - p)).mean())

    assert undecided(2.0) < 0.8 * undecided(0.0)


@pytest.mark.parametrize("spec", [SPEC, BLIND], ids=["texts", "no texts"])
def test_same_seed_same_calibrator(spec: Calibrator, random_log: LabelledLog) -> None:
    spec = replace(spec, steps=10)
    one, two = (spec.fit([random_log], RUN).arrays() for _ in range(2))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)
    other = spec.fit([random_log], RunContext(seed=4)).arrays()
    assert not np.array_equal(one["head.weight"], other["head.weight"])


def test_the_callers_random_state_is_left_alone(random_log: LabelledLog) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    replace(BLIND, steps=2).fit([random_log], RUN)
    assert torch.equal(torch.rand(3), expected)


def test_hidden_labels_are_not_learned(random_log: LabelledLog) -> None:
    """Were they read, calling a third of the real users fake would change the calibrator."""
    hidden = users_apart(random_log, 0.3, 0, "tested") & ~random_log.fake
    honest = random_log.hiding(hidden)
    lied = replace(honest, fake=random_log.fake | hidden)
    one, two = (replace(SPEC, steps=5).fit([log], RUN).arrays() for log in (honest, lied))
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_the_threshold_keeps_its_promise_on_users_who_were_not_trained_on(
    fitted: FittedCalibrator, random_log: LabelledLog
) -> None:
    aside = users_apart(random_log, 0.4, RUN.seed, "threshold") & ~random_log.fake
    scores = fitted(random_log.dataset)[aside]
    allowed = int(fitted.spec.false_alarms * len(scores))
    assert 20 < len(scores) < 80
    assert (scores > fitted.threshold).sum() <= allowed
    assert (scores >= fitted.threshold).sum() > allowed, "a lower threshold would break it"


def test_nothing_to_learn_from_is_refused(random_log: LabelledLog) -> None:
    with pytest.raises(DataError, match="no example logs"):
        BLIND.fit([], RUN)
    everybody = np.ones(random_log.dataset.n_users, dtype=bool)
    with pytest.raises(DataError, match="too few real users"):
        BLIND.fit([random_log.hiding(everybody)], RUN)


# Who is judged, by what, and from where


def test_neither_names_nor_places_of_users_are_read(
    fitted: FittedCalibrator, random_log: LabelledLog
) -> None:
    data = random_log.dataset
    order = np.random.default_rng(0).permutation(data.n_users)
    turned = reordered(data, order)
    turned = replace(
        turned, users=pl.DataFrame({"user_id": [f"somebody {n}" for n in range(data.n_users)]})
    )
    np.testing.assert_allclose(fitted(turned), fitted(data)[order], atol=1e-5)


def test_reasons_name_what_raises_the_score(
    fitted: FittedCalibrator, random_log: LabelledLog
) -> None:
    known = {*CHANNELS, "texts"} if fitted.spec.fields else set(CHANNELS[:-2])
    fakes = np.flatnonzero(random_log.fake)
    for told in fitted.reasons(random_log.dataset, fakes, most=2):
        assert 1 <= len(told) <= 2
        assert {t.rpartition(" (")[0] for t in told} <= known


def test_a_fitted_calibrator_survives_its_folder(
    fitted: FittedCalibrator, random_log: LabelledLog, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "kept")
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == [
        "arrays.safetensors", "spec.json",
    ]  # fmt: skip
    back = load_detector(tmp_path / "kept")
    assert isinstance(back, FittedCalibrator)
    np.testing.assert_array_equal(back(random_log.dataset), fitted(random_log.dataset))
    assert (back.spec, back.threshold, back.digest) == (
        fitted.spec, fitted.threshold, fitted.digest,
    )  # fmt: skip


def test_a_log_without_the_texts_that_are_read_is_refused(
    random_log: LabelledLog, train: Dataset
) -> None:
    bare = replace(train, items=train.items.drop("title"))
    fitted = replace(SPEC, steps=2).fit([random_log], RUN)
    with pytest.raises(SchemaError, match=r"reads the field 'title'.*fields = \[\]"):
        fitted(bare)
    blind = replace(BLIND, steps=2).fit([random_log], RUN)
    assert np.isfinite(blind(bare)).all()


def test_a_log_of_empty_texts_is_learned_by_the_rest(random_log: LabelledLog) -> None:
    data = random_log.dataset
    silent = replace(data, items=data.items.with_columns(title=pl.lit("")))
    log = replace(random_log, dataset=silent)
    fitted = replace(SPEC, steps=20).fit([log], RUN)
    assert "text" not in fitted.network
    assert np.isfinite(fitted(silent)).all()


def test_another_encoder_than_the_learned_one_is_refused(random_log: LabelledLog) -> None:
    fitted = replace(SPEC, steps=2).fit([random_log], RUN)
    with pytest.raises(DataError, match="is not the one that the calibrator learned"):
        replace(fitted, digest="another")(random_log.dataset)


def test_a_file_can_ask_for_it() -> None:
    from pydantic import TypeAdapter

    made = TypeAdapter(AnyDetector).validate_python({"kind": "calibrator", "fields": ["title"]})
    assert made == Calibrator()


FIT = """
name = "shop"
seed = 2
data = { kind = "marketplace", users = 60, items = 60 }
attacks = [{ kind = "random-profiles" }, { kind = "bandwagon" }]
detector = { kind = "calibrator", steps = 10, batch_size = 16, held_out = 0.4, fields = [] }
evaluation = { draws = 5 }

[threat]
surface = "profiles"
goal = { kind = "promote", items = "unpopular:2" }
budget = { profiles = 6, profile_events = 8 }
"""


def test_detect_fit_and_scan_take_it(tmp_path: Path) -> None:
    (tmp_path / "fit.toml").write_text(FIT, "utf-8")
    spec = load_fitting(tmp_path / "fit.toml")
    done = fit_detector(spec, RunContext(seed=2, folder=tmp_path / "out"))
    assert set(done.found) == {"unseen attack", "known"}
    kept = detector_of(str(tmp_path / "out"))
    assert isinstance(kept, FittedCalibrator)
    data: Dataset = spec.data.load()
    found = scan_log(kept, data, RunContext(), share=0.1)
    assert found.users["score"].is_between(0, 1).all()
    flagged = found.users.filter("flagged")
    assert 0 < flagged.height <= 7
    assert flagged["reasons"].is_not_null().all()
    p = dict(found.users.select("user_id", "score").iter_rows())
    for user in flagged["user_id"]:  # a calibrator's scores are probabilities already
        assert found.trust[user] == pytest.approx(1 - max(p[user], 0.5), abs=1e-6)
