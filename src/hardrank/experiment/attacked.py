"""Attack stages: text attacks through the referee, and curves of representation attacks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hardrank.audits import samples as table
from hardrank.audits.curves import degrade_curve, promote_curve
from hardrank.audits.promotion import promotion
from hardrank.audits.stealth import Stealth
from hardrank.audits.utility import utility
from hardrank.context import RunContext, derive
from hardrank.data import Dataset, Holdout
from hardrank.data.splits import Split
from hardrank.experiment.arms import Trained, drawn_targets
from hardrank.experiment.attacked_histories import attacked_histories
from hardrank.experiment.spec import Curve, Experiment, Trial
from hardrank.experiment.stages import kept_samples, key_of
from hardrank.perturbations import Inner
from hardrank.threats import (
    Degrade,
    Demote,
    Goal,
    Promote,
    digest_victim,
    mount_all,
    sample_panel,
)

__all__ = ["attacked", "chosen_targets", "clean", "curves", "some"]


def clean(
    subject: Trained, holdout: Holdout, groups: Sequence[str], data: Dataset, run: RunContext
) -> pl.DataFrame:
    """Samples of clean quality: where each test user's held-out item ranks."""
    names = data.users["user_id"].to_list()
    key = key_of(
        "utility", digest_victim(subject.model), holdout.fingerprint, data.fingerprint,
        tuple(groups),
    )  # fmt: skip
    return kept_samples(
        _folder(run, "utility", subject), key,
        lambda: utility(
            subject.model, holdout, subject=subject.subject, seed=subject.seed, groups=groups,
            names=names,
        ),
    )  # fmt: skip


def attacked(
    experiment: Experiment,
    trial: Trial,
    subject: Trained,
    split: Split,
    groups: Sequence[str],
    run: RunContext,
) -> pl.DataFrame:
    """Samples of one trial: each attack on each target, judged on every test user."""
    queries = split.test.queries
    goal = trial.threat.goal
    wanted = () if isinstance(goal, Degrade) else _targets(goal, subject, split)
    panel = sample_panel(
        queries, experiment.gates.panel, np.random.default_rng(derive(subject.seed, "panel"))
    )
    stealth = Stealth.of(split.train, trial.threat.field)
    key = key_of(
        trial, experiment.gates, digest_victim(subject.model), wanted, queries.fingerprint,
        split.train.fingerprint,
    )  # fmt: skip

    def play() -> pl.DataFrame:
        if trial.threat.surface == "history":
            return attacked_histories(
                trial, subject, split, wanted, log=_log(run, subject), run=run
            )
        matches = mount_all(
            trial.attacks, trial.threat, subject.model, split.train, panel=panel, targets=wanted,
            seed=subject.seed, judge=stealth.judge, log=_log(run, subject), run=run,
        )  # fmt: skip
        return promotion(
            subject.model, matches, queries, subject=subject.subject, seed=subject.seed,
            k=goal.k if isinstance(goal, Promote | Demote) else 10,
            success_exposure=experiment.gates.success, stealth=stealth, groups=groups,
            note=trial.note,
        )  # fmt: skip

    return kept_samples(_folder(run, f"trial-{key_of(trial)[:8]}", subject), key, play)


def curves(
    experiment: Experiment,
    curve: Curve,
    subject: Trained,
    split: Split,
    groups: Sequence[str],
    run: RunContext,
) -> pl.DataFrame:
    """Samples of one robustness curve, one trial for each inner maximiser."""
    radii = (0.0, *curve.radii, *((curve.unbounded,) if curve.unbounded else ()))
    wanted = chosen_targets(experiment, subject, split)
    holdout = some(split.test, experiment.gates.users, subject.seed)
    key = key_of(
        curve, radii, wanted, experiment.gates, digest_victim(subject.model),
        holdout.fingerprint, split.train.fingerprint, subject.seed,
    )  # fmt: skip

    def play() -> pl.DataFrame:
        return table.gather(_curve(inner) for inner in curve.inners)

    def _curve(inner: Inner) -> pl.DataFrame:
        about: dict[str, Any] = {
            "site": curve.site, "inner": inner, "radii": radii, "subject": subject.subject,
            "seed": subject.seed, "trial": curve.label(inner), "loss": curve.loss, "groups": groups,
        }  # fmt: skip
        if curve.goal == "degrade":
            return degrade_curve(subject.model, holdout, **about)
        rows = np.array([split.train.item_rows[t] for t in wanted])
        generator = np.random.default_rng(derive(subject.seed, "panel"))
        panel = sample_panel(split.test.queries, experiment.gates.panel, generator)
        success = experiment.gates.success
        return promote_curve(
            subject.model, rows, holdout.queries, panel=panel, success_exposure=success, **about
        )

    return kept_samples(_folder(run, f"curve-{key_of(curve)[:8]}", subject), key, play)


def chosen_targets(experiment: Experiment, subject: Trained, split: Split) -> tuple[str, ...]:
    """The targets that curves promote: those of the first trial that has any."""
    goals = [t.threat.goal for t in experiment.trials if t.threat.goal.kind == "promote"]
    goal = goals[0] if goals else Promote()
    return _targets(goal, subject, split)


def some(holdout: Holdout, users: int | None, seed: int) -> Holdout:
    """`users` held-out events in random order of users, all where None."""
    if users is None or users >= len(holdout):
        return holdout
    order = np.random.default_rng(derive(seed, "users")).permutation(len(holdout))
    return holdout.take(np.sort(order[:users]))


def _targets(goal: Goal, subject: Trained, split: Split) -> tuple[str, ...]:
    return drawn_targets(goal, subject.seed, split)


def _folder(run: RunContext, name: str, subject: Trained) -> Path:
    assert run.folder is not None
    return run.folder / "stages" / name / subject.label / f"{subject.arm}-{subject.seed}"


def _log(run: RunContext, subject: Trained) -> Path:
    assert run.folder is not None
    return run.folder / "matches" / f"{subject.label}-{subject.arm}-{subject.seed}.jsonl"
