"""Few fake users name the target, and the others pave its way without naming it."""

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.parts import Manner, snapped
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
from hardrank.surrogates import Aim, SurrogateSpec
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import Count, GoalKind, LogKnowledge, Positive, Share, Surface, spec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HelpedProfiles"]


@spec
class HelpedProfiles:
    """Name the target as often as a cap lets pass, and use all other fake users as helpers.

    For the attacker who knows how many new users may name one item (`data.growth`). All fake
    users begin from real histories and are climbed together, as in `crafted-profiles`:
    straight through the surrogates' loss. Those beyond `named` never hold the target; they bind
    the items of its fake audience to what many users have, and push rivals apart. Ours. With
    `named` at the budget's number it is `crafted-profiles` in another order of chance.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    rated: ClassVar[bool] = False
    kind: Literal["helped-profiles"] = "helped-profiles"
    named: Count = 10
    """Most fake users who name the target."""
    praise: Literal["best", "usual"] = "usual"
    """How they rate it: with the best rating, or as its other ratings are on average, which
    a cap on praise does not see; victims that turn ratings into events do not either."""
    surrogates: tuple[SurrogateSpec, ...] = ()
    """Models to try the profiles on; empty for EASE (up to its limit of items)
    and two ALS of different size."""
    steps: Count = 45
    """Of Adam."""
    learning_rate: Positive = 0.05
    """Of Adam; weights of a real user's own events begin about 0.5 above the others."""
    adapting: Count = 10
    """Steps after which surrogates learn from the fakes again."""
    stealth: Share = 0.5
    """Least share of a profile's fillers that are the real user's own."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        crowd = recruited(view, budget, rng)
        if not crowd.sizes.size:
            return Patch()
        aim = Aim(k=goal.k, sharpness=2.0)
        jury = sworn(view, usual(view, self.surrogates), aim, rng)
        chosen = self._climbed(jury, crowd, rng)
        patch = profiles(view, goal, budget, rng, crowd=crowd, selection=chosen, manner=self.manner)
        names = view.items["item_id"].gather(view.targets.tolist()).to_list()
        stars = {}
        if self.praise == "usual" and view.scale is not None:
            given = snapped(view, view.means[view.targets]).tolist()
            stars = dict(zip(names, given, strict=True))
        fakes = [edit for edit in patch.edits if isinstance(edit, AddProfile)]
        helpers = (_without(fake, set(names)) for fake in fakes[self.named :])
        return Patch((*(_starred(fake, stars) for fake in fakes[: self.named]), *helpers))

    def _climbed(self, jury: Jury, crowd: Crowd, rng: np.random.Generator) -> "Tensor":
        """(P, I) of 0 and 1: the best selection since the surrogates last learnt."""
        import torch

        noise = torch.as_tensor(0.1 * rng.random(crowd.own.shape), dtype=torch.float32)
        weights = (0.5 * crowd.own + noise).requires_grad_(True)
        optimiser = torch.optim.Adam([weights], lr=self.learning_rate)
        best, least = self._silenced(crowd, weights.detach()), np.inf
        for step in range(self.steps):
            if step and step % self.adapting == 0:
                jury, least = jury.adapted(best), np.inf
            now = self._silenced(crowd, weights.detach())
            loss, weights.grad = jury.slope(now)
            if loss < least:
                best, least = now, loss
            optimiser.step()
        return best

    def _silenced(self, crowd: Crowd, weights: "Tensor") -> "Tensor":
        """The selection of these weights, with the target in the first profiles alone."""
        import torch

        out = rounded(crowd, weights, self.stealth)
        out[self.named :, torch.as_tensor(crowd.targets)] = 0
        return out


def _starred(fake: AddProfile, stars: dict[str, float]) -> AddProfile:
    if fake.ratings is None:
        return fake
    given = zip(fake.item_ids, fake.ratings, strict=True)
    return replace(fake, ratings=tuple(stars.get(item, rating) for item, rating in given))


def _without(fake: AddProfile, names: set[str]) -> AddProfile:
    """Without those items; the same where nothing else is in it."""
    kept = [n for n, item in enumerate(fake.item_ids) if item not in names]
    if not kept:
        return fake
    return replace(
        fake,
        item_ids=tuple(fake.item_ids[n] for n in kept),
        ratings=None if fake.ratings is None else tuple(fake.ratings[n] for n in kept),
        times=None if fake.times is None else tuple(fake.times[n] for n in kept),
    )
