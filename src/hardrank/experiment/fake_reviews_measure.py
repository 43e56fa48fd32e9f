"""How well a detector of fake reviews tells texts apart, with intervals that know of groups."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hardrank.context import RunContext
from hardrank.data.labelled import Labelled
from hardrank.metrics.detection import auroc, average_precision, recall_at_fpr
from hardrank.metrics.intervals import Interval
from hardrank.models.text_classifier import TextClassifier
from hardrank.recommender import Classifier
from hardrank.types import Floats

__all__ = ["ClassifierReviews", "Judgement", "ReviewDetector", "Scored", "Scorer", "judge"]

Doubles = NDArray[np.float64]
_FPR = 0.01
_STATISTICS: tuple[Callable[[Doubles, NDArray[np.bool_]], float], ...] = (
    auroc, average_precision, lambda scores, labels: recall_at_fpr(scores, labels, _FPR),
)  # fmt: skip


class Scorer(Protocol):
    def score(self, texts: Sequence[str]) -> Floats: ...


class ReviewDetector(Protocol):
    """What is judged here: the specs of `hardrank.detection.reviews`, and `ClassifierReviews`."""

    @property
    def kind(self) -> str: ...

    def fit(self, train: Labelled, *, fake: str) -> Scorer: ...


@dataclass(frozen=True, kw_only=True)
class ClassifierReviews:
    """The model `text-classifier` as a detector of reviews; scores are log-odds of `fake`."""

    model: TextClassifier = field(default_factory=TextClassifier)
    run: RunContext = field(default_factory=RunContext)

    @property
    def kind(self) -> str:
        return self.model.kind

    def fit(self, train: Labelled, *, fake: str) -> "_ClassifierScores":
        """Raises as `TextClassifier.fit`, and `ValueError` for an unknown class."""
        return _ClassifierScores(self.model.fit(train, self.run), train.names.index(fake))


@dataclass(frozen=True)
class _ClassifierScores:
    model: Classifier
    column: int

    def score(self, texts: Sequence[str]) -> Floats:
        p = self.model.probabilities(texts)[:, self.column].astype(np.float64)
        p = np.clip(p, 1e-12, 1 - 1e-12)
        return np.asarray(np.log(p) - np.log1p(-p), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Scored:
    """One test set of N texts."""

    scores: Floats
    fake: NDArray[np.bool_]
    groups: tuple[str, ...]
    """N names: texts of one hotel or item are like each other, so they are drawn together."""


@dataclass(frozen=True)
class Judgement:
    """Means over the test sets, with 95 % intervals."""

    auroc: Interval
    average_precision: Interval
    """Chance gives the share of fake texts."""
    recall: Interval
    """Share of fake texts found where at most 1 % of real ones are flagged."""
    n: int
    """Texts of all test sets."""

    def to_json(self) -> Mapping[str, Any]:
        return {
            name: [round(v, 4) if np.isfinite(v) else None for v in (i.value, i.low, i.high)]
            for name, i in (("auroc", self.auroc), ("average_precision", self.average_precision),
                            ("recall_at_1_percent_fpr", self.recall))
        } | {"texts": self.n}  # fmt: skip


def judge(tests: Sequence[Scored], rng: np.random.Generator, *, draws: int = 500) -> Judgement:
    """A draw takes test sets (one a seed) with replacement, and of each its groups with
    replacement. A draw that lacks a class counts as beyond either bound."""
    value = np.mean([_statistics(t.scores, t.fake) for t in tests], axis=0)
    rows = [_rows_of_groups(t) for t in tests]
    drawn = np.empty((draws, len(_STATISTICS)))
    for n in range(draws):
        chosen = rng.integers(0, len(tests), size=len(tests))
        drawn[n] = np.mean([_redrawn(tests[c], rows[c], rng) for c in chosen], axis=0)
    cut = int(np.floor(0.025 * draws))
    low = np.sort(np.where(np.isnan(drawn), -np.inf, drawn), axis=0)[cut]
    high = np.sort(np.where(np.isnan(drawn), np.inf, drawn), axis=0)[draws - 1 - cut]
    area, precision, recall = (
        Interval(*map(float, three)) for three in zip(value, low, high, strict=True)
    )
    return Judgement(area, precision, recall, n=sum(len(t.groups) for t in tests))


def _statistics(scores: Floats, fake: NDArray[np.bool_]) -> list[float]:
    wide = scores.astype(np.float64)
    return [statistic(wide, fake) for statistic in _STATISTICS]


def _rows_of_groups(test: Scored) -> list[NDArray[np.intp]]:
    groups = np.array(test.groups)
    return [np.flatnonzero(groups == g) for g in np.unique(groups)]


def _redrawn(test: Scored, rows: list[NDArray[np.intp]], rng: np.random.Generator) -> list[float]:
    taken = np.concatenate([rows[g] for g in rng.integers(0, len(rows), size=len(rows))])
    return _statistics(test.scores[taken], test.fake[taken])
