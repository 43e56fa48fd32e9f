"""The guard of reviews in `hardrank guard fit`: learned from labelled ones, measured on others."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt, Lt

from hardrank.context import derive
from hardrank.data.labelled import Labelled, LabelledTexts, split_labelled
from hardrank.errors import DataError
from hardrank.guards.reviews import FittedReviewGuard, ReviewGuard
from hardrank.metrics.detection import recall_at_fpr
from hardrank.types import spec

__all__ = ["ReviewFitting", "ReviewsFitted", "fit_reviews"]


@spec
class ReviewFitting:
    """`[reviews]` in the file: a CSV file (UTF-8, header line) of reviews with a label each."""

    path: Path
    """The file."""
    text: str = "text"
    """Column of the review."""
    label: str = "label"
    """Column of the label."""
    fake: str = "fake"
    """The label of fake reviews; all others are real."""
    group: str | None = None
    """Column of the item or shop that a review is about. The guard is then measured, and its
    threshold set, on groups that it did not learn from."""
    guard: ReviewGuard = ReviewGuard()
    """What learns."""
    test: Annotated[float, Gt(0), Lt(1)] = 0.3
    """Share of the reviews that it does not see: it is measured there."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ReviewsFitted:
    """A guard of reviews, and what it does to reviews that it never saw."""

    guard: FittedReviewGuard
    real: int
    fake: int
    """Number of held-out reviews."""
    false_alarms: float
    """Share of the real ones that it holds."""
    recall: float
    """Share of the fake ones that it holds."""
    at: float
    """The share of false alarms that was asked for."""
    recall_at: float
    """Largest recall of any threshold that holds at most `at` of these real reviews."""

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "guard"}


def fit_reviews(made: ReviewFitting, seed: int) -> ReviewsFitted:
    """Raises `DataError` for a file that cannot be read, or whose labels lack `fake`."""
    texts = LabelledTexts(path=made.path, text=made.text, label=made.label, group=made.group)
    data = texts.load()
    if made.fake not in data.names:
        raise DataError(
            f"no review has the label '{made.fake}'; there are: {', '.join(data.names)}",
            path=made.path, field=made.label, remedy="say which label is fake",
        )  # fmt: skip
    rng = np.random.default_rng(derive(seed, "guard reviews"))
    # The guard sets its threshold on texts of its own choice, so it gets the validation part.
    split = split_labelled(data, rng, valid=(1 - made.test) / 2, test=made.test)
    guard = made.guard.fit(_together(split.train, split.valid), fake=made.fake)
    scores = guard.detector.score(split.test.texts)
    fake = split.test.labels == data.names.index(made.fake)
    held = scores.astype(np.float64) > guard.threshold
    return ReviewsFitted(
        guard=guard, real=int((~fake).sum()), fake=int(fake.sum()),
        false_alarms=float(held[~fake].mean()), recall=float(held[fake].mean()),
        at=made.guard.false_alarms,
        recall_at=float(recall_at_fpr(scores, fake, made.guard.false_alarms)),
    )  # fmt: skip


def _together(one: Labelled, other: Labelled) -> Labelled:
    """Of the same classes."""
    groups = None
    if one.groups is not None and other.groups is not None:
        groups = one.groups + other.groups
    return Labelled(
        texts=one.texts + other.texts, labels=np.concatenate([one.labels, other.labels]),
        names=one.names, groups=groups,
    )  # fmt: skip
