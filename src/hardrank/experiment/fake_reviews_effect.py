"""Fake reviews shown to a model that reads reviews as item text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.attacks.reviews import ReviewUnion
from hardrank.attacks.reviews.parts import cut, lengths, praises, publish, sources
from hardrank.audits.exposures import observe
from hardrank.data import Dataset, Patch, Queries, Slate
from hardrank.data.review_texts import with_review_field
from hardrank.experiment.fake_reviews_texts import named
from hardrank.recommender import Recommender
from hardrank.threats.model import Budget, Demote, Promote, ThreatModel
from hardrank.threats.reviews import ReviewScorer, ReviewView, play_reviews
from hardrank.types import Count, GoalKind, Ints, LogKnowledge, Surface, spec

__all__ = ["CONTROL", "MovedReviews", "ReviewField", "Shown", "Writing", "shown", "write_reviews"]

Doubles = NDArray[np.float64]


@spec
class ReviewField:
    """How reviews become a text field of items; see `with_review_field`."""

    name: str = "reviews"
    """Column of the item table."""
    most: Count = 5
    """Newest reviews of each item that are read."""
    words: Count = 40
    """First words of each that are read."""

    def of(self, data: Dataset) -> Dataset:
        return with_review_field(data, self.name, most=self.most, words=self.words)

    def one(self, data: Dataset, item: int) -> str:
        """The text of this field for one item row."""
        assert data.reviews is not None
        own = replace(data, reviews=data.reviews.filter(pl.col("item") == item))
        return str(self.of(own).items[self.name][item])


@spec
class MovedReviews:
    """The control: as many real reviews of popular items, moved to the target word for word.

    What they do is what any new reviews do (other words, old reviews pushed out of the field);
    only what a generator does beyond it is its own.
    """

    needs: ClassVar[LogKnowledge] = "catalogue"
    surfaces: ClassVar[tuple[Surface, ...]] = ("reviews",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    kind: Literal["moved-reviews"] = "moved-reviews"
    items: Count = 40
    """Popular items whose reviews are taken."""

    def __call__(
        self, view: ReviewView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        n = budget.reviews or 0
        real = sources(view, praise=praises(goal), items=self.items)
        rows = rng.integers(0, len(real), size=n).tolist()
        sizes = lengths(real, n, budget, rng).tolist()
        texts = [cut(real[row].text, size) for row, size in zip(rows, sizes, strict=True)]
        return publish(view, goal, budget, rng, texts)


CONTROL = MovedReviews().kind


@dataclass(frozen=True, eq=False, kw_only=True)
class Writing:
    """What one writer publishes about M targets, each attacked alone."""

    attack: str
    targets: tuple[str, ...]
    rows: Ints
    """(M,) item rows of the targets."""
    texts: tuple[str, ...]
    """What the field of each target then reads."""
    reviews: Doubles
    """(M,) fake reviews."""
    words: Doubles
    """(M,) of them."""
    seconds: Doubles
    """(M,) to write them."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Shown:
    """What a writing does to one model."""

    writing: Writing
    er_before: Doubles
    """(M,) share of eligible users with the target in their top k."""
    er_after: Doubles
    rank_before: Doubles
    """(M,) mean rank of the target for eligible users, among what they have not seen."""
    rank_after: Doubles
    shift: Doubles
    """(M,) mean change of the target's score."""

    @property
    def gain(self) -> Doubles:
        return self.er_after - self.er_before


def write_reviews(
    attacks: Sequence[ReviewUnion],
    data: Dataset,
    threat: ThreatModel,
    *,
    targets: Sequence[str],
    field: ReviewField,
    seed: int = 0,
    detector: ReviewScorer | None = None,
) -> list[Writing]:
    """One for the control, then one for each attack.

    data: the public log and reviews, held-out ones left out. detector: the shop's, seen by
    writers who make use of it. Raises as `play_reviews`.
    """
    rows = np.array([data.item_rows[t] for t in targets], dtype=np.int64)
    out = []
    for name, attack in ((CONTROL, MovedReviews()), *((named(a), a) for a in attacks)):
        matches = [
            play_reviews(attack, threat, data, target=t, seed=seed, detector=detector)
            for t in targets
        ]
        texts = [
            field.one(data.apply(match.patch), row)
            for row, match in zip(rows.tolist(), matches, strict=True)
        ]
        out.append(
            Writing(
                attack=name, targets=tuple(targets), rows=rows, texts=tuple(texts),
                reviews=np.array([len(m.patch) for m in matches], dtype=np.float64),
                words=np.array([m.words for m in matches], dtype=np.float64),
                seconds=np.array([m.seconds for m in matches]),
            )
        )  # fmt: skip
    return out


def shown(
    writing: Writing, recommender: Recommender, queries: Queries, *, field: str, k: int = 10
) -> Shown:
    """recommender: trained with reviews in the column `field`. It is not trained anew: the shop
    shows new reviews to the model it has. queries: histories of the users to whom lists are
    shown."""
    slate = Slate(items=writing.rows, texts=writing.texts, field=field)
    after = recommender.score(queries, slate)
    seen = observe(recommender, queries, writing.rows, after, changed=writing.reviews > 0, k=k)
    return Shown(
        writing=writing,
        er_before=seen.er_before,
        er_after=seen.er_after,
        rank_before=seen.rank_before,
        rank_after=seen.rank_after,
        shift=seen.shift,
    )
