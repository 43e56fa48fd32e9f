"""The attack under which validation measures the robust error of a model in training."""

from dataclasses import dataclass

from hardrank.perturbations import FGM, FGSM, PGD, RFGSM, Gaussian, Inner, Uniform
from hardrank.training import Objective, Plain

__all__ = ["Judge", "judge_of"]

_RADIUS = 0.05
_ONE_STEP = (FGSM, FGM, RFGSM)
_NO_STEP = (Gaussian, Uniform)


@dataclass(frozen=True, kw_only=True)
class Judge:
    """An inner maximiser within a radius."""

    inner: Inner
    radius: float
    """Relative to the mean L2 norm of the vectors."""
    single: Inner | None = None
    """The one-step attack of the training, measured beside `inner`; see
    `hardrank.training.watch`."""


def judge_of(objective: Objective | None, *, wanted: bool) -> Judge | None:
    """The attack that an objective is judged by; None for plain training, unless `wanted`.

    An objective's own `inner` and `radius`. Where it has no inner maximiser, or one that takes
    a single gradient step or none, which a model can learn to defeat alone, 10 steps of PGD
    (in its norm); where it bounds no vectors by a `radius` at a `site`, or by an `absolute`
    one, which is no share of anything, within 0.05.
    """
    if (objective is None or isinstance(objective, Plain)) and not wanted:
        return None
    inner: Inner | None = getattr(objective, "inner", None)
    relative = hasattr(objective, "site") and not getattr(objective, "absolute", False)
    radius = (getattr(objective, "radius", None) if relative else None) or _RADIUS
    if inner is None:
        return Judge(inner=PGD(), radius=radius)
    single = inner if isinstance(inner, _ONE_STEP) else None
    weak = single is not None or isinstance(inner, _NO_STEP)
    return Judge(inner=PGD(norm=inner.norm) if weak else inner, radius=radius, single=single)
