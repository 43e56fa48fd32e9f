"""What an attack on the histories of validation users does to the ranking, epoch by epoch."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hardrank.context import derive
from hardrank.data import Holdout
from hardrank.metrics.ranking import hit, ndcg, ranks_of_targets
from hardrank.models.judge import Judge
from hardrank.models.sequence.recommender import SequenceRecommender
from hardrank.perturbations import Inner, absolute
from hardrank.recommender import LossSurface, mask_seen

__all__ = ["robust_row"]

_USERS = 512


def robust_row(
    judge: Judge, model: SequenceRecommender, valid: Holdout, seed: int, k: int = 10
) -> dict[str, float]:
    """The worst perturbation of what the transformer reads of a history: on the first 512
    validation users with one, `clean_*` and `robust_*`: `error` (share of held-out items not
    in the top k), `loss` (cross-entropy), `ndcg@10`, `auc` (share of unseen items ranked below
    the held-out one); and `single_step_error`. Empty where nobody has a history."""
    rows = np.flatnonzero(valid.queries.lengths > 0)[:_USERS]
    if not len(rows):
        return {}
    part = valid.take(rows)
    surface = model.surface("history-vectors", "degrade", part.queries, part.targets)

    def worst(inner: Inner) -> Tensor:
        return inner(
            surface.loss,
            surface.like,
            radius=absolute(judge.radius, surface.scale, inner.norm, surface.like.shape[-1]),
            generator=torch.Generator().manual_seed(derive(seed, "robust-error")),
            mask=surface.mask,
        )

    found = _series(model, part, surface, torch.zeros_like(surface.like), "clean", k)
    found |= _series(model, part, surface, worst(judge.inner), "robust", k)
    if judge.single is not None:
        ranks, _ = _ranks(model, part, worst(judge.single))
        found["single_step_error"] = 1 - float(hit(ranks, k).mean())
    return found


def _series(
    model: SequenceRecommender,
    part: Holdout,
    surface: LossSurface,
    delta: Tensor,
    name: str,
    k: int,
) -> dict[str, float]:
    ranks, unseen = _ranks(model, part, delta)
    with torch.no_grad():
        loss = float(surface.loss(delta).mean())
    return {
        f"{name}_error": 1 - float(hit(ranks, k).mean()),
        f"{name}_loss": loss,
        f"{name}_ndcg@10": float(ndcg(ranks, 10).mean()),
        f"{name}_auc": float((1 - (ranks - 1) / np.maximum(unseen - 1, 1)).clip(0).mean()),
    }


def _ranks(model: SequenceRecommender, part: Holdout, delta: Tensor) -> tuple[Any, Any]:
    """((Q,) ranks of the held-out items, (Q,) unseen items) with the histories moved."""
    scores = model.perturbed_scores("history-vectors", "degrade", part.queries, part.targets, delta)
    masked = mask_seen(np.array(scores, dtype=np.float32), part.queries)
    return ranks_of_targets(masked, part.targets), (masked > -np.inf).sum(1)
