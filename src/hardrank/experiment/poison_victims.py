"""Victims of a run: trained on a log that may be poisoned, then asked by real users."""

from dataclasses import dataclass

from hardrank.audits.poisoning import Seen, look
from hardrank.context import RunContext, derive
from hardrank.data import Dataset
from hardrank.data.splits import Split
from hardrank.experiment.poison_spec import Defence
from hardrank.models import Model
from hardrank.training import bound_objective
from hardrank.types import Ints

__all__ = ["Arm", "arms_of", "seen_by"]


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


def seen_by(
    arm: Arm, log: Dataset, split: Split, targets: Ints, *, seed: int, run: RunContext
) -> Seen:
    """Train on the log, then look at what the test users see. targets: (T,) item rows."""
    objective = arm.defence.objective if arm.defence else None
    if objective is not None:
        objective = bound_objective(  # type: ignore[assignment]
            objective, users=log.users["user_id"].to_list(), items=log.items["item_id"].to_list()
        )
    context = RunContext(seed=derive(seed, "victim", arm.label), cache=run.cache)
    model = arm.spec.fit(log, context, valid=split.valid, objective=objective)
    return look(model, split.test, targets)
