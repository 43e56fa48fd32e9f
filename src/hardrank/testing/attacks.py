"""The contract of text attacks: what the referee and the reports rely on."""

from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from functools import lru_cache
from typing import Any, ClassVar, get_args

import numpy as np

from hardrank.data import Patch, Queries, RewriteItem, Slate
from hardrank.errors import Unsupported
from hardrank.recommender import Forecast, Relaxed, TextGradient
from hardrank.testing.refusal import refused
from hardrank.testing.worlds import WordTaste, World, odd_world, planted_world, random_world
from hardrank.threats import (
    Attack,
    Budget,
    Demote,
    ListingCourt,
    Match,
    Promote,
    ThreatModel,
    mount,
)
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

    def forecast(self, queries: Queries, item: int, text: str, *, field: str = "title") -> Forecast:
        self.trap()
        self.asked.append(1)
        return super().forecast(queries, item, text, field=field)

    def relaxed(
        self, queries: Queries, item: int, text: str, slots: Sequence[int], words: Sequence[str],
        *, field: str = "title",
    ) -> Relaxed:  # fmt: skip
        given = super().relaxed(queries, item, text, slots, words, field=field)

        def scores(weights: Any) -> Any:
            self.trap()
            self.asked.append(len(weights))
            return given(weights)

        return scores


class AttackContract:
    """Subclass it as `class TestMine(AttackContract): attack = Mine()` and run pytest."""

    attack: ClassVar[Any]
    """The attack, as a user would write it."""
    cases: ClassVar[int] = 1000
    """Random worlds, threats and targets, spread evenly over what it can be shown."""

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
            rng = np.random.default_rng((case, 1))
            scene, threat = _scene(case), random_threat(self.attack, rng, self._knowledge(case))
            match, asked = scene.play(self.attack, threat, seed=case)
            limit = threat.budget.queries
            assert limit is None or asked <= limit, f"case {case}: too many queries"
            if scene.can_win:
                assert match.queries == asked, f"case {case}: queries were not counted"
            assert _is_plain(match.patch), f"case {case}: not text: {match.patch}"

    def test_does_nothing_without_words_or_characters(self) -> None:
        for case in range(20):
            for budget in (Budget(words=0), Budget(characters=0)):
                threat = self._threat(budget, case)
                match, _ = _scene(case).play(self.attack, threat)
                assert not match.patch, f"case {case}: {match.patch} with {budget}"

    def test_same_rng_same_patch(self) -> None:
        """Also when other randomness was drawn in between."""
        for case in range(20):
            threat = self._threat(Budget(words=3, whole_text=True), case)
            first, _ = _scene(case).play(self.attack, threat, seed=case)
            np.random.random(3)  # noqa: NPY002
            second, _ = _scene(case).play(self.attack, threat, seed=case)
            assert first.patch == second.patch, f"case {case}: two patches from one seed"

    def test_survives_any_text(self) -> None:
        """Emoji, right to left, Chinese, combining marks, no text, a word and a text of
        10,000 characters."""
        world = odd_world()
        court = _court(world)
        for case, target in enumerate(world.data.items["item_id"]):
            threat = self._threat(Budget(words=3, characters=30, queries=40), case)
            match = court.play(self.attack, threat, target, seed=0)
            assert _is_plain(match.patch), f"{target}: not text"

    def test_notes_save_queries(self) -> None:
        """Where asking again is free, never more queries, and no other patch."""
        for case in range(20):
            threat = self._threat(Budget(words=2, whole_text=True), case)
            notes = replace(threat, budget=replace(threat.budget, free_repeats=True))
            plain, _ = _scene(case).play(self.attack, threat)
            saved, _ = _scene(case).play(self.attack, notes)
            assert saved.queries <= plain.queries, f"case {case}: more queries with notes"
            assert saved.patch == plain.patch, f"case {case}: notes changed the patch"

    def test_a_goal_that_is_reached_costs_no_more(self) -> None:
        """With `until` an attack may stop sooner; it never asks more."""
        for case in range(20):
            threat = self._threat(Budget(words=2, whole_text=True), case)
            goal = replace(_goal(self.attack), until=0.5)
            whole, _ = _scene(case).play(self.attack, threat)
            short, _ = _scene(case).play(self.attack, replace(threat, goal=goal))
            assert short.queries <= whole.queries, f"case {case}: more queries to stop sooner"

    def test_leaves_the_victim_alone(self) -> None:
        """The referee compares digests; here also after an exception in mid-attack."""
        world = planted_world()
        threat = self._threat(Budget(words=3, whole_text=True))

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
        refused(
            Unsupported,
            lambda: _court(world).play(self.attack, threat, world.target, 0),
            threat.describe(),
        )

    def _knowledge(self, case: int) -> Knowledge:
        """From what it needs to what it uses, in turn."""
        first, last = LEVELS.index(self.attack.needs), LEVELS.index(self.attack.uses)
        return LEVELS[first + case % (last - first + 1)]

    def _threat(self, budget: Budget, case: int = 0) -> ThreatModel:
        return ThreatModel(goal=_goal(self.attack), knowledge=self._knowledge(case), budget=budget)


def random_threat(attack: Any, rng: np.random.Generator, knowledge: Knowledge) -> ThreatModel:
    """Any mix of limits, tight ones more often than not."""

    def maybe(low: int, high: int) -> int | None:
        return int(rng.integers(low, high)) if rng.random() < 0.6 else None

    words, characters, whole = maybe(0, 5), maybe(0, 40), bool(rng.random() < 0.5)
    if words is None and characters is None:
        words = 2
    budget = Budget(
        words=words, characters=characters, queries=maybe(0, 60), whole_text=whole,
        free_repeats=bool(rng.random() < 0.2),
        similarity=float(rng.choice([0.2, 0.5, 0.9])) if rng.random() < 0.3 else None,
    )  # fmt: skip
    return ThreatModel(goal=_goal(attack, rng), knowledge=knowledge, budget=budget)


def _goal(attack: Any, rng: np.random.Generator | None = None) -> Promote | Demote:
    kinds: dict[str, type[Promote] | type[Demote]] = {"promote": Promote, "demote": Demote}
    served = [kind for kind in kinds if kind in attack.goals]
    if rng is None:
        return kinds[served[0]](k=2)
    until = float(rng.random()) if rng.random() < 0.3 else None
    return kinds[str(rng.choice(served))](k=int(rng.integers(1, 5)), until=until)


@dataclass(frozen=True, eq=False)
class _Scene:
    """A random world and its court: made once, whatever attacks play there."""

    world: World
    court: ListingCourt
    can_win: bool
    """Where everybody on the panel has the target, queries count but show nothing."""

    def play(self, attack: Any, threat: ThreatModel, *, seed: int = 0) -> tuple[Match, int]:
        """The match, and how many versions the victim was asked for."""
        asked = self.court.victim.asked
        asked.clear()
        match = self.court.play(attack, threat, self.world.target, seed)
        return match, sum(asked)


@lru_cache(maxsize=1000)
def _scene(case: int) -> _Scene:
    world = random_world(np.random.default_rng(case))
    row, panel = world.data.item_rows[world.target], world.panel
    can_win = any(row not in panel.history(q) for q in range(len(panel)))
    return _Scene(world, _court(world), can_win)


def _court(world: World) -> ListingCourt:
    return ListingCourt.of(_watched(world.victim, []), world.data, world.panel, overlap)


def _is_plain(patch: Patch) -> bool:
    """Text that every file and form can hold: no halves of a surrogate pair."""
    return all(
        isinstance(e, RewriteItem) and isinstance(e.text, str) and _encodes(e.text)
        for e in patch.edits
    )


def _encodes(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _watched(
    victim: WordTaste, asked: list[int], trap: Callable[[], None] = lambda: None
) -> Watched:
    return Watched(
        items=victim.items, words=victim.words, taste=victim.taste, asked=asked, trap=trap
    )
