"""Robustness curves: bounded perturbations of a model's inner vectors, radius by radius.

No seller can make such a perturbation; it is the worst case that bounds many edits that one
can make. Radii are shares of the mean norm of the clean vectors at the site. Radius 0 is the
clean model itself, scored as everywhere else.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import torch

from hardrank.audits.catalogue import full_ranks, query_names
from hardrank.audits.exposures import observe
from hardrank.audits.samples import gather, only, samples
from hardrank.context import derive
from hardrank.data import Holdout, Queries
from hardrank.errors import Unsupported
from hardrank.metrics.ranking import ranks_of_targets
from hardrank.perturbations import Maximiser, absolute
from hardrank.recommender import Differentiable, LossSurface, Recommender, mask_seen
from hardrank.types import Ints, RankingLoss, Site

__all__ = ["degrade_curve", "promote_curve"]

_ROWS = 256
"""Queries perturbed together by `degrade_curve`."""


def promote_curve(
    recommender: Recommender,
    targets: Ints,
    queries: Queries,
    *,
    site: Site,
    inner: Maximiser,
    radii: Sequence[float],
    subject: str,
    seed: int,
    trial: str,
    loss: RankingLoss | None = None,
    k: int = 10,
    panel: Queries | None = None,
    groups: Sequence[str] = (),
    success_exposure: float = 0.01,
) -> pl.DataFrame:
    """One sample for each target and radius: exposure and mean rank over all `queries`.

    targets: (T,) item rows, each perturbed for itself. The perturbation is sought on
    `panel` (default: the queries themselves), climbing `loss` (None: the goal's first; see
    `Differentiable.surface`). Columns as in `promotion`, and `radius`.
    Raises `Unsupported` when the model grants no such surface.
    """
    model = _white_box(recommender, site)
    surface = model.surface(site, "promote", panel or queries, targets, loss=loss)
    after = [
        np.zeros((len(queries), len(targets)), np.float32)
        if radius == 0
        else model.perturbed_scores(
            site, "promote", queries, targets, _delta(surface, inner, radius, seed, site, trial)
        )
        for radius in radii
    ]
    seen = observe(
        recommender,
        queries,
        np.tile(targets, len(radii)),
        np.concatenate(after, axis=1),
        changed=np.repeat(np.asarray(radii) > 0, len(targets)),
        k=k,
    )
    excluded = seen.er_before >= success_exposure
    ids = recommender.items["item_id"].gather(targets).to_list()
    return samples(
        {
            **_identity(subject, seed, trial, "promote", site),
            "sample": ids * len(radii),
            "group": [groups[t] for t in targets] * len(radii) if len(groups) else None,
            "radius": np.repeat(radii, len(targets)),
            "k": k,
            "eligible": seen.eligible,
            "hits_before": seen.hits_before,
            "hits_after": seen.hits_after,
            "rank_before": seen.rank_before,
            "rank_after": seen.rank_after,
            "success": only(~excluded & (seen.eligible > 0), seen.er_after >= success_exposure),
            "excluded": excluded,
            "value": seen.shift,
        }
    )


def degrade_curve(
    recommender: Recommender,
    holdout: Holdout,
    *,
    site: Site,
    inner: Maximiser,
    radii: Sequence[float],
    subject: str,
    seed: int,
    trial: str,
    loss: RankingLoss | None = None,
    groups: Sequence[str] = (),
    names: Sequence[str] = (),
) -> pl.DataFrame:
    """One sample for each query and radius: the `rank` of its held-out item when the query's
    own vectors are perturbed to lose it. The attacker knows the held-out item.

    Queries without history have nothing to perturb and are left out, at every radius.
    Raises `Unsupported` when the model grants no such surface.
    """
    model = _white_box(recommender, site)
    holdout = holdout.take(np.flatnonzero(holdout.queries.lengths > 0))
    ranks = {radius: np.zeros(len(holdout), np.int64) for radius in radii}
    for number, part in enumerate(_chunks(len(holdout))):
        chunk = holdout.take(part)
        surface = model.surface(site, "degrade", chunk.queries, chunk.targets, loss=loss)
        for radius in radii:
            if radius > 0:
                delta = _delta(surface, inner, radius, seed, site, trial, number)
                scores = model.perturbed_scores(
                    site, "degrade", chunk.queries, chunk.targets, delta
                )
                masked = mask_seen(np.array(scores, dtype=np.float32), chunk.queries)
                ranks[radius][part] = ranks_of_targets(masked, chunk.targets)
    if 0 in ranks:
        ranks[0] = full_ranks(recommender, holdout)
    return gather(
        samples(
            {
                **_identity(subject, seed, trial, "degrade", site),
                "sample": query_names(holdout, names),
                "group": [groups[t] for t in holdout.targets] if len(groups) else None,
                "radius": float(radius),
                "rank": rank,
            }
        )
        for radius, rank in ranks.items()
    )


def _white_box(recommender: Recommender, site: Site) -> Differentiable:
    if not isinstance(recommender, Differentiable) or site not in recommender.sites:
        raise Unsupported(f"this model grants no gradients at '{site}'")
    return recommender


def _delta(
    surface: LossSurface, inner: Maximiser, radius: float, seed: int, *names: str | int
) -> torch.Tensor:
    """Draws depend on (seed, names, radius) alone, not on which other radii are measured."""
    generator = torch.Generator().manual_seed(derive(seed, "curve", *names, repr(float(radius))))
    size = surface.like.shape[-1]
    return inner(
        surface.loss,
        surface.like,
        radius=absolute(radius, surface.scale, inner.norm, size),
        generator=generator,
        mask=surface.mask,
    )


def _identity(subject: str, seed: int, trial: str, goal: str, site: str) -> dict[str, str | int]:
    return {
        "subject": subject,
        "seed": seed,
        "audit": "curve",
        "trial": trial,
        "goal": goal,
        "site": site,
        "knowledge": "gradients",
    }


def _chunks(count: int) -> Iterator[Ints]:
    for start in range(0, count, _ROWS):
        yield np.arange(start, min(start + _ROWS, count))
