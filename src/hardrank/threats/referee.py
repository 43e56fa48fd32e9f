"""The referee: opens the view, lets the attack play, counts and checks what it did."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from hardrank.context import RunContext, derive
from hardrank.data import Dataset, Patch, Queries, RewriteItem
from hardrank.errors import DataError, FoulPlay, Unsupported
from hardrank.recommender import Recommender
from hardrank.threats.cost import complaint, count_edit
from hardrank.threats.match import Match, MatchKey, MatchLog
from hardrank.threats.model import Budget, Demote, Promote, ThreatModel, aim_at
from hardrank.threats.panel import PanelLists, watch
from hardrank.threats.victim import digest_victim
from hardrank.threats.views import VIEWS, Desk, GivesTextGradient, Judge, Meter
from hardrank.types import GoalKind, Knowledge, Surface

__all__ = ["Attack", "check", "label", "mount", "mount_all"]


@runtime_checkable
class Attack(Protocol):
    """A frozen bag of hyperparameters you can call."""

    needs: ClassVar[Knowledge]
    """The least view it can work with."""
    surface: ClassVar[Surface]
    goals: ClassVar[tuple[GoalKind, ...]]
    whole_text: ClassVar[bool]
    """It replaces whole texts, and may do so where `Budget.whole_text` says so."""

    @property
    def kind(self) -> str: ...

    def __call__(self, view: Any, goal: Any, budget: Budget, rng: np.random.Generator) -> Patch:
        """Rewrite `goal.items` within `budget`. Same view, goal, budget and rng state, same
        patch; the empty patch when there is nothing better than what stands there."""
        ...


def label(attack: Attack) -> str:
    """`greedy-words`, or `greedy-words(vocabulary=30)` where a value is not the default."""
    spec: Any = attack
    changed = [
        f"{f.name}={getattr(attack, f.name)!r}"
        for f in fields(spec)
        if f.name != "kind" and getattr(attack, f.name) != getattr(type(attack), f.name, None)
    ]
    return f"{attack.kind}({', '.join(changed)})" if changed else attack.kind


def mount(
    attack: Attack,
    threat: ThreatModel,
    victim: Recommender,
    world: Dataset,
    *,
    panel: Queries,
    target: str,
    seed: int = 0,
    judge: Judge | None = None,
) -> Match:
    """One attack on one target.

    `world` is what the victim was trained on: its item table is the public catalogue, its
    event counts the public popularity. The panel's queries are the users whose lists the
    attacker sees. All the attack's randomness follows from (seed, attack, target).

    Raises `FoulPlay` when the attack breaks the budget, writes where it may not or changes
    the victim, `Unsupported` when the threat does not let this attack play, and whatever
    the attack raises.
    """
    court = _Court.open(victim, world, panel, judge)
    return court.play(attack, threat, target, seed)


def mount_all(
    attacks: Sequence[Attack],
    threat: ThreatModel,
    victim: Recommender,
    world: Dataset,
    *,
    panel: Queries,
    targets: Sequence[str],
    seed: int = 0,
    judge: Judge | None = None,
    log: Path | None = None,
    run: RunContext | None = None,
) -> tuple[Match, ...]:
    """Every attack on every target, attack by attack; as `mount`, but a match that the
    threat does not allow is one with an `error` and an empty patch.

    With a `log` (JSON lines) each match is written as soon as it is over, and one that is
    there already for the same attack, threat, target, seed and victim is not played again.
    """
    court = _Court.open(victim, world, panel, judge)
    record = MatchLog(log) if log else None
    done = record.load() if record else {}
    played: list[Match] = []
    for attack in attacks:
        for target in (run or RunContext()).track(targets, label(attack), len(targets)):
            key = court.key(attack, threat, target, seed)
            match = done.get(key)
            if match is None or match.error:
                before, match = match, court.attempt(attack, threat, target, seed)
                if record and (before is None or before.error != match.error):
                    record.append(match)
            played.append(match)
    return tuple(played)


def check(
    patch: Patch,
    threat: ThreatModel,
    world: Dataset,
    target: str,
    *,
    queries: int = 0,
    judge: Judge | None = None,
) -> Match:
    """Count what the patch costs and hold it against `threat.budget`, without the attack's
    word for anything. Raises `FoulPlay` with the first rule broken."""
    for edit in patch.edits:
        if not isinstance(edit, RewriteItem):
            raise FoulPlay(f"an edit '{edit.kind}' where only {threat.surface} may be written")
        if edit.item_id != target:
            raise FoulPlay(f"item '{edit.item_id}' was rewritten, the target is '{target}'")
        if edit.field != threat.field:
            raise FoulPlay(f"item '{target}': field '{edit.field}' was rewritten, the attacker "
                           f"owns '{threat.field}'")  # fmt: skip
    before = _text(world, threat.field, target)
    rewrite = patch.rewrites().get(target)
    after = rewrite.text if rewrite else before
    cost = count_edit(before, after)
    similarity = _similarity(judge, before, after)
    if wrong := complaint(cost, threat.budget, similarity):
        raise FoulPlay(f"item '{target}': {wrong}")
    limit = threat.budget.queries
    if limit is not None and queries > limit:
        raise FoulPlay(f"item '{target}': {queries} queries asked, budget {limit}")
    return Match(
        attack="", threat=threat, target=target, patch=patch if after != before else Patch(),
        queries=queries, words=cost.words, word_share=cost.word_share,
        characters=cost.characters, similarity=similarity,
    )  # fmt: skip


def _similarity(judge: Judge | None, before: str, after: str) -> float | None:
    if judge is None:
        return None
    return 1.0 if after == before else float(judge(before, [after])[0])


def _text(world: Dataset, field: str, target: str) -> str:
    return str(world.items[field][world.item_rows[target]] or "")


@dataclass(frozen=True, eq=False)
class _Court:
    """One victim, its panel scored once, and its digest to compare with."""

    victim: Recommender
    world: Dataset
    lists: PanelLists
    judge: Judge | None
    digest: str

    @classmethod
    def open(
        cls, victim: Recommender, world: Dataset, panel: Queries, judge: Judge | None
    ) -> "_Court":
        if not victim.items["item_id"].equals(world.items["item_id"]):
            raise DataError(
                f"the victim ranks another catalogue than '{world.name}'",
                remedy="give the data it was trained on",
            )
        return cls(victim, world, watch(victim, panel), judge, digest_victim(victim))

    def key(self, attack: Attack, threat: ThreatModel, target: str, seed: int) -> MatchKey:
        return MatchKey(
            attack=label(attack), threat=threat, target=target, seed=seed, victim=self.digest[:16]
        )

    def attempt(self, attack: Attack, threat: ThreatModel, target: str, seed: int) -> Match:
        try:
            return self.play(attack, threat, target, seed)
        except Unsupported as refusal:
            return Match(
                attack=label(attack), threat=threat, target=target, patch=Patch(), seed=seed,
                victim=self.digest[:16], error=str(refusal),
            )  # fmt: skip

    def play(self, attack: Attack, threat: ThreatModel, target: str, seed: int) -> Match:
        goal, budget = self._admit(attack, threat, target)
        desk = Desk(
            victim=self.victim, world=self.world, lists=self.lists, targets=(target,),
            budget=budget, goal=goal.kind, k=goal.k, column=threat.field, judge=self.judge,
            meter=Meter(budget.queries),
        )  # fmt: skip
        rng = np.random.default_rng(derive(seed, label(attack), target))
        start = time.perf_counter()
        try:
            patch = attack(VIEWS[attack.needs](desk), aim_at(goal, target), budget, rng)
        except Exception as error:
            self._untouched(attack, error)
            raise
        seconds = time.perf_counter() - start
        self._untouched(attack)
        bound = replace(threat, budget=budget)
        counted = check(
            patch, bound, self.world, target, queries=desk.meter.spent, judge=self.judge
        )
        return replace(
            counted, attack=label(attack), threat=threat, seconds=seconds, seed=seed,
            victim=self.digest[:16],
        )  # fmt: skip

    def _admit(
        self, attack: Attack, threat: ThreatModel, target: str
    ) -> tuple[Promote | Demote, Budget]:
        """The goal and the budget this attack plays with, or `Unsupported`."""
        who, goal = f"attack '{attack.kind}'", threat.goal
        if attack.surface != threat.surface:
            raise Unsupported(f"{who} writes {attack.surface}, the threat {threat.surface}")
        if goal.kind not in attack.goals or not isinstance(goal, Promote | Demote):
            raise Unsupported(f"{who} cannot {goal.kind}")
        levels = list(VIEWS)
        if levels.index(attack.needs) > levels.index(threat.knowledge):
            raise Unsupported(f"{who} needs {attack.needs}, the threat grants {threat.knowledge}")
        if attack.needs == "gradients" and not isinstance(self.victim, GivesTextGradient):
            raise Unsupported(f"{who} needs gradients, this victim grants none")
        if threat.field not in self.world.items.columns:
            raise Unsupported(f"the item table has no field '{threat.field}'")
        if target not in self.world.item_rows:
            raise DataError(f"{self.world.name}: unknown target item '{target}'")
        return goal, self._budget(attack, threat.budget)

    def _budget(self, attack: Attack, budget: Budget) -> Budget:
        """Whole texts only for attacks made for it; for others some limit has to bind."""
        who = f"attack '{attack.kind}'"
        if budget.whole_text and not attack.whole_text:
            budget = replace(budget, whole_text=False)
        if not budget.whole_text and budget.words is None and budget.characters is None:
            raise Unsupported(f"{who} edits words, the budget limits neither words nor characters")
        if budget.similarity is not None and self.judge is None:
            raise Unsupported("the budget limits similarity, but there is no judge of it")
        return budget

    def _untouched(self, attack: Attack, cause: BaseException | None = None) -> None:
        if digest_victim(self.victim) != self.digest:
            raise FoulPlay(f"attack '{attack.kind}' changed the victim") from cause
