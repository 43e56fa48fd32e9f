"""Whatever attack is left standing when the defence is played through: the adaptive attacker."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Len
from pydantic import Field

from hardrank.attacks.profiles.caps import KnownCap
from hardrank.attacks.profiles.copy_profile import CopyProfile
from hardrank.attacks.profiles.crafted_profiles import CraftedProfiles
from hardrank.attacks.profiles.few_profiles import FewProfiles
from hardrank.attacks.profiles.helped_profiles import HelpedProfiles
from hardrank.attacks.profiles.interest_gan import InterestGanProfiles
from hardrank.attacks.profiles.mixed_copy import MixedCopy
from hardrank.attacks.profiles.plain import PlainUnion
from hardrank.attacks.profiles.power_users import PowerUsers
from hardrank.attacks.profiles.rival_profiles import RivalProfiles
from hardrank.attacks.profiles.selection import Jury, sworn, usual
from hardrank.data import AddProfile, Dataset, Patch
from hardrank.surrogates import Aim
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LOG_VIEWS, LogView
from hardrank.types import GoalKind, LogKnowledge, Share, Surface, spec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Candidate", "Rehearsed"]

Candidate = Annotated[
    PlainUnion | FewProfiles | HelpedProfiles | RivalProfiles, Field(discriminator="kind")
]
"""What can be tried against a defence: attacks that know no detector. The surrogates hear no
ratings: of `rival-profiles` they see the events alone."""


@dataclass(frozen=True, eq=False, kw_only=True)
class _Try:
    """A patch, and what is left of it once the flagged users are gone."""

    patch: Patch
    unseen: tuple[AddProfile, ...]
    exposure: float
    """On the attacker's surrogates, trained with what a known cap leaves of those."""


@spec
class Rehearsed:
    """Write fake users in several ways, play the defence through, take what survives best.

    For each candidate attack the log is poisoned, the known detector scores it, users beyond
    the known threshold go, of the others a known cap on growth leaves what it may, and
    surrogates say what exposure that wins. Then the survivors of all candidates are joined, by
    turns, and tried as one more. Ours; an attacker
    who adapts to a defence as Carlini et al. (2019, arXiv:1902.06705, section 3) ask. Without
    a detector it takes the candidate with the highest exposure.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    rated: ClassVar[bool] = False
    kind: Literal["rehearsed"] = "rehearsed"
    candidates: Annotated[tuple[Candidate, ...], Len(min_length=1)] = (
        CopyProfile(), MixedCopy(), PowerUsers(), CraftedProfiles(), CraftedProfiles(stealth=0.9),
        InterestGanProfiles(beta=1.0),
    )  # fmt: skip
    """What is tried."""
    flagged: Share = 0.01
    """Share of the users of the clean log that the defence's threshold flags."""
    cap: KnownCap | None = None
    """A cap on growth that the defence puts on those who pass; None for an attacker who knows
    of none."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        jury = sworn(view, usual(view, ()), Aim(k=goal.k), rng)
        seed = int(rng.integers(2**31)) if self.cap else 0
        stage = _Stage(view=view, border=self._border(view), cap=self.cap, seed=seed, jury=jury)
        tries = [
            stage.tried(self._written(view, attack, goal, budget, rng))
            for attack in self.candidates
        ]
        joined = _joined([t.unseen for t in tries], budget.profiles)
        if view.knows_detector and len(joined):
            tries.append(stage.tried(joined))
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


@dataclass(frozen=True, eq=False, kw_only=True)
class _Stage:
    """The log, the defence and the attacker's surrogates."""

    view: LogView
    border: float
    cap: KnownCap | None
    seed: int
    jury: Jury

    def tried(self, patch: Patch) -> _Try:
        view = self.view
        unseen = tuple(edit for edit in patch.edits if isinstance(edit, AddProfile))
        if view.detector is not None and unseen:
            scores = np.asarray(view.detector(view.train.apply(patch)), dtype=np.float64)
            passed = ~(np.nan_to_num(scores[-len(unseen) :], nan=-np.inf) > self.border)
            unseen = tuple(f for f, kept in zip(unseen, passed.tolist(), strict=True) if kept)
        left = self.cap.left(view, unseen, self.seed) if self.cap else unseen
        exposure = self.jury.exposure(_selection(left, view.train)) if left else 0.0
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
