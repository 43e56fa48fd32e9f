"""The error under attack on validation data: what a stop rule of hardening looks at."""

import numpy as np
import torch

from hardrank.context import derive
from hardrank.data import Holdout
from hardrank.metrics.ranking import ranks_of_targets
from hardrank.models.sequence.recommender import SequenceRecommender
from hardrank.perturbations import Inner, absolute
from hardrank.recommender import mask_seen

__all__ = ["robust_error"]

_USERS = 512


def robust_error(
    model: SequenceRecommender, valid: Holdout, inner: Inner, radius: float, seed: int, k: int = 10
) -> float:
    """Share of held-out items that are not in the top k once the worst perturbation of the
    history's vectors is added, on the first 512 validation users. radius: relative."""
    rows = np.flatnonzero(valid.queries.lengths > 0)[:_USERS]
    part = valid.take(rows)
    surface = model.surface("history-vectors", "degrade", part.queries, part.targets)
    delta = inner(
        surface.loss,
        surface.like,
        radius=absolute(radius, surface.scale, inner.norm, surface.like.shape[-1]),
        generator=torch.Generator().manual_seed(derive(seed, "robust-error")),
        mask=surface.mask,
    )
    scores = model.perturbed_scores("history-vectors", "degrade", part.queries, part.targets, delta)
    masked = mask_seen(np.array(scores, dtype=np.float32), part.queries)
    return float((ranks_of_targets(masked, part.targets) > k).mean())
