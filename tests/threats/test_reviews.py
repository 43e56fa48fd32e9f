"""The referee of fake reviews lets through what is allowed and nothing else."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from hardrank.data import AddProfile, AddReview, Patch
from hardrank.errors import DataError, FoulPlay, Unsupported
from hardrank.testing.logs import taste_log
from hardrank.testing.reviews import reviewed_log
from hardrank.threats.model import Budget, Degrade, Promote, ThreatModel
from hardrank.threats.reviews import ReviewAttack, ReviewView, check_reviews, play_reviews

DATA = reviewed_log()
BUDGET = Budget(reviews=2, words=4)
THREAT = ThreatModel(goal=Promote(), surface="reviews", budget=BUDGET)
GOOD = AddReview("x", "i3", "four words of praise", 5.0, 1_600_100_000)


@dataclass(frozen=True)
class Writes:
    edits: tuple[Any, ...]
    needs: ClassVar[Any] = "catalogue"
    surfaces: ClassVar[Any] = ("reviews",)
    goals: ClassVar[Any] = ("promote",)
    kind: str = "writes"

    def __call__(self, view: Any, goal: Any, budget: Any, rng: Any) -> Patch:
        return Patch(self.edits)


@pytest.mark.parametrize(
    ("edits", "complaint"),
    [
        (
            (GOOD, replace(GOOD, user_id="y"), replace(GOOD, user_id="z")),
            "3 fake reviews, budget 2",
        ),
        ((AddProfile("x", ("i3",)),), "only reviews"),
        ((GOOD, GOOD), "has written or is known"),
        ((replace(GOOD, user_id="u0"),), "has written or is known"),
        ((replace(GOOD, item_id="i4"),), "not the target"),
        ((replace(GOOD, text=" \n"),), "no word"),
        ((replace(GOOD, text="these are five words now"),), "5 words, budget 4"),
        ((replace(GOOD, rating=5.5),), r"rating lies outside \[1, 5\]"),
        ((replace(GOOD, rating=None),), "has no rating"),
        ((replace(GOOD, time=0),), "time lies outside"),
        ((replace(GOOD, time=None),), "has no time"),
    ],
)
def test_each_rule_is_checked(edits: tuple[Any, ...], complaint: str) -> None:
    check_reviews(Patch((GOOD,)), BUDGET, DATA, "i3")
    with pytest.raises(FoulPlay, match=complaint):
        check_reviews(Patch(edits), BUDGET, DATA, "i3")
    with pytest.raises(FoulPlay, match=complaint):
        play_reviews(Writes(edits), THREAT, DATA, target="i3")


def test_stars_are_foul_where_reviews_have_none() -> None:
    assert DATA.reviews is not None
    bare = replace(DATA, reviews=DATA.reviews.drop("rating", "time"))
    check_reviews(Patch((replace(GOOD, rating=None, time=None),)), BUDGET, bare, "i3")
    with pytest.raises(FoulPlay, match="other reviews have none"):
        check_reviews(Patch((replace(GOOD, time=None),)), BUDGET, bare, "i3")
    with pytest.raises(Unsupported, match="have none"):
        ReviewView(bare, 3).of_kind(praise=True)


def test_the_match_counts_words() -> None:
    attack = Writes((GOOD, replace(GOOD, user_id="y", text="bad")))
    assert isinstance(attack, ReviewAttack)
    match = play_reviews(attack, THREAT, DATA, target="i3")
    assert (match.words, match.characters, len(match.patch)) == (5, 23, 2)


def test_what_the_threat_does_not_allow_is_refused() -> None:
    attack = Writes((GOOD,))
    listing = ThreatModel(goal=Promote(), budget=Budget(words=3))
    degrade = ThreatModel(goal=Degrade(), surface="reviews", budget=BUDGET)
    free = ThreatModel(goal=Promote(), surface="reviews", budget=Budget(words=3))
    for threat, why in ((listing, "threat to item-text"), (degrade, "goal is 'degrade'"),
                        (free, "set budget.reviews")):  # fmt: skip
        with pytest.raises(Unsupported, match=why):
            play_reviews(attack, threat, DATA, target="i3")
    with pytest.raises(DataError, match="unknown target item 'no'"):
        play_reviews(attack, THREAT, DATA, target="no")


def test_the_view_shows_reviews_without_writers() -> None:
    view = ReviewView(DATA, 3)
    assert DATA.reviews is not None and len(view.reviews) == DATA.reviews.height
    assert not hasattr(view.reviews[0], "user")
    assert view.scale == (1.0, 5.0)
    praise, blame = view.of_kind(praise=True), view.of_kind(praise=False)
    assert {o.rating for o in praise} == {4.0, 5.0} and {o.rating for o in blame} == {1.0, 2.0}
    assert np.array_equal(view.bestsellers, np.argsort(-DATA.counts, kind="stable"))
    assert ReviewView(taste_log(), 0).reviews == ()


def test_a_threat_says_what_is_written() -> None:
    said = THREAT.describe()
    assert "sees the catalogue and the public reviews and writes reviews" in said
    assert "at most 2 fake reviews for each target, at most 4 words in one review" in said
