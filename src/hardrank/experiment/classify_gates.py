"""The four gates of every robustness claim, asked of a classifier's samples and models."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from hardrank.audits.checks import Check
from hardrank.audits.claims import Arm, control_present, unseen_present
from hardrank.audits.flip_gates import auc_floor, flip_gradients, tells_texts_apart
from hardrank.audits.sanity import Strength, rises_with_radius, stronger_attack, unbounded_wins
from hardrank.data.labelled import Labelled
from hardrank.experiment.classify_arms import TrainedClassifier
from hardrank.experiment.classify_findings import claims
from hardrank.experiment.classify_spec import ClassifierExperiment, FlipCurve, perturbed
from hardrank.experiment.gates import steps_of
from hardrank.experiment.roles import control_of, is_hardened
from hardrank.findings import Finding

__all__ = ["classifier_checks"]

_TOKENS = 8
"""Texts whose tokens the gradient checks move: the whole encoder runs five times on them."""


def classifier_checks(
    experiment: ClassifierExperiment,
    samples: pl.DataFrame,
    findings: Sequence[Finding],
    subjects: Sequence[TrainedClassifier],
    test: Labelled,
) -> list[Check]:
    """Gates 1 to 4 for each arm, on its first seed where the model itself is asked."""
    made: list[Check] = []
    for subject in (s for s in subjects if s.seed == experiment.seeds[0]):
        made += [
            tells_texts_apart(samples, subject=s.subject, seed=s.seed)
            for s in subjects
            if s.arm == subject.arm
        ]
        for site in dict.fromkeys(curve.site for curve in experiment.curves):
            most = experiment.gates.texts if site == "text-vectors" else _TOKENS
            some = test.take(np.arange(min(most, len(test))))
            made += flip_gradients(
                subject.model, site, some, subject=subject.subject, seed=subject.seed
            )
        for curve in experiment.curves:
            made += _strengths(curve, samples, subject.subject)
        if is_hardened(subject.arm):
            made += _claims(experiment, samples, findings, subjects, subject)
    return made


def _claims(
    experiment: ClassifierExperiment,
    samples: pl.DataFrame,
    findings: Sequence[Finding],
    subjects: Sequence[TrainedClassifier],
    hardened: TrainedClassifier,
) -> Iterator[Check]:
    yield auc_floor(
        samples, hardened=hardened.subject, control=control_of(hardened.subject),
        points=experiment.gates.points,
    )  # fmt: skip
    twin = _arm(subjects, hardened.arm)
    assert twin is not None
    yield control_present(twin, _arm(subjects, "control"))
    # A perturbation at another site than the one trained on is another family of attack; each
    # follows the hardened model's own gradients, so it knows the defence.
    objectives = {arm.name: arm.objective for arm in experiment.hardenings()}
    families = {trial: c.site for c in experiment.curves for trial in claims(c).values()}
    flips = [f for f in findings if f.audit == "flip"]  # a curve's trial does not name its site
    yield from unseen_present(
        flips, subject=hardened.subject, families=families,
        trained_on=perturbed(objectives[hardened.arm]), adaptive=list(families),
    )  # fmt: skip


def _arm(subjects: Sequence[TrainedClassifier], name: str) -> Arm | None:
    found = [s for s in subjects if s.arm == name]
    if not found:
        return None
    return Arm(
        subject=found[0].subject,
        data=found[0].data,
        model=repr(found[0].spec),
        seeds=tuple(s.seed for s in found),
        steps=tuple(steps_of(s.folder) for s in found),
        restarts=1,
    )


def _strengths(curve: FlipCurve, samples: pl.DataFrame, subject: str) -> Iterator[Check]:
    strength = Strength(subject=subject, goal="flip", site=curve.site)
    weakest_first = [curve.label(inner) for inner in reversed(curve.inners)]
    yield stronger_attack(samples, strength, weakest_first)
    yield rises_with_radius(samples, strength, weakest_first[-1])
    if curve.unbounded:
        yield unbounded_wins(samples, strength, weakest_first[-1], radius=curve.unbounded)
