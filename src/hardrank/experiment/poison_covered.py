"""Which families of attacks by fake users a run tried on which arm: read off the experiment
and the samples."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from hardrank.audits.checks import Check
from hardrank.audits.coverage import (
    Cell,
    coverage_findings,
    coverage_samples,
    coverage_stated,
    family_of,
    known_cells,
)
from hardrank.audits.samples import gather
from hardrank.experiment.poison_findings import ADAPTIVE
from hardrank.experiment.poison_spec import Defence, PoisonExperiment, family
from hardrank.findings import Finding
from hardrank.threats.court import label

__all__ = ["poison_coverage", "seen_by", "tried"]

Tried = dict[Cell, list[str]]


def poison_coverage(
    experiment: PoisonExperiment, samples: pl.DataFrame
) -> tuple[pl.DataFrame, list[Finding], list[Check]]:
    """Samples, findings and one check an arm. A cell is a family and a goal; attacks that know
    the defence have rows of their own, of the group `adaptive`."""
    rows = samples.filter((pl.col("audit") == "promotion") & (pl.col("trial") != "clean"))
    clean = samples.filter(pl.col("audit") == "utility")
    subjects: Sequence[str] = clean["subject"].unique(maintain_order=True).to_list()
    cells = [cell for cell in known_cells() if cell.surface == "profiles"]
    plain: dict[str, Tried] = {}
    adaptive: dict[str, Tried] = {}
    for subject in subjects:
        plain[subject], adaptive[subject] = tried(experiment, rows, subject)
    table = gather(
        coverage_samples(
            s, plain[s], trained_on=_seen(experiment, s), cells=cells, adaptive=adaptive[s]
        )
        for s in subjects
    )
    checks = [coverage_stated(s, plain[s] | adaptive[s], cells=cells) for s in subjects]
    return table, coverage_findings(table, plain, adaptive), checks


def tried(experiment: PoisonExperiment, samples: pl.DataFrame, subject: str) -> tuple[Tried, Tried]:
    """Cell -> trials that ran on the subject; those that know its defence apart."""
    mine = samples.filter((pl.col("subject") == subject) & pl.col("error").is_null())
    ran = set(mine["trial"].unique())
    defence = _defence(experiment, subject)
    adapted = defence.adaptive if defence else ()
    return (
        _by_cell(experiment, [(a, label(a)) for a in experiment.attacks], ran),
        _by_cell(experiment, [(a, f"{label(a)}{ADAPTIVE}") for a in adapted], ran),
    )


def _by_cell(
    experiment: PoisonExperiment, attacks: Sequence[tuple[Any, str]], ran: set[str]
) -> Tried:
    found: Tried = {}
    for attack, trial in attacks:
        if trial in ran:
            cell = Cell(family_of(attack.kind), "profiles", experiment.threat.goal.kind)
            found.setdefault(cell, []).append(trial)
    return found


def seen_by(experiment: PoisonExperiment, defence: Defence | None) -> set[str]:
    """Families of attacks that the arm's detector learns from while one of them is held out:
    those with attacks of two kinds or more. Nothing for a detector that meets no attack."""
    learner = defence.detector if defence else None
    if not hasattr(learner, "fit") or hasattr(learner, "fit_trusted"):
        return set()
    kinds: dict[str, set[str]] = {}
    for attack in experiment.attacks:
        kinds.setdefault(family_of(attack.kind), set()).add(family(attack))
    return {name for name, several in kinds.items() if len(several) > 1}


def _seen(experiment: PoisonExperiment, subject: str) -> set[str]:
    return seen_by(experiment, _defence(experiment, subject))


def _defence(experiment: PoisonExperiment, subject: str) -> Defence | None:
    arm = subject.partition("/")[2]
    return next((d for d in experiment.defences if d.name == arm), None)
