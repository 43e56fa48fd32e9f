"""What fake reviews do to a model that reads reviews as item text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from hardrank.attacks.reviews import ReviewUnion
from hardrank.attacks.reviews.parts import cut, lengths, praises, publish, sources
from hardrank.audits.exposures import observe
from hardrank.context import derive
from hardrank.data import Dataset, Patch, Queries, Slate
from hardrank.data.review_texts import with_review_field
from hardrank.metrics.intervals import Interval, bootstrap_difference, bootstrap_mean
from hardrank.recommender import Recommender
from hardrank.threats.model import Budget, Demote, Promote, ThreatModel
from hardrank.threats.reviews import ReviewAttack, ReviewView, play_reviews
from hardrank.types import Count, GoalKind, LogKnowledge, Surface, spec

__all__ = ["MovedReviews", "ReviewEffect", "ReviewField", "review_effect"]

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


@dataclass(frozen=True, kw_only=True)
class ReviewEffect:
    """One generator: what it costs and what it gains. Means over targets."""

    attack: str
    targets: int
    reviews: float
    """Fake reviews a target."""
    words: float
    """Words of them."""
    seconds: float
    """To write them."""
    er_before: float
    """Share of eligible users with the target in their top k."""
    er_after: float
    gain: Interval
    """er_after - er_before; below 0 where the target is shown to fewer."""
    over_control: Interval
    """Gain less that of `MovedReviews` on the same targets."""
    shift: float
    """Mean change of the target's score."""

    def to_json(self) -> dict[str, Any]:
        out = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("gain", "over_control"):
            out[name] = [round(v, 5) for v in (out[name].value, out[name].low, out[name].high)]
        return {k: round(v, 5) if isinstance(v, float) else v for k, v in out.items()}


@dataclass(frozen=True, eq=False)
class _Played:
    er_before: Doubles
    er_after: Doubles
    shift: Doubles
    reviews: Doubles
    words: Doubles
    seconds: Doubles


def review_effect(
    recommender: Recommender,
    data: Dataset,
    queries: Queries,
    attacks: Sequence[ReviewUnion],
    threat: ThreatModel,
    *,
    targets: Sequence[str],
    field: ReviewField | None = None,
    k: int = 10,
    seed: int = 0,
) -> list[ReviewEffect]:
    """One row for each attack, after one for the control.

    recommender: trained with `field` among its fields, on `field.of(data)`. It is not trained
    anew: the shop shows new reviews to the model it has. data: the public log and reviews,
    held-out ones left out. queries: histories of the users to whom lists are shown. Each
    target is attacked alone. Raises as `play_reviews`.
    """
    field = field or ReviewField()
    control = _play(MovedReviews(), recommender, data, queries, threat, targets, field, k, seed)
    rows = [_row(MovedReviews().kind, control, control, seed)]
    for attack in attacks:
        played = _play(attack, recommender, data, queries, threat, targets, field, k, seed)
        rows.append(_row(attack.kind, played, control, seed))
    return rows


def _play(
    attack: ReviewAttack, recommender: Recommender, data: Dataset, queries: Queries,
    threat: ThreatModel, targets: Sequence[str], field: ReviewField, k: int, seed: int,
) -> _Played:  # fmt: skip
    rows = np.array([data.item_rows[t] for t in targets], dtype=np.int64)
    matches = [play_reviews(attack, threat, data, target=t, seed=seed) for t in targets]
    texts = []
    for row, match in zip(rows.tolist(), matches, strict=True):
        texts.append(str(field.of(data.apply(match.patch)).items[field.name][row]))
    slate = Slate(items=rows, texts=tuple(texts), field=field.name)
    after = recommender.score(queries, slate)
    changed = np.array([len(m.patch) > 0 for m in matches])
    seen = observe(recommender, queries, rows, after, changed=changed, k=k)
    return _Played(
        seen.er_before, seen.er_after, seen.shift,
        np.array([len(m.patch) for m in matches], dtype=np.float64),
        np.array([m.words for m in matches], dtype=np.float64),
        np.array([m.seconds for m in matches]),
    )  # fmt: skip


def _row(kind: str, played: _Played, control: _Played, seed: int) -> ReviewEffect:
    rng = np.random.default_rng(derive(seed, "fake-reviews", kind))
    gains, others = played.er_after - played.er_before, control.er_after - control.er_before
    return ReviewEffect(
        attack=kind, targets=len(gains), reviews=float(played.reviews.mean()),
        words=float(played.words.mean()), seconds=float(played.seconds.mean()),
        er_before=float(np.nanmean(played.er_before)),
        er_after=float(np.nanmean(played.er_after)),
        gain=bootstrap_mean(gains, rng), over_control=bootstrap_difference(gains, others, rng),
        shift=float(np.nanmean(played.shift)),
    )  # fmt: skip
