"""What an experiment attacks and what its arms train on, as families: read off the specs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import polars as pl

from hardrank.attacks import EVERY_ATTACK
from hardrank.audits.checks import Check
from hardrank.audits.coverage import (
    REPRESENTATION,
    Cell,
    coverage_findings,
    coverage_samples,
    family_of,
)
from hardrank.audits.samples import gather
from hardrank.experiment.roles import is_hardened
from hardrank.experiment.spec import Experiment
from hardrank.findings import Finding
from hardrank.threats.court import level

__all__ = ["blind", "coverage", "families", "measured", "text_labels", "trained_on"]
__all__ += ["white_and_black"]

CONTROLS = (
    "random-words", "random-characters", "natural-noise", "random-events", "gaussian", "uniform",
)  # fmt: skip
"""Attacks that look at nothing: no evidence of adaptivity."""


def families(experiment: Experiment) -> dict[str, str]:
    """Trial label -> family of its attack."""
    found = {label: family_of(attack.kind) for _, attack, label in _played(experiment)}
    return found | {c.label(i): REPRESENTATION for c in experiment.curves for i in c.inners}


def blind(experiment: Experiment) -> set[str]:
    """Labels of the trials whose attack looks at nothing."""
    found = {label for _, attack, label in _played(experiment) if attack.kind in CONTROLS}
    return found | {c.label(i) for c in experiment.curves for i in c.inners if i.kind in CONTROLS}


def text_labels(experiment: Experiment) -> list[str]:
    """Trials that rewrite item text to promote."""
    return [label for trial, _, label in _played(experiment) if _promotes_text(trial)]


def trained_on(experiment: Experiment, arm: str) -> set[str]:
    """Families that the arm's objective trains against, whatever its form: every attack and
    every bounded perturbation that stands anywhere in it. And those of trials that say `seen`."""
    named = getattr(experiment, "arms", ())
    arms = dict(named) if isinstance(named, Mapping) else {a.name: a for a in named}
    found = {family_of(attack.kind) for trial, attack, _ in _played(experiment) if trial.seen}
    for part in _parts(arms.get(arm, experiment.harden)):
        if isinstance(part, EVERY_ATTACK):
            found.add(family_of(str(part.kind)))  # type: ignore[attr-defined]
        elif hasattr(part, "norm") or isinstance(getattr(part, "site", None), str):
            found.add(REPRESENTATION)
    return found


def white_and_black(experiment: Experiment) -> list[tuple[list[str], list[str]]]:
    """(white-box, black-box) trials that share goal, field and budget; whole-text attacks and
    blind ones aside. Only where both sides have one."""
    groups: dict[str, tuple[list[str], list[str]]] = {}
    for trial, attack, label in _played(experiment):
        threat = trial.threat
        if not _promotes_text(trial) or attack.whole_text or attack.kind in CONTROLS:
            continue
        sides = groups.setdefault(repr((threat.goal, threat.field, threat.budget)), ([], []))
        sides[0 if level(attack, threat) == "gradients" else 1].append(label)
    return [sides for sides in groups.values() if all(sides)]


def measured(experiment: Experiment, samples: pl.DataFrame, subject: str) -> dict[Cell, list[str]]:
    """Cell of the coverage matrix -> trials that ran on the subject."""
    rows = samples.filter((pl.col("subject") == subject) & pl.col("error").is_null())
    ran = set(rows.filter(pl.col("audit").is_in(["promotion", "history"]))["trial"])
    curves = rows.filter(pl.col("audit") == "curve")
    curved = set(curves.select("trial", "goal", "site").unique().iter_rows())
    found: dict[Cell, list[str]] = {}
    for trial, attack, label in _played(experiment):
        if label in ran:
            cell = Cell(family_of(attack.kind), trial.threat.surface, trial.threat.goal.kind)
            found.setdefault(cell, []).append(label)
    for curve in experiment.curves:
        for inner in curve.inners:
            if (curve.label(inner), curve.goal, curve.site) in curved:
                cell = Cell(REPRESENTATION, REPRESENTATION, curve.goal)
                found.setdefault(cell, []).append(f"{curve.label(inner)} at {curve.site}")
    return found


def coverage(
    experiment: Experiment, samples: pl.DataFrame, asked: Sequence[Check]
) -> tuple[pl.DataFrame, list[Finding]]:
    """Samples and findings of the coverage matrix, for every subject that was asked about."""
    subjects = list(dict.fromkeys(c.subject for c in asked if c.name == "coverage_stated"))
    cells = {s: measured(experiment, samples, s) for s in subjects}
    table = gather(coverage_samples(s, cells[s], trained_on=_seen(experiment, s)) for s in subjects)
    return table, coverage_findings(table, cells)


def _seen(experiment: Experiment, subject: str) -> set[str]:
    arm = subject.rpartition("/")[2]
    return trained_on(experiment, arm) if is_hardened(arm) else set()


def _played(experiment: Experiment) -> Iterator[tuple[Any, Any, str]]:
    """(trial, attack, its label)."""
    for trial in experiment.trials:
        for attack, label in zip(trial.attacks, trial.labels(), strict=True):
            yield trial, attack, label


def _promotes_text(trial: Any) -> bool:
    return bool(trial.threat.surface == "item-text" and trial.threat.goal.kind == "promote")


def _parts(value: Any) -> Iterator[Any]:
    """The spec and everything inside it."""
    yield value
    if is_dataclass(value):
        for field in fields(value):
            yield from _parts(getattr(value, field.name))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _parts(each)
