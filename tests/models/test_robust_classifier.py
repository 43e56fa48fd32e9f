"""A text classifier's validation under attack, after each epoch of hardening."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardrank.context import RunContext
from hardrank.data.labelled import Labelled, LabelledSplit, split_labelled
from hardrank.errors import Unsupported
from hardrank.hardening import Adversarial, CatastrophicOverfitting, StopAtRobustError
from hardrank.models.judge import Judge
from hardrank.models.text_classification.robust import robust_row
from hardrank.models.text_classifier import TextClassifier
from hardrank.perturbations import FGSM, PGD
from hardrank.training import Training
from hardrank.types import Site

TRAINING = Training(
    epochs=3, batch_size=32, learning_rate=5e-3, patience=0, precision="float32", keep="last"
)


@pytest.fixture(scope="module")
def spec(make_encoder: Callable[..., Path]) -> TextClassifier:
    return TextClassifier(encoder=str(make_encoder("bert")), max_tokens=12, training=TRAINING)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    return RunContext(seed=1, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def split() -> LabelledSplit:
    """`good` and `new` are praise, `bad` and `old` are not."""
    rng = np.random.default_rng(0)
    filler, said = ("red", "blue", "mug", "lamp"), (("bad", "old"), ("good", "new"))
    labels = np.arange(160) % 2
    texts = [" ".join([*rng.choice(filler, 2), said[y][rng.integers(2)]]) for y in labels]
    data = Labelled(texts=tuple(texts), labels=labels, names=("blame", "praise"))
    return split_labelled(data, np.random.default_rng(0), valid=0.3, test=0.2)


def log_of(spec: TextClassifier, split: LabelledSplit, run: RunContext, objective: Any) -> Any:
    spec.fit(split.train, run, valid=split.valid, objective=objective)
    assert run.folder is not None
    (path,) = run.folder.rglob("training.json")
    return json.loads(path.read_text("utf-8"))


@pytest.mark.parametrize("site", ["text-vectors", "token-embeddings"])
def test_each_epoch_has_both_series(
    site: Site, spec: TextClassifier, split: LabelledSplit, run: RunContext, tmp_path: Path
) -> None:
    """S0-19, S1-61: loss and accuracy (1 - error), clean and attacked; the most robust epoch."""
    training = replace(TRAINING, keep="robust")
    objective = Adversarial(inner=FGSM(), radius=0.02, site=site)
    log = log_of(replace(spec, training=training), split, replace(run, folder=tmp_path), objective)
    assert len(log["history"]) == 3
    for row in log["history"]:
        assert row["clean_error"] == pytest.approx(1 - row["accuracy"])
        assert row["clean_loss"] == pytest.approx(-row["log_likelihood"], rel=1e-5)
        assert row["robust_loss"] > row["clean_loss"]
        assert row["robust_error"] >= row["clean_error"]
        assert 0 <= row["single_step_error"] <= 1
    errors = [row["robust_error"] for row in log["history"]]
    assert log["kept_epoch"] == 1 + int(np.argmin(errors))


def test_rules_of_an_objective_act_here_too(
    spec: TextClassifier, split: LabelledSplit, run: RunContext, tmp_path: Path
) -> None:
    """S0-12."""
    stop = Adversarial(
        inner=PGD(steps=2), radius=0.02, site="text-vectors", stop=(StopAtRobustError(target=1.0),)
    )
    log = log_of(spec, split, replace(run, folder=tmp_path), stop)
    assert log["epoch"] == 1 and "reached the target 1" in log["finished"]
    wrong = replace(stop, stop=(CatastrophicOverfitting(),))
    with pytest.raises(Unsupported, match="an `inner` of one step"):
        spec.fit(split.train, run, valid=split.valid, objective=wrong)


def test_without_hardening_nothing_is_attacked(
    spec: TextClassifier, split: LabelledSplit, run: RunContext, tmp_path: Path
) -> None:
    log = log_of(spec, split, replace(run, folder=tmp_path), None)
    assert set(log["history"][0]) == {"epoch", "loss", "log_likelihood", "accuracy", "seconds"}
    assert "robust" not in log


def test_at_radius_zero_the_attacked_texts_are_the_clean_ones(
    spec: TextClassifier, split: LabelledSplit, run: RunContext
) -> None:
    from hardrank.models.text_classification.fit import _Texts

    model = spec.fit(split.train, run, valid=split.valid)
    assert split.valid is not None
    batches = _Texts(split.valid, model._network, None).batches(np.arange(20), 7)
    row = robust_row(Judge(inner=PGD(), radius=0.0), model._network, batches, "text-vectors", 0)
    assert row["robust_error"] == row["clean_error"]
    assert row["robust_loss"] == row["clean_loss"]
    right = model.logits(split.valid.texts[:20]).argmax(1) == split.valid.labels[:20]
    assert row["clean_error"] == pytest.approx(1 - right.mean())
