"""The four gates of every robustness claim, asked of a run's own samples and models."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from hardrank.audits.attempts import (
    attacks_work_undefended,
    black_box_no_better,
    errors_counted,
    several_seeds_agree,
)
from hardrank.audits.checks import Check
from hardrank.audits.claims import Arm, control_present, text_confirmation, unseen_present
from hardrank.audits.convergence import convergence_checks
from hardrank.audits.coverage import coverage_stated
from hardrank.audits.gradients import gradient_checks
from hardrank.audits.leaks import split_without_leaks, targets_not_in_training_pool
from hardrank.audits.outputs import output_checks
from hardrank.audits.probe import Probe
from hardrank.audits.quality import quality_floor, ranks_for_somebody
from hardrank.audits.sanity import Strength, rises_with_radius, stronger_attack, unbounded_wins
from hardrank.audits.transfer import transfer_checks
from hardrank.context import RunContext
from hardrank.data.splits import Split
from hardrank.experiment.arms import Trained, audited_items
from hardrank.experiment.attacked import chosen_targets
from hardrank.experiment.covered import (
    blind,
    families,
    measured,
    text_labels,
    trained_on,
    white_and_black,
)
from hardrank.experiment.roles import control_of, is_hardened
from hardrank.experiment.spec import Curve, Experiment
from hardrank.findings import Finding
from hardrank.recommender import ModelSpec
from hardrank.types import Ints

__all__ = ["Pools", "checks", "steps_of"]

_PANEL = 128
"""Queries that the gradient checks look at."""
_FEW = 32
"""Rows of a probe of an attack, and the queries through whom it promotes."""
_TOKENS = 8
"""Rows of a probe at the tokens: the whole encoder runs at each step."""

Pools = Mapping[tuple[str, int], Collection[str]]
"""(subject, seed) -> ids of the items whose attacked texts its hardening trained on."""


def checks(
    experiment: Experiment,
    samples: pl.DataFrame,
    findings: Sequence[Finding],
    subjects: Sequence[Trained],
    split: Split,
    run: RunContext,
    *,
    pools: Pools | None = None,
) -> list[Check]:
    """Gates 1 to 4 for each arm, on its first seed where the model itself is asked."""
    first = [s for s in subjects if s.seed == experiment.seeds[0]]
    leak = split_without_leaks(split, subject="")
    made: list[Check] = []
    for subject in first:
        name = subject.subject
        made += ranks_for_somebody(subject.model, split.test.queries, subject=name)
        made += output_checks(subject.model, split.test.queries, subject=name)
        made += _gradients(experiment, subject, split)
        for curve in experiment.curves:
            made += _strengths(curve, samples, name)
        cells = measured(experiment, samples, name)
        made += [replace(leak, subject=name), coverage_stated(name, cells)]
        made += errors_counted(samples, subject=name)
    made += _attempts(experiment, samples, first)
    made += _probed(experiment, first, split)
    for subject in first:
        if is_hardened(subject.arm):
            made += _claims(experiment, samples, findings, subjects, subject, run)
            made += _pools(experiment, subjects, subject.subject, split, pools or {})
    return made


def _claims(
    experiment: Experiment,
    samples: pl.DataFrame,
    findings: Sequence[Finding],
    subjects: Sequence[Trained],
    hardened: Trained,
    run: RunContext,
) -> Iterator[Check]:
    name, control = hardened.subject, control_of(hardened.subject)
    have = set(samples.filter(pl.col("subject") == control)["group"].drop_nulls())
    yield from quality_floor(
        samples, hardened=name, control=control, price=experiment.gates.price,
        groups=["all", *(g for g in ("tail", "cold") if g in have)],
    )  # fmt: skip
    twin = _arm(subjects, hardened.label, hardened.arm, run)
    assert twin is not None
    yield control_present(twin, _arm(subjects, hardened.label, "control", run))
    # A text attack looks at the hardened model itself through its view, so it is adaptive.
    kinds, seen = families(experiment), trained_on(experiment, hardened.arm)
    yield from unseen_present(
        findings, subject=name, families=kinds, trained_on=seen,
        adaptive=set(kinds) - blind(experiment),
    )  # fmt: skip
    texts = text_labels(experiment)
    confirmed = text_confirmation(findings, subject=name, trained_on=seen, texts=texts)
    if confirmed is not None:
        yield confirmed
    if texts:
        yield several_seeds_agree(samples, subject=name, trials=texts)


def _attempts(
    experiment: Experiment, samples: pl.DataFrame, first: Sequence[Trained]
) -> Iterator[Check]:
    """What the trials themselves are worth, by the control of each model."""
    for label in dict.fromkeys(s.label for s in first):
        names, control = [s.subject for s in first if s.label == label], f"{label}/control"
        yield from attacks_work_undefended(
            samples, control=control, subjects=names, blind=blind(experiment)
        )
        for name in names:
            yield from black_box_no_better(
                samples, subject=name, control=control, groups=white_and_black(experiment)
            )


def _pools(
    experiment: Experiment, subjects: Sequence[Trained], name: str, split: Split, pools: Pools
) -> Iterator[Check]:
    for subject in (s for s in subjects if s.subject == name and (name, s.seed) in pools):
        wanted = audited_items(experiment, subject.seed, split)
        pool = pools[name, subject.seed]
        yield targets_not_in_training_pool(wanted, pool, subject=name, seed=subject.seed)


def _arm(subjects: Sequence[Trained], label: str, name: str, run: RunContext) -> Arm | None:
    found = [s for s in subjects if s.label == label and s.arm == name]
    if not found:
        return None
    assert run.folder is not None
    return Arm(
        subject=f"{label}/{name}",
        data=found[0].data,
        model=repr(_unbounded(found[0].spec)),
        seeds=tuple(s.seed for s in found),
        steps=tuple(steps_of(run.folder / "models" / label / f"{name}-{s.seed}") for s in found),
        restarts=1,
    )


def _unbounded(spec: ModelSpec) -> ModelSpec:
    """Bounds on the influence of text are a defence, not another model."""
    if getattr(spec, "influence", None) is None:
        return spec
    return replace(spec, influence=None)  # type: ignore[type-var]


def steps_of(folder: Path) -> int:
    """Of the latest training there: an altered experiment leaves the older ones beside it."""
    logs = sorted((folder / "training").glob("*/training.json"), key=lambda p: p.stat().st_mtime)
    return int(json.loads(logs[-1].read_text("utf-8"))["steps"]) if logs else 0


def _gradients(experiment: Experiment, subject: Trained, split: Split) -> Iterator[Check]:
    """Once for each site and goal that a curve uses."""
    for goal, site in dict.fromkeys((c.goal, c.site) for c in experiment.curves):
        rows = np.flatnonzero(split.test.queries.lengths > 0)[:_PANEL]
        queries = split.test.queries.take(rows)
        degrades = goal == "degrade"
        items = split.test.targets[rows] if degrades else _wanted(experiment, subject, split)
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


def _probed(experiment: Experiment, first: Sequence[Trained], split: Split) -> Iterator[Check]:
    """Each curve's first attack at the middle one of its radii: did it finish, and does it
    beat what was made on the control?"""
    for curve in experiment.curves:
        probes = {s.subject: _probe(experiment, curve, s, split) for s in first}
        rows = 1 if curve.site == "token-embeddings" else 8
        for name, probe in probes.items():
            yield from convergence_checks(probe, rows=rows)
            twin = probes.get(control_of(name))
            if twin is not None and is_hardened(name):
                yield from transfer_checks(probe, twin)


def _probe(experiment: Experiment, curve: Curve, subject: Trained, split: Split) -> Probe:
    most = _TOKENS if curve.site == "token-embeddings" else _FEW
    rows = np.flatnonzero(split.test.queries.lengths > 0)[:_FEW]
    if curve.goal == "degrade":
        rows = rows[:most]
        items = split.test.targets[rows]
    else:
        items = _wanted(experiment, subject, split)[:most]
    return Probe(
        model=subject.model, site=curve.site, goal=curve.goal, loss=curve.loss,
        queries=split.test.queries.take(rows), items=items, inner=curve.inners[0],
        radius=sorted(curve.radii)[len(curve.radii) // 2], subject=subject.subject,
    )  # fmt: skip


def _wanted(experiment: Experiment, subject: Trained, split: Split) -> Ints:
    return np.array([split.train.item_rows[t] for t in chosen_targets(experiment, subject, split)])
