"""What the referee does whatever the surface: lets the attack play, counts, and checks."""

import time
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from hardrank.context import derive
from hardrank.data import Dataset, Patch
from hardrank.errors import FoulPlay, Unsupported
from hardrank.threats.cost import complaint, count_edit
from hardrank.threats.desk import Judge, Meter
from hardrank.threats.match import Match, MatchKey
from hardrank.threats.model import Budget, Goal, ThreatModel
from hardrank.threats.victim import digest_victim
from hardrank.types import GoalKind, Knowledge, Surface

__all__ = ["LEVELS", "Attack", "Court", "count_text", "label", "level", "played_label"]

LEVELS: tuple[Knowledge, ...] = ("ranks", "scores", "gradients")
"""From least to most."""


class Named(Protocol):
    """A spec of any attack."""

    @property
    def kind(self) -> str: ...


@runtime_checkable
class Attack(Protocol):
    """A frozen bag of hyperparameters you can call."""

    needs: ClassVar[Knowledge]
    """The least view it can work with."""
    uses: ClassVar[Knowledge]
    """The most it can make use of. It gets the smaller of this and what the threat grants."""
    surfaces: ClassVar[tuple[Surface, ...]]
    goals: ClassVar[tuple[GoalKind, ...]]
    whole_text: ClassVar[bool]
    """It replaces whole texts, and may do so where `Budget.whole_text` says so."""

    @property
    def kind(self) -> str: ...

    def __call__(self, view: Any, goal: Any, budget: Budget, rng: np.random.Generator) -> Patch:
        """Pursue `goal` within `budget`. Same view, goal, budget and rng state, same patch;
        the empty patch when there is nothing better than what stands there."""
        ...


def label(attack: Named) -> str:
    """`greedy-words`, or `greedy-words(vocabulary=30)` where a value is not the default."""
    spec: Any = attack
    changed = [
        f"{f.name}={_shown(getattr(attack, f.name))}"
        for f in fields(spec)
        if f.name != "kind" and getattr(attack, f.name) != getattr(type(attack), f.name, None)
    ]
    return f"{attack.kind}({', '.join(changed)})" if changed else attack.kind


def _shown(value: Any) -> str:
    return label(value) if hasattr(value, "kind") else repr(value)


def level(attack: Attack, threat: ThreatModel) -> Knowledge:
    """The view this attack gets under this threat."""
    return min(attack.uses, threat.knowledge, key=LEVELS.index)


def played_label(attack: Attack, threat: ThreatModel) -> str:
    """The label, and what it saw where that is less than it could use: `pwws [ranks]`."""
    seen = level(attack, threat)
    return label(attack) if seen == attack.uses else f"{label(attack)} [{seen}]"


@dataclass(frozen=True, eq=False, kw_only=True)
class Court:
    """One victim and its digest to compare with. A surface says how a match is opened and
    what a patch costs; the rest is the same for all."""

    surface: ClassVar[Surface] = "item-text"
    victim: Any
    world: Dataset
    judge: Judge | None = None
    digest: str

    def admit(self, attack: Attack, threat: ThreatModel, target: str) -> Budget:
        """The budget this attack plays with, or `Unsupported`."""
        self.refuse(attack, threat)
        return threat.budget

    def open(
        self, attack: Attack, threat: ThreatModel, budget: Budget, target: str
    ) -> tuple[Any, Goal, Meter]:
        """The view, the goal narrowed to this target, and the meter that the view charges."""
        raise NotImplementedError

    def count(
        self, patch: Patch, threat: ThreatModel, budget: Budget, target: str, queries: int
    ) -> Match:
        """What the patch costs. Raises `FoulPlay` with the first rule broken."""
        raise NotImplementedError

    def key(self, attack: Attack, threat: ThreatModel, target: str, seed: int) -> MatchKey:
        return MatchKey(
            attack=played_label(attack, threat), threat=threat, target=target, seed=seed,
            victim=self.digest[:16],
        )  # fmt: skip

    def attempt(self, attack: Attack, threat: ThreatModel, target: str, seed: int) -> Match:
        """As `play`; what the threat does not allow is a match with an `error`."""
        try:
            return self.play(attack, threat, target, seed)
        except Unsupported as refusal:
            return self._signed(Match(attack="", threat=threat, target=target, patch=Patch(),
                                      error=str(refusal)), attack, seed)  # fmt: skip

    def play(self, attack: Attack, threat: ThreatModel, target: str, seed: int) -> Match:
        budget = self.admit(attack, threat, target)
        view, goal, meter = self.open(attack, threat, budget, target)
        rng = np.random.default_rng(derive(seed, label(attack), target))
        start = time.perf_counter()
        try:
            patch = attack(view, goal, budget, rng)
        except Exception as error:
            self._untouched(attack, error)
            raise
        seconds = time.perf_counter() - start
        self._untouched(attack)
        counted = self.count(patch, threat, budget, target, meter.spent)
        return replace(self._signed(counted, attack, seed), seconds=seconds)

    def refuse(self, attack: Attack, threat: ThreatModel) -> None:
        """Raises `Unsupported` when the threat does not let this attack play."""
        who = f"attack '{attack.kind}'"
        if threat.surface != self.surface:
            raise Unsupported(f"no {self.surface} is written under a threat to {threat.surface}")
        if self.surface not in attack.surfaces:
            raise Unsupported(f"{who} writes {', '.join(attack.surfaces)}, not {self.surface}")
        if threat.goal.kind not in attack.goals:
            raise Unsupported(f"{who} cannot {threat.goal.kind}")
        if LEVELS.index(attack.needs) > LEVELS.index(threat.knowledge):
            raise Unsupported(f"{who} needs {attack.needs}, the threat grants {threat.knowledge}")
        shown = getattr(self.victim, "grants", LEVELS[-1])
        if LEVELS.index(threat.knowledge) > LEVELS.index(shown):
            raise Unsupported(f"the threat grants {threat.knowledge}, this victim shows {shown}")
        if threat.budget.similarity is not None and self.judge is None:
            raise Unsupported("the budget limits similarity, but there is no judge of it")

    def _signed(self, match: Match, attack: Attack, seed: int) -> Match:
        return replace(
            match, attack=played_label(attack, match.threat), seed=seed, victim=self.digest[:16]
        )

    def _untouched(self, attack: Attack, cause: BaseException | None = None) -> None:
        if digest_victim(self.victim) != self.digest:
            raise FoulPlay(f"attack '{attack.kind}' changed the victim") from cause


def count_text(
    before: str, after: str, patch: Patch, *, threat: ThreatModel, budget: Budget, target: str,
    judge: Judge | None, queries: int,
) -> Match:  # fmt: skip
    """The match of one rewritten text. Raises `FoulPlay` where it breaks the budget."""
    cost = count_edit(before, after)
    similarity = None
    if judge is not None:
        similarity = 1.0 if after == before else float(judge(before, [after])[0])
    if wrong := complaint(cost, budget, similarity):
        raise FoulPlay(f"item '{target}': {wrong}")
    if budget.queries is not None and queries > budget.queries:
        raise FoulPlay(f"item '{target}': {queries} queries asked, budget {budget.queries}")
    return Match(
        attack="", threat=threat, target=target, patch=patch if after != before else Patch(),
        queries=queries, words=cost.words, word_share=cost.word_share,
        characters=cost.characters, similarity=similarity,
    )  # fmt: skip
