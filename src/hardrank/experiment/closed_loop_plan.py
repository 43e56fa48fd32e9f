"""Rounds of a closed loop: what the next one trains, whether it is kept, when to stop.

Nothing here trains or measures, so that every decision can be read off the log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter

from hardrank.experiment.arm_spec import Arm, ForgeSpec
from hardrank.experiment.closed_loop_spec import ClosedLoop, LoopStep
from hardrank.experiment.tune_front import Limit
from hardrank.threats import Budget

__all__ = [
    "Audit",
    "Round",
    "arm_of",
    "best_of",
    "found_weak",
    "judged",
    "next_arm",
    "spelt_arm",
    "stopped",
    "weakest",
]

_ARM: TypeAdapter[Arm] = TypeAdapter(Arm)
_SEES = ("ranks", "scores", "gradients")
_NUMBERS = ("words", "characters", "queries", "events")

Number = tuple[float | None, float | None, float | None]
"""Value and 95 % interval."""
Audit = Mapping[str, Number]
"""Attack's label -> what it came to."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round: what was trained, what the attacks came to, and what was decided."""

    number: int
    """0 is the audit of the control."""
    arm: dict[str, Any] | None = None
    """What was trained, as an experiment file spells an arm; None for the control."""
    trained_on: tuple[str, ...] = ()
    """Labels of the attacks whose texts it was trained on."""
    before: dict[str, Number] = field(default_factory=dict)
    """Exposure gain of each attack on the best model so far, on this round's targets."""
    after: dict[str, Number] = field(default_factory=dict)
    """The same on the model of this round, on the same targets."""
    success: dict[str, Number] = field(default_factory=dict)
    """Share of targets that each attack brought into enough lists, on the model of this round."""
    clean: dict[str, Number] = field(default_factory=dict)
    """Group -> NDCG@10 of the model of this round."""
    limits: tuple[Limit, ...] = ()
    """The price in each group."""
    cost: float | None = None
    """Training time over the control's."""
    fall: float = 0.0
    """Of the strongest attack's gain, from the best so far to this round; 0 if not kept."""
    kept: bool = True
    why: str = ""
    """Of `kept`, in words."""
    best: int = 0
    """Number of the best round from here on."""
    left: float = 1.0
    """Best so far: share of the control's worst gain that is left, round by round on the same
    targets (a chained index). Never grows."""
    weak: str = ""
    """The strongest attack on the best round; what the next round looks at."""
    targets: tuple[tuple[str, ...], ...] = ()
    """Ids of this round's targets, for each seed."""
    error: str = ""
    """Why it could not be trained or attacked."""


def weakest(gains: Audit) -> tuple[str, float] | None:
    """The attack that gains most, of equals the first by name, with its gain; None where no
    attack could be measured."""
    known = [(-v[0], label) for label, v in gains.items() if v[0] is not None]
    if not known:
        return None
    gain, label = min(known)
    return label, -gain


def found_weak(rounds: Sequence[Round]) -> tuple[str, ...]:
    """Every attack that was the strongest on a best round, in the order of discovery."""
    return tuple(dict.fromkeys(r.weak for r in rounds if r.weak))


def best_of(rounds: Sequence[Round]) -> Round:
    """The round that is best so far."""
    return rounds[rounds[-1].best]


def arm_of(found: Round) -> Arm | None:
    """What it trained, as a spec."""
    return None if found.arm is None else _ARM.validate_python(found.arm)


def spelt_arm(arm: Arm) -> dict[str, Any]:
    """As an experiment file spells it."""
    made: dict[str, Any] = _ARM.dump_python(arm, mode="json", exclude_none=True)
    return made


def next_arm(closed: ClosedLoop, rounds: Sequence[Round]) -> tuple[Arm, tuple[str, ...]]:
    """What round `len(rounds)` trains, and the attacks whose texts it trains on."""
    number, steps = len(rounds), closed.loop.steps
    step = steps[number - 1] if steps else LoopStep(weak=True)
    best, trained = arm_of(best_of(rounds)), best_of(rounds).trained_on
    parts: dict[str, Any] = {}
    if best is not None:
        parts = {"objective": best.objective, "influence": best.influence, "forge": best.forge}
    if step.weak:
        trained = found_weak(rounds)
        parts["objective"] = replace(closed.loop.objective, weight=_weight(closed, rounds))
        parts["forge"] = _forge(closed, trained)
    if step.objective is not None:
        parts["objective"], parts["forge"] = step.objective, step.forge
        trained = _forged(closed, step.forge)
    if step.influence is not None:
        parts["influence"] = step.influence
    return Arm(name=f"round-{number}", **parts), trained


def _weight(closed: ClosedLoop, rounds: Sequence[Round]) -> float:
    """Twice as much where the strongest attack is still one that was trained against, half
    where that cost more clean quality than allowed."""
    weight = closed.loop.objective.weight
    for found in rounds:
        if any(not limit.kept for limit in found.limits):
            weight /= 2
        elif found.weak in found.trained_on and not found.error:
            weight *= 2
    return weight


def _forge(closed: ClosedLoop, labels: Sequence[str]) -> ForgeSpec:
    """All of these attacks, with the widest budget that one of their trials has."""
    loop, known = closed.loop, [closed.attacks[label] for label in labels]
    threats = [trial.threat for _, trial in known]
    budget = _widest([threat.budget for threat in threats])
    if loop.queries is not None:
        fewest = loop.queries if budget.queries is None else min(loop.queries, budget.queries)
        budget = replace(budget, queries=fewest)
    return ForgeSpec(
        attacks=tuple(dict.fromkeys(attack for attack, _ in known)),
        knowledge=max((threat.knowledge for threat in threats), key=_SEES.index),
        budget=budget, items=loop.items, every=loop.every, panel=loop.panel,
    )  # fmt: skip


def _widest(budgets: Sequence[Budget]) -> Budget:
    def most(name: str) -> Any:
        values = [getattr(budget, name) for budget in budgets]
        return None if None in values else max(values)

    similar = [budget.similarity for budget in budgets]
    return Budget(
        **{name: most(name) for name in _NUMBERS},
        similarity=None if None in similar else min(s for s in similar if s is not None),
        free_repeats=any(budget.free_repeats for budget in budgets),
        whole_text=any(budget.whole_text for budget in budgets),
    )


def _forged(closed: ClosedLoop, forge: ForgeSpec | None) -> tuple[str, ...]:
    """Labels of the loop's attacks that a forge names."""
    if forge is None:
        return ()
    return tuple(label for label, (attack, _) in closed.attacks.items() if attack in forge.attacks)


def judged(found: Round, rounds: Sequence[Round]) -> Round:
    """The measured round with the decision: kept if the strongest attack gains less than on
    the best so far, on the same targets, and every limit holds."""
    last, before, after = rounds[-1], weakest(found.before), weakest(found.after)
    standing = before[0] if before else last.weak
    lost: dict[str, Any] = {"kept": False, "best": last.best, "left": last.left, "weak": standing}
    if found.error:
        return replace(found, **lost, why=found.error)
    if before is None or after is None:
        return replace(found, **lost, why="no attack could be measured")
    change = f"strongest attack gains {after[1]:.4f} ({after[0]}), was {before[1]:.4f}"
    if broken := [limit.says() for limit in found.limits if not limit.kept]:
        return replace(found, **lost, why=f"{change}, but breaks {'; '.join(broken)}")
    fall = before[1] - after[1]
    if fall <= 0:
        return replace(found, **lost, why=f"{change}: no better")
    left = last.left * max(0.0, after[1]) / before[1] if before[1] > 0 else last.left
    return replace(
        found, kept=True, best=found.number, fall=fall, left=left, weak=after[0], why=change
    )


def stopped(closed: ClosedLoop, rounds: Sequence[Round], most: int) -> str:
    """Why there is no further round, in words; empty where there is one. most: rounds."""
    loop, trained = closed.loop, rounds[1:]
    if not rounds[-1].weak:
        return "no attack could be measured"
    gains = best_of(rounds).after
    top = weakest(gains)
    if top is not None and top[1] <= 0:
        return "no attack gains exposure"
    if loop.steps and len(trained) >= len(loop.steps):
        return "every step was tried"
    if len(trained) >= most:
        return f"as many rounds as asked for ({most})"
    late = trained[-loop.patience :]
    if len(late) == loop.patience and all(r.fall < loop.least_gain for r in late):
        return f"{loop.patience} rounds in a row helped by less than {loop.least_gain:g}"
    return ""
