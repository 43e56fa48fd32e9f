"""Detectors that learn from logs of which it is known who is fake.

What they read of a user are his ranks within his own log, feature by feature, so that a
detector that learned from some logs can judge others, of other items and another size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from annotated_types import Gt, Le, Lt
from numpy.typing import NDArray

from hardrank.context import RunContext, derive
from hardrank.data import Dataset
from hardrank.detection.examples import LabelledLog, usable, users_apart
from hardrank.detection.features import user_features
from hardrank.detection.keep import keep
from hardrank.detection.learned_from import columns_of
from hardrank.detection.parts import midranks
from hardrank.detection.trees import Forest, grown
from hardrank.errors import DataError
from hardrank.metrics.detection import threshold_at_fpr
from hardrank.types import Count, Floats, Ints, Positive, Share, spec

__all__ = [
    "BoostedDetector",
    "FittedDetector",
    "Line",
    "LogisticDetector",
    "balanced",
    "learned_rows",
    "ranked",
    "threshold_on",
    "too_few",
]

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]
_MIDDLE = 0.5
"""Rank of who has no value: like everybody."""
_RANKED: "WeakKeyDictionary[Dataset, tuple[tuple[str, ...], Doubles]]" = WeakKeyDictionary()
"""Features take longer than anything else here, and a dataset never changes."""


class Scorer(Protocol):
    """What was learned, without the features it reads."""

    def __call__(self, x: Doubles) -> Doubles:
        """(N, F) ranks in (0, 1) -> (N,) log-odds of being fake."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]: ...


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedDetector:
    """Says of each user of any log how likely he is fake, among as many fakes as real users."""

    spec: "BoostedDetector | LogisticDetector"
    names: tuple[str, ...]
    """F features, in the order of the columns that `scorer` reads."""
    scorer: Scorer
    threshold: float
    """Who is above is flagged: set on real users who were not trained on."""
    columns: tuple[str, ...] = ()
    """Of `rating` and `time`, what the logs had that it learned from; empty, too, where an
    earlier version kept it."""

    def __call__(self, dataset: Dataset) -> Floats:
        """(U,) in [0, 1]; NaN for a user without events. Raises `DataError` when a feature that
        was learned from cannot be read."""
        odds = self.scorer(self._columns(dataset))
        out = (0.5 * (1 + np.tanh(odds / 2))).astype(np.float32)
        out[np.diff(dataset.offsets) == 0] = np.nan
        return out

    def reasons(self, dataset: Dataset, users: Ints, most: int = 3) -> list[list[str]]:
        """For each of `users` the features that raise his score most: by how much the log-odds
        would fall if he had the middle rank there. Only those that raise it."""
        x = self._columns(dataset)[users]
        gains = self.scorer(x)[:, None] - np.stack(
            [self.scorer(_without(x, f)) for f in range(x.shape[1])], axis=1
        )
        return [
            [
                f"{self.names[f]} (rank {row[f]:.3f})"
                for f in np.argsort(-gain, kind="stable")[:most]
                if gain[f] > 0
            ]
            for row, gain in zip(x, gains, strict=True)
        ]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, by name."""
        return {
            **self.scorer.arrays(),
            "names": np.asarray(self.names, dtype=np.str_),
            "border": np.asarray([self.threshold]),
            "columns": np.asarray(self.columns, dtype=np.str_),
        }

    def save(self, folder: Path) -> None:
        """`spec.json` and `arrays.safetensors`; the folder appears whole or not at all."""
        keep(folder, self.spec, self.arrays())

    def _columns(self, dataset: Dataset) -> Doubles:
        names, x = ranked(dataset)
        if missing := [name for name in self.names if name not in names]:
            raise DataError(
                f"{dataset.name}: the detector reads '{missing[0]}', which this version does not "
                "compute",
                remedy="fit it again",
            )
        return x[:, [names.index(name) for name in self.names]]


@spec
class BoostedDetector:
    """Boosted trees on the ranks of a user's features.

    Friedman, Annals of Statistics 29(5), 2001, as scikit-learn grows them. Real and fake users
    weigh the same in all, and so does each attack family among the fakes.
    """

    kind: Literal["boosted"] = "boosted"
    trees: Count = 150
    """Boosting rounds."""
    depth: Count = 3
    """Questions from the root of a tree to its leaf."""
    learning_rate: Positive = 0.1
    """What each tree's answer is multiplied by."""
    subsample: Annotated[float, Gt(0), Le(1)] = 0.7
    """Share of the rows that a tree is grown on."""
    held_out: Annotated[float, Gt(0), Lt(1)] = 0.25
    """Share of the real users who are not trained on: they set the threshold."""
    false_alarms: Share = 0.01
    """Share of those users who may be above the threshold."""
    rows: Count = 20_000
    """Most rows of real users to learn from, the same number from each log."""

    def fit(self, examples: Sequence[LabelledLog], run: RunContext) -> FittedDetector:
        """Raises `DataError` when the examples have no fake user, or too few real ones."""
        lesson = _lesson(examples, self.held_out, self.rows, run.seed)
        scorer = grown(
            lesson.x, lesson.fake, lesson.weight, trees=self.trees, depth=self.depth,
            learning_rate=self.learning_rate, subsample=self.subsample,
            seed=derive(run.seed, self.kind),
        )  # fmt: skip
        return _fitted(self, scorer, lesson)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> FittedDetector:
        """The inverse of `arrays`. Raises `KeyError` for an array that is missing."""
        return _restored(self, Forest.restore(arrays), arrays)


@dataclass(frozen=True, eq=False, kw_only=True)
class Line:
    """A weighted sum of what a rank r says: 2r - 1 (high or low) and its square (far out)."""

    weights: Doubles
    """(2F,) first of the F ranks, then of the F squares."""
    bias: Doubles
    """(1,)"""

    def __call__(self, x: Doubles) -> Doubles:
        out: Doubles = _both_ends(x) @ self.weights + self.bias[0]
        return out

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"weights": self.weights, "bias": self.bias}


@spec
class LogisticDetector:
    """Logistic regression on the ranks of a user's features and on how far out they are.

    The plain form of `boosted`: its weights can be read, and it needs fewer examples.
    """

    kind: Literal["logistic"] = "logistic"
    inverse_penalty: Positive = 1.0
    """The smaller, the smaller the weights: C of scikit-learn's LogisticRegression."""
    held_out: Annotated[float, Gt(0), Lt(1)] = 0.25
    """Share of the real users who are not trained on: they set the threshold."""
    false_alarms: Share = 0.01
    """Share of those users who may be above the threshold."""
    rows: Count = 20_000
    """Most rows of real users to learn from, the same number from each log."""

    def fit(self, examples: Sequence[LabelledLog], run: RunContext) -> FittedDetector:
        """Raises `DataError` when the examples have no fake user, or too few real ones."""
        from sklearn.linear_model import LogisticRegression

        lesson = _lesson(examples, self.held_out, self.rows, run.seed)
        model = LogisticRegression(C=self.inverse_penalty, max_iter=2000, tol=1e-6)
        model.fit(_both_ends(lesson.x), lesson.fake, sample_weight=lesson.weight)
        line = Line(
            weights=np.asarray(model.coef_[0], dtype=np.float64),
            bias=np.asarray(model.intercept_, dtype=np.float64),
        )
        return _fitted(self, line, lesson)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> FittedDetector:
        """The inverse of `arrays`. Raises `KeyError` for an array that is missing."""
        line = Line(weights=arrays["weights"], bias=arrays["bias"])
        return _restored(self, line, arrays)


def ranked(dataset: Dataset) -> tuple[tuple[str, ...], Doubles]:
    """Names of F features, and (U, F) the rank in (0, 1) that each user has in each among the
    users of this log who have events; equal values share their mean rank, and who has no
    event is in the middle. Kept as long as the dataset is."""
    if dataset not in _RANKED:
        names, values = user_features(dataset)
        known = np.where((np.diff(dataset.offsets) > 0)[:, None], values, np.nan)
        columns = [midranks(column) for column in known.T]
        _RANKED[dataset] = names, np.nan_to_num(np.stack(columns, axis=1), nan=_MIDDLE)
    return _RANKED[dataset]


def threshold_on(
    scores: Sequence[Floats], examples: Sequence[LabelledLog], *, held_out: float,
    false_alarms: float, seed: int,
) -> float:  # fmt: skip
    """The threshold above which at most a share `false_alarms` of the real users lie who were
    held out. scores: (U,) for each example. Raises `DataError` when none was held out."""
    aside = [
        found[_held_out(log, held_out, seed)] for found, log in zip(scores, examples, strict=True)
    ]
    negatives = np.concatenate(aside) if aside else np.empty(0)
    if not len(negatives):
        raise too_few(examples, aside=True)
    return threshold_at_fpr(negatives, false_alarms)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Lesson:
    names: tuple[str, ...]
    x: Doubles
    fake: Mask
    weight: Doubles
    aside: Doubles
    """(N', F) ranks of the real users who set the threshold."""
    columns: tuple[str, ...]


def _lesson(examples: Sequence[LabelledLog], held_out: float, rows: int, seed: int) -> _Lesson:
    names: tuple[str, ...] = ()
    parts: list[tuple[Doubles, Mask]] = []
    families: list[str] = []
    aside: list[Doubles] = []
    for n, log in enumerate(usable(examples)):
        found, x = ranked(log.dataset)
        assert found == (names or found), "features differ from log to log"
        names = found
        chosen = learned_rows(log, held_out, rows // len(examples), (seed, n))
        parts.append((x[chosen], log.fake[chosen]))
        families += [log.family] * len(chosen)
        aside.append(x[_held_out(log, held_out, seed)])
    fake = np.concatenate([f for _, f in parts])
    if fake.all() or not fake.any():
        raise too_few(examples, aside=False)
    if not any(map(len, aside)):
        raise too_few(examples, aside=True)
    return _Lesson(
        names=names, x=np.concatenate([x for x, _ in parts]), fake=fake,
        weight=balanced(fake, np.asarray(families)), aside=np.concatenate(aside),
        columns=columns_of(log.dataset for log in examples),
    )  # fmt: skip


def learned_rows(log: LabelledLog, held_out: float, most: int, seed: tuple[int, int]) -> Ints:
    """Rows of the users of a log that are trained on: its fakes, and `most` of its real users."""
    aside = users_apart(log, held_out, seed[0], "threshold")
    real = np.flatnonzero(log.learned & ~log.fake & ~aside)
    rng = np.random.default_rng(derive(seed[0], "rows", seed[1]))
    real = np.sort(rng.permutation(real)[: max(most, 1)])
    return np.concatenate([real, np.flatnonzero(log.learned & log.fake)]).astype(np.int64)


def _held_out(log: LabelledLog, share: float, seed: int) -> Mask:
    """(U,) the real users of a log who set the threshold."""
    return log.learned & ~log.fake & users_apart(log, share, seed, "threshold")


def balanced(fake: Mask, families: NDArray[np.str_]) -> Doubles:
    """(N,) of mean 1: half of all for the fakes, of that the same for each family."""
    weight = np.full(len(fake), len(fake) / (2 * (~fake).sum()))
    kinds = np.unique(families[fake])
    for kind in kinds:
        chosen = fake & (families == kind)
        weight[chosen] = len(fake) / (2 * len(kinds) * chosen.sum())
    return weight


def _fitted(
    spec: BoostedDetector | LogisticDetector, scorer: Scorer, lesson: _Lesson
) -> FittedDetector:
    # the threshold is one of float32 scores, as they are given out
    scores = (0.5 * (1 + np.tanh(scorer(lesson.aside) / 2))).astype(np.float32)
    threshold = threshold_at_fpr(scores, spec.false_alarms)
    return FittedDetector(
        spec=spec, names=lesson.names, scorer=scorer, threshold=threshold, columns=lesson.columns
    )


def _restored(
    spec: BoostedDetector | LogisticDetector, scorer: Scorer, arrays: Mapping[str, NDArray[Any]]
) -> FittedDetector:
    names = tuple(arrays["names"].tolist())
    return FittedDetector(
        spec=spec, names=names, scorer=scorer, threshold=float(arrays["border"][0]),
        columns=tuple(arrays["columns"].tolist()) if "columns" in arrays else (),
    )  # fmt: skip


def _both_ends(x: Doubles) -> Doubles:
    centred = 2 * x - 1
    return np.concatenate([centred, centred**2], axis=1)


def _without(x: Doubles, feature: int) -> Doubles:
    out = x.copy()
    out[:, feature] = _MIDDLE
    return out


def too_few(examples: Sequence[LabelledLog], *, aside: bool) -> DataError:
    """What to raise for them. aside: whether nobody is left to set the threshold on; else
    nobody is left to learn from."""
    users = max(int((~log.fake).sum()) for log in examples)
    purpose, other = ("to set a threshold on", "raise") if aside else ("to learn from", "lower")
    hidden = any(log.shown is not None for log in examples)
    return DataError(
        f"the example logs have too few real users {purpose} ({users} in all)",
        remedy="bring more users ([data], or a [split] that keeps more of them), or "
        f"{other} detector.held_out, the share of them who set the threshold and are not learned "
        "from" + (", or lower evaluation.held_out, the share hidden from it" if hidden else ""),
    )
