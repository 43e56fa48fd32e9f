"""Training stages: the base, and from it a control and a hardened arm that differ in one value."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hardrank.context import RunContext, derive
from hardrank.data.splits import Split, cold_split
from hardrank.errors import ConfigError, Unsupported
from hardrank.experiment.arm_spec import Arm
from hardrank.experiment.forge import SuiteForge
from hardrank.experiment.spec import Experiment
from hardrank.experiment.stages import kept_model, key_of
from hardrank.hardening import Discrete, Forged, Recognition, TextAugmentation
from hardrank.recommender import ModelSpec, Recommender
from hardrank.threats import Demote, Goal, Promote, targets
from hardrank.training import Plain, Training

__all__ = [
    "Trained",
    "arms",
    "audited_items",
    "bases",
    "check_arms",
    "drawn_targets",
    "hidden",
    "labels",
    "ways_of",
]

_NO_TRAINING_NEEDED = ("popularity", "item-knn", "tfidf", "knn-tfidf")
"""Kinds that no seed changes: trained once."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """One trained recommender of a run."""

    label: str
    arm: str
    seed: int
    spec: ModelSpec
    model: Recommender
    data: str
    """Fingerprint of the training events."""

    @property
    def subject(self) -> str:
        return f"{self.label}/{self.arm}"


def labels(specs: Sequence[ModelSpec]) -> list[str]:
    """One name a spec: its kind, numbered from the second of a kind on."""
    kinds = [s.kind for s in specs]
    return [k if (n := kinds[:i].count(k)) == 0 else f"{k}-{n + 1}" for i, k in enumerate(kinds)]


def check_arms(experiment: Experiment) -> None:
    """What can be refused before anything is trained: raises `Unsupported` for a bound that
    the model does not have, `ConfigError` for a model beside it that is not compared."""
    for arm in experiment.hardenings():
        _bounded(experiment.model, arm)
    known = labels([experiment.model, *experiment.compare])[1:]
    unknown = [name for name in experiment.beside if name not in known]
    if unknown:
        have = ", ".join(known) or "none"
        raise ConfigError(experiment.name, [f"beside: no model '{unknown[0]}'; has: {have}"])


def bases(experiment: Experiment, split: Split, run: RunContext) -> Iterator[Trained]:
    """The victim and every model beside it, for each seed."""
    specs: list[ModelSpec] = [experiment.model, *experiment.compare]
    for spec, label in zip(specs, labels(specs), strict=True):
        for seed in experiment.seeds:
            if spec.kind in _NO_TRAINING_NEEDED and seed != experiment.seeds[0]:
                continue
            yield _trained(spec, label, "base", seed, split, run)


def hidden(experiment: Experiment, source: Any, run: RunContext) -> Iterator[tuple[Trained, Split]]:
    """The models of `[cold]`, trained once more with other items hidden for each seed."""
    if experiment.cold is None:
        return
    specs: list[ModelSpec] = [experiment.model, *experiment.compare]
    by_label = dict(zip(labels(specs), specs, strict=True))
    unknown = [name for name in experiment.cold.models if name not in by_label]
    if unknown:
        known = ", ".join(by_label)
        raise ConfigError(experiment.name, [f"cold.models: no model '{unknown[0]}'; has: {known}"])
    for seed in experiment.seeds:
        split = cold_split(
            source, experiment.split, experiment.cold.share, derive(seed, "cold-items")
        )
        for label in experiment.cold.models:
            yield _trained(by_label[label], label, "hidden", seed, split, run), split


def arms(experiment: Experiment, base: Trained, split: Split, run: RunContext) -> list[Trained]:
    """The control, then every hardened arm. Same data, steps, seeds and fresh optimiser; what
    the `Arm` names is all in which they differ."""
    return [
        _trained(
            spec, base.label, name, base.seed, split, run, objective, base.model,
            experiment.finetune,
        )
        for name, objective, spec in ways_of(experiment, base, split, run)
    ]  # fmt: skip


def ways_of(
    experiment: Experiment, base: Trained, split: Split, run: RunContext
) -> list[tuple[str, Any, ModelSpec]]:
    """(name, objective, model spec) of the control and of every hardened arm."""
    ways: list[tuple[str, Any, ModelSpec]] = [("control", Plain(), base.spec)]
    for arm in experiment.hardenings():
        objective = _objective(experiment, arm, base, split, run)
        ways.append((arm.name, objective, _bounded(base.spec, arm)))
    return ways


def _objective(
    experiment: Experiment, arm: Arm, base: Trained, split: Split, run: RunContext
) -> Any:
    if arm.forge is None:
        return arm.objective or Plain()
    spared = audited_items(experiment, base.seed, split)
    forge = SuiteForge(arm.forge, base.seed, spared, split.train, run)
    assert isinstance(arm.objective, Discrete | Recognition | TextAugmentation)
    return Forged(arm.objective, forge)


def _bounded(spec: ModelSpec, arm: Arm) -> ModelSpec:
    """Raises `Unsupported` for a model whose texts have no such bound."""
    if arm.influence is None:
        return spec
    if not hasattr(spec, "influence"):
        raise Unsupported(
            f"arm {arm.name}: '{spec.kind}' has no bound on its texts' influence; "
            "use a 'text-sequence' model, or an objective such as 'adversarial'"
        )
    return replace(spec, influence=arm.influence)  # type: ignore[type-var]


def audited_items(experiment: Experiment, seed: int, split: Split) -> tuple[str, ...]:
    """Ids of every item that some trial attacks under this seed, sorted."""
    goals = dict.fromkeys(t.threat.goal for t in experiment.trials)
    aimed = [g for g in goals if isinstance(g, Promote | Demote)]
    return tuple(sorted({item for goal in aimed for item in drawn_targets(goal, seed, split)}))


def drawn_targets(goal: Goal, seed: int, split: Split) -> tuple[str, ...]:
    """What the attacks of a goal aim at: the same for every arm and model of a seed."""
    generator = np.random.default_rng(derive(seed, "targets", repr(goal)))
    return targets(goal, split.train, generator)


def _trained(
    spec: ModelSpec,
    label: str,
    arm: str,
    seed: int,
    split: Split,
    run: RunContext,
    objective: Any = None,
    start: Recommender | None = None,
    training: Training | None = None,
) -> Trained:
    if training is not None:
        if not hasattr(spec, "training"):
            raise Unsupported(f"{label} is not trained step by step, so it cannot be hardened")
        spec = replace(spec, training=training)  # type: ignore[type-var]
    folder = _folder(run, label, arm, seed)
    shared = folder.parents[1] / "training"
    begun = [] if start is None else [v.tobytes() for _, v in sorted(start.arrays().items())]
    key = key_of(spec, seed, split.train.fingerprint, split.valid.fingerprint, objective, *begun)
    context = replace(run, seed=seed, folder=folder / "training" if start else shared)
    model = kept_model(
        folder / "model", key, spec, split.train.items, context,
        lambda: spec.fit(
            split.train, context, valid=split.valid, objective=objective, start=start
        ),
    )  # fmt: skip
    return Trained(
        label=label, arm=arm, seed=seed, spec=spec, model=model, data=split.train.fingerprint
    )


def _folder(run: RunContext, label: str, arm: str, seed: int) -> Path:
    assert run.folder is not None
    return run.folder / "models" / label / f"{arm}-{seed}"
