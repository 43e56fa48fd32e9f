"""Trials whose attacker writes events into users' histories."""

from pathlib import Path

import numpy as np
import polars as pl

from hardrank.audits.history import history_audit
from hardrank.context import RunContext, derive
from hardrank.data import Holdout
from hardrank.data.splits import Split
from hardrank.experiment.arms import Trained
from hardrank.experiment.spec import Trial
from hardrank.threats import Degrade, Demote, Promote, play_all
from hardrank.threats.history import HistoryCourt, plans

__all__ = ["attacked_histories", "attacked_users"]


def attacked_users(trial: Trial, test: Holdout, seed: int) -> Holdout:
    """The same users for every arm of a seed."""
    rng = np.random.default_rng(derive(seed, "attacked users"))
    chosen = rng.permutation(len(test))[: trial.users]
    return test.take(np.sort(chosen))


def attacked_histories(
    trial: Trial,
    subject: Trained,
    split: Split,
    wanted: tuple[str, ...],
    *,
    log: Path,
    run: RunContext,
) -> pl.DataFrame:
    """One sample for each attack and user. wanted: the items of the goal."""
    world, goal = split.train, trial.threat.goal
    victims = attacked_users(trial, split.test, subject.seed)
    made = plans(subject.model, world, victims.queries, goal, wanted)
    court = HistoryCourt.of(subject.model, world, made)
    matches = play_all(
        court, trial.attacks, trial.threat, targets=[p.name for p in made], seed=subject.seed,
        log=log, run=run,
    )  # fmt: skip
    users, items = world.users["user_id"], world.items["item_id"]
    held = {
        str(users[int(u)]): str(items[int(t)])
        for u, t in zip(victims.queries.users, victims.targets, strict=True)
    }
    found = history_audit(
        subject.model, world, matches, {p.name: p for p in made}, subject=subject.subject,
        seed=subject.seed, k=goal.k if isinstance(goal, Promote | Demote | Degrade) else 10,
        held_out=held, note=trial.note,
    )  # fmt: skip
    return found
