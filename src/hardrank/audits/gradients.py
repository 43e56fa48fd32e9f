"""Gate 4, on the victim itself: are its gradients there, finite and true?

A quantised or detached input has zero gradients, a shattered one wrong gradients; both stop
gradient attacks without being robust. Only the finite difference catches the second.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hardrank.audits.checks import Check
from hardrank.data import Queries, Slate
from hardrank.errors import Unsupported
from hardrank.recommender import Differentiable, LossSurface, Recommender
from hardrank.types import Floats, GoalKind, Ints, Site

__all__ = ["gradient_checks", "surface_checks"]

Make = Callable[[str, bool, str, float], Check]

_STEP = 0.01
"""Length of the finite difference, as a share of the mean norm at the site."""
_NULL = 0.01
"""Largest share of rows without any gradient."""
_TRUE = 0.9
"""Least share of rows whose gradient is true, of those that have one."""


def gradient_checks(
    recommender: Recommender,
    site: Site,
    goal: GoalKind,
    queries: Queries,
    items: Ints,
    *,
    subject: str,
    seed: int | None = None,
) -> list[Check]:
    """Checks on the surface of B rows (see `Differentiable.surface` for what a row is):

    * `deterministic`: the loss at 0, five times, is the same to 1e-4;
    * `gradients_finite`: no loss or gradient is NaN or infinite;
    * `gradients_not_zero`: at least 99 % of rows have a gradient;
    * `loss_rises_along_gradient`: for at least 90 % of the rows that have one, the central
      difference along the gradient agrees with its norm within 20 %;
    * `zero_perturbation_is_clean`: with delta = 0 the perturbed scores are the scores.

    Raises `Unsupported` when the model grants no such surface.
    """  # fmt: skip
    if not isinstance(recommender, Differentiable):
        raise Unsupported("this model grants no gradients")

    surface = recommender.surface(site, goal, queries, items)
    zero = torch.zeros_like(surface.like)
    moved = recommender.perturbed_scores(site, goal, queries, items, zero)
    columns = items if goal in ("promote", "demote") else np.arange(recommender.items.height)
    return surface_checks(
        surface, moved, recommender.score(queries, Slate(items=columns)), site=site, goal=goal,
        subject=subject, seed=seed, concerns={"audit": "curve", "site": site},
    )  # fmt: skip


def surface_checks(
    surface: LossSurface,
    moved: Floats,
    plain: Floats,
    *,
    site: Site,
    goal: GoalKind,
    subject: str,
    seed: int | None,
    concerns: Mapping[str, Any],
) -> list[Check]:
    """The checks of `gradient_checks` for any victim. moved: what it says after a delta of
    0; plain: what it says without one, of the same shape."""

    def make(name: str, passed: bool, reason: str, statistic: float) -> Check:
        return Check(
            gate="sanity", name=name, subject=subject, seed=seed, passed=passed, reason=reason,
            statistic=statistic, goal=goal, site=site, concerns=concerns,
        )  # fmt: skip

    zero = torch.zeros_like(surface.like)
    first, *others = (_rows(surface, zero) for _ in range(5))
    gradient = _gradient(surface)
    drift = max(float((first - o).abs().max() / (1 + first.abs().max())) for o in others)
    random = "" if drift < 1e-4 else ": random, so attack it in expectation over its randomness"
    size = gradient.flatten(1).norm(dim=1)
    bad = max(_share(~first.isfinite()), _share(~size.isfinite()))
    null = _share(size == 0)
    return [
        make("deterministic", drift < 1e-4,
             f"five equal calls differ by {drift:.2g}{random}", drift),
        make("gradients_finite", bad == 0, f"{bad:.0%} of rows are not finite", bad),
        make("gradients_not_zero", null <= _NULL,
             f"{null:.0%} of rows have no gradient", null),
        _rises(make, surface, gradient, size),
        _clean(make, moved, plain),
    ]  # fmt: skip


def _rises(make: Make, surface: LossSurface, gradient: Tensor, size: Tensor) -> Check:
    """`(L(h u) - L(-h u)) / 2h = ||g||` along the unit gradient u of each row."""
    name, usable = "loss_rises_along_gradient", size.isfinite() & (size > 0)
    if not usable.any():
        return make(name, False, "no row has a gradient to follow", 0.0)
    shape = (-1, *(1,) * (gradient.ndim - 1))
    unit = torch.where(usable.reshape(shape), gradient / size.reshape(shape), 0.0)
    step = _STEP * surface.scale
    slope = (_rows(surface, step * unit) - _rows(surface, -step * unit)) / (2 * step)
    expected = size
    if len(slope) != len(size):  # one loss for all rows: they all moved
        expected, usable = size[usable].sum().reshape(1), torch.ones(1, dtype=torch.bool)
    right = (slope - expected).abs() <= 0.2 * expected
    share = float(right[usable].float().mean())
    return make(
        name, share >= _TRUE,
        f"the loss follows the gradient for {share:.0%} of rows", share,
    )  # fmt: skip


def _clean(make: Make, moved: Floats, plain: Floats) -> Check:
    moved, plain = np.asarray(moved), np.asarray(plain)
    gap = float(np.abs(moved - plain).max() / max(float(np.std(plain)), 1e-12))
    return make(
        "zero_perturbation_is_clean", gap < 1e-3,
        f"scores differ by {gap:.2g} standard deviations", gap,
    )  # fmt: skip


def _rows(surface: LossSurface, delta: Tensor) -> Tensor:
    with torch.no_grad():
        return surface.loss(delta).detach().reshape(-1)


def _gradient(surface: LossSurface) -> Tensor:
    """By delta at 0, zero where the attacker may not write; nobody's `.grad` changes."""
    point = torch.zeros_like(surface.like).requires_grad_(True)
    with torch.enable_grad():
        values = surface.loss(point)
    if not values.requires_grad:
        return torch.zeros_like(surface.like)
    (found,) = torch.autograd.grad(values.sum(), point, allow_unused=True)
    gradient = torch.zeros_like(surface.like) if found is None else found
    return gradient if surface.mask is None else gradient * surface.mask.unsqueeze(-1)


def _share(rows: Tensor) -> float:
    return float(rows.float().mean())
