"""From suspicious users to the items they share, and back: fake users of one attack all know
its target, however well each of them imitates somebody."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt, Len, Lt
from numpy.typing import NDArray
from pydantic import Field

from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.data.filtering import Detector
from hardrank.detection.combined import AnySingle, Combined
from hardrank.detection.examples import LabelledLog
from hardrank.detection.keep import keep
from hardrank.detection.parts import Log, midranks, read
from hardrank.detection.supervised import BoostedDetector, LogisticDetector, threshold_on
from hardrank.errors import Unsupported
from hardrank.types import Count, Floats, NonNegative, Share, spec

__all__ = [
    "BaseDetector",
    "FittedTwoStage",
    "ItemSuspicion",
    "TwoStage",
    "item_suspicion",
    "top_share",
]

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]
_PRIOR = 10.0
"""Raters by whom a popularity class is pulled towards the share of suspects in all events."""
_FLOOR, _SHARPNESS = 2.0, 4
"""Fewer decades are no evidence; and an item counts only if it is nearly the worst of all."""
_OFTEN, _NORMAL_90 = 5, 1.6449
"""Raters of an item that can tell scatter; what 9 of 10 normal deviations stay within."""
_HELD_OUT = 0.25

Part = Annotated[float, Gt(0), Lt(1)]

BaseDetector = Annotated[
    AnySingle | Combined | BoostedDetector | LogisticDetector, Field(discriminator="kind")
]
"""What the first stage may be."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ItemSuspicion:
    """Items whose raters are suspicious beyond chance."""

    raters: Doubles
    """(I,) different users of the item."""
    suspects: Doubles
    """(I,) how many of them are among the suspects."""
    expected: Doubles
    """(I,) share of suspects among the raters of other items as popular as this one."""
    decades: Doubles
    """(I,) -log10 of the binomial tail p(at least so many suspects), made good for the number
    of items; 0 where nothing is unusual."""


def item_suspicion(log: Log, suspects: Mask) -> ItemSuspicion:
    """suspects: (U,). Popularity classes are powers of two: whoever seeks rare items, seeks
    many of them, and makes none of them suspicious. Real people flock, too, so the evidence is
    divided by how much more widely items scatter than coins would."""
    known, scatter = _tested(log, suspects)
    return ItemSuspicion(
        raters=log.counts, suspects=known.suspects, expected=known.expected,
        decades=_decades(known.suspects, log.counts, known.expected, scatter),
    )  # fmt: skip


@spec
class TwoStage:
    """A user is fake who looks unusual and knows an item that unusual users know.

    First a score of users, of which the top share are suspects. Then, for each item, a
    binomial test of how many suspects rated it, against items as popular. Last, both
    together: for a user of rank q, with d decades of evidence from all other users against
    the worst of his items, and D against the worst item of all (at least 2),

        log(q / (1 - q)) + weight * (d / D)**4

    and again with these scores. It is for attacks that promote or demote one item, and it
    needs a base that finds some of the fakes: no truth is used. A base that reads the
    items of a profile already, such as `boosted`, gains little, and where the fakes are few
    it may lose: an item that real people flock to then outweighs the target.

    Zhou et al., PLOS ONE 10(7), 2015, take the item most often rated alike by suspects for
    the target; here it has to be so beyond chance.
    """

    kind: Literal["two-stage"] = "two-stage"
    base: BaseDetector = Combined()
    """Scores users first."""
    suspects: Annotated[tuple[Part, ...], Len(min_length=1)] = (0.03, 0.1)
    """Shares of the users, by falling score, who may make an item suspicious; each share is
    tried, and the evidence made good for their number."""
    weight: NonNegative = 4.0
    """Most that a suspicious item adds to the log-odds of a user's rank."""
    rounds: Count = 3
    """How often items and users are judged in turn."""
    false_alarms: Share = 0.01
    """Share of real users of the examples who may be above the threshold."""

    def __call__(self, dataset: Dataset) -> Floats:
        """(U,) NaN for a user whom the base does not judge. Raises `Unsupported` when the base
        has to learn first."""
        base: Any = self.base
        if hasattr(base, "fit"):
            raise Unsupported(f"the base '{self.base.kind}' learns from examples: call fit first")
        return self.joint(dataset, base(dataset))

    def fit(self, examples: Sequence[LabelledLog], run: RunContext) -> "FittedTwoStage":
        """Fits the base, if it learns, and sets the threshold, if there are examples.

        Raises `DataError` as the base does."""
        base: Any = self.base
        fitted = base.fit(examples, run) if hasattr(base, "fit") else base
        held_out = getattr(base, "held_out", _HELD_OUT)
        scores = [self.joint(log.dataset, fitted(log.dataset)) for log in examples]
        border = (
            threshold_on(
                scores, examples, held_out=held_out, false_alarms=self.false_alarms, seed=run.seed
            )
            if examples
            else float("inf")
        )
        return FittedTwoStage(spec=self, base=fitted, threshold=border)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> "FittedTwoStage":
        """The inverse of `arrays`. Raises `KeyError` for an array that is missing."""
        base: Any = self.base
        fitted = base.restore(arrays) if hasattr(base, "restore") else base
        return FittedTwoStage(spec=self, base=fitted, threshold=float(arrays["joint_border"][0]))

    def joint(self, dataset: Dataset, scores: Floats) -> Floats:
        """(U,) log-odds of users by their own score and by the items they know. scores: (U,)"""
        log = read(dataset)
        rank = midranks(np.asarray(scores, dtype=np.float64))
        own = out = np.log(rank / (1 - rank))
        for _ in range(self.rounds):
            evidence, largest = _evidence(log, out, self.suspects)
            out = own + self.weight * (evidence / max(largest, _FLOOR)) ** _SHARPNESS
        return out.astype(np.float32)


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedTwoStage:
    """A base that has learned, and the stages after it."""

    spec: TwoStage
    base: Detector
    threshold: float
    """Who is above is flagged; infinite where there were no examples to set it on."""

    def __call__(self, dataset: Dataset) -> Floats:
        """(U,) log-odds, higher is more suspicious; NaN for a user without events."""
        return self.spec.joint(dataset, self.base(dataset))

    def reasons(self, dataset: Dataset, users: Any, most: int = 3) -> list[list[str]]:
        """The most suspicious item of each of `users`, if he has one, and the base's reasons."""
        log, scores = read(dataset), self(dataset)
        tried = [item_suspicion(log, top_share(scores, share)) for share in self.spec.suspects]
        found = max(tried, key=lambda one: float(one.decades.max(initial=0.0)))
        names = dataset.items["item_id"]
        told: Callable[..., list[list[str]]] | None = getattr(self.base, "reasons", None)
        rest = told(dataset, users, most) if told else [[] for _ in users]
        out = []
        for user, own in zip(users, rest, strict=True):
            mine = log.matrix[int(user)].indices
            item = mine[found.decades[mine].argmax()] if len(mine) else None
            if item is not None and found.decades[item] > 0:
                share = f"{found.suspects[item]:.0f} of {found.raters[item]:.0f} raters suspicious"
                own = [f"item {names[int(item)]} ({share})", *own]
            out.append(own[:most])
        return out

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, by name."""
        told: Callable[[], dict[str, NDArray[Any]]] | None = getattr(self.base, "arrays", None)
        return {**(told() if told else {}), "joint_border": np.asarray([self.threshold])}

    def save(self, folder: Path) -> None:
        """`spec.json` and `arrays.safetensors`; the folder appears whole or not at all."""
        keep(folder, self.spec, self.arrays())


def top_share(scores: Floats | Doubles, share: float) -> Mask:
    """(U,) who is among that share of the judged users by falling score; ties stay together."""
    ranks = midranks(np.asarray(scores, dtype=np.float64))
    return np.asarray(np.nan_to_num(ranks, nan=0.0) > 1 - share)


def _expected(raters: Doubles, suspicious: Doubles) -> Doubles:
    """(I,) share of suspects among the raters of the other items of the popularity class."""
    overall = suspicious.sum() / max(raters.sum(), 1)
    classes = np.floor(np.log2(np.maximum(raters, 1)) + 1e-9).astype(np.int64)
    events = np.bincount(classes, raters)[classes] - raters
    found = np.bincount(classes, suspicious)[classes] - suspicious
    return np.asarray((found + _PRIOR * overall) / (events + _PRIOR))


def _tested(log: Log, suspects: Mask) -> tuple[ItemSuspicion, float]:
    """Counts and expectations, and by how much squared deviations exceed those of coins."""
    suspicious = np.asarray(log.matrix.T @ suspects.astype(np.float64))
    expected, n = _expected(log.counts, suspicious), log.counts
    away = np.abs(suspicious - n * expected) / np.sqrt(n * expected * (1 - expected) + 1e-9)
    often = away[n >= _OFTEN]
    scatter = float(np.quantile(often, 0.9) / _NORMAL_90) ** 2 if len(often) else 1.0
    found = ItemSuspicion(raters=n, suspects=suspicious, expected=expected, decades=0 * n)
    return found, max(scatter, 1.0)


def _evidence(log: Log, scores: Doubles, shares: Sequence[float]) -> tuple[Doubles, float]:
    """(U,) decades of evidence against the worst item of each user, all other users being
    asked (nobody makes his own items suspicious), and those against the worst item of all."""
    users, items = np.repeat(np.arange(log.n_users), np.diff(log.matrix.indptr)), log.matrix.indices
    others, out, largest = np.maximum(log.counts - 1, 0), np.zeros(log.n_users), 0.0
    for share in shares:
        suspects = top_share(scores, share)
        found, scatter = _tested(log, suspects)
        k, expected = found.suspects, found.expected
        as_suspect = _decades(np.maximum(k - 1, 0), others, expected, scatter, len(shares))
        as_other = _decades(k, others, expected, scatter, len(shares))
        whole = _decades(k, log.counts, expected, scatter, len(shares))
        largest = max(largest, float(whole.max(initial=0.0)))
        np.maximum.at(out, users, np.where(suspects[users], as_suspect[items], as_other[items]))
    return out, largest


def _decades(
    suspicious: Doubles, raters: Doubles, expected: Doubles, scatter: float, tries: int = 1
) -> Doubles:
    from scipy.stats import binom

    chance = np.clip(expected, 1e-12, 1 - 1e-12)
    tail = -binom.logsf(suspicious - 1, raters, chance) / np.log(10) / scatter
    return np.asarray(np.clip(tail - np.log10(max(len(raters), 1) * tries), 0.0, 300.0))
