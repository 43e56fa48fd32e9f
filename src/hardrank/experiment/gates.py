"""The four gates of every robustness claim, asked of a run's own samples and models."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from hardrank.audits.checks import Check
from hardrank.audits.claims import Arm, control_present, unseen_present
from hardrank.audits.gradients import gradient_checks
from hardrank.audits.quality import quality_floor, ranks_for_somebody
from hardrank.audits.sanity import Strength, rises_with_radius, stronger_attack, unbounded_wins
from hardrank.context import RunContext
from hardrank.data.splits import Split
from hardrank.experiment.arms import Trained
from hardrank.experiment.attacked import chosen_targets
from hardrank.experiment.spec import Curve, Experiment
from hardrank.findings import Finding

__all__ = ["checks", "steps_of"]

CONTROLS = ("random-words", "random-characters", "natural-noise", "gaussian", "uniform")
"""Attacks that look at nothing: no evidence of adaptivity."""
_PANEL = 128
"""Queries that the gradient checks look at."""


def checks(
    experiment: Experiment,
    samples: pl.DataFrame,
    findings: Sequence[Finding],
    subjects: Sequence[Trained],
    split: Split,
    run: RunContext,
) -> list[Check]:
    """Gates 1 to 4 for each arm, on its first seed where the model itself is asked."""
    first = [s for s in subjects if s.seed == experiment.seeds[0]]
    made: list[Check] = []
    for subject in first:
        made += ranks_for_somebody(subject.model, split.test.queries, subject=subject.subject)
        made += _gradients(experiment, subject, split)
        for curve in experiment.curves:
            made += _strengths(curve, samples, subject.subject)
    for subject in first:
        if subject.arm == "hardened":
            made += _claims(experiment, samples, findings, subjects, subject, run)
    return made


def _claims(
    experiment: Experiment,
    samples: pl.DataFrame,
    findings: Sequence[Finding],
    subjects: Sequence[Trained],
    hardened: Trained,
    run: RunContext,
) -> Iterator[Check]:
    control = f"{hardened.label}/control"
    have = set(samples.filter(pl.col("subject") == control)["group"].drop_nulls())
    yield from quality_floor(
        samples, hardened=hardened.subject, control=control, price=experiment.gates.price,
        groups=["all", *(g for g in ("tail", "cold") if g in have)],
    )  # fmt: skip
    twin = _arm(subjects, hardened.label, "hardened", run)
    assert twin is not None
    yield control_present(twin, _arm(subjects, hardened.label, "control", run))
    # A text attack looks at the hardened model itself through its view, so it is adaptive;
    # training in vector space has seen none of the text families.
    families: dict[str, str] = {
        label: attack.kind
        for trial in experiment.trials
        if trial.threat.surface == "item-text"
        for attack, label in zip(trial.attacks, trial.labels(), strict=True)
    }
    families |= {c.label(i): "representation" for c in experiment.curves for i in c.inners}
    trained_on = {"representation"} | {
        attack.kind for trial in experiment.trials if trial.seen for attack in trial.attacks
    }
    adaptive = [t for t, kind in families.items() if kind not in CONTROLS]
    yield from unseen_present(
        findings, subject=hardened.subject, families=families, trained_on=trained_on,
        adaptive=adaptive,
    )  # fmt: skip


def _arm(subjects: Sequence[Trained], label: str, name: str, run: RunContext) -> Arm | None:
    found = [s for s in subjects if s.label == label and s.arm == name]
    if not found:
        return None
    assert run.folder is not None
    return Arm(
        subject=f"{label}/{name}",
        data=found[0].data,
        model=repr(found[0].spec),
        seeds=tuple(s.seed for s in found),
        steps=tuple(steps_of(run.folder / "models" / label / f"{name}-{s.seed}") for s in found),
        restarts=1,
    )


def steps_of(folder: Path) -> int:
    """Of the latest training there: an altered experiment leaves the older ones beside it."""
    logs = sorted((folder / "training").glob("*/training.json"), key=lambda p: p.stat().st_mtime)
    return int(json.loads(logs[-1].read_text("utf-8"))["steps"]) if logs else 0


def _gradients(experiment: Experiment, subject: Trained, split: Split) -> Iterator[Check]:
    """Once for each site and goal that a curve uses."""
    for goal, site in dict.fromkeys((c.goal, c.site) for c in experiment.curves):
        rows = np.flatnonzero(split.test.queries.lengths > 0)[:_PANEL]
        queries = split.test.queries.take(rows)
        if goal == "degrade":
            items = split.test.targets[rows]
        else:
            wanted = chosen_targets(experiment, subject, split)
            items = np.array([split.train.item_rows[t] for t in wanted])
        yield from gradient_checks(
            subject.model, site, goal, queries, items, subject=subject.subject
        )


def _strengths(curve: Curve, samples: pl.DataFrame, subject: str) -> Iterator[Check]:
    strength = Strength(subject=subject, goal=curve.goal, site=curve.site)
    weakest_first = [curve.label(inner) for inner in reversed(curve.inners)]
    if curve.ordered:
        yield stronger_attack(samples, strength, weakest_first)
    strongest = weakest_first[-1]
    yield rises_with_radius(samples, strength, strongest)
    if curve.unbounded:
        yield unbounded_wins(samples, strength, strongest, radius=curve.unbounded)
