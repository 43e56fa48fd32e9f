"""What every other room agrees on: recommenders, classifiers, and how they are attacked.

A trained model is numpy outside, whatever inside. There is no untrained recommender: a
frozen `ModelSpec` has `fit`, and what `fit` gives can rank.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.context import RunContext
from hardrank.data import Dataset, Holdout, Queries, Slate
from hardrank.types import Floats, GoalKind, Ints, RankingLoss, Ranks, Scores, Site

if TYPE_CHECKING:
    import torch

__all__ = [
    "Change",
    "Classifier",
    "Differentiable",
    "Forecast",
    "LossSurface",
    "ModelSpec",
    "Recommender",
    "Relaxed",
    "TextGradient",
    "best",
    "mask_seen",
]


@runtime_checkable
class Recommender(Protocol):
    """A trained ranker over one catalogue."""

    @property
    def items(self) -> pl.DataFrame:
        """The catalogue it ranks, one row an item (`item_id`, `title`, ...)."""
        ...

    def score(self, queries: Queries, slate: Slate) -> Scores:
        """(Q, I), higher is better; seen items are not masked here. Deterministic: the same
        query and item get the same score whatever else is in the call."""
        ...

    def top(self, queries: Queries, k: int) -> Ranks:
        """(Q, K) best unseen items of the whole catalogue, best first; ties by item row."""
        ...

    def on(self, items: pl.DataFrame) -> Self:
        """The same weights over a catalogue whose texts were rewritten (same item ids)."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, by name; with the spec and the catalogue it is the whole model."""
        ...


@runtime_checkable
class Classifier(Protocol):
    """Moderation, fraud, sentiment, click: the second kind of victim."""

    @property
    def labels(self) -> tuple[str, ...]:
        """C names, in the order of the columns of `probabilities`."""
        ...

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """(N, C), rows sum to 1, calibrated on validation data."""
        ...

    def arrays(self) -> dict[str, NDArray[Any]]: ...


@dataclass(frozen=True, eq=False, kw_only=True)
class LossSurface:
    """A victim's loss as a pure function of a perturbation at one site.

    The attacker maximises it, so for `promote` it is the negative of the ranking loss of
    the target. `loss(delta)` takes a tensor shaped like `like` and gives one value per
    row, (B,); rows do not see each other's delta unless the site says so. The victim is in
    evaluation mode, its parameters get no gradient.
    """

    loss: "Callable[[torch.Tensor], torch.Tensor]"
    like: "torch.Tensor"
    """(B, ..., D) clean values at the site; where a position must not move it is masked."""
    scale: float
    """Mean L2 norm of the unmasked vectors of `like`: what a relative radius is relative to."""
    mask: "torch.Tensor | None" = None
    """(B, ...) True where the attacker may write; None for everywhere."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TextGradient:
    """First-order gain per word: what a white-box discrete attack reads."""

    words: tuple[str, ...]
    gradient: Floats
    """(T, D) derivative of the loss by each word's (summed) input embedding."""
    current: Floats
    """(T, D) the embedding that stands there now."""


Change = tuple[tuple[str, int], ...]
"""(word, how many more of it): what an edit means to whoever reads a bag of words."""
Forecast = Callable[[Sequence[Change]], Scores]
"""N changes of a text -> (Q, N) what each query is expected to give to the item then."""
Relaxed = Callable[["torch.Tensor"], "torch.Tensor"]
"""(B, S, W) weights of W words in S slots of a text -> (B, Q) scores, differentiable."""


@runtime_checkable
class Differentiable(Protocol):
    """A victim that grants gradients. Raises `Unsupported` for a site it does not have."""

    @property
    def sites(self) -> tuple[Site, ...]: ...

    def surface(
        self,
        site: Site,
        goal: GoalKind,
        queries: Queries,
        items: Ints,
        texts: Sequence[str] = (),
        *,
        loss: RankingLoss | None = None,
    ) -> LossSurface:
        """Loss surface for B rows. What a row is depends on the goal:

        * `promote` / `demote`: row b is item `items[b]`; the loss is how near it is to (far
          from) the top of the queries' rankings, averaged over all `queries`.
        * `degrade`: row b is query b and `items[b]` its held-out item; the loss is that
          item's ranking loss.
        * `flip`: row b is `texts[b]` with true label `items[b]` (classifiers).

        `loss` says which; None the first of its goal. With s the score of the row's item,
        `door` the 10th best score among the other unseen items, s_j those of the others:

        | loss | `promote` (`demote`: see below) | `degrade`, of the row's query |
        |---|---|---|
        | `exposure` | log mean_q sigmoid(s - door): softly, who lists it | softplus(door - s) |
        | `margin` | mean_q min(s - door, 0); 0 where all list it | door - s; above 0: not listed |
        | `rank` | -mean_q log(1 + sum_j sigmoid(s_j - s)) | log(1 + sum_j sigmoid(s_j - s)) |
        | `listwise` | mean_q log softmax(s) among s_j | cross-entropy of the item |

        First of its goal: `exposure` to promote or demote, `listwise` to degrade or flip.
        To demote, `exposure`, `rank` and `listwise` change their sign; `margin` becomes
        mean_q min(door - s, 0). To flip, `listwise` is the cross-entropy of the true label,
        `margin` the best other label's logit less its own, above 0 for another decision.
        `exposure` serves the share of users, which its logarithm keeps climbable far from
        every list; `margin` and `listwise` weigh all users, hopeless ones most; `rank` the
        mean order of magnitude of the rank. Raises `Unsupported` for a loss that it lacks.
        """
        ...

    def perturbed_scores(
        self, site: Site, goal: GoalKind, queries: Queries, items: Ints, delta: "torch.Tensor"
    ) -> Scores:
        """Scores after `delta`. `promote` / `demote`: (Q, B), the score that each query gives
        to each perturbed item. `degrade`: (B, I), the whole catalogue for each perturbed query."""
        ...


class ModelSpec(Protocol):
    """What TOML can spell of a model. `kind` names it in files and on the command line."""

    @property
    def kind(self) -> str: ...

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        valid: Holdout | None = None,
        objective: Any = None,
        start: Recommender | None = None,
    ) -> Recommender:
        """Train on `train`; early-stop on `valid` if the model can; minimise `objective`
        (a `hardrank.training.Objective`; None for the plain loss); begin from `start`'s
        weights (same spec) with a fresh optimiser. Baselines ignore what they cannot use
        and say so (`Unsupported`) when ignoring it would mislead: an `objective`."""
        ...

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> Recommender:
        """The inverse of `arrays`: equal scores to the last bit on the same machine."""
        ...


def mask_seen(scores: Scores, queries: Queries) -> Scores:
    """Put -inf, in place, where a query has seen the item. scores: (Q, I), whole catalogue."""
    scores[queries.owners, queries.items] = -np.inf
    return scores


def best(scores: Scores, k: int) -> Ranks:
    """(Q, min(K, I)) columns of the highest scores, best first, ties by lower column."""
    k = min(k, scores.shape[1])
    if k == scores.shape[1]:
        return np.argsort(-scores, axis=1, kind="stable")
    kth = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
    out = np.empty((len(scores), k), dtype=np.int64)
    for q, row in enumerate(scores):
        candidates = np.flatnonzero(row >= kth[q])
        out[q] = candidates[np.argsort(-row[candidates], kind="stable")[:k]]
    return out
