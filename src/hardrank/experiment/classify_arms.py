"""Training stages of a classifier: the base, and from it a control and the hardened arms."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hardrank.context import RunContext, derive
from hardrank.data.labelled import Labelled, LabelledSplit, hide_labels
from hardrank.errors import Unsupported
from hardrank.experiment.classify_spec import ClassifierExperiment
from hardrank.experiment.stages import kept, key_of
from hardrank.files import digest_bytes
from hardrank.models.text_classifier import TextClassifier
from hardrank.training import Objective, Plain

if TYPE_CHECKING:
    from hardrank.models.text_classification.model import TextClassifierModel

__all__ = ["TrainedClassifier", "check_arms", "classifier_arms", "classifier_bases", "known_to"]


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedClassifier:
    """One trained classifier of a run."""

    arm: str
    seed: int
    spec: TextClassifier
    model: "TextClassifierModel"
    data: str
    """Fingerprint of the training texts."""
    folder: Path

    @property
    def subject(self) -> str:
        return f"{self.spec.kind}/{self.arm}"

    @property
    def digest(self) -> str:
        """Of everything learned, and of the encoder under it."""
        arrays = sorted(self.model.arrays().items())
        parts = [part for name, a in arrays for part in (name.encode(), a.tobytes())]
        return digest_bytes(self.model.encoder.digest.encode(), *parts)


def check_arms(experiment: ClassifierExperiment, split: LabelledSplit, run: RunContext) -> None:
    """Raises `Unsupported`, before anything is trained, for an arm that the classifier cannot
    be trained as."""
    known = known_to(experiment, split, experiment.seeds[0])
    for arm in experiment.hardenings():
        try:
            experiment.classifier.check(arm.objective, known.train, run)
        except Unsupported as error:
            raise Unsupported(f"arm {arm.name}: {error}") from error


def known_to(experiment: ClassifierExperiment, split: LabelledSplit, seed: int) -> LabelledSplit:
    """The split as training with a seed sees it: see `labelled_share`."""
    if experiment.labelled_share == 1:
        return split
    draws = np.random.default_rng(derive(seed, "labels"))
    return replace(split, train=hide_labels(split.train, experiment.labelled_share, draws))


def classifier_bases(
    experiment: ClassifierExperiment, split: LabelledSplit, run: RunContext
) -> Iterator[TrainedClassifier]:
    """One for each seed."""
    for seed in experiment.seeds:
        known = known_to(experiment, split, seed)
        yield _trained(experiment.classifier, "base", seed, known, run)


def classifier_arms(
    experiment: ClassifierExperiment,
    base: TrainedClassifier,
    split: LabelledSplit,
    run: RunContext,
) -> list[TrainedClassifier]:
    """The control, then every hardened arm. Same texts, labels, steps, seeds and fresh
    optimiser; the objective is the one value in which they differ."""
    spec = replace(base.spec, training=experiment.finetune)
    known = known_to(experiment, split, base.seed)
    objectives: dict[str, Objective] = {"control": Plain()}
    objectives |= {arm.name: arm.objective for arm in experiment.hardenings()}
    return [
        _trained(spec, arm, base.seed, known, run, objective, base.model)
        for arm, objective in objectives.items()
    ]


def _trained(
    spec: TextClassifier,
    arm: str,
    seed: int,
    split: LabelledSplit,
    run: RunContext,
    objective: Objective | None = None,
    start: "TextClassifierModel | None" = None,
) -> TrainedClassifier:
    assert run.folder is not None
    folder = run.folder / "models" / spec.kind / f"{arm}-{seed}"
    begun = [] if start is None else [v.tobytes() for _, v in sorted(start.arrays().items())]
    key = key_of(spec, seed, _fingerprint(split.train, split.valid), objective, *begun)
    context = replace(run, seed=seed, folder=folder / "training")
    model = kept(
        folder / "model", key,
        lambda arrays: spec.restore(arrays, split.train.names, context),
        lambda: spec.fit(split.train, context, valid=split.valid, objective=objective, start=start),
    )  # fmt: skip
    return TrainedClassifier(
        arm=arm, seed=seed, spec=spec, model=model, data=split.train.fingerprint, folder=folder
    )


def _fingerprint(*parts: Labelled) -> str:
    return "-".join(part.fingerprint for part in parts)
