"""Whatever attack is left standing when the defence is played through: the adaptive attacker."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Len

from hardrank.attacks.profiles.copy_profile import CopyProfile
from hardrank.attacks.profiles.crafted_profiles import CraftedProfiles
from hardrank.attacks.profiles.interest_gan import InterestGanProfiles
from hardrank.attacks.profiles.mixed_copy import MixedCopy
from hardrank.attacks.profiles.plain import PlainAttack
from hardrank.attacks.profiles.power_users import PowerUsers
from hardrank.attacks.profiles.selection import Jury, sworn, usual
from hardrank.data import AddProfile, Dataset, Patch
from hardrank.surrogates import Aim
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LOG_VIEWS, LogView
from hardrank.types import GoalKind, LogKnowledge, Share, Surface, spec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Rehearsed"]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Try:
    """A patch, and what is left of it once the flagged users are gone."""

    patch: Patch
    unseen: tuple[AddProfile, ...]
    exposure: float
    """On the attacker's surrogates, trained with those left alone."""


@spec
class Rehearsed:
    """Write fake users in several ways, play the defence through, take what survives best.

    For each candidate attack the log is poisoned, the known detector scores it, users beyond
    the known threshold go, and surrogates say what exposure the others win. Then the
    survivors of all candidates are joined, by turns, and tried as one more. Ours; an attacker
    who adapts to a defence as Carlini et al. (2019, arXiv:1902.06705, section 3) ask. Without
    a detector it takes the candidate with the highest exposure.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    rated: ClassVar[bool] = False
    kind: Literal["rehearsed"] = "rehearsed"
    candidates: Annotated[tuple[PlainAttack, ...], Len(min_length=1)] = (
        CopyProfile(), MixedCopy(), PowerUsers(), CraftedProfiles(), CraftedProfiles(stealth=0.9),
        InterestGanProfiles(beta=1.0),
    )  # fmt: skip
    """What is tried."""
    flagged: Share = 0.01
    """Share of the users of the clean log that the defence's threshold flags."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        jury = sworn(view, usual(view, ()), Aim(k=goal.k), rng)
        border = self._border(view)
        tries = [
            _tried(self._written(view, attack, goal, budget, rng), view, border, jury)
            for attack in self.candidates
        ]
        joined = _joined([t.unseen for t in tries], budget.profiles)
        if view.knows_detector and len(joined):
            tries.append(_tried(joined, view, border, jury))
        return max(tries, key=lambda t: t.exposure).patch

    def _written(
        self, view: LogView, attack: Any, goal: Promote | Demote, budget: Budget,
        rng: np.random.Generator,
    ) -> Patch:  # fmt: skip
        """Each candidate sees no more than it needs, and knows no detector: that is my part."""
        seen = LOG_VIEWS[attack.needs](view.train, view.targets, view.run)
        made: Patch = attack(seen, goal, budget, rng)
        return made

    def _border(self, view: LogView) -> float:
        """The score that the defence's threshold lies at."""
        if view.detector is None:
            return np.inf
        scores = np.asarray(view.detector(view.train), dtype=np.float64)
        known = scores[~np.isnan(scores)]
        return float(np.quantile(known, 1 - self.flagged, method="higher")) if known.size else 0.0


def _tried(patch: Patch, view: LogView, border: float, jury: Jury) -> _Try:
    fakes = [edit for edit in patch.edits if isinstance(edit, AddProfile)]
    unseen = tuple(fakes)
    if view.detector is not None and fakes:
        scores = np.asarray(view.detector(view.train.apply(patch)), dtype=np.float64)
        passed = ~(np.nan_to_num(scores[-len(fakes) :], nan=-np.inf) > border)
        unseen = tuple(f for f, kept in zip(fakes, passed.tolist(), strict=True) if kept)
    exposure = jury.exposure(_selection(unseen, view.train)) if unseen else 0.0
    return _Try(patch=patch, unseen=unseen, exposure=exposure)


def _selection(fakes: tuple[AddProfile, ...], train: Dataset) -> "Tensor":
    """(P, I) of 0 and 1."""
    import torch

    out = torch.zeros((len(fakes), train.n_items))
    for p, fake in enumerate(fakes):
        out[p, [train.item_rows[i] for i in fake.item_ids]] = 1.0
    return out


def _joined(groups: list[tuple[AddProfile, ...]], most: int | None) -> Patch:
    """By turns from each group, until all are taken or the budget is spent."""
    turns = max((len(g) for g in groups), default=0)
    mixed = [g[n] for n in range(turns) for g in groups if n < len(g)][:most]
    return Patch(tuple(replace(fake, user_id=f"new-{n}") for n, fake in enumerate(mixed)))
