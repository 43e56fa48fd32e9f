"""Gate 4: did the attack finish? An attack that stopped early measures itself, not the model.

Carlini et al. 2019, arXiv:1902.06705 (double the iterations, add restarts, sample at random);
Pintor et al., "Indicators of attack failure", NeurIPS 2022, arXiv:2106.09947 (the path of the
attack holds a success that its end does not).
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hardrank.audits.checks import Check
from hardrank.audits.probe import Probe, lacking, losses, percent, shortfall
from hardrank.perturbations import PGD, ball

__all__ = ["best_iterate_kept", "convergence_checks", "iterations_converge"]
__all__ += ["random_directions", "restarts_converge"]

_MORE = 0.05
"""Largest share of the gain that twice the work may add (Pintor et al.: 5 %)."""
_ROWS = 0.1
"""Largest share of rows that may be exceptions."""
_RESTARTS = 5
_SHORTEST = ("cw", "lbfgs", "ensemble")
"""They seek the shortest perturbation that succeeds: the strongest one is not their aim."""


def convergence_checks(probe: Probe, *, draws: int = 1000, rows: int = 8) -> list[Check]:
    """All of this module, asked of one attack at one radius. `rows` are drawn at random for
    what costs `draws` calls each."""
    return [
        iterations_converge(probe),
        restarts_converge(probe),
        best_iterate_kept(probe),
        *random_directions(probe, draws=draws, rows=rows),
    ]


def iterations_converge(probe: Probe) -> Check:
    """Twice the steps, and a plain PGD of as many steps beside it whose steps could cross the
    ball, add at most 5 % to the mean gain in loss."""
    name, inner = "iterations_converge", probe.inner
    steps = getattr(inner, "steps", None)
    if steps is None:
        return lacking(probe, name, f"{inner.kind} does not iterate")
    doubled: Any = replace(inner, steps=2 * steps)
    longer = {f"{2 * steps} steps": doubled, "the reference": PGD(norm=inner.norm, steps=2 * steps)}
    own = probe.gains(probe.own)
    more = {said: shortfall(own, probe.gains(probe.climb(it))) for said, it in longer.items()}
    return _added(probe, name, f"{steps} steps", more)


def restarts_converge(probe: Probe) -> Check:
    """Five climbs, four of them from random points, add at most 5 % to the gain of one."""
    name, inner = "restarts_converge", probe.inner
    if not hasattr(inner, "restarts"):
        return lacking(probe, name, f"{inner.kind} has no restarts")
    more: dict[str, Any] = {"restarts": max(_RESTARTS, inner.restarts)}
    more |= {"keep_best": True} if hasattr(inner, "keep_best") else {}
    again: Any = replace(inner, **more)
    found = shortfall(probe.gains(probe.own), probe.gains(probe.climb(again)))
    label = f"{inner.restarts} restart{'s' if inner.restarts > 1 else ''}"
    return _added(probe, name, label, {f"{_RESTARTS} restarts": found})


def best_iterate_kept(probe: Probe) -> Check:
    """No point of the attack's own path, inside the ball, is stronger than the one it returns,
    for nine rows of ten."""
    name = "best_iterate_kept"
    if probe.inner.kind in _SHORTEST:
        return lacking(probe, name, f"{probe.inner.kind} seeks the shortest, not the strongest")
    path = _Path(probe)
    end = probe.inner(
        path, probe.surface.like, radius=probe.length(probe.inner.norm),
        generator=probe.generator(), mask=probe.surface.mask,
    )  # fmt: skip
    final = losses(probe.surface.loss, end)
    slack = 1e-4 * (1 + final.abs())
    lost = float((path.best > final + slack).float().mean())
    return probe.check(
        name, lost <= _ROWS, f"{percent(lost)} of rows were stronger on the way", statistic=lost
    )


class _Path:
    """The loss, which remembers the strongest point inside the ball that it was asked for."""

    def __init__(self, probe: Probe) -> None:
        self._loss, self._norm = probe.surface.loss, probe.inner.norm
        self._radius = probe.length(self._norm) * (1 + 1e-4)
        self.best = torch.full((len(probe.surface.like),), -torch.inf)

    def __call__(self, delta: Tensor) -> Tensor:
        values = self._loss(delta)
        seen = values.detach().reshape(-1)
        if seen.shape == self.best.shape:
            lengths = ball.length(delta.detach(), self._norm).flatten(1).amax(1)
            usable = seen.isfinite() & (lengths <= self._radius)
            self.best = torch.where(usable & (seen > self.best), seen, self.best)
        return values


def random_directions(probe: Probe, *, draws: int = 1000, rows: int = 8) -> list[Check]:
    """Two checks against `draws` random directions for each of `rows` rows.

    `random_search_finds_nothing_more`: at the attack's radius none of them is stronger than the
    attack, but for a row in ten. `gradient_beats_random_directions`: at a hundredth of the mean
    norm the gradient's direction raises the loss more than 95 % of them, for nine rows of ten.
    """
    chosen = torch.randperm(len(probe.items), generator=probe.generator("rows"))[:rows].tolist()
    own = probe.gains(probe.own)
    missed, lost = [], []
    for row in chosen:
        far, near, straight = _drawn(probe, row, draws)
        missed.append(float(far.max()) > 1.01 * float(own[row]) + 1e-6)
        lost.append(straight <= float(near.quantile(0.95)))
    better, worse = float(np.mean(missed)), float(np.mean(lost))
    return [
        probe.check(
            "random_search_finds_nothing_more", better <= _ROWS, statistic=better,
            reason=f"the best of {draws} random draws is stronger than {probe.inner.kind} on "
            f"{percent(better)} of {len(chosen)} rows",
        ),
        probe.check(
            "gradient_beats_random_directions", worse <= _ROWS, statistic=worse,
            reason=f"the gradient is no better than random directions on {percent(worse)} of "
            f"{len(chosen)} rows",
        ),
    ]  # fmt: skip


def _drawn(probe: Probe, row: int, draws: int) -> tuple[Tensor, Tensor, float]:
    """(gains of random points at the radius, (draws,); gains at a small step of the first
    fifth of them, at least; the gain of a small step along the gradient)."""
    norm, generator = probe.inner.norm, probe.generator("directions", row)
    far, near, small = [], [], 0.01 * probe.surface.scale
    one = probe.surface_of(np.array([row]))
    _, gradient = ball.climb(one.loss, torch.zeros_like(one.like))
    zero = float(losses(one.loss, torch.zeros_like(one.like))[0])
    for part in range(0, draws, 250):
        many = probe.surface_of(np.full(min(250, draws - part), row))
        drawn = ball.noise(many.like, norm, generator, many.mask)
        far.append(losses(many.loss, drawn * probe.length(norm)) - zero)
        if part < draws / 5:
            near.append(losses(many.loss, ball.unit(drawn, "l2") * small) - zero)
    step = ball.ascent(gradient, "l2", one.mask) * small
    along = float(losses(one.loss, step)[0]) - zero if step.any() else -np.inf
    return torch.nan_to_num(torch.cat(far)), torch.nan_to_num(torch.cat(near)), along


def _added(probe: Probe, name: str, label: str, more: dict[str, float | None]) -> Check:
    known = {said: share for said, share in more.items() if share is not None}
    if not known:
        return lacking(probe, name, "no attack moves the loss at all")
    said, most = max(known.items(), key=lambda pair: pair[1])
    return probe.check(
        name, most <= _MORE, statistic=most,
        reason=f"{label} at radius {probe.radius:g} miss {percent(max(most, 0))} of the gain "
        f"that {said} reach; allowed {percent(_MORE)}",
    )  # fmt: skip
