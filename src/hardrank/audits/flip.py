"""Decisions of a two-class text classifier: clean, and under bounded perturbations.

An attack succeeds on a text whose class the model named rightly and, perturbed, no longer
does. Texts that it had wrong before are excluded from the success rate, not counted as wins;
accuracy under attack counts them as wrong. Radius 0 is the clean model itself.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import polars as pl
import torch

from hardrank.audits.samples import gather, only, samples
from hardrank.context import derive
from hardrank.data import Queries
from hardrank.data.labelled import Labelled
from hardrank.errors import Unsupported
from hardrank.perturbations import Maximiser, absolute
from hardrank.recommender import Classifier, LossSurface
from hardrank.types import Floats, GoalKind, Ints, RankingLoss, Site

__all__ = ["NOBODY", "WhiteBox", "chance", "decisions", "flip_curve", "row_names"]

NOBODY = Queries.of([])
"""A classifier's surface reads no queries."""
_ROWS: dict[Site, int] = {"text-vectors": 256, "token-embeddings": 8}
"""Texts perturbed together: at the tokens every text holds activations of the whole encoder."""


class WhiteBox(Classifier, Protocol):
    """A classifier that grants gradients; see `hardrank.recommender.Differentiable`."""

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
    ) -> LossSurface: ...

    def perturbed_scores(
        self,
        site: Site,
        goal: GoalKind,
        queries: Queries,
        items: Ints,
        delta: torch.Tensor,
        texts: Sequence[str] = (),
    ) -> Floats: ...


def decisions(
    probabilities: Floats, test: Labelled, *, subject: str, seed: int, names: Sequence[str]
) -> pl.DataFrame:
    """One clean sample a text: `value` the probability of class 1, `label` the true class,
    `group` its name, `success` whether the model names it.

    probabilities: (N, 2). names: N names of the texts. Raises `Unsupported` for other than
    two classes.
    """
    value = chance(probabilities)
    return samples(
        {
            "subject": subject,
            "seed": seed,
            "audit": "utility",
            "trial": "clean",
            "sample": list(names),
            "group": [test.names[y] for y in test.labels],
            "value": value,
            "label": test.labels,
            "success": (value >= 0.5) == (test.labels == 1),
        }
    )


def flip_curve(
    model: WhiteBox,
    test: Labelled,
    *,
    site: Site,
    inner: Maximiser,
    radii: Sequence[float],
    subject: str,
    seed: int,
    trial: str,
    names: Sequence[str],
    loss: RankingLoss | None = None,
) -> pl.DataFrame:
    """One sample for each text and radius, as `decisions` gives it for the perturbed text;
    `success` is the attack's, `excluded` says that the model was wrong before.

    radii: shares of the mean norm at the site over all texts of `test`. loss: what the
    attacker climbs (see `Differentiable.surface`; None: cross-entropy). Raises `Unsupported`
    when the model has no such site or other than two classes.
    """
    if site not in model.sites or site not in _ROWS:
        raise Unsupported(f"this classifier grants no gradients at '{site}'")
    clean = chance(model.probabilities(test.texts))
    value = {radius: clean.copy() for radius in radii}
    scale = _scale(model, site, test)
    for number, rows in enumerate(_chunks(test, site)):
        part = test.take(rows)
        surface = model.surface(site, "flip", NOBODY, part.labels, part.texts, loss=loss)
        for radius in radii:
            if radius > 0:
                delta = inner(
                    surface.loss,
                    surface.like,
                    radius=absolute(radius, scale, inner.norm, surface.like.shape[-1]),
                    generator=_draws(seed, site, trial, number, radius),
                    mask=surface.mask,
                )
                moved = model.perturbed_scores(site, "flip", NOBODY, part.labels, delta, part.texts)
                value[radius][rows] = chance(moved)
    truth = test.labels == 1
    excluded = (clean >= 0.5) != truth
    return gather(
        samples(
            {
                "subject": subject,
                "seed": seed,
                "audit": "curve",
                "trial": trial,
                "goal": "flip",
                "site": site,
                "knowledge": "gradients",
                "sample": list(names),
                "group": [test.names[y] for y in test.labels],
                "radius": float(radius),
                "value": after,
                "label": test.labels,
                "success": only(~excluded, (after >= 0.5) != truth),
                "excluded": excluded,
            }
        )
        for radius, after in value.items()
    )


def chance(probabilities: Floats) -> Floats:
    """(N,) probability of class 1. Raises `Unsupported` for other than two classes."""
    if probabilities.ndim != 2 or probabilities.shape[1] != 2:
        raise Unsupported(f"flips are audited for two classes, not {probabilities.shape[-1]}")
    return np.asarray(probabilities[:, 1])


def row_names(data: Labelled, part: Labelled) -> list[str]:
    """`row 17` for each text of `part`: its place in `data`, from 1; equal texts in order."""
    places: dict[tuple[str, int], list[int]] = {}
    for row, key in enumerate(zip(data.texts, data.labels.tolist(), strict=True), 1):
        places.setdefault(key, []).append(row)
    keys = zip(part.texts, part.labels.tolist(), strict=True)
    return [f"row {places[key].pop(0)}" for key in keys]


def _scale(model: WhiteBox, site: Site, test: Labelled) -> float:
    """Mean norm over all unmasked vectors, so that a radius is the same in every chunk."""
    total, count = 0.0, 0
    for rows in _chunks(test, site):
        part = test.take(rows)
        surface = model.surface(site, "flip", NOBODY, part.labels, part.texts)
        here = len(rows) if surface.mask is None else int(surface.mask.sum())
        total, count = total + surface.scale * here, count + here
    return total / max(count, 1)


def _draws(seed: int, *names: str | int | float) -> torch.Generator:
    parts = [repr(n) if isinstance(n, float) else n for n in names]
    return torch.Generator().manual_seed(derive(seed, "flip", *parts))


def _chunks(test: Labelled, site: Site) -> Iterator[Ints]:
    """Texts of about one length together, so that little is padded."""
    order = np.argsort([len(text) for text in test.texts], kind="stable").astype(np.int64)
    for start in range(0, len(test), _ROWS[site]):
        yield order[start : start + _ROWS[site]]
