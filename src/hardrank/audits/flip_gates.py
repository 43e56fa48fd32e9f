"""Gates 1 and 4 for text classifiers: it still decides, for both classes; its gradients are true.

A classifier that names one class for every text cannot be flipped and is worth nothing.
"""

import numpy as np
import polars as pl

from hardrank.audits.checks import Check
from hardrank.audits.flip import NOBODY, WhiteBox
from hardrank.audits.gradients import surface_checks
from hardrank.audits.measure import measure, rows_where
from hardrank.data.labelled import Labelled
from hardrank.types import Site

__all__ = ["auc_floor", "flip_gradients", "tells_texts_apart"]

_CLAIMS = ("flip", "curve")
_ONE_CLASS = 0.98
"""Share of texts that may be given the same class before the model counts as a constant."""


def auc_floor(table: pl.DataFrame, *, hardened: str, control: str, points: float = 0.02) -> Check:
    """Clean AUC of the hardened subject is at most `points` below the control's: the whole
    95 % interval of the loss lies below it. Where only the loss itself does, the samples
    cannot tell, and the answer is None.

    table: samples with `utility` rows of both subjects.
    """
    lost = measure(
        table, subject=control, audit="utility", metric="difference(auc)",
        versus={"subject": hardened},
    )  # fmt: skip
    passed: bool | None = None
    reason = lost.reason
    if lost.value is not None:
        high = np.inf if lost.high is None else lost.high
        passed = True if high <= points else None if lost.value <= points else False
        reason = (
            f"AUC falls by {lost.value:.3f}, 95 % interval up to {high:.3f}; allowed {points:g}"
        )
        if passed is None:
            reason += f"; {lost.n} samples are too few to say that it holds"
    return Check(
        gate="quality", name="quality_floor", subject=hardened, passed=passed, reason=reason,
        statistic=lost.value, concerns={"audit": _CLAIMS},
    )  # fmt: skip


def tells_texts_apart(table: pl.DataFrame, *, subject: str, seed: int | None = None) -> Check:
    """Not a constant: less than 98 % of test texts are given the same class, and their
    probabilities differ."""
    where = {"subject": subject, "audit": "utility"} | ({} if seed is None else {"seed": seed})
    values = rows_where(table, where)["value"].drop_nulls().to_numpy()
    passed, reason, share = None, "fewer than two texts", None
    if len(values) > 1:
        ones = float((values >= 0.5).mean())
        share = max(ones, 1 - ones)
        passed = share < _ONE_CLASS and float(np.ptp(values)) > 1e-6
        reason = f"{100 * share:.1f} % of texts are given the same class"
    return Check(
        gate="quality", name="tells_texts_apart", subject=subject, seed=seed, passed=passed,
        reason=reason, statistic=share, concerns={"audit": _CLAIMS},
    )  # fmt: skip


def flip_gradients(
    model: WhiteBox, site: Site, texts: Labelled, *, subject: str, seed: int | None = None
) -> list[Check]:
    """`gradient_checks` on the surface of these texts: each a row of its own."""
    surface = model.surface(site, "flip", NOBODY, texts.labels, texts.texts)
    zero = surface.like.new_zeros(surface.like.shape)
    moved = model.perturbed_scores(site, "flip", NOBODY, texts.labels, zero, texts.texts)
    plain = model.probabilities(texts.texts)
    return surface_checks(
        surface, moved, plain, site=site, goal="flip", subject=subject, seed=seed,
        concerns={"audit": _CLAIMS, "site": site},
    )  # fmt: skip
