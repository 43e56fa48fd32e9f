"""Victims of a run: trained on a log that may be poisoned, then asked by real users."""

from dataclasses import dataclass

import numpy as np

from hardrank.context import RunContext, derive
from hardrank.data import Dataset
from hardrank.data.splits import Split
from hardrank.errors import LeakError
from hardrank.experiment.poison_spec import Defence
from hardrank.experiment.poison_warm import begins, shorter
from hardrank.experiment.poison_weights import rows_by_trust
from hardrank.models import Model
from hardrank.recommender import Recommender
from hardrank.training import Objective, bound_objective

__all__ = ["Arm", "arms_of", "refuse_held_out", "trained", "trained_on"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Arm:
    """A victim with or without a defence."""

    label: str
    model: Model
    defence: Defence | None

    @property
    def subject(self) -> str:
        return f"{self.label}/{self.defence.name if self.defence else 'control'}"

    @property
    def spec(self) -> Model:
        """What is trained."""
        replaced = self.defence.model if self.defence else None
        return replaced or self.model


def arms_of(victims: dict[str, Model], defences: tuple[Defence, ...]) -> list[Arm]:
    """Each victim's control, then its defended arms."""
    return [
        Arm(label=label, model=model, defence=defence)
        for label, model in victims.items()
        for defence in (None, *defences)
        if defence is None or defence.defends(model)
    ]


def trained(arm: Arm, log: Dataset, split: Split, *, seed: int, run: RunContext) -> Recommender:
    """The arm's victim, fitted to the log and to nothing else.

    Raises `LeakError` when the log holds a held-out event: a victim that was trained on what
    it is asked about shows neither quality nor exposure.
    """
    refuse_held_out(log, split)
    context = RunContext(seed=derive(seed, "victim", arm.label), cache=run.cache)
    return arm.spec.fit(log, context, valid=split.valid, objective=_objective(arm, log))


def trained_on(
    arm: Arm,
    clean: Recommender,
    before: Dataset,
    log: Dataset,
    split: Split,
    *,
    epochs: int,
    seed: int,
    run: RunContext,
) -> Recommender:
    """The arm's victim, gone on from `clean`, which learned from `before`, for some passes over
    the log. Raises `LeakError` as `trained` does."""
    refuse_held_out(log, split)
    context = RunContext(seed=derive(seed, "victim", arm.label, "warm"), cache=run.cache)
    short = shorter(arm.spec, epochs)
    # Models without a `keep` return the epoch that validates best, unless nothing validates.
    valid = split.valid if hasattr(short, "training") else None
    return short.fit(
        log, context, valid=valid, objective=_objective(arm, log),
        start=begins(arm.spec, clean, before, log, context),
    )  # fmt: skip


def _objective(arm: Arm, log: Dataset) -> Objective | None:
    objective = arm.defence.objective if arm.defence else None
    if objective is None:
        objective = rows_by_trust(arm.spec, log)
    return bound_objective(
        objective, users=log.users["user_id"].to_list(), items=log.items["item_id"].to_list()
    )


def refuse_held_out(log: Dataset, split: Split) -> None:
    """Raises `LeakError` with the first held-out pair that is an event of the log."""
    users = log.events["user"].to_numpy().astype(np.int64)
    have = np.unique(users * log.n_items + log.event_items)
    for name, part in (("test", split.test), ("validation", split.valid)):
        keys = part.queries.users * log.n_items + part.targets
        if (found := np.flatnonzero(np.isin(keys, have))).size:
            user, item = part.queries.users[found[0]], part.targets[found[0]]
            raise LeakError(
                f"user '{log.users['user_id'][int(user)]}' and item "
                f"'{log.items['item_id'][int(item)]}' of the {name} set are in the log that a "
                "victim is to be trained on",
                remedy="train victims on the training part of the split, poisoned or not",
            )
