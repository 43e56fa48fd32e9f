"""White-box views of matrix factorisation: its losses as functions of a perturbation.

What the losses are says `hardrank.recommender.Differentiable.surface`.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hardrank.data import Queries
from hardrank.errors import Unsupported
from hardrank.models.sequence import losses
from hardrank.recommender import LossSurface
from hardrank.types import GoalKind, Ints, RankingLoss, Scores, Site

if TYPE_CHECKING:
    from hardrank.models.bpr.recommender import BprMfRecommender

__all__ = ["perturbed_scores", "surface"]

_ITEM_GOALS = ("promote", "demote")


def surface(
    model: "BprMfRecommender",
    site: Site,
    goal: GoalKind,
    queries: Queries,
    items: Ints,
    loss: RankingLoss | None,
) -> LossSurface:
    """`item-vectors` to promote or demote: the items' own vectors move. `user-vectors` to
    degrade: what each query is answered from. Raises `Unsupported` for anything else."""
    like = _clean(model, site, goal, queries, items)
    measure = (
        losses.of_queries(queries, items, loss)
        if goal == "degrade"
        else losses.of_items(model, queries, items, goal, loss)
    )
    return LossSurface(
        loss=lambda delta: measure(_scores(model, goal, queries, items, like + delta)),
        like=like,
        scale=float(like.norm(dim=-1).mean()),
    )


def perturbed_scores(
    model: "BprMfRecommender",
    site: Site,
    goal: GoalKind,
    queries: Queries,
    items: Ints,
    delta: Tensor,
) -> Scores:
    """See `hardrank.recommender.Differentiable`."""
    with torch.no_grad():
        moved = _clean(model, site, goal, queries, items) + delta
        return np.asarray(_scores(model, goal, queries, items, moved).numpy())


def _clean(
    model: "BprMfRecommender", site: Site, goal: GoalKind, queries: Queries, items: Ints
) -> Tensor:
    """(B, D)"""
    if site == "user-vectors" and goal == "degrade":
        return torch.from_numpy(model.profiles(queries))
    if site == "item-vectors" and goal in _ITEM_GOALS:
        return torch.from_numpy(model.factors[items])
    raise Unsupported(
        f"bpr-mf has no surface for goal '{goal}' at '{site}'; it has 'promote' and 'demote' at "
        "'item-vectors' and 'degrade' at 'user-vectors'"
    )


def _scores(
    model: "BprMfRecommender", goal: GoalKind, queries: Queries, items: Ints, moved: Tensor
) -> Tensor:
    """(B, I) for moved queries, (Q, B) for moved items."""
    biases = torch.from_numpy(model.biases)
    if goal == "degrade":
        return moved @ torch.from_numpy(model.factors).t() + biases
    profiles = torch.from_numpy(model.profiles(queries))
    return profiles @ moved.t() + biases[torch.from_numpy(items)]
