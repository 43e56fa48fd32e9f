"""Sample masking: adversarial training that learns nothing from over-strong perturbations."""

import math
from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt, Lt
from pydantic import model_validator
from torch import Tensor

from hardrank.hardening.borrow import Draws
from hardrank.hardening.requires import require_predictions, require_site
from hardrank.hardening.rows import cross_entropy_rows, heads, note_share
from hardrank.hardening.schedule import Constant, Schedule
from hardrank.hardening.worst import site_scale, worst_delta
from hardrank.perturbations import Inner
from hardrank.training.objective import Predictions, PredictiveNetwork, Step, TrainableNetwork
from hardrank.types import NonNegative, Positive, Site, spec

__all__ = ["SampleMasking"]

_LEAST_LOSS = 0.1
"""Nats. A row learned to the end has a loss near 0, and any perturbation a huge multiple."""


@spec
class SampleMasking:
    """L(theta) + weight * mean of w_i L_i(theta, delta), w_i = 0 where delta is over-strong.

    Rows whose perturbation is longer than `largest_norm`, or whose loss grows by more than
    the factor `largest_ratio`, take no part in the adversarial loss; their clean loss stays,
    and so does every label. A perturbation that nobody could answer teaches the model to
    give up clean quality for nothing: the concern of friendly adversarial training (Zhang
    et al., ICML 2020, arXiv:2002.11242), which stops the search early instead, and of
    GAIRAT (Zhang et al., ICLR 2021, arXiv:2010.01736), which weighs rows by the steps that
    it takes to flip them. Not to be taken for gradient masking, which is a failure.
    """

    kind: Literal["sample-masking"] = "sample-masking"
    site: Site = "item-vectors"
    """Where the perturbation is added."""
    inner: Inner
    """Seeks the worst perturbation."""
    radius: Annotated[float, Gt(0), Lt(math.inf)]
    """Norm bound of the perturbation, in the norm of `inner`, as a share of the mean L2 norm
    of the vectors at the site."""
    largest_norm: Positive | None = None
    """Largest L2 norm of a row's own perturbation, as a share of the same mean norm: that of
    its text or its newest event; of item sites, of the right item; of many tokens, the
    longest. None does not look at norms."""
    largest_ratio: Annotated[float, Gt(1)] | None = 3.0
    """Largest ratio of a row's adversarial loss to its clean loss (taken as 0.1 nats where it
    is less). None does not look at losses."""
    soft: bool = False
    """Weights fall as the bound divided by what exceeds it, instead of to 0."""
    weight: NonNegative = 1.0
    """Of the adversarial loss."""
    form: Literal["sum", "mix"] = "sum"
    """`sum`: clean + weight * adversarial. `mix`: (1 - weight) * clean + weight * adversarial,
    weight at most 1."""
    weight_schedule: Schedule = Constant()
    """Share of `weight` in force as training goes on. While it is 0 nothing is sought."""

    @model_validator(mode="after")
    def _is_itself(self) -> "SampleMasking":
        if self.form == "mix" and self.weight > 1:
            raise ValueError(f"weight must be at most 1 when form is 'mix' (is {self.weight})")
        if self.largest_norm is None and self.largest_ratio is None:
            raise ValueError(
                "set largest_norm or largest_ratio; without a bound, use 'adversarial'"
            )
        return self

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` if the network lacks the site or rows of logits."""
        require_predictions(network, self.kind)
        require_site(network, self.site, self.kind)

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """See `Objective`. Notes the share of rows with w_i < 1 as `masked_share`."""
        weight = self.weight * self.weight_schedule.at(step.progress)
        if weight == 0:
            return network.loss(batch)
        assert isinstance(network, PredictiveNetwork)
        draws = Draws.now()
        delta = worst_delta(
            network, batch, step, draws, site=self.site, inner=self.inner, radius=self.radius
        )
        sizes = self._sizes(network, batch, draws, delta)
        clean = heads(network.predictions(batch))
        with draws.replayed():
            attacked = heads(network.predictions(batch, {self.site: delta}))
        total = clean[0][1].logits.new_zeros(())
        for (share, before), (_, after) in zip(clean, attacked, strict=True):
            losses, worse = cross_entropy_rows(before), cross_entropy_rows(after)
            trust = self._trust(losses, worse, _norms(sizes, before, self.site))
            note_share(step, "masked_share", int((trust < 1).sum()), len(trust))
            own = 1 - weight if self.form == "mix" else 1.0
            total = total + share * (own * losses.mean() + weight * (trust * worse).mean())
        return total

    def _sizes(
        self, network: TrainableNetwork, batch: Any, draws: Draws, delta: Tensor
    ) -> Tensor | None:
        """L2 norms of delta as shares of the mean norm at the site, (items or rows,)."""
        if self.largest_norm is None:
            return None
        _, mask, scale = site_scale(network, batch, draws, self.site)
        sizes: Tensor = delta.norm(dim=-1) / max(scale, torch.finfo(delta.dtype).tiny)
        if self.site == "history-vectors" and mask is not None:
            return sizes[mask]
        return sizes if sizes.ndim == 1 else sizes.flatten(1).amax(1)

    def _trust(self, losses: Tensor, worse: Tensor, norms: Tensor | None) -> Tensor:
        """(N,) w_i in [0, 1], without gradient."""
        excess = torch.ones_like(losses)
        if self.largest_ratio is not None:
            ratio = worse.detach() / losses.detach().clamp_min(_LEAST_LOSS)
            excess = torch.maximum(excess, ratio / self.largest_ratio)
        if norms is not None and self.largest_norm is not None:
            excess = torch.maximum(excess, norms / self.largest_norm)
        return torch.where(excess <= 1, 1.0, 1 / excess if self.soft else 0.0)


def _norms(sizes: Tensor | None, said: Predictions, site: Site) -> Tensor | None:
    """(N,) of each row's own perturbation."""
    if sizes is None:
        return None
    by_item = site == "item-vectors" or (said.items is not None and site != "history-vectors")
    if not by_item:
        return sizes if said.rows is None else sizes[said.rows]
    candidates = said.logits.shape[1]
    if said.items is None or len(sizes) == candidates:
        return sizes[said.labels]
    return sizes[said.items]
