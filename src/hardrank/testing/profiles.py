"""The contract of profile attacks: what the referee, the audits and the reports rely on."""

import json
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from functools import partial
from typing import Any, ClassVar, get_args

import numpy as np
import polars as pl

from hardrank.data import AddProfile, Dataset, Patch
from hardrank.data.dataset import EVENT_COLUMNS
from hardrank.errors import DataError, Unsupported
from hardrank.testing.logs import taste_log
from hardrank.testing.refusal import refused
from hardrank.threats import Budget, Demote, Match, Promote, ThreatModel
from hardrank.threats.log import KNOWLEDGE_OF_LOG
from hardrank.threats.profiles import ProfileAttack, play_profiles
from hardrank.types import GoalKind, LogKnowledge

__all__ = ["ProfileAttackContract", "random_log"]

_WORDS = ("red", "blue", "lamp", "chair", "old", "灯", "\N{PILE OF POO}", "")
_STARTED = 1_500_000_000
_REFUSALS = (Unsupported, DataError)


def random_log(rng: np.random.Generator) -> Dataset:
    """Any small log: 1 to 12 users of whom some have nothing, 1 to 20 items of which some are
    in no event and some repeat, whole or half or fine ratings or none, times or none, empty
    titles."""
    users, items = int(rng.integers(1, 13)), int(rng.integers(1, 21))
    n = int(rng.integers(1, 60))
    who = np.sort(rng.integers(0, users, size=n))
    when = _STARTED + rng.integers(0, int(rng.choice([1, 100, 10**7])), size=n)
    when = when[np.lexsort((when, who))]
    stars = rng.integers(1, 6, size=n)
    given = [None, stars, stars / 2, np.round(rng.normal(0, 3, size=n) * 8) / 8]
    ratings = given[int(rng.integers(len(given)))]
    events = {
        "user": who, "item": rng.integers(0, items, size=n),
        "time": [None] * n if rng.random() < 0.3 else when,
        "rating": [None] * n if ratings is None else ratings, "weight": np.ones(n),
    }  # fmt: skip
    titles = [" ".join(rng.choice(_WORDS, size=int(rng.integers(0, 4)))) for _ in range(items)]
    return Dataset(
        name="random-log",
        users=pl.DataFrame({"user_id": [f"u{u}" for u in range(users)]}),
        items=pl.DataFrame({"item_id": [f"i{i}" for i in range(items)], "title": titles}),
        events=pl.DataFrame(events, schema=EVENT_COLUMNS),
        synthetic=True,
    )


class ProfileAttackContract:
    """Subclass it, let `make` give the attack as a user would write it, and run pytest:

    class TestMine(ProfileAttackContract):
        def make(self) -> Mine:
            return Mine()
    """

    cases: ClassVar[int] = 40
    """Random logs, budgets, goals and targets."""
    names_target: ClassVar[bool] = True
    """The target stands in every profile; False for an attack that also writes company."""
    may_refuse: ClassVar[float] = 0.0
    """Share of the random logs that it may refuse with `Unsupported` or `DataError`, such as
    those where an attack that learns finds nothing to learn from."""

    def make(self) -> Any:
        raise NotImplementedError("let make() give the attack")

    def test_declares_itself(self) -> None:
        """Kind, knowledge, surface and goals are there, with known values."""
        attack = self.make()
        assert isinstance(attack, ProfileAttack), "it lacks a member of threats.ProfileAttack"
        assert attack.needs in get_args(LogKnowledge), f"needs: '{attack.needs}' is no knowledge"
        assert attack.surfaces == ("profiles",), "it writes profiles and nothing else"
        assert attack.goals and set(attack.goals) <= set(get_args(GoalKind)), "goals: unknown"
        assert isinstance(attack.rated, bool), "rated: True or False"
        assert type(attack)().kind == attack.kind, "every hyperparameter needs a default"

    def test_is_a_frozen_value(self) -> None:
        attack = self.make()
        values = {f.name: getattr(attack, f.name) for f in fields(attack)}
        assert type(attack)(**values) == attack, "equal values make unequal specs"
        refused(Exception, lambda: type(attack)(no_such_key=1), "an unknown key was taken")
        refused(
            FrozenInstanceError, lambda: setattr(attack, "kind", "other"), "a spec could be changed"
        )

    def test_keeps_the_rules_in_any_log(self) -> None:
        """The referee raises `FoulPlay` on the first case that breaks one; beside, the target
        is where it should be, and the patch survives JSON and can be applied."""
        refusals = 0
        for case in range(self.cases):
            scene = _scene(self.make(), case)
            if scene is None:
                continue
            try:
                match = scene.play()
            except _REFUSALS as error:
                refusals += 1
                assert refusals <= self.may_refuse * self.cases, f"case {case}: refused: {error}"
                continue
            assert match.profiles == scene.threat.budget.profiles, f"case {case}: fake users left"
            _check_target(match, self.names_target, f"case {case}")
            rows = json.loads(json.dumps(match.patch.to_json()))
            assert Patch.from_json(rows) == match.patch, f"case {case}: JSON changed the patch"
            after = scene.log.apply(match.patch)
            assert after.n_events == scene.log.n_events + match.events, f"case {case}"

    def test_same_rng_same_patch(self) -> None:
        """Also when other randomness was drawn in between."""
        for case in range(min(self.cases, 10)):
            scene = _scene(self.make(), case)
            if scene is not None and (first := scene.attempt()) is not None:
                np.random.random(3)  # noqa: NPY002
                assert scene.attempt() == first, f"case {case}: two patches from one seed"

    def test_another_seed_another_patch(self) -> None:
        """Times at least are drawn, wherever the log has some."""
        log = taste_log(users=20, items=20)
        threat = self._threat(Budget(profiles=2, profile_events=6))
        patches = [
            play_profiles(self.make(), threat, log, target="i19", seed=seed).patch
            for seed in (0, 1, 2)
        ]
        assert len({json.dumps(p.to_json()) for p in patches}) > 1, "the rng is not used"

    def test_no_profiles_no_patch(self) -> None:
        match = play_profiles(
            self.make(), self._threat(Budget(profiles=0, profile_events=5)), taste_log(users=9),
            target="i1",
        )  # fmt: skip
        assert not match.patch, "fake users without a budget"

    def test_works_in_a_bare_log(self) -> None:
        """No ratings, no times, no titles: none are made up, or the attack says no at once."""
        bare = taste_log(users=12, items=15, ratings=False, times=False)
        bare = replace(bare, items=bare.items.with_columns(title=pl.lit("")))
        attack = self.make()
        threat = self._threat(Budget(profiles=2, profile_events=5))
        if attack.rated or "promote" not in attack.goals:
            refused(Unsupported, lambda: self._play(bare, threat), "it works by ratings")
            return
        for edit in self._profiles(bare, threat):
            assert (edit.ratings, edit.times) == (None, None), "made up ratings or times"

    def test_cannot_blame_where_every_event_is_praise(self) -> None:
        attack = self.make()
        bare = taste_log(users=12, items=15, ratings=False)
        threat = self._threat(Budget(profiles=2, profile_events=5), Demote(items=("i14",)))
        refused(Unsupported, lambda: self._play(bare, threat), f"{attack.kind} demoted by praise")

    def test_a_tiny_catalogue_is_used_up(self) -> None:
        """Fewer items than fillers, and a target that nobody has: no more than all of them."""
        log = taste_log(users=10, items=6, events=2)
        log = log.where(pl.col("item") != 5)
        threat = self._threat(Budget(profiles=3, profile_events=50))
        for edit in self._profiles(log, threat, "i5"):
            assert len(edit.item_ids) <= 6
            assert not self.names_target or "i5" in edit.item_ids

    def test_one_event_is_the_target(self) -> None:
        threat = self._threat(Budget(profiles=2, profile_events=1))
        for edit in self._profiles(taste_log(users=10, items=12), threat, "i11"):
            assert len(edit.item_ids) == 1
            assert not self.names_target or edit.item_ids == ("i11",)

    def test_users_with_one_event_are_enough(self) -> None:
        log = taste_log(users=12, items=15)
        log = log.where(log.events["user"].is_first_distinct())
        threat = self._threat(Budget(profiles=3, profile_events=4))
        try:
            assert self._profiles(log, threat)
        except _REFUSALS as error:
            assert self.may_refuse, f"refused: {error}"

    def test_leaves_the_log_alone(self) -> None:
        """The referee compares fingerprints; here the tables themselves."""
        log = taste_log(users=12, items=15)
        before = [log.users.clone(), log.items.clone(), log.events.clone()]
        arrays = [log.offsets.copy(), log.counts.copy(), log.event_items.copy()]
        self._play(log, self._threat(Budget(profiles=3, profile_events=6)))
        for old, now in zip(before, (log.users, log.items, log.events), strict=True):
            assert old.equals(now), "a table was changed"
        now_arrays = (log.offsets, log.counts, log.event_items)
        assert all(map(np.array_equal, arrays, now_arrays)), "an array of the log was changed"

    def test_is_refused_what_the_threat_does_not_grant(self) -> None:
        threat, log = self._threat(Budget(profiles=2, profile_events=5)), taste_log(users=9)
        for known in KNOWLEDGE_OF_LOG[: KNOWLEDGE_OF_LOG.index(self.make().needs)]:
            less = replace(threat, log=known)
            refused(Unsupported, partial(self._play, log, less), less.describe())
        elsewhere = ThreatModel(goal=threat.goal, budget=Budget(words=1))
        refused(Unsupported, lambda: self._play(log, elsewhere), "it wrote profiles all the same")

    def _threat(self, budget: Budget, goal: Promote | Demote | None = None) -> ThreatModel:
        goals = self.make().goals
        return ThreatModel(
            goal=goal or (Promote() if "promote" in goals else Demote()), surface="profiles",
            budget=budget,
        )  # fmt: skip

    def _play(self, log: Dataset, threat: ThreatModel, target: str = "i14") -> Match:
        return play_profiles(self.make(), threat, log, target=target)

    def _profiles(self, log: Dataset, threat: ThreatModel, target: str = "i14") -> list[AddProfile]:
        edits = self._play(log, threat, target).patch.edits
        assert len(edits) == threat.budget.profiles, "fewer fake users than the budget has"
        return [edit for edit in edits if isinstance(edit, AddProfile)]


@dataclass(frozen=True, eq=False)
class _Scene:
    attack: Any
    log: Dataset
    threat: ThreatModel
    target: str
    case: int

    def play(self) -> Match:
        return play_profiles(self.attack, self.threat, self.log, target=self.target, seed=self.case)

    def attempt(self) -> Patch | None:
        """None where the attack refuses."""
        try:
            return self.play().patch
        except _REFUSALS:
            return None


def _scene(attack: Any, case: int) -> _Scene | None:
    """A random log, goal, budget and target; None where the log cannot serve the attack."""
    rng = np.random.default_rng((case, 7))
    log = random_log(rng)
    with_ratings = not log.events["rating"].null_count()
    goals = [g for g in attack.goals if with_ratings or g == "promote"]
    if not goals or (attack.rated and not with_ratings):
        return None
    goal = Promote() if str(rng.choice(goals)) == "promote" else Demote()
    budget = Budget(
        profiles=int(rng.integers(0, 6)), profile_events=int(rng.choice([1, 2, 5, 12, 40]))
    )
    threat = ThreatModel(goal=goal, surface="profiles", budget=budget)
    target = str(rng.choice(log.items["item_id"].to_numpy()))
    return _Scene(attack, log, threat, target, case)


def _check_target(match: Match, everywhere: bool, where: str) -> None:
    for edit in match.patch.edits:
        if isinstance(edit, AddProfile) and everywhere:
            assert match.target in edit.item_ids, f"{where}: a profile without the target"
