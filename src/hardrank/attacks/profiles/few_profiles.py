"""Any profile attack with fewer fake users than the budget allows."""

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.copy_profile import CopyProfile
from hardrank.attacks.profiles.parts import limits, snapped
from hardrank.attacks.profiles.plain import PlainAttack
from hardrank.data import AddProfile, Edit, Patch
from hardrank.errors import Unsupported
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LOG_VIEWS, LogView
from hardrank.types import Count, GoalKind, LogKnowledge, Surface, spec

__all__ = ["FewProfiles"]


@spec
class FewProfiles:
    """Send only so many fake users, made as well as so few can be.

    The attacker who knows that a defence looks at numbers: rushes, rings, or how many new users
    name one item (`data.growth`). Under a cap, fake users whose mention of the target is dropped
    are worse than none: they still name its companions, and a model learns that those go without
    it. So it is better to send no more than pass. Where praise is capped, too, the target can be
    rated as usual: most victims turn ratings into events and do not see the difference. Ours.
    The base attack sees no more than it needs by itself; a budget below `profiles` holds.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    rated: ClassVar[bool] = False
    kind: Literal["few-profiles"] = "few-profiles"
    base: PlainAttack = CopyProfile()
    """The attack that writes them; any but those that wrap another."""
    profiles: Count = 7
    """Most fake users for one target."""
    praise: Literal["base", "usual"] = "base"
    """How the target is rated: as the base attack does it, or as its other ratings are on
    average."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        base: Any = self.base
        if goal.kind not in base.goals:
            raise Unsupported(f"few-profiles: the base attack '{base.kind}' cannot {goal.kind}")
        if base.rated and view.scale is None:
            raise Unsupported(f"few-profiles: '{base.kind}' works by ratings, the log has none")
        few = min(limits(budget)[0], self.profiles)
        seen = LOG_VIEWS[base.needs](view.train, view.targets, view.run, view.detector)
        made: Patch = base(seen, goal, replace(budget, profiles=few), rng)
        if self.praise == "base" or view.scale is None:
            return made
        names = view.items["item_id"].gather(view.targets.tolist()).to_list()
        usual = snapped(view, view.means[view.targets]).tolist()
        return Patch(
            tuple(_rated(edit, dict(zip(names, usual, strict=True))) for edit in made.edits)
        )


def _rated(edit: Edit, usual: dict[str, float]) -> Edit:
    """The same with the targets so rated."""
    if not isinstance(edit, AddProfile) or edit.ratings is None:
        return edit
    given = zip(edit.item_ids, edit.ratings, strict=True)
    return replace(edit, ratings=tuple(usual.get(item, rating) for item, rating in given))
