"""Which items attacks of a tuning aim at: none that the final audit attacks."""

from dataclasses import replace

from hardrank.context import derive
from hardrank.data.splits import Split
from hardrank.errors import DataError
from hardrank.experiment.arms import drawn_targets
from hardrank.experiment.spec import Trial
from hardrank.experiment.tune_spec import Tuning
from hardrank.threats import Goal
from hardrank.threats.select import parse

__all__ = ["aimed", "fresh_targets"]


def aimed(tuning: Tuning, split: Split, seed: int) -> tuple[Trial, ...]:
    """The attacks of the tuning on targets of its own. seed: of training."""
    audit = tuning.experiment
    reserved = frozenset(
        target
        for own in (*audit.seeds, seed)
        for trial in audit.trials
        if trial.threat.goal.kind in ("promote", "demote")
        for target in drawn_targets(trial.threat.goal, own, split)
    )
    made = []
    for trial in tuning.trials:
        items = fresh_targets(trial.threat.goal, split, seed, reserved)
        goal = replace(trial.threat.goal, items=items)  # type: ignore[arg-type]
        made.append(replace(trial, threat=replace(trial.threat, goal=goal)))
    return tuple(made)


def fresh_targets(goal: Goal, split: Split, seed: int, reserved: frozenset[str]) -> tuple[str, ...]:
    """As many items as the selection asks for, of its group, none of them `reserved`.

    Raises `DataError` where the group has too few others.
    """
    chosen = goal.items  # type: ignore[union-attr]
    assert isinstance(chosen, str)
    wanted = parse(chosen).count
    found: dict[str, None] = {}
    for attempt in range(200):
        drawn = drawn_targets(goal, derive(seed, "tuning", attempt), split)
        found |= dict.fromkeys(t for t in drawn if t not in reserved)
        if len(found) >= wanted:
            rows = split.train.item_rows
            return tuple(sorted(list(found)[:wanted], key=lambda t: int(rows[t])))
    raise DataError(
        f"{wanted} targets wanted for tuning, but all items of '{chosen}' except {len(found)} are "
        "targets of the audit",
        field="tune.trials",
        remedy="ask for fewer targets in [[tune.trials]] or in the audit",
    )
