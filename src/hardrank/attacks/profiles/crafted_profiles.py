"""Real histories rewritten by the gradient of surrogates: the strong learned attack."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Gt, Le

from hardrank.attacks.profiles.parts import Lengths, Manner
from hardrank.attacks.profiles.selection import (
    Crowd,
    Jury,
    profiles,
    recruited,
    rounded,
    sworn,
    usual,
)
from hardrank.data import AddProfile, Patch
from hardrank.data.filtering import Detector
from hardrank.surrogates import Aim, SurrogateSpec
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import Count, Floats, GoalKind, LogKnowledge, Positive, Share, Surface, spec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CraftedProfiles"]


@spec
class CraftedProfiles:
    """Begin from real users' histories and exchange events while surrogates like it better.

    Ours. Each filler has a weight; the selection is the best of each profile (0 or 1), the
    surrogates' loss is differentiated there, and Adam moves the weights as if the selection
    were they (straight-through: Bengio et al. 2013, arXiv:1308.3432). EASE answers exactly
    and ALS nearly, so one attack serves victims by neighbourhood and by factors; ALS learns
    from the fakes again every few steps, which keeps the attack from exploiting its errors.

    An attacker who knows the detector also climbs with more of the real events kept, asks
    the detector about each set, and about that of each fake user's least suspected version.
    With exposure relative to the best set's, and suspicion the mean share of real users who
    are suspected less than a fake one, he takes the set of the highest
    (1 - evasion) * exposure - evasion * suspicion.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    rated: ClassVar[bool] = False
    kind: Literal["crafted-profiles"] = "crafted-profiles"
    surrogates: tuple[SurrogateSpec, ...] = ()
    """Models to try the profiles on; empty for EASE (up to its limit of items)
    and two ALS of different size."""
    loss: Literal["exposure", "margin"] = "exposure"
    """What is climbed; see `hardrank.surrogates.Aim`."""
    audience: Annotated[float, Gt(0), Le(1)] = 1.0
    """Share of the eligible users whose lists are aimed at, those nearest to listing first."""
    sharpness: Positive = 2.0
    """How nearly the soft share of lists that is climbed is the hard one."""
    steps: Count = 45
    """Of Adam; half as many for each set of `disguises`."""
    learning_rate: Positive = 0.05
    """Of Adam; weights of a real user's own events begin about 0.5 above the others."""
    adapting: Count = 10
    """Steps after which surrogates learn from the fakes again."""
    stealth: Share = 0.5
    """Least share of a profile's fillers that are the real user's own: more of it looks more like
    a person, and what is learnt carries over better to models other than the surrogates."""
    disguises: tuple[Share, ...] = (0.75, 0.9)
    """Shares that are tried as well where the detector is known."""
    evasion: Share = 0.5
    """Weight of suspicion in the choice among sets, where the detector is known."""
    lengths: Lengths = "budget"
    """`budget` or `natural`: events of a fake user."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        crowd = recruited(view, budget, rng, self.lengths)
        if not crowd.sizes.size:
            return Patch()
        aim = Aim(k=goal.k, loss=self.loss, audience=self.audience, sharpness=self.sharpness)
        jury = sworn(view, usual(view, self.surrogates), aim, rng)

        def write(selection: "Tensor") -> Patch:
            return profiles(
                view, goal, budget, rng, crowd=crowd, selection=selection, manner=self.manner
            )

        shares = [self.stealth]
        if view.detector is not None:
            shares += sorted({s for s in self.disguises if s > self.stealth})
        made = [
            self._climbed(jury, crowd, share, self.steps if n == 0 else (self.steps + 1) // 2, rng)
            for n, share in enumerate(shares)
        ]
        patches = [write(selection) for selection in made]
        if view.detector is None:
            return patches[0]
        doubts = [_suspicion(view, view.detector, patch) for patch in patches]
        made.append(_versions(made, doubts))
        patches.append(write(made[-1]))
        doubts.append(_suspicion(view, view.detector, patches[-1]))
        return patches[self._choice([jury.exposure(s) for s in made], doubts)]

    def _climbed(
        self, jury: Jury, crowd: Crowd, share: float, steps: int, rng: np.random.Generator
    ) -> "Tensor":
        """(P, I) of 0 and 1: the best selection since the surrogates last learnt."""
        import torch

        noise = torch.as_tensor(0.1 * rng.random(crowd.own.shape), dtype=torch.float32)
        weights = (0.5 * crowd.own + noise).requires_grad_(True)
        optimiser = torch.optim.Adam([weights], lr=self.learning_rate)
        best, least = rounded(crowd, weights.detach(), share), np.inf
        for step in range(steps):
            if step and step % self.adapting == 0:
                jury, least = jury.adapted(best), np.inf
            now = rounded(crowd, weights.detach(), share)
            loss, weights.grad = jury.slope(now)
            if loss < least:
                best, least = now, loss
            optimiser.step()
        return best

    def _choice(self, exposures: list[float], doubts: list[Floats]) -> int:
        listed = np.asarray(exposures) / (max(exposures) or 1.0)
        suspected = np.asarray([d.mean() for d in doubts])
        return int(np.argmax((1 - self.evasion) * listed - self.evasion * suspected))


def _suspicion(view: LogView, detector: Detector, patch: Patch) -> Floats:
    """(P,) share of the real users who look less suspicious than each fake one."""
    scores = np.asarray(detector(view.train.apply(patch)), dtype=np.float64)
    n = sum(isinstance(edit, AddProfile) for edit in patch.edits)
    real, fake = np.sort(scores[:-n][~np.isnan(scores[:-n])]), scores[-n:]
    below = np.searchsorted(real, np.nan_to_num(fake, nan=-np.inf)) / max(real.size, 1)
    return np.where(np.isnan(fake), 0.0, below).astype(np.float32)


def _versions(made: "list[Tensor]", doubts: list[Floats]) -> "Tensor":
    """Of each fake user the version that is suspected least."""
    import torch

    least = np.argmin(np.stack(doubts), axis=0)
    return torch.stack([made[version][p] for p, version in enumerate(least.tolist())])
