"""Gate 4: do the attacks work as attacks must? If not, a low number is not robustness.

Carlini et al., "On evaluating adversarial robustness", 2019, arXiv:1902.06705; Athalye,
Carlini, Wagner, "Obfuscated gradients give a false sense of security", ICML 2018.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import polars as pl

from hardrank.audits.checks import Check
from hardrank.audits.measure import measure, rows_where
from hardrank.findings import Finding

__all__ = ["Strength", "rises_with_radius", "stronger_attack", "unbounded_wins"]


_LOST = {"degrade": "ndcg@10", "flip": "accuracy@0.5"}
"""What an attack of that goal lowers; of the others it is exposure that rises."""


@dataclass(frozen=True, kw_only=True)
class Strength:
    """Where and how attack strength is read off the samples of one subject."""

    subject: str
    goal: str
    """`promote`: strength is exposure after; `degrade`: the loss of NDCG@10; `flip`: the loss
    of accuracy."""
    site: str | None = None
    audit: str = "curve"
    tolerance: float = 0.005
    """Differences below it, or below two standard errors, are none."""

    def where(self, **more: Any) -> dict[str, Any]:
        fixed = {"subject": self.subject, "audit": self.audit, "goal": self.goal}
        return fixed | ({"site": self.site} if self.site else {}) | more

    def difference(
        self, table: pl.DataFrame, strong: dict[str, Any], weak: dict[str, Any]
    ) -> Finding:
        """Strength of the rows `strong` minus that of `weak`, paired by seed and sample."""
        formula = _LOST.get(self.goal, "er_after")
        if self.goal in _LOST:
            strong, weak = weak, strong
        return measure(
            table, subject=self.subject, audit=self.audit, metric=f"difference({formula})",
            where=strong, versus=weak,
        )  # fmt: skip

    def weaker(self, difference: Finding) -> bool:
        """Whether the difference is below 0 by more than chance and tolerance allow."""
        if difference.value is None:
            return False
        high = difference.high if difference.high is not None else float("inf")
        slack = max(high - difference.value, self.tolerance)
        return difference.value + slack < 0

    def check(self, name: str, passed: bool | None, reason: str, **more: Any) -> Check:
        audits = (self.audit, "flip") if self.goal == "flip" else self.audit
        concerns = {"audit": audits, "goal": self.goal}
        return Check(
            gate="sanity", name=name, subject=self.subject, passed=passed, reason=reason,
            goal=self.goal, site=self.site, **more,
            concerns=concerns | ({"site": self.site} if self.site else {}),
        )  # fmt: skip


def stronger_attack(
    table: pl.DataFrame,
    strength: Strength,
    trials: Sequence[str],
    *,
    name: str = "stronger_attack_wins_more",
) -> Check:
    """At every radius above 0, each trial is at least as strong as the one before it.

    trials: from weakest to strongest: `("gaussian", "fgm", "pgd")`, more steps or restarts
    after fewer, the white box after transfer and black box. `name` says which order.
    """
    rows = rows_where(table, strength.where(trial=list(trials)))
    missing = sorted(set(trials) - set(rows["trial"]))
    if missing or len(trials) < 2:
        return strength.check(name, None, f"not measured: {', '.join(missing) or 'a second trial'}")
    radii = rows["radius"].unique().sort().to_list()
    wrong, worst = [], 0.0
    for radius in radii:
        if radius == 0:
            continue
        for weak, strong in pairwise(trials):
            sides = [strength.where(trial=t, radius=radius) for t in (strong, weak)]
            found = strength.difference(table, *sides)
            worst = min(worst, found.value or 0.0)
            if strength.weaker(found):
                at = "" if radius is None else f" at radius {radius:g}"
                wrong.append(f"{strong} is weaker than {weak}{at} by {-(found.value or 0):.3f}")
    said = "; ".join(wrong) or f"{', '.join(trials)}: each at least as strong as the one before"
    return strength.check(name, not wrong, said, statistic=worst)


def rises_with_radius(table: pl.DataFrame, strength: Strength, trial: str) -> Check:
    """A larger radius is never weaker."""
    name = "larger_radius_wins_more"
    rows = rows_where(table, strength.where(trial=trial))
    radii = rows["radius"].drop_nulls().unique().sort().to_list()
    if len(radii) < 3:
        return strength.check(name, None, f"only {len(radii)} radii measured", trial=trial)
    wrong, worst = [], 0.0
    for small, large in pairwise(radii):
        sides = [strength.where(trial=trial, radius=r) for r in (large, small)]
        found = strength.difference(table, *sides)
        worst = min(worst, found.value or 0.0)
        if strength.weaker(found):
            wrong.append(f"weaker at {large:g} than at {small:g} by {-(found.value or 0):.3f}")
    said = "; ".join(wrong) or f"{len(radii)} radii up to {radii[-1]:g}, none weaker"
    return strength.check(name, not wrong, said, statistic=worst, trial=trial)


def unbounded_wins(
    table: pl.DataFrame, strength: Strength, trial: str, *, radius: float, least: float = 0.95
) -> Check:
    """At a radius that bounds nothing the attack wins: at least `least` of the targets reach
    the goal (excluded ones have it already), or NDCG@10 loses `least` of itself."""
    name = "unbounded_attack_wins"
    here = strength.where(trial=trial, radius=radius)
    if not rows_where(table, here).height:
        return strength.check(name, None, f"radius {radius:g} was not measured", trial=trial)
    if strength.goal == "degrade":
        clean = {"radius": 0.0}
        found = measure(
            table, subject=strength.subject, audit=strength.audit, metric="drop(ndcg@10)",
            where=here, versus=clean,
        )  # fmt: skip
        what = "of NDCG@10 lost"
    else:
        found = measure(
            table, subject=strength.subject, audit=strength.audit, metric="asr", where=here
        )
        what = "of targets reached the goal"
    if found.value is None:
        return strength.check(name, None, found.reason, trial=trial)
    said = f"{100 * found.value:.0f} % {what} at radius {radius:g}, expected {100 * least:.0f} %"
    return strength.check(name, found.value >= least, said, statistic=found.value, trial=trial)
