"""Whatever `harden` can spell, a text classifier trains by it or refuses it before training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from hardrank.context import RunContext
from hardrank.data.labelled import Labelled
from hardrank.errors import Unsupported
from hardrank.experiment.arm_spec import AnyObjective
from hardrank.hardening import Adversarial, Part
from hardrank.models.text_classifier import TextClassifier
from hardrank.perturbations import FGM, Gaussian
from hardrank.training import Training

SITE: dict[str, Any] = {"site": "text-vectors"}
AT = SITE | {"radius": 0.1}
ATTACK = AT | {"inner": FGM()}
TRAINED: dict[str, dict[str, Any]] = {
    "adversarial": ATTACK,
    "apr": {"sites": ("text-vectors",), "radius": 0.1},
    "awp": ATTACK,
    "free": AT,
    "freelb": AT,
    "generalised-cross-entropy": {},
    "gradient-penalty": SITE,
    "kl-consistency": AT | {"inner": Gaussian()},
    "logit-pairing": ATTACK,
    "mart": ATTACK,
    "mixture": {"parts": (Part(share=1.0, objective=Adversarial(**ATTACK)),)},
    "r-drop": {},
    "reweighted-cross-entropy": {},
    "sample-masking": ATTACK,
    "smart": ATTACK,
    "trades": ATTACK,
    "truncated-cross-entropy": {},
    "vat": AT,
}
REFUSED: dict[str, dict[str, Any]] = {
    "apr": {"radius": 0.1},
    "discrete": {},
    "mixture": {
        "parts": (Part(share=1.0, objective=Adversarial(inner=FGM(), radius=0.1)),),
    },
    "pama-cf": {"radius": 0.1},
    "recognition": {},
    "reweighted": {"users": {"u": 0.5}},
    "text-augmentation": {},
    "trades": {"inner": FGM(), "radius": 0.1},
    "user-adaptive": {"radius": 0.1},
}
KINDS = {made.kind: made for made in get_args(get_args(AnyObjective)[0])}


@pytest.fixture(scope="module")
def spec(make_encoder: Callable[..., Path]) -> TextClassifier:
    quick = Training(epochs=2, batch_size=16, learning_rate=5e-3, patience=0, precision="float32")
    return TextClassifier(encoder=str(make_encoder("bert")), max_tokens=12, training=quick)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    return RunContext(seed=1, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def reviews() -> Labelled:
    rng, said = np.random.default_rng(0), (("bad", "old"), ("good", "new"))
    labels = np.arange(48) % 2
    texts = [f"{rng.choice(['red', 'blue'])} mug {said[y][rng.integers(2)]}" for y in labels]
    return Labelled(texts=tuple(texts), labels=labels, names=("blame", "praise"))


def test_every_kind_is_here() -> None:
    assert set(KINDS) == set(TRAINED) | set(REFUSED)


@pytest.mark.parametrize("kind", TRAINED)
def test_trains(spec: TextClassifier, run: RunContext, reviews: Labelled, kind: str) -> None:
    """With validation under attack after each epoch."""
    objective = KINDS[kind](**TRAINED[kind])
    spec.check(objective, reviews, run)
    plain, made = (
        spec.fit(reviews, run, valid=reviews, objective=o).arrays()["head/1.weight"]
        for o in (None, objective)
    )
    assert np.isfinite(made).all() and not np.array_equal(made, plain)


@pytest.mark.parametrize("kind", REFUSED)
def test_refuses_before_training(
    spec: TextClassifier, run: RunContext, reviews: Labelled, kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("trained all the same")

    monkeypatch.setattr("hardrank.models.text_classification.fit.train", refuse)
    objective = KINDS[kind](**REFUSED[kind])
    with pytest.raises(Unsupported, match=f"'{'adversarial' if kind == 'mixture' else kind}'"):
        spec.check(objective, reviews, run)
    with pytest.raises(Unsupported):
        spec.fit(reviews, run, objective=objective)
