"""The court of item texts: one listing rewritten, observed on a panel of users."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from hardrank.data import Dataset, Patch, Queries, RewriteItem
from hardrank.errors import DataError, FoulPlay, Unsupported
from hardrank.recommender import Recommender
from hardrank.threats.court import Attack, Court, count_text, level
from hardrank.threats.desk import GivesTextGradient, Judge, ListingDesk, Meter
from hardrank.threats.match import Match
from hardrank.threats.model import Budget, Demote, Goal, Promote, ThreatModel, aim_at
from hardrank.threats.panel import PanelLists, watch
from hardrank.threats.victim import digest_victim
from hardrank.threats.views import VIEWS
from hardrank.types import Surface

__all__ = ["ListingCourt", "check"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ListingCourt(Court):
    """The panel's lists are scored once for all targets and attacks."""

    surface: ClassVar[Surface] = "item-text"
    lists: PanelLists

    @classmethod
    def of(
        cls, victim: Recommender, world: Dataset, panel: Queries, judge: Judge | None
    ) -> "ListingCourt":
        """Raises `DataError` when the victim ranks another catalogue than the world's."""
        same_catalogue(victim, world)
        return cls(
            victim=victim, world=world, judge=judge, digest=digest_victim(victim),
            lists=watch(victim, panel),
        )  # fmt: skip

    def admit(self, attack: Attack, threat: ThreatModel, target: str) -> Budget:
        self.refuse(attack, threat)
        who = f"attack '{attack.kind}'"
        if not isinstance(threat.goal, Promote | Demote):
            raise Unsupported(f"item texts promote and demote, they cannot {threat.goal.kind}")
        if attack.needs == "gradients" and not isinstance(self.victim, GivesTextGradient):
            raise Unsupported(f"{who} needs gradients, this victim grants none")
        if threat.field not in self.world.items.columns:
            raise Unsupported(f"the item table has no field '{threat.field}'")
        if target not in self.world.item_rows:
            raise DataError(f"{self.world.name}: unknown target item '{target}'")
        return text_budget(attack, threat.budget)

    def open(
        self, attack: Attack, threat: ThreatModel, budget: Budget, target: str
    ) -> tuple[Any, Goal, Meter]:
        goal = threat.goal
        assert isinstance(goal, Promote | Demote)
        desk = ListingDesk(
            victim=self.victim, world=self.world, lists=self.lists, targets=(target,),
            budget=budget, goal=goal.kind, k=goal.k, column=threat.field, judge=self.judge,
            meter=Meter(budget.queries),
        )  # fmt: skip
        return VIEWS[level(attack, threat)](desk), aim_at(goal, target), desk.meter

    def count(
        self, patch: Patch, threat: ThreatModel, budget: Budget, target: str, queries: int
    ) -> Match:
        bound = replace(threat, budget=budget)
        match = check(patch, bound, self.world, target, queries=queries, judge=self.judge)
        return replace(match, threat=threat)


def check(
    patch: Patch,
    threat: ThreatModel,
    world: Dataset,
    target: str,
    *,
    queries: int = 0,
    judge: Judge | None = None,
) -> Match:
    """Count what the patch costs and hold it against `threat.budget`, without the attack's
    word for anything. Raises `FoulPlay` with the first rule broken."""
    for edit in patch.edits:
        if not isinstance(edit, RewriteItem):
            raise FoulPlay(f"an edit '{edit.kind}' where only {threat.surface} may be written")
        if edit.item_id != target:
            raise FoulPlay(f"item '{edit.item_id}' was rewritten, the target is '{target}'")
        if edit.field != threat.field:
            raise FoulPlay(f"item '{target}': field '{edit.field}' was rewritten, the attacker "
                           f"owns '{threat.field}'")  # fmt: skip
    before = str(world.items[threat.field][world.item_rows[target]] or "")
    rewrite = patch.rewrites().get(target)
    return count_text(
        before, rewrite.text if rewrite else before, patch, threat=threat, budget=threat.budget,
        target=target, judge=judge, queries=queries,
    )  # fmt: skip


def text_budget(attack: Attack, budget: Budget) -> Budget:
    """Whole texts only for attacks made for it; for others some limit has to bind."""
    if budget.whole_text and not attack.whole_text:
        budget = replace(budget, whole_text=False)
    if not budget.whole_text and budget.words is None and budget.characters is None:
        raise Unsupported(
            f"attack '{attack.kind}' edits words, the budget limits neither words nor characters"
        )
    return budget


def same_catalogue(victim: Recommender, world: Dataset) -> None:
    if not victim.items["item_id"].equals(world.items["item_id"]):
        raise DataError(
            f"the victim ranks another catalogue than '{world.name}'",
            remedy="give the data it was trained on",
        )
