"""Bilevel poisoning: gradients through the last steps of a surrogate's training."""

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.parts import Lengths, Manner
from hardrank.attacks.profiles.selection import (
    Crowd,
    profiles,
    recruited,
    rounded,
    squeezed,
    sworn,
)
from hardrank.data import Patch
from hardrank.surrogates import Aim, UnrolledSurrogate
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import Count, GoalKind, LogKnowledge, Positive, Surface, spec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["RevAdv"]


@spec
class RevAdv:
    """Move real users' profiles against the loss of a model, through its last training steps.

    Tang, Wen and Wang, RecSys 2020, arXiv:2008.04876, algorithm 2.

    Fake rows begin as real users' rows. Outer loop: train the surrogate with the fakes,
    take the adversarial loss of the real users' lists, move the fakes against its gradient
    through the last unrolled steps, project. Differences from the paper: the loss is that
    of `hardrank.surrogates.Aim`, not a cross-entropy over all items; the outer optimiser is
    Adam; the surrogate is not trained anew at each step; rows are projected on [0, 1] with a
    bounded sum, and rounded at the end.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    rated: ClassVar[bool] = False
    kind: Literal["rev-adv"] = "rev-adv"
    surrogate: UnrolledSurrogate = UnrolledSurrogate(factors=32, sweeps=4, steps=0, afresh=True)
    """What is trained inside, and how many of its steps are unrolled."""
    restarts: Count = 1
    """Surrogates from other random starts that are climbed together."""
    steps: Count = 36
    """Of the outer loop."""
    adapting: Count = 4
    """Outer steps after which the surrogate is trained anew with the fakes."""
    learning_rate: Positive = 0.05
    """Of Adam, in events of 0 to 1."""
    lengths: Lengths = "budget"
    """`budget` or `natural`: events of a fake user."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        import torch

        crowd = recruited(view, budget, rng, self.lengths)
        if not crowd.sizes.size:
            return Patch()
        jury = sworn(view, (self.surrogate,) * self.restarts, Aim(k=goal.k), rng)
        soft = _begun(crowd, rng).requires_grad_(True)
        optimiser = torch.optim.Adam([soft], lr=self.learning_rate)
        best, least = rounded(crowd, soft.detach()), np.inf
        for step in range(self.steps):
            if step and step % self.adapting == 0:
                jury, least = jury.adapted(best), np.inf
            now = rounded(crowd, soft.detach())
            if (loss := jury.value(now)) < least:
                best, least = now, loss
            _, soft.grad = jury.slope(soft)
            optimiser.step()
            with torch.no_grad():
                soft.copy_(squeezed(crowd, soft))
        return profiles(view, goal, budget, rng, crowd=crowd, selection=best, manner=self.manner)


def _begun(crowd: Crowd, rng: np.random.Generator) -> "Tensor":
    """Real rows, as long as they may be; a little noise says which of their events stay."""
    import torch

    noise = torch.as_tensor(0.1 * rng.random(crowd.own.shape), dtype=torch.float32)
    return rounded(crowd, crowd.own + noise) * 1.0
