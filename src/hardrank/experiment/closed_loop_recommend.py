"""The experiment file that a closed loop recommends."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hardrank.experiment.arm_spec import Arm
from hardrank.experiment.closed_loop_plan import spelt_arm
from hardrank.experiment.closed_loop_spec import ClosedLoop
from hardrank.experiment.spec import parse_experiment
from hardrank.reports.sections.method import toml

__all__ = ["recommended_toml"]


def recommended_toml(closed: ClosedLoop, arm: Arm, trained_on: Sequence[str]) -> str:
    """The file of the loop with the best arm in place of its own ones, as TOML.

    Attacks that wrote its training texts are marked `seen`, in a trial of their own where
    others stand beside them: results against them are no evidence against new ones.
    """
    kept = {k: v for k, v in closed.raw.items() if k not in ("harden", "arms")}
    known = {closed.attacks[label][0] for label in trained_on}
    pairs = zip(kept.get("trials", ()), closed.experiment.trials, strict=True)
    trials: list[dict[str, Any]] = []
    for raw, trial in pairs:
        seen = [attack in known for attack in trial.attacks]
        for state in dict.fromkeys(seen):
            part = [a for a, s in zip(raw["attacks"], seen, strict=True) if s == state]
            trials.append({**raw, "attacks": part} | ({"seen": True} if state else {}))
    made = {**kept, "arms": [spelt_arm(replace(arm, name="hardened"))]}
    if trials:
        made["trials"] = trials
    parse_experiment(made)
    return "\n".join(toml(made)).strip() + "\n"
