"""Ranking losses that an attacker climbs: from scores, moved by a perturbation, to a value a row.

`door` is the 10th best score among the other unseen items: who scores more is on the list.
For `promote` and `demote` the other items stand still, so what they score is read once per
surface, query by query in tiles, and only a few numbers of it are kept: the door, the
logarithm of their summed exponentials, some sixty quantiles. For `degrade` the query
itself moves, and with it every score of its row.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hardrank.data import Queries, Slate
from hardrank.models.common import Scorer, tiles, whole
from hardrank.recommender import mask_seen
from hardrank.types import GoalKind, Ints, RankingLoss

__all__ = ["doors", "of_items", "of_queries"]

_LIST = 10
"""Length of the list whose door is aimed at."""
_GROWTH = 1.15
"""From one quantile's rank to the next; the best seven ranks have one each."""

Measure = Callable[[Tensor], Tensor]
"""Scores -> (B,)."""


class Listed(Scorer, Protocol):
    """A model that remembers the doors of its queries."""

    def doors(self, queries: Queries) -> Tensor:
        """(Q, 2) see `doors`."""
        ...


def of_items(
    model: Listed,
    queries: Queries,
    items: Ints,
    goal: GoalKind,
    loss: RankingLoss | None,
) -> Measure:
    """From (Q, B), what each query gives to each moved item; goal `promote` or `demote`, by
    default `exposure`. Formulas at `hardrank.recommender.Differentiable.surface`."""
    own, sign = _own(model, queries, items), 1.0 if goal == "promote" else -1.0
    if loss in (None, "exposure", "margin"):
        kth, after = model.doors(queries)[:, None, :].unbind(-1)
        door = torch.where(own >= kth, after, kth)
        if loss == "margin":
            open_to_all = door.isneginf()  # a query with too few unseen items lists each of them
            return lambda scores: (
                (sign * (scores - door)).clamp_max(0).masked_fill(open_to_all, 0.0).mean(0)
            )
        return lambda scores: (
            sign * (torch.logsumexp(F.logsigmoid(scores - door), 0) - float(np.log(len(door))))
        )
    if loss == "listwise":
        total = _over_catalogue(model, queries, lambda s: s.logsumexp(1, keepdim=True))
        # Without the item as it stands; at most all but a millionth of the sum is its own.
        share = torch.nan_to_num(own - total, nan=-torch.inf, neginf=-torch.inf).clamp_max(-1e-6)
        others = total + torch.log(-torch.expm1(share))
        return lambda scores: -sign * F.softplus(others - scores).mean(0)
    columns, weights = _cells(model.items.height)
    kept = _over_catalogue(model, queries, lambda s: s.sort(1, descending=True)[0][:, columns])

    def rank(scores: Tensor) -> Tensor:
        beaten = _Beaten.apply(scores, kept, weights) - torch.sigmoid(own - scores)  # type: ignore[no-untyped-call]
        return -sign * torch.log1p(beaten.clamp_min(0)).mean(0)

    return rank


def of_queries(queries: Queries, items: Ints, loss: RankingLoss | None) -> Measure:
    """From (B, I), what each moved query gives to the catalogue; goal `degrade`, by default
    `listwise`, which alone counts seen items as rivals: it is what training minimises."""
    targets = torch.from_numpy(items)
    if loss in (None, "listwise"):
        return lambda scores: F.cross_entropy(scores, targets, reduction="none")
    owners, seen = torch.from_numpy(queries.owners), torch.from_numpy(queries.items)
    rows = torch.arange(len(targets))
    nothing = torch.tensor(-torch.inf)

    def apart(scores: Tensor) -> tuple[Tensor, Tensor]:
        """((B, 1) the held-out item's, (B, I) those of its rivals, -inf where there is none)."""
        rivals = scores.index_put((owners, seen), nothing).index_put((rows, targets), nothing)
        return scores[rows, targets][:, None], rivals

    def rank(scores: Tensor) -> Tensor:
        own, rivals = apart(scores)
        return torch.log1p(torch.sigmoid(rivals - own).sum(1))

    def margin(scores: Tensor) -> Tensor:
        own, rivals = apart(scores)
        door = rivals.topk(min(_LIST, rivals.shape[1]), dim=1).values[:, -1:]
        return (door - own)[:, 0]

    if loss == "rank":
        return rank
    return margin if loss == "margin" else lambda scores: F.softplus(margin(scores))


def doors(model: Scorer, queries: Queries) -> Tensor:
    """(Q, 2) the scores of the last unseen item that still makes the list and of the one after
    it, which takes its place for those that are on the list themselves."""

    def last_two(scores: Tensor) -> Tensor:
        found = scores.topk(min(_LIST + 1, scores.shape[1]), dim=1).values
        return found[:, [min(_LIST, found.shape[1]) - 1, -1]]

    return _over_catalogue(model, queries, last_two)


def _over_catalogue(model: Scorer, queries: Queries, kept: Callable[[Tensor], Tensor]) -> Tensor:
    """(Q, ...) what `kept` keeps of the scores of unseen items, (tile, I) at a time."""
    slate, out = whole(model.items), []
    for rows in tiles(len(queries), len(slate)):
        part = queries.take(rows)
        out.append(kept(torch.from_numpy(mask_seen(model.score(part, slate), part))))
    return torch.cat(out)


def _own(model: Scorer, queries: Queries, items: Ints) -> Tensor:
    """(Q, B) what the items score as they stand, -inf where the query has seen them."""
    scores = torch.from_numpy(model.score(queries, Slate(items=items)))
    for column, item in enumerate(items):
        scores[torch.from_numpy(queries.owners[queries.items == item]), column] = -torch.inf
    return scores


def _cells(items: int) -> tuple[list[int], list[int]]:
    """The catalogue in order of score, cut into cells that grow with the rank: the middle of
    each and how many items it stands for."""
    edges = [0]
    while edges[-1] < items:
        edges.append(min(items, max(edges[-1] + 1, int(edges[-1] * _GROWTH))))
    sizes = [end - start for start, end in pairwise(edges)]
    return [s + n // 2 for s, n in zip(edges[:-1], sizes, strict=True)], sizes


class _Beaten(torch.autograd.Function):
    """(Q, B) by how many rivals each score is beaten, softly: sum_j sigmoid(c_j - s), where
    each quantile c_j stands for the items of its cell. Quantile by quantile, so that nothing
    of (Q, B, quantiles) is held, nor kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, quantiles: Tensor, weights: list[int]) -> Tensor:
        count, slope = torch.zeros_like(scores), torch.zeros_like(scores)
        for column, weight in zip(quantiles.t(), weights, strict=True):
            above = torch.sigmoid(column[:, None] - scores)
            count += weight * above
            slope -= weight * above * (1 - above)
        ctx.save_for_backward(slope)
        return count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return gradient * slope, None, None
