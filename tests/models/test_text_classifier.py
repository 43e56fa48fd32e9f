"""The text classifier: learns, is calibrated, is attacked at both sites, hardens, restores."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from hardrank.context import RunContext
from hardrank.data import Queries
from hardrank.data.labelled import Labelled, LabelledSplit, LabelledTexts, split_labelled
from hardrank.encoders.cache import open_store
from hardrank.errors import BundleError, DataError, Unsupported
from hardrank.hardening import Adversarial
from hardrank.metrics.calibration import expected_calibration_error
from hardrank.models.text_classification.calibration import fit_temperature, scaled
from hardrank.models.text_classification.model import TextClassifierModel
from hardrank.models.text_classifier import TextClassifier
from hardrank.perturbations import PGD, Gaussian, absolute
from hardrank.recommender import Classifier, Differentiable
from hardrank.training import Training

Make = Callable[..., Path]
NOBODY = Queries.of([])
QUICK = Training(epochs=12, batch_size=16, learning_rate=5e-3, patience=0, precision="float32")


def _world(n: int = 240) -> Labelled:
    """One right answer: `good` and `new` are praise, `bad` and `old` are not."""
    rng = np.random.default_rng(0)
    filler, said = ("red", "blue", "mug", "lamp", "kitchen"), (("bad", "old"), ("good", "new"))
    labels = np.arange(n) % 2
    texts = [
        " ".join(rng.permutation([*rng.choice(filler, 2), said[y][rng.integers(2)], f"{k}"]))
        for k, y in enumerate(labels)
    ]
    return Labelled(texts=tuple(texts), labels=labels, names=("blame", "praise"))


@pytest.fixture(scope="module")
def bert(make_encoder: Make) -> str:
    return str(make_encoder("bert"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    return RunContext(seed=1, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def split() -> LabelledSplit:
    return split_labelled(_world(), np.random.default_rng(0), valid=0.2, test=0.3)


def _spec(bert: str, unfreeze: int = 0, **changed: object) -> TextClassifier:
    return TextClassifier(
        encoder=bert, max_tokens=12, unfreeze=unfreeze, **({"training": QUICK} | changed)
    )


@pytest.fixture(scope="module", params=[0, 1, -1])
def fitted(
    request: pytest.FixtureRequest, bert: str, split: LabelledSplit, run: RunContext
) -> tuple[TextClassifier, TextClassifierModel]:
    spec = _spec(bert, request.param)
    return spec, spec.fit(split.train, run, valid=split.valid)


def _accuracy(model: TextClassifierModel, data: Labelled) -> float:
    return float((model.probabilities(data.texts).argmax(axis=1) == data.labels).mean())


def test_learns_the_planted_words(
    fitted: tuple[TextClassifier, TextClassifierModel], split: LabelledSplit
) -> None:
    model = fitted[1]
    assert isinstance(model, Classifier) and isinstance(model, Differentiable)
    assert model.labels == ("blame", "praise")
    assert _accuracy(model, split.test) > {0: 0.75, 1: 0.9, -1: 0.95}[fitted[0].unfreeze]
    p = model.probabilities(["good mug", ""])
    assert p.dtype == np.float32 and p.shape == (2, 2)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    assert model.probabilities([]).shape == (0, 2)


def test_restore_gives_equal_probabilities_to_the_last_bit(
    fitted: tuple[TextClassifier, TextClassifierModel], split: LabelledSplit, run: RunContext
) -> None:
    spec, model = fitted
    arrays = model.arrays()
    learned = {n for n in arrays if n.startswith("encoder/")}
    assert bool(learned) == (spec.unfreeze != 0)
    if spec.unfreeze == 1:
        assert all("layer.2." in n for n in learned)
    again = spec.restore(arrays, model.labels, run)
    fresh = spec.restore(arrays, model.labels, run)
    np.testing.assert_array_equal(
        again.probabilities(split.test.texts), fresh.probabilities(split.test.texts)
    )
    np.testing.assert_allclose(
        again.probabilities(split.test.texts), model.probabilities(split.test.texts), atol=1e-6
    )
    assert again.calibration == model.calibration
    assert all(np.array_equal(v, arrays[k]) for k, v in again.arrays().items())


def test_same_seed_same_weights(bert: str, split: LabelledSplit, run: RunContext) -> None:
    one, two = (_spec(bert, 1).fit(split.train, run, valid=split.valid) for _ in range(2))
    other = _spec(bert, 1).fit(split.train, run.seeded(9), valid=split.valid)
    same = [np.array_equal(v, two.arrays()[k]) for k, v in one.arrays().items()]
    assert all(same)
    assert not np.array_equal(one.arrays()["head/1.weight"], other.arrays()["head/1.weight"])


def test_kill_and_resume_ends_with_the_same_weights(
    bert: str, split: LabelledSplit, run: RunContext, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    class DiesInEpoch6:
        kind = "plain"

        def __repr__(self) -> str:
            return "None"  # the same experiment as without it

        def __call__(self, network: torch.nn.Module, batch: object, step: object) -> torch.Tensor:
            if step.epoch == 5:
                raise Killed
            return network.loss(batch)

    whole = _spec(bert, 1).fit(split.train, run, valid=split.valid)
    here = replace(run, folder=tmp_path)
    with pytest.raises(Killed):
        _spec(bert, 1).fit(split.train, here, valid=split.valid, objective=DiesInEpoch6())
    assert (tmp_path / "checkpoint.safetensors").exists()
    resumed = _spec(bert, 1).fit(split.train, here, valid=split.valid)
    for name, value in whole.arrays().items():
        np.testing.assert_array_equal(resumed.arrays()[name], value)


# Calibration


def test_temperature_finds_the_planted_one() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(size=(4000, 3)) * 1.5
    p = scaled(honest.astype(np.float32), 1.0)
    labels = np.array([rng.choice(3, p=row / row.sum()) for row in p.astype(np.float64)])
    found = fit_temperature((honest * 4).astype(np.float32), labels)
    assert found.temperature == pytest.approx(4, rel=0.08)
    assert found.ece_before > 0.15 and found.ece_after < 0.03 and found.n == 4000


def test_separable_logits_do_not_run_away() -> None:
    found = fit_temperature(np.eye(2, dtype=np.float32)[[0, 1, 0]], np.array([0, 1, 0]))
    # 3 texts, 2 classes, all gaps 1: best where the true class has the smoothed 4 / 5
    assert found.temperature == pytest.approx(1 / np.log(4), rel=1e-4)
    assert fit_temperature(np.zeros((0, 2), np.float32), np.zeros(0, np.int64)).temperature == 1


def test_without_validation_nothing_is_scaled(
    bert: str, split: LabelledSplit, run: RunContext
) -> None:
    model = _spec(bert).fit(split.train, run)
    assert model.calibration.temperature == 1 and model.calibration.n == 0
    np.testing.assert_allclose(model.probabilities(["red"]), scaled(model.logits(["red"]), 1.0))


# White box


def _log_odds(p: np.ndarray) -> np.ndarray:
    return np.log(p) - np.log1p(-p)


def test_surface_at_zero_is_the_clean_loss(
    fitted: tuple[TextClassifier, TextClassifierModel], split: LabelledSplit
) -> None:
    model, test = fitted[1], split.test.take(np.arange(9))
    truth = scaled(model.logits(test.texts), 1.0)[np.arange(9), test.labels]
    for site in model.sites:
        surface = model.surface(site, "flip", NOBODY, test.labels, test.texts)
        zero = torch.zeros_like(surface.like)
        np.testing.assert_allclose(surface.loss(zero).numpy(), -np.log(truth), rtol=1e-3, atol=1e-5)
        p = model.perturbed_scores(site, "flip", NOBODY, test.labels, zero, test.texts)
        np.testing.assert_allclose(p, model.probabilities(test.texts), atol=1e-5)
        moved = 0.05 * torch.randn(surface.like.shape, generator=torch.Generator().manual_seed(0))
        p = model.perturbed_scores(site, "flip", NOBODY, test.labels, moved, test.texts)
        np.testing.assert_allclose(
            _log_odds(np.exp(-surface.loss(moved).numpy())) / model.calibration.temperature,
            _log_odds(p[np.arange(9), test.labels]),
            rtol=1e-3,
            atol=1e-2,
        )
    assert model.surface(
        "text-vectors", "flip", NOBODY, test.labels, test.texts
    ).scale == pytest.approx(1)


def test_pgd_beats_noise_and_padding_stays(
    fitted: tuple[TextClassifier, TextClassifierModel], split: LabelledSplit
) -> None:
    model, test = fitted[1], split.test.take(np.arange(16))
    for site in model.sites:
        surface = model.surface(site, "flip", NOBODY, test.labels, test.texts)
        losses = {}
        for attack in (PGD(steps=5), Gaussian(draws=6)):
            radius = absolute(0.3, surface.scale, attack.norm, surface.like.shape[-1])
            delta = attack(
                surface.loss,
                surface.like,
                radius=radius,
                mask=surface.mask,
                generator=torch.Generator().manual_seed(0),
            )
            losses[attack.kind] = float(surface.loss(delta).mean())
            if surface.mask is not None:
                assert not delta[~surface.mask].any()
        assert losses["pgd"] > 1.1 * losses["gaussian"]


def test_linear_head_is_moved_along_its_weights(
    bert: str, split: LabelledSplit, run: RunContext
) -> None:
    """The steepest point of a linear two-class head is known: along w_other - w_true."""
    model = _spec(bert).fit(split.train, run, valid=split.valid)
    test = split.test.take(np.arange(4))
    surface = model.surface("text-vectors", "flip", NOBODY, test.labels, test.texts)
    delta = PGD(steps=20)(
        surface.loss, surface.like, radius=0.1, generator=torch.Generator().manual_seed(0)
    ).numpy()
    weight = model.arrays()["head/1.weight"]
    way = weight[1 - test.labels] - weight[test.labels]
    best = 0.1 * way / np.linalg.norm(way, axis=1, keepdims=True)
    np.testing.assert_allclose(delta, best, atol=1e-3)


def test_text_gradient_is_the_slope_by_each_word(
    fitted: tuple[TextClassifier, TextClassifierModel],
) -> None:
    model, text = fitted[1], "red blueish mug"
    found = model.text_gradient("flip", NOBODY, 1, text)
    assert found.words == ("red", "blueish", "mug")
    surface = model.surface("token-embeddings", "flip", NOBODY, np.array([1]), [text])
    table, tokens = model.encoder.vocabulary_embeddings, model.encoder.words(text).tokens
    assert tokens == ((1,), (2, 3), (4,))
    np.testing.assert_array_equal(found.current[1], (table[7] + table[8]).numpy())
    for word, places in enumerate(tokens):
        slope = torch.from_numpy(found.gradient[word])
        delta = torch.zeros_like(surface.like)
        # the same small step for each token of the word: its first-order rise is the mean's
        delta[0, list(places)] = 1e-2 * slope / slope.norm() / len(places)
        with torch.no_grad():
            rise = float(surface.loss(delta) - surface.loss(-delta))
        assert rise == pytest.approx(2e-2 * float(slope.norm()), rel=0.05)


def test_the_margin_is_above_zero_where_another_label_wins(
    fitted: tuple[TextClassifier, TextClassifierModel], split: LabelledSplit
) -> None:
    """The other label's logit less the true one's, clean and perturbed."""
    model, test = fitted[1], split.test
    surface = model.surface("text-vectors", "flip", NOBODY, test.labels, test.texts, loss="margin")
    rows, logits = np.arange(len(test)), model.logits(test.texts)
    with torch.no_grad():
        clean = surface.loss(torch.zeros_like(surface.like)).numpy()
    np.testing.assert_allclose(
        clean, logits[rows, 1 - test.labels] - logits[rows, test.labels], atol=1e-4
    )
    delta = PGD(steps=10)(
        surface.loss, surface.like, radius=1.0, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        flipped = surface.loss(delta).numpy() > 0
    moved = model.perturbed_scores("text-vectors", "flip", NOBODY, test.labels, delta, test.texts)
    assert np.array_equal(flipped, moved.argmax(axis=1) != test.labels)
    assert flipped.mean() > (clean > 0).mean()
    with pytest.raises(Unsupported, match="no loss 'rank'"):
        model.surface("text-vectors", "flip", NOBODY, test.labels, test.texts, loss="rank")


def test_what_it_cannot_be_asked(fitted: tuple[TextClassifier, TextClassifierModel]) -> None:
    model, truth = fitted[1], np.array([0])
    with pytest.raises(Unsupported, match="not to promote"):
        model.surface("text-vectors", "promote", NOBODY, truth, ["red"])
    with pytest.raises(Unsupported, match="no site 'item-vectors'"):
        model.surface("item-vectors", "flip", NOBODY, truth, ["red"])
    with pytest.raises(Unsupported, match="2 texts with 1 true labels"):
        model.surface("text-vectors", "flip", NOBODY, truth, ["red", "blue"])
    with pytest.raises(Unsupported, match=r"in 0\.\.1"):
        model.surface("text-vectors", "flip", NOBODY, np.array([2]), ["red"])


# Hardening


@pytest.mark.parametrize("unfreeze", [0, 1])
@pytest.mark.parametrize("site", ["text-vectors", "token-embeddings"])
def test_no_weight_on_the_attack_is_plain_training(
    site: str, unfreeze: int, bert: str, split: LabelledSplit, run: RunContext
) -> None:
    short = replace(QUICK, epochs=3)
    spec = _spec(bert, unfreeze, training=short)
    idle = Adversarial(site=site, inner=PGD(steps=2), radius=0.1, weight=0)
    plain = spec.fit(split.train, run, valid=split.valid)
    hardened = spec.fit(split.train, run, valid=split.valid, objective=idle)
    for name, value in plain.arrays().items():
        np.testing.assert_array_equal(hardened.arrays()[name], value)
    alive = replace(idle, weight=1.0)
    moved = spec.fit(split.train, run, valid=split.valid, objective=alive)
    assert not np.array_equal(moved.arrays()["head/1.weight"], plain.arrays()["head/1.weight"])


def test_hardening_goes_on_from_the_control_and_withstands_more(
    bert: str, split: LabelledSplit, run: RunContext
) -> None:
    spec = _spec(bert, 2, training=replace(QUICK, keep="last"))
    control = spec.fit(split.train, run, valid=split.valid)
    arms = {
        "control": None,
        "hardened": Adversarial(site="text-vectors", inner=PGD(steps=3), radius=0.4),
    }
    right = {}
    for arm, objective in arms.items():
        model = spec.fit(split.train, run, valid=split.valid, objective=objective, start=control)
        surface = model.surface("text-vectors", "flip", NOBODY, split.test.labels, split.test.texts)
        delta = PGD(steps=10)(
            surface.loss,
            surface.like,
            radius=0.4 * surface.scale,
            generator=torch.Generator().manual_seed(0),
        )
        p = model.perturbed_scores(
            "text-vectors", "flip", NOBODY, split.test.labels, delta, split.test.texts
        )
        right[arm] = float(np.log(p[np.arange(len(p)), split.test.labels]).mean())
        assert _accuracy(model, split.test) > 0.9
    assert right["hardened"] > right["control"]


def test_start_must_be_of_the_same_kind(bert: str, split: LabelledSplit, run: RunContext) -> None:
    short = replace(QUICK, epochs=1)
    frozen = _spec(bert, training=short).fit(split.train, run)
    with pytest.raises(Unsupported, match="another `unfreeze`"):
        _spec(bert, 1, training=short).fit(split.train, run, start=frozen)
    renamed = replace(split.train, names=("x", "y"))
    with pytest.raises(Unsupported, match="knows the classes"):
        _spec(bert, training=short).fit(renamed, run, start=frozen)


# Bad input


def test_bad_specs_and_data(bert: str, split: LabelledSplit, run: RunContext) -> None:
    with pytest.raises(ValidationError, match="unfreeze"):
        TextClassifier(unfreeze=-2)
    with pytest.raises(ValidationError, match="sise"):
        TextClassifier(sise=3)
    with pytest.raises(Unsupported, match="3 layers"):
        _spec(bert, 4).fit(split.train, run)
    one = split.train.take(np.flatnonzero(split.train.labels == 0))
    with pytest.raises(DataError, match="no training text of class praise"):
        _spec(bert).fit(one, run)
    with pytest.raises(DataError, match="validation has classes"):
        _spec(bert).fit(split.train, run, valid=replace(split.valid, names=("x", "y")))


def test_arrays_of_another_spec_are_refused(
    bert: str, split: LabelledSplit, run: RunContext
) -> None:
    short = replace(QUICK, epochs=1)
    arrays = _spec(bert, training=short).fit(split.train, run).arrays()
    names = split.train.names
    with pytest.raises(BundleError, match="do not fit"):
        _spec(bert, hidden=8).restore(arrays, names, run)
    with pytest.raises(BundleError, match="another choice of layers"):
        _spec(bert, 1).restore(arrays, names, run)
    with pytest.raises(BundleError, match="no weight 'x'"):
        _spec(bert).restore(arrays | {"encoder/x": np.zeros(1)}, names, run)
    del arrays["calibration"]
    with pytest.raises(BundleError, match="'calibration' is missing"):
        _spec(bert).restore(arrays, names, run)


# Real reviews


@pytest.mark.slow
def test_deceptive_reviews_are_told_apart_and_flipped(data_folder: Path, tmp_path: Path) -> None:
    """Fake against real hotel reviews (Ott et al. 2011): MiniLM frozen, 400 of 1600 texts."""
    path = data_folder / "attacked-text" / "deceptive-opinion" / "deceptive-opinion.csv"
    source = LabelledTexts(path=path, label="deceptive", shares=(0.2, 0.3))
    some = np.random.default_rng(0).permutation(1600)[:400]
    split = source.split(source.load().take(some), np.random.default_rng(0))
    open_store.cache_clear()
    run = RunContext(cache=tmp_path)
    # Trained long past its optimum, so that there is something to calibrate.
    greedy = Training(
        epochs=150, batch_size=32, learning_rate=2e-2, patience=0, keep="last", precision="float32"
    )
    model = TextClassifier(max_tokens=64, dropout=0.0, training=greedy).fit(
        split.train, run, valid=split.valid
    )
    assert _accuracy(model, split.test) > 0.62  # 120 texts, chance 0.5, its 99 % bound 0.61
    assert model.calibration.temperature > 1.2
    assert model.calibration.ece_after < model.calibration.ece_before - 0.03
    raw = scaled(model.logits(split.test.texts), 1.0)
    assert expected_calibration_error(
        model.probabilities(split.test.texts), split.test.labels
    ) < expected_calibration_error(raw, split.test.labels)
    attacked = split.test.take(np.arange(12))
    for site, norm in (("text-vectors", "l2"), ("token-embeddings", "token-l2")):
        surface = model.surface(site, "flip", NOBODY, attacked.labels, attacked.texts)
        losses = []
        for attack in (PGD(steps=2, norm=norm), Gaussian(norm=norm, draws=2)):
            delta = attack(
                surface.loss,
                surface.like,
                radius=0.1 * surface.scale,
                generator=torch.Generator().manual_seed(0),
                mask=surface.mask,
            )
            losses.append(float(surface.loss(delta).mean()))
        assert losses[0] > 2 * losses[1]
