"""Projected gradient ascent through the stationary point of a factorisation."""

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.parts import Lengths, Manner
from hardrank.attacks.profiles.selection import (
    Crowd,
    invented,
    profiles,
    rounded,
    squeezed,
    sworn,
)
from hardrank.data import Patch
from hardrank.surrogates import Aim, AlsSurrogate
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import Count, GoalKind, LogKnowledge, Positive, Surface, spec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Pga"]


@spec
class Pga:
    """Move random profiles up the gradient of a factorisation, projected on the budget.

    Li, Wang, Singh and Vorobeychik, NIPS 2016, arXiv:1608.08182, algorithm 1.

    Fake rows begin at random and move up the gradient of the attacker's utility, taken
    through the conditions that factors meet at their optimum; each step is projected back
    on the feasible rows, S <- Proj(S - step * dL/dS). The paper's rows are ratings; here
    they are events in [0, 1] whose sum is bounded, rounded at the end. Its utility is the
    target's mean rating; here the loss of `hardrank.surrogates.Aim`.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    rated: ClassVar[bool] = False
    kind: Literal["pga"] = "pga"
    surrogate: AlsSurrogate = AlsSurrogate(adapting=3, afresh=True)
    """The factorisation."""
    restarts: Count = 2
    """Factorisations from other random starts that are climbed together: the slope of one
    alone exploits its own errors."""
    steps: Count = 36
    """Of the ascent."""
    learning_rate: Positive = 0.2
    """How far the entry of a row with the steepest slope moves in one step."""
    adapting: Count = 5
    """Steps after which the factors are fitted again with the fakes."""
    lengths: Lengths = "budget"
    """`budget` or `natural`: events of a fake user."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        crowd = invented(view, budget, rng, self.lengths)
        if not crowd.sizes.size:
            return Patch()
        jury = sworn(view, (self.surrogate,) * self.restarts, Aim(k=goal.k), rng)
        soft = _begun(view, crowd, rng)
        best, least = rounded(crowd, soft), np.inf
        for step in range(self.steps):
            if step and step % self.adapting == 0:
                jury, least = jury.adapted(best), np.inf
            now = rounded(crowd, soft)
            if (loss := jury.value(now)) < least:
                best, least = now, loss
            _, slope = jury.slope(soft)
            steepest = slope.abs().amax(1, keepdim=True).clamp_min(1e-12)
            soft = squeezed(crowd, soft - self.learning_rate * slope / steepest)
        return profiles(view, goal, budget, rng, crowd=crowd, selection=best, manner=self.manner)


def _begun(view: LogView, crowd: Crowd, rng: np.random.Generator) -> "Tensor":
    """Random rows inside the bounds: evenly drawn weights, projected."""
    import torch

    shape = (crowd.sizes.size, view.items.height)
    return squeezed(crowd, torch.as_tensor(rng.random(shape), dtype=torch.float32))
