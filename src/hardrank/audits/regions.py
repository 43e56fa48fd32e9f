"""Regions where a recommender fails: found among one half of the draws, measured on the other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.generators.clusters import grouped
from hardrank.metrics.intervals import Interval, wilson
from hardrank.types import Floats, Ints

__all__ = ["FIND", "MEASURE", "Shapes", "clustered_rate", "found", "measured", "overall"]

FIND, MEASURE = "find", "measure"
"""Halves of the users: regions are drawn up on the draws of one, rates are of the other's."""
_INSIDE = 0.9
"""Share of a cluster's failures within the radius of its region."""
_LEAST = 5
"""Failures of a cluster on average, at least: fewer clusters where failures are few."""
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class Shapes:
    """R regions: balls in the space of features, worst first."""

    centres: NDArray[np.float64]
    """(R, D)."""
    radii: NDArray[np.float64]
    """(R,) distances."""

    def __len__(self) -> int:
        return len(self.radii)

    def placed(self, features: Floats) -> Ints:
        """(N,) the region whose centre is nearest; -1 where that region does not reach it."""
        if not len(self):
            return np.full(len(features), -1, dtype=np.int64)
        apart = _distances(features, self.centres)
        nearest = apart.argmin(1)
        inside = apart[np.arange(len(features)), nearest] <= self.radii[nearest]
        return np.where(inside, nearest, -1)


def found(
    features: Floats, failed: Flags, owners: Ints, rng: np.random.Generator, *,
    least: int = 5, most: int = 10,
) -> Shapes:  # fmt: skip
    """Clusters of the failures (k-means, as many as the silhouette of held failures asks for,
    `least` to `most`) as balls that hold nine tenths of their failures.

    The order is that of the lower bound of the failure rate among all draws of this half that
    fall into the ball, highest first. features: (N, D); failed, owners: (N,), owners the user
    of each draw.
    """
    points = features[failed]
    distinct = len(np.unique(points, axis=0)) if len(points) else 0
    top = min(most, len(points) // _LEAST, distinct)
    if top < 1:
        return Shapes(centres=np.zeros((0, features.shape[1])), radii=np.zeros(0))
    number = top if top <= least else None
    groups = grouped(points, rng, number=number, least=least, most=top)
    labels = groups.assign(points)
    own = _distances(points, groups.centres)[np.arange(len(points)), labels]
    radii = np.array(
        [
            float(np.quantile(own[labels == g], _INSIDE)) if (labels == g).any() else 0.0
            for g in range(len(groups))
        ]
    )
    shapes = Shapes(centres=groups.centres, radii=radii + 1e-9)
    at = shapes.placed(features)
    lows = [clustered_rate(failed[at == g], owners[at == g]).low for g in range(len(shapes))]
    order = sorted(range(len(shapes)), key=lambda g: (-np.nan_to_num(lows[g], nan=-1.0), g))
    return Shapes(centres=shapes.centres[order], radii=shapes.radii[order])


def clustered_rate(failed: Flags, owners: Ints) -> Interval:
    """Share of draws that fail, with a 95 % interval that knows that draws of one user are
    alike: Wilson's with n / deff draws (Kish, Survey Sampling, 1965, section 5.4).

    deff = v / (p (1 - p) / n), at least 1, with v the variance of a ratio of sums over users,
    U / (U - 1) sum_u (f_u - p n_u)^2 / n^2. Where all draws agree, every user counts once.
    """
    n = len(failed)
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    _, codes = np.unique(owners, return_inverse=True)
    sizes = np.bincount(codes).astype(np.float64)
    failures, users, p = np.bincount(codes, weights=failed), len(sizes), float(failed.mean())
    effective = users
    if 0 < p < 1 and users > 1:
        v = users / (users - 1) * float(((failures - p * sizes) ** 2).sum()) / n**2
        effective = max(int(n / max(v / (p * (1 - p) / n), 1.0)), 1)
    made = wilson(p * effective, effective)
    return Interval(p, made.low, made.high)


def overall(samples: pl.DataFrame) -> dict[str, Any]:
    """Of all draws of the measuring half that could fail; see `measured`."""
    return _numbers(_asked(samples), _asked(samples))


def measured(samples: pl.DataFrame, regions: int) -> list[dict[str, Any]]:
    """One dictionary a region, worst first, from the samples alone: `rate` with `low` and
    `high`, `draws`, `failures`, `users`, `share` of all failures, `sensitivity` (overlap of
    the top lost per changed event), and means of the fields.

    samples need `half`, `region`, `eligible`, `failed`, `user`, `rbo`, `changed`.
    """
    rows = _asked(samples)
    return [
        {"region": number + 1, **_numbers(rows.filter(pl.col("region") == number), rows)}
        for number in range(regions)
    ]


def _asked(samples: pl.DataFrame) -> pl.DataFrame:
    return samples.filter((pl.col("half") == MEASURE) & pl.col("eligible"))


def _numbers(rows: pl.DataFrame, everything: pl.DataFrame) -> dict[str, Any]:
    failed = rows["failed"].to_numpy().astype(bool)
    interval = clustered_rate(failed, rows["user"].to_numpy().astype(np.int64))
    changed, failures = int(rows["changed"].sum() or 0), int(failed.sum())
    in_all = int(everything["failed"].sum() or 0)
    return {
        "draws": rows.height, "users": rows["user"].n_unique(), "failures": failures,
        "rate": _known(interval.value), "low": _known(interval.low),
        "high": _known(interval.high), "share": failures / in_all if in_all else None,
        "sensitivity": float((1 - rows["rbo"]).sum()) / changed if changed else None,
        "fields": _means(rows),
    }  # fmt: skip


def _means(rows: pl.DataFrame) -> Mapping[str, float | None]:
    names: Sequence[str] = [c for c in rows.columns if c.startswith("field:")]
    return {n.removeprefix("field:"): _mean(rows[n]) for n in names}


def _mean(column: pl.Series) -> float | None:
    return None if not len(column) else float(column.to_numpy().mean())


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _distances(features: Floats, centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, R)."""
    x = features.astype(np.float64)
    squares = np.stack([((x - c) ** 2).sum(1) for c in centres], axis=1)
    return np.asarray(np.sqrt(squares), dtype=np.float64)
