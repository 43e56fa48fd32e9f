"""The referee of fake profiles: every rule is broken once, nobody grades themselves (S2-10)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
import pytest

from hardrank.data import AddProfile, Dataset, Patch, RewriteItem
from hardrank.errors import DataError, FoulPlay, Unsupported
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Degrade, Demote, Promote, ThreatModel
from hardrank.threats.log import LogView
from hardrank.threats.profiles import ProfileAttack, check_profiles, play_profiles
from hardrank.types import GoalKind, LogKnowledge, Surface, spec

LOG = taste_log(users=20, items=12, events=4)
FIRST, LAST = int(LOG.events["time"].min()), int(LOG.events["time"].max())  # type: ignore[arg-type]
BUDGET = Budget(profiles=2, profile_events=3)
FAIR = AddProfile("new", ("i11", "i0"), (5.0, 4.0), (FIRST, LAST))


def threat(**changes: Any) -> ThreatModel:
    return ThreatModel(
        **{"goal": Promote(items=("i11",)), "surface": "profiles", "budget": BUDGET, **changes}
    )


@spec
class Scripted:
    """Writes what it is told to, and may do something first."""

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    rated: ClassVar[bool] = False
    kind: Literal["scripted"] = "scripted"
    edits: tuple[Any, ...] = (FAIR,)
    deed: Any = None

    def __call__(self, view: LogView, goal: Any, budget: Budget, rng: Any) -> Patch:
        if self.deed is not None:
            self.deed(view, goal, rng)
        return Patch(self.edits)


@spec
class ByRatings(Scripted):
    rated: ClassVar[bool] = True


def test_a_fair_profile_passes_and_is_counted() -> None:
    match = play_profiles(Scripted(), threat(), LOG, target="i11", seed=3)
    assert (match.profiles, match.events, match.target, match.seed) == (1, 2, "i11", 3)
    assert match.patch == Patch((FAIR,)) and match.error is None
    assert match.victim == LOG.fingerprint[:16]
    assert isinstance(Scripted(), ProfileAttack)
    check_profiles(Patch(), BUDGET, LOG)


@pytest.mark.parametrize(
    ("edits", "rule"),
    [
        ([FAIR, replace(FAIR, user_id="b"), replace(FAIR, user_id="c")], "3 fake users, budget 2"),
        ([RewriteItem("i0", "x")], "an edit 'rewrite-item' where only profiles may be written"),
        ([FAIR, FAIR], "two profiles are called 'new'"),
        ([replace(FAIR, user_id="u3")], "profile 'u3': that user is in the log already"),
        ([AddProfile("n", (), (), ())], "profile 'n': it has no event"),
        ([AddProfile("n", ("i0", "i1", "i2", "i3"), (1.0,) * 4)], "'n': 4 events, budget 3"),
        ([AddProfile("n", ("i0", "i0"), (1.0, 1.0))], "'n': an item stands there twice"),
        ([AddProfile("n", ("i0", "what"), (1.0, 1.0))], "'n': unknown item 'what'"),
        ([AddProfile("n", ("i0",))], "'n': a log with ratings needs one for each event"),
        ([AddProfile("n", ("i0", "i1"), (1.0,))], "a log with ratings needs one for each event"),
        ([AddProfile("n", ("i0",), (5.5,))], r"'n': a rating outside \[1, 5\]"),
        ([AddProfile("n", ("i0",), (0.5,))], r"'n': a rating outside \[1, 5\]"),
        ([AddProfile("n", ("i0",), (float("nan"),))], r"'n': a rating outside \[1, 5\]"),
        ([replace(FAIR, times=(LAST, FIRST))], "its times are not one for each event, oldest"),
        ([replace(FAIR, times=(FIRST,))], "its times are not one for each event, oldest first"),
        ([replace(FAIR, times=(FIRST - 1, LAST))], "a time outside the log's window"),
        ([replace(FAIR, times=(FIRST, LAST + 1))], "a time outside the log's window"),
    ],
)
def test_every_rule_is_kept(edits: list[Any], rule: str) -> None:
    with pytest.raises(FoulPlay, match=rule):
        check_profiles(Patch(tuple(edits)), BUDGET, LOG)
    with pytest.raises(FoulPlay, match=rule):
        play_profiles(Scripted(edits=tuple(edits)), threat(), LOG, target="i11")


def test_ratings_and_times_where_the_log_has_none() -> None:
    bare = taste_log(users=20, items=12, events=4, ratings=False, times=False)
    check_profiles(Patch((AddProfile("n", ("i0",)),)), BUDGET, bare)
    with pytest.raises(FoulPlay, match="it has ratings, the log has none"):
        check_profiles(Patch((AddProfile("n", ("i0",), (1.0,)),)), BUDGET, bare)
    with pytest.raises(FoulPlay, match="it has times, the log has none"):
        check_profiles(Patch((AddProfile("n", ("i0",), None, (1,)),)), BUDGET, bare)


def test_limits_that_are_not_given_do_not_bind() -> None:
    many = tuple(AddProfile(f"n{n}", ("i0", "i1", "i2", "i3"), (1.0,) * 4) for n in range(5))
    check_profiles(Patch(many), Budget(), LOG)


def _rating(view: LogView, *_: Any) -> None:
    praised = view.train.events.with_columns(rating=pl.lit(5.0).cast(pl.Float32))
    object.__setattr__(view.train, "events", praised)


def _title(view: LogView, *_: Any) -> None:
    view.items.replace_column(1, pl.Series("title", ["x"] * view.items.height))


def _event(view: LogView, *_: Any) -> None:
    view.train.events[0, "item"] = 3


@pytest.mark.parametrize("deed", [_rating, _title, _event])
def test_an_attack_that_changes_the_log_is_foul_play(deed: Callable[..., None]) -> None:
    log = taste_log(users=20, items=12, events=4)  # its own: it will be spoilt
    with pytest.raises(FoulPlay, match="attack 'scripted' changed the log that it was shown"):
        play_profiles(Scripted(deed=deed), threat(), log, target="i11")


def test_numbers_that_an_attack_writes_over_are_its_own() -> None:
    log = taste_log(users=20, items=12, events=4)
    counts = log.counts.copy()

    def spoil(view: LogView, *_: Any) -> None:
        view.counts[:] = 0
        view.train.event_items[:] = 0

    play_profiles(Scripted(deed=spoil), threat(), log, target="i11")
    assert np.array_equal(log.counts, counts)
    assert log.event_items.tolist() == log.events["item"].to_list()


def test_what_the_threat_does_not_grant_is_refused() -> None:
    for wrong, said in (
        (threat(log="statistics"), "needs 'log', the threat grants 'statistics'"),
        (threat(goal=Demote(items=("i11",))), "attack 'scripted' cannot demote"),
        (threat(goal=Degrade()), "fake users promote or demote an item; the goal is 'degrade'"),
        (ThreatModel(goal=Promote(), budget=Budget(words=3)), "under a threat to item-text"),
    ):
        with pytest.raises(Unsupported, match=said):
            play_profiles(Scripted(), wrong, LOG, target="i11")


def test_an_attack_by_ratings_is_refused_by_a_log_without() -> None:
    bare = taste_log(users=20, items=12, events=4, ratings=False)
    with pytest.raises(Unsupported, match="works by ratings, and the log has none"):
        play_profiles(ByRatings(), threat(), bare, target="i11")
    assert play_profiles(ByRatings(), threat(), LOG, target="i11").profiles == 1


def test_an_unknown_target_is_named() -> None:
    with pytest.raises(DataError, match="unknown target item 'i99'; check the ids"):
        play_profiles(Scripted(), threat(), LOG, target="i99")


def test_what_an_attack_is_given() -> None:
    """One target, the goal of it alone, randomness that follows from seed, attack and target."""
    seen: list[Any] = []

    def note(view: LogView, goal: Any, rng: np.random.Generator) -> None:
        seen.append((view.targets.tolist(), goal.items, view.detector, int(rng.integers(2**40))))

    def detector(dataset: Dataset) -> Any:
        return np.zeros(dataset.n_users)

    wide = threat(goal=Promote(items=("i11", "i10")))
    attack = Scripted(deed=note)
    for target, seed, known in (("i11", 0, None), ("i11", 0, None), ("i10", 0, None),
                                ("i11", 1, detector)):  # fmt: skip
        play_profiles(attack, wide, LOG, target=target, seed=seed, detector=known)
    assert [s[:3] for s in seen] == [
        ([11], ("i11",), None), ([11], ("i11",), None), ([10], ("i10",), None),
        ([11], ("i11",), detector),
    ]  # fmt: skip
    draws = [s[3] for s in seen]
    assert draws[0] == draws[1] and len(set(draws)) == 3
