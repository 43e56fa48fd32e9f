"""Adversarial training: the loss at the worst point of a ball, beside the clean loss."""

import math
from dataclasses import replace
from typing import Annotated, Any, Literal

from annotated_types import Gt, Lt
from pydantic import model_validator
from torch import Tensor

from hardrank.hardening.borrow import Draws
from hardrank.hardening.requires import require_site
from hardrank.hardening.schedule import Constant, Schedule
from hardrank.hardening.stopping import Stop
from hardrank.hardening.worst import worst_delta
from hardrank.perturbations import Inner
from hardrank.training.objective import Step, TrainableNetwork
from hardrank.types import NonNegative, Site, spec

__all__ = ["Adversarial"]


@spec
class Adversarial:
    """L(theta) + weight * max over ||delta|| <= radius of L(theta, delta).

    Madry et al., ICLR 2018, arXiv:1706.06083, equation 2.1, with the clean loss kept
    (Goodfellow et al., ICLR 2015, section 6) and the perturbation on embeddings (Miyato et
    al., ICLR 2017). The worst delta is sought with dropout off at the current weights and
    then held fixed; both losses draw the same dropout and negatives, so delta = 0 gives
    exactly the clean loss. K gradient steps inside, one joint backward pass outside.
    """

    kind: Literal["adversarial"] = "adversarial"
    site: Site = "item-vectors"
    """Where the perturbation is added."""
    inner: Inner
    """Seeks the worst perturbation."""
    radius: Annotated[float, Gt(0), Lt(math.inf)]
    """Norm bound of the perturbation, in the norm of `inner`, as a share of the mean L2 norm
    of the vectors at the site at the current weights (see `perturbations.absolute`)."""
    weight: NonNegative = 1.0
    """Of the adversarial loss."""
    form: Literal["sum", "mix"] = "sum"
    """`sum`: clean + weight * adversarial. `mix`: (1 - weight) * clean + weight * adversarial,
    weight at most 1."""
    weight_schedule: Schedule = Constant()
    """Share of `weight` in force as training goes on. While it is 0 nothing is sought."""
    stop: tuple[Stop, ...] = ()
    """Rules that end training early; the log states which one did."""
    radius_schedule: Schedule = Constant()
    """Share of `radius` in force as training goes on."""
    steps_schedule: Schedule = Constant()
    """Share of the steps of `inner` in force as training goes on, rounded, at least one step."""

    @model_validator(mode="after")
    def _mix_is_convex(self) -> "Adversarial":
        if self.form == "mix" and self.weight > 1:
            raise ValueError(f"weight must be at most 1 when form is 'mix' (is {self.weight})")
        return self

    @model_validator(mode="after")
    def _has_steps(self) -> "Adversarial":
        if self.steps_schedule != Constant() and not hasattr(self.inner, "steps"):
            raise ValueError(f"steps_schedule: '{self.inner.kind}' has no `steps` to schedule")
        return self

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` if the network lacks the site."""
        require_site(network, self.site, self.kind)

    def inner_at(self, progress: float) -> Inner:
        """`inner` with the steps that `steps_schedule` gives it at `progress`."""
        steps: int | None = getattr(self.inner, "steps", None)
        share = self.steps_schedule.at(progress)
        if steps is None or share == 1:
            return self.inner
        changed: Any = {"steps": max(1, round(share * steps))}
        return replace(self.inner, **changed)

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """See `Objective`."""
        weight = self.weight * self.weight_schedule.at(step.progress)
        if weight == 0:
            return network.loss(batch)
        draws = Draws.now()
        delta = worst_delta(
            network, batch, step, draws, site=self.site, inner=self.inner_at(step.progress),
            radius=self.radius * self.radius_schedule.at(step.progress),
        )  # fmt: skip
        clean = network.loss(batch)
        with draws.replayed():
            attacked = network.loss(batch, {self.site: delta})
        return (1 - weight if self.form == "mix" else 1) * clean + weight * attacked
