"""Which items each round of a closed loop attacks: fresh ones, none of the final audit's."""

from dataclasses import replace

from hardrank.context import derive
from hardrank.data.splits import Split
from hardrank.errors import DataError
from hardrank.experiment.arms import drawn_targets
from hardrank.experiment.closed_loop_spec import ClosedLoop
from hardrank.experiment.spec import Trial
from hardrank.experiment.tune_targets import fresh_targets
from hardrank.threats import Promote

__all__ = ["FINAL", "audited", "round_trials"]

FINAL = -1
"""Number of the round that confirms: its targets are drawn before all others."""


def audited(closed: ClosedLoop, split: Split, seed: int) -> frozenset[str]:
    """Targets of the experiment's own audit, for all of its seeds and `seed`."""
    return frozenset(
        target
        for own in (*closed.experiment.seeds, seed)
        for trial in closed.experiment.trials
        if trial.threat.goal.kind in ("promote", "demote")
        for target in drawn_targets(trial.threat.goal, own, split)
    )


def round_trials(closed: ClosedLoop, split: Split, seed: int, number: int) -> tuple[Trial, ...]:
    """The loop's attacks on the targets of round `number`. seed: of training.

    No target is one of the audit's or of the confirmation's; of earlier rounds' only where the
    group has too few others. Raises `DataError` where even so there are too few.
    """
    reserved = audited(closed, split, seed)
    used: frozenset[str] = frozenset()
    made = _aimed(closed, split, seed, FINAL, reserved, used)
    reserved |= _items(made)
    for n in range(number + 1):
        made = _aimed(closed, split, seed, n, reserved, used)
        used |= _items(made)
    return made


def _aimed(
    closed: ClosedLoop,
    split: Split,
    seed: int,
    number: int,
    reserved: frozenset[str],
    used: frozenset[str],
) -> tuple[Trial, ...]:
    made = []
    for trial in closed.trials:
        items = _drawn(trial, split, derive(seed, "loop", number), reserved, used)
        goal = replace(trial.threat.goal, items=items)  # type: ignore[arg-type]
        made.append(replace(trial, threat=replace(trial.threat, goal=goal)))
    return tuple(made)


def _drawn(
    trial: Trial, split: Split, seed: int, reserved: frozenset[str], used: frozenset[str]
) -> tuple[str, ...]:
    goal = trial.threat.goal
    try:
        return fresh_targets(goal, split, seed, reserved | used)
    except DataError:  # the group is used up: draw anew, which earlier rounds may have had
        pass
    try:
        return fresh_targets(goal, split, seed, reserved)
    except DataError as error:
        assert isinstance(goal, Promote)
        raise DataError(
            f"the group '{goal.items}' has too few items beside the targets of the audit and of "
            "the loop's confirmation",
            field="loop.trials",
            remedy="ask for fewer targets in [[loop.trials]] or in the audit",
        ) from error


def _items(trials: tuple[Trial, ...]) -> frozenset[str]:
    return frozenset(item for trial in trials for item in trial.threat.goal.items)  # type: ignore[union-attr]
