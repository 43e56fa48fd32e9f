"""Training stages of a classifier: the base, and from it a control and a hardened arm."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hardrank.context import RunContext
from hardrank.data.labelled import Labelled, LabelledSplit
from hardrank.experiment.classify_spec import ClassifierExperiment
from hardrank.experiment.stages import kept, key_of
from hardrank.files import digest_bytes
from hardrank.models.text_classifier import TextClassifier
from hardrank.training import Objective, Plain

if TYPE_CHECKING:
    from hardrank.models.text_classification.model import TextClassifierModel

__all__ = ["TrainedClassifier", "classifier_arms", "classifier_bases"]


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


def classifier_bases(
    experiment: ClassifierExperiment, split: LabelledSplit, run: RunContext
) -> Iterator[TrainedClassifier]:
    """One for each seed."""
    for seed in experiment.seeds:
        yield _trained(experiment.classifier, "base", seed, split, run)


def classifier_arms(
    experiment: ClassifierExperiment,
    base: TrainedClassifier,
    split: LabelledSplit,
    run: RunContext,
) -> list[TrainedClassifier]:
    """[control, hardened], or [control] without `[harden]`. Same texts, steps, seeds and fresh
    optimiser; the objective is the one value in which they differ."""
    spec = replace(base.spec, training=experiment.finetune)
    objectives: dict[str, Objective] = {"control": Plain()}
    if experiment.harden:
        objectives["hardened"] = experiment.harden
    return [
        _trained(spec, arm, base.seed, split, run, objective, base.model)
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
