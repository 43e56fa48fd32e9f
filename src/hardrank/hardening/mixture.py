"""Several ways of adversarial training, one drawn for each batch."""

from itertools import accumulate
from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt, Le, Len
from pydantic import model_validator
from torch import Tensor

from hardrank.hardening.adversarial import Adversarial
from hardrank.hardening.stopping import Stop
from hardrank.training.objective import Step, TrainableNetwork
from hardrank.types import Site, spec

__all__ = ["Mixture", "Part"]


@spec
class Part:
    """One way of the mixture."""

    share: Annotated[float, Gt(0), Le(1)]
    """Probability that a batch is trained this way."""
    objective: Adversarial
    """Method (`inner`), strength (`radius`) and weight; weight 0 is a clean batch."""


@spec
class Mixture:
    """Each batch is trained by one of the parts, drawn by their shares.

    A model that meets several attacks, radii and numbers of steps in training cannot fit
    itself to one of them (a distribution over strengths as in Cai et al., IJCAI 2018,
    arXiv:1805.04807, section 3, there one after another). Parts share one site.
    """

    kind: Literal["mixture"] = "mixture"
    parts: Annotated[tuple[Part, ...], Len(min_length=1)]
    """Their shares add up to 1."""
    stop: tuple[Stop, ...] = ()
    """Rules that end training early; those of the parts are not read."""

    @model_validator(mode="after")
    def _whole(self) -> "Mixture":
        total = sum(part.share for part in self.parts)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares of the parts must add up to 1 (are {total:g})")
        if len(sites := {part.objective.site for part in self.parts}) > 1:
            raise ValueError(f"parts must share one site (are {', '.join(sorted(sites))})")
        return self

    @property
    def site(self) -> Site:
        """Where all parts perturb."""
        return self.parts[0].objective.site

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` if the network lacks the site."""
        self.parts[0].objective.check(network)

    def drawn(self, generator: torch.Generator) -> int:
        """The number of one part, by their shares; a single part is taken without a draw."""
        if len(self.parts) == 1:
            return 0
        point = float(torch.rand((), generator=generator, dtype=torch.float64))
        bounds = list(accumulate(part.share for part in self.parts))
        return next((n for n, bound in enumerate(bounds) if point < bound), len(bounds) - 1)

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """See `Objective`."""
        return self.parts[self.drawn(step.generator)].objective(network, batch, step)
