"""The contract of text attacks: what the referee and the reports rely on."""

from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError, dataclass, fields
from typing import Any, ClassVar, get_args

import numpy as np

from hardrank.data import Queries, Slate
from hardrank.errors import Unsupported
from hardrank.recommender import TextGradient
from hardrank.testing.refusal import refused
from hardrank.testing.worlds import WordTaste, World, planted_world, random_world
from hardrank.threats import Attack, Budget, Demote, Match, Promote, ThreatModel, mount
from hardrank.threats.victim import digest_victim
from hardrank.types import GoalKind, Knowledge, Scores

__all__ = ["AttackContract", "overlap"]

LEVELS: tuple[Knowledge, ...] = get_args(Knowledge)


def overlap(before: str, after: Sequence[str]) -> list[float]:
    """A judge for tests: shared words over all words, in [0, 1]."""
    old = set(before.split())
    return [len(old & set(a.split())) / max(len(old | set(a.split())), 1) for a in after]


@dataclass(frozen=True, kw_only=True, eq=False)
class Watched(WordTaste):
    """A victim that counts the rewritten texts and word gradients it is asked for, and calls
    `trap` first."""

    asked: list[int]
    trap: Callable[[], None] = lambda: None

    def score(self, queries: Queries, slate: Slate) -> Scores:
        if slate.texts is not None:
            self.trap()
            self.asked.append(len(slate.texts))
        return super().score(queries, slate)

    def text_gradient(
        self, goal: GoalKind, queries: Queries, item: int, text: str, *, field: str = "title"
    ) -> TextGradient:
        self.trap()
        self.asked.append(1)
        return super().text_gradient(goal, queries, item, text, field=field)


class AttackContract:
    """Subclass it as `class TestMine(AttackContract): attack = Mine()` and run pytest."""

    attack: ClassVar[Any]
    """The attack, as a user would write it."""
    cases: ClassVar[int] = 200
    """Random worlds, threats and targets."""

    def test_declares_itself(self) -> None:
        """Kind, knowledge, surface and goals are there, with known values."""
        attack = self.attack
        assert isinstance(attack, Attack), "it lacks a member of threats.Attack"
        assert attack.needs in LEVELS, f"needs: '{attack.needs}' is no knowledge"
        assert LEVELS.index(attack.needs) <= LEVELS.index(attack.uses), "uses less than it needs"
        assert "item-text" in attack.surfaces, "this contract is for attacks on item-text"
        assert set(attack.goals) <= set(get_args(GoalKind)) and attack.goals, "goals: unknown"
        assert type(attack)().kind == attack.kind, "every hyperparameter needs a default"

    def test_is_a_frozen_value(self) -> None:
        values = {f.name: getattr(self.attack, f.name) for f in fields(self.attack)}
        assert type(self.attack)(**values) == self.attack, "equal values make unequal specs"
        refused(Exception, lambda: type(self.attack)(no_such_key=1), "an unknown key was taken")
        refused(
            FrozenInstanceError,
            lambda: setattr(self.attack, "kind", "other"),
            "a spec could be changed",
        )

    def test_stays_inside_the_budget(self) -> None:
        """The referee raises `FoulPlay` on the first case that is not, and its count of
        queries is the number of versions that the victim was really asked for."""
        for case in range(self.cases):
            rng = np.random.default_rng(case)
            world, threat = random_world(rng), random_threat(self.attack, rng)
            match, asked = _play(self.attack, threat, world, seed=case)
            limit = threat.budget.queries
            assert limit is None or asked <= limit, f"case {case}: too many queries"
            if _is_new_to_somebody(world):
                assert match.queries == asked, f"case {case}: queries were not counted"

    def test_does_nothing_without_words(self) -> None:
        for case in range(20):
            world = random_world(np.random.default_rng(case))
            match, _ = _play(self.attack, _threat(self.attack, Budget(words=0)), world)
            assert not match.patch, f"case {case}: {match.patch} with a budget of 0 words"

    def test_same_rng_same_patch(self) -> None:
        """Also when other randomness was drawn in between."""
        for case in range(20):
            world = random_world(np.random.default_rng(case))
            threat = _threat(self.attack, Budget(words=3, whole_text=True))
            first, _ = _play(self.attack, threat, world, seed=case)
            np.random.random(3)  # noqa: NPY002
            second, _ = _play(self.attack, threat, world, seed=case)
            assert first.patch == second.patch, f"case {case}: two patches from one seed"

    def test_leaves_the_victim_alone(self) -> None:
        """The referee compares digests; here also after an exception in mid-attack."""
        world = planted_world()
        threat = _threat(self.attack, Budget(words=3, whole_text=True))

        def trap() -> None:
            raise RuntimeError("planted")

        victim = _watched(world.victim, [], trap)
        before = digest_victim(victim)
        try:
            mount(self.attack, threat, victim, world.data, panel=world.panel, target=world.target)
        except RuntimeError as error:
            assert str(error) == "planted", "another error took the place of the victim's"
        assert digest_victim(victim) == before, "the victim was changed"

    def test_is_refused_what_the_threat_does_not_grant(self) -> None:
        world, budget = planted_world(), Budget(words=3)
        for knowledge in LEVELS[: LEVELS.index(self.attack.needs)]:
            self._refused(world, ThreatModel(goal=_goal(self.attack), knowledge=knowledge,
                                             budget=budget))  # fmt: skip
        self._refused(
            world, ThreatModel(goal=_goal(self.attack), knowledge="gradients", surface="reviews",
                               budget=budget),
        )  # fmt: skip

    def _refused(self, world: World, threat: ThreatModel) -> None:
        refused(Unsupported, lambda: _play(self.attack, threat, world), threat.describe())


def random_threat(attack: Any, rng: np.random.Generator) -> ThreatModel:
    """Any mix of limits, tight ones more often than not."""

    def maybe(low: int, high: int) -> int | None:
        return int(rng.integers(low, high)) if rng.random() < 0.6 else None

    words, characters, whole = maybe(0, 5), maybe(0, 40), bool(rng.random() < 0.5)
    if words is None and characters is None:
        words = 2
    budget = Budget(
        words=words, characters=characters, queries=maybe(0, 60), whole_text=whole,
        similarity=float(rng.choice([0.2, 0.5, 0.9])) if rng.random() < 0.3 else None,
    )  # fmt: skip
    return _threat(attack, budget, goal=_goal(attack, rng))


def _goal(attack: Any, rng: np.random.Generator | None = None) -> Promote | Demote:
    kinds: dict[str, type[Promote] | type[Demote]] = {"promote": Promote, "demote": Demote}
    served = [kind for kind in kinds if kind in attack.goals]
    kind = served[0] if rng is None else str(rng.choice(served))
    return kinds[kind](k=2 if rng is None else int(rng.integers(1, 5)))


def _threat(attack: Any, budget: Budget, goal: Promote | Demote | None = None) -> ThreatModel:
    return ThreatModel(goal=goal or _goal(attack), knowledge=attack.needs, budget=budget)


def _play(attack: Any, threat: ThreatModel, world: World, *, seed: int = 0) -> tuple[Match, int]:
    """The match, and how many versions the victim was asked for."""
    victim = _watched(world.victim, [])
    match = mount(
        attack, threat, victim, world.data, panel=world.panel, target=world.target, seed=seed,
        judge=overlap,
    )  # fmt: skip
    return match, sum(victim.asked)


def _is_new_to_somebody(world: World) -> bool:
    """Where everybody on the panel has the target, queries count but show nothing."""
    row = world.data.item_rows[world.target]
    return any(row not in world.panel.history(q) for q in range(len(world.panel)))


def _watched(
    victim: WordTaste, asked: list[int], trap: Callable[[], None] = lambda: None
) -> Watched:
    return Watched(
        items=victim.items, words=victim.words, taste=victim.taste, asked=asked, trap=trap
    )
