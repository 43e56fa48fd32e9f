"""Fake reviews: what their writer may see, and the referee that counts and checks them.

A reviewer needs no purchase here: he adds words (and stars) to one item, and nothing to the
log of events. Models that read reviews as item text are reached by it, others are not.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import polars as pl

from hardrank.context import RunContext, derive
from hardrank.data import AddReview, Dataset, Patch
from hardrank.errors import DataError, FoulPlay, Unsupported
from hardrank.threats.court import label
from hardrank.threats.match import Match
from hardrank.threats.model import Budget, Demote, Promote, ThreatModel, aim_at
from hardrank.types import Floats, GoalKind, Ints, LogKnowledge, Share, Surface
from hardrank.wording import split

__all__ = [
    "Opinion",
    "ReviewAttack",
    "ReviewScorer",
    "ReviewView",
    "check_reviews",
    "play_reviews",
]

_CLEAR: Share = 0.25
"""Praise has stars in the uppermost quarter of the scale, blame in the lowest: of 1 to 5 stars
4 and 5 praise, 1 and 2 blame."""


@dataclass(frozen=True)
class Opinion:
    """A public review, without its writer."""

    item: int
    """Row of the item table."""
    text: str
    rating: float | None = None
    time: int | None = None


class ReviewScorer(Protocol):
    """A fitted detector of fake reviews."""

    def score(self, texts: Sequence[str]) -> Floats:
        """(N,) higher is more suspicious."""
        ...


class ReviewView:
    """Sees what every visitor sees: the catalogue, the bestsellers, and all reviews. An adaptive
    writer knows the defence, too: `detector` is then the very one that the shop uses."""

    def __init__(
        self,
        train: Dataset,
        target: int,
        run: RunContext | None = None,
        detector: ReviewScorer | None = None,
    ) -> None:
        self.target: int = target
        """Item row under attack."""
        self.detector: ReviewScorer | None = detector
        """The shop's; None where the writer does not know it."""
        self.run: RunContext = run or RunContext()
        self.items: pl.DataFrame = train.items
        """The public catalogue."""
        self.bestsellers: Ints = np.argsort(-train.counts, kind="stable")
        """(I,) item rows, the most popular first."""
        self.reviews: tuple[Opinion, ...] = _opinions(train)
        """All of them, in the order of the table."""
        self.scale: tuple[float, float] | None = _range([o.rating for o in self.reviews])
        """Fewest and most stars of a review; None where one has none: a fake one then has
        none either."""
        self.window: tuple[int, int] | None = _span([o.time for o in self.reviews])
        """Times of the first and the last review; None where one has no time."""

    def of_kind(self, *, praise: bool) -> list[Opinion]:
        """Reviews that clearly praise, or blame, by their stars. Raises `Unsupported` where
        reviews have no stars."""
        if self.scale is None:
            raise Unsupported("praise and blame are told apart by stars; these reviews have none")
        low, high = self.scale
        margin = _CLEAR * (high - low)
        return [
            o for o in self.reviews
            if o.rating is not None and o.text.strip()
            and (o.rating >= high - margin if praise else o.rating <= low + margin)
        ]  # fmt: skip

    def review(
        self, name: str, text: str, rating: float | None = None, time: int | None = None
    ) -> AddReview:
        """The edit that adds a review of the target. `name` need only be another one for each
        review of a patch; stars and time are kept only where reviews have such."""
        item = str(self.items["item_id"][self.target])
        return AddReview(
            user_id=f"new-reviewer-{item}-{name}",
            item_id=item,
            text=text,
            rating=None if rating is None or self.scale is None else float(rating),
            time=None if time is None or self.window is None else int(time),
        )


@runtime_checkable
class ReviewAttack(Protocol):
    """A frozen bag of hyperparameters you can call: fake reviews of one item."""

    needs: ClassVar[LogKnowledge]
    """`"catalogue"`: what is public, reviews included."""
    surfaces: ClassVar[tuple[Surface, ...]]
    """`("reviews",)`"""
    goals: ClassVar[tuple[GoalKind, ...]]

    @property
    def kind(self) -> str: ...

    def __call__(
        self, view: ReviewView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        """`AddReview` edits alone, at most `budget.reviews` of at most `budget.words` words.
        Same view, goal, budget and rng state, same patch."""
        ...


def play_reviews(
    attack: ReviewAttack,
    threat: ThreatModel,
    train: Dataset,
    *,
    target: str,
    seed: int = 0,
    run: RunContext | None = None,
    detector: ReviewScorer | None = None,
) -> Match:
    """One attack on one target item; `Match.words` counts all words of its reviews.

    train: what is public, so no held-out review. detector: the shop's, for a writer who knows
    it. All randomness follows from (seed, attack, target). Raises `FoulPlay` where a review
    breaks the rules, `Unsupported` when the threat does not let this attack play, `DataError`
    for an item that the log does not know.
    """
    if target not in train.item_rows:
        raise DataError(f"{train.name}: unknown target item '{target}'", remedy="check the ids")
    goal = threat.goal
    if not isinstance(goal, Promote | Demote):
        raise Unsupported(f"fake reviews promote or demote an item; the goal is '{goal.kind}'")
    _refuse(attack, threat)
    view = ReviewView(train, train.item_rows[target], run, detector)
    rng = np.random.default_rng(derive(seed, label(attack), target))
    before, started = train.fingerprint, time.perf_counter()
    patch = attack(view, aim_at(goal, target), threat.budget, rng)
    seconds = time.perf_counter() - started
    if replace(train).fingerprint != before:
        raise FoulPlay(f"attack '{attack.kind}' changed the data that it was shown")
    check_reviews(patch, threat.budget, train, target)
    return Match(
        attack=label(attack), threat=threat, target=target, patch=patch,
        words=sum(len(split(e.text)) for e in patch.edits if isinstance(e, AddReview)),
        characters=sum(len(e.text) for e in patch.edits if isinstance(e, AddReview)),
        seconds=seconds, seed=seed, victim=before[:16],
    )  # fmt: skip


def check_reviews(patch: Patch, budget: Budget, train: Dataset, target: str) -> None:
    """Raises `FoulPlay` with the first rule that a patch breaks.

    The rules: reviews alone, of the target alone, no more than the budget's; each with a word
    and no more words than the budget's; each by another new user; stars on the scale of the
    reviews where they have such and none where they have not; the same for times.
    """
    view = ReviewView(train, train.item_rows[target])
    if budget.reviews is not None and len(patch) > budget.reviews:
        raise FoulPlay(f"{len(patch)} fake reviews, budget {budget.reviews}")
    names: set[str] = set()
    for edit in patch.edits:
        if not isinstance(edit, AddReview):
            raise FoulPlay(f"an edit '{edit.kind}' where only reviews may be written")
        if edit.user_id in names or edit.user_id in train.user_rows:
            raise FoulPlay(f"review by '{edit.user_id}': that user has written or is known")
        names.add(edit.user_id)
        if wrong := _complaint(edit, target, budget, view):
            raise FoulPlay(f"review by '{edit.user_id}': {wrong}")


def _complaint(edit: AddReview, target: str, budget: Budget, view: ReviewView) -> str | None:
    words = len(split(edit.text))
    if edit.item_id != target:
        return f"it is about '{edit.item_id}', not the target"
    if not words:
        return "it has no word"
    if budget.words is not None and words > budget.words:
        return f"{words} words, budget {budget.words}"
    return _outside("rating", edit.rating, view.scale) or _outside("time", edit.time, view.window)


def _outside(what: str, value: float | None, limits: tuple[float, float] | None) -> str | None:
    if limits is None:
        return f"it has a {what}, other reviews have none" if value is not None else None
    if value is None:
        return f"it has no {what}, other reviews have one"
    low, high = limits
    return None if low <= value <= high else f"its {what} lies outside [{low:g}, {high:g}]"


def _refuse(attack: ReviewAttack, threat: ThreatModel) -> None:
    if threat.surface != "reviews":
        raise Unsupported(f"no review is written under a threat to {threat.surface}")
    if threat.goal.kind not in attack.goals:
        raise Unsupported(f"attack '{attack.kind}' cannot {threat.goal.kind}")
    if threat.budget.reviews is None or threat.budget.words is None:
        raise Unsupported("fake reviews need a limit: set budget.reviews and budget.words")


def _opinions(train: Dataset) -> tuple[Opinion, ...]:
    if train.reviews is None:
        return ()
    table = train.reviews
    n: list[None] = [None] * table.height
    ratings = table["rating"].to_list() if "rating" in table.columns else n
    times = table["time"].to_list() if "time" in table.columns else n
    columns = zip(table["item"].to_list(), table["text"].to_list(), ratings, times, strict=True)
    return tuple(Opinion(i, text or "", r, t) for i, text, r, t in columns)


def _range(values: list[float | None]) -> tuple[float, float] | None:
    known = [v for v in values if v is not None]
    return (min(known), max(known)) if known and len(known) == len(values) else None


def _span(values: list[int | None]) -> tuple[int, int] | None:
    known = [v for v in values if v is not None]
    return (min(known), max(known)) if known and len(known) == len(values) else None
