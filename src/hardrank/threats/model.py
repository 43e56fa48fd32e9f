"""Threat models as values: what an attacker wants, sees, may write, and may spend."""

from dataclasses import replace
from typing import Annotated, Literal, TypeVar

import numpy as np
from pydantic import Field, field_validator, model_validator

from hardrank.data import Dataset
from hardrank.errors import DataError, Unsupported
from hardrank.threats.select import SELECTIONS, draw, parse
from hardrank.types import Count, Knowledge, LogKnowledge, Natural, Positive, Share, Surface, spec

__all__ = [
    "Budget",
    "Degrade",
    "Demote",
    "Flip",
    "Goal",
    "Promote",
    "ThreatModel",
    "aim_at",
    "targets",
]

Items = str | tuple[str, ...]
"""Item ids, or a selection drawn from the training data: see `threats.select.SELECTIONS`."""


def _checked(items: Items) -> Items:
    if isinstance(items, str):
        parse(items)
    elif not items or len(set(items)) < len(items):
        raise ValueError("name at least one item id, each once")
    return items


@spec
class Promote:
    """Bring the target items into the top `k` of more users."""

    kind: Literal["promote"] = "promote"
    items: Items = "unpopular:20"
    """Item ids as a list, or a selection such as `unpopular:20`."""
    k: Count = 10
    """Length of the lists the attacker wants to be in."""
    until: Share | None = None
    """An attack that can stop does so once this share of the panel's users gets the target;
    None lets it go on as far as the budget reaches."""

    _items = field_validator("items")(_checked)


@spec
class Demote:
    """Drive the target items out of the top `k` of the users who get them."""

    kind: Literal["demote"] = "demote"
    items: Items = "popular:20"
    """Item ids as a list, or a selection such as `popular:20`."""
    k: Count = 10
    """Length of the lists the attacker wants to empty of the targets."""
    until: Share | None = None
    """An attack that can stop does so once no more than this share of the panel's users gets
    the target; None lets it go on as far as the budget reaches."""

    _items = field_validator("items")(_checked)


@spec
class Degrade:
    """Make the ranking worse for everybody: no item is wanted, quality is to fall."""

    kind: Literal["degrade"] = "degrade"
    k: Count = 10
    """Length of the lists whose quality is to fall."""


@spec
class Flip:
    """Change a classifier's label of a text."""

    kind: Literal["flip"] = "flip"
    label: str = ""
    """The label wanted; empty for any label but the true one."""


Goal = Annotated[Promote | Demote | Degrade | Flip, Field(discriminator="kind")]
G = TypeVar("G", bound=Promote | Demote)


@spec
class Budget:
    """What one target may cost. A limit that is not given does not bind."""

    words: Natural | None = None
    """Words inserted, deleted or replaced in one item's text."""
    characters: Natural | None = None
    """Characters inserted, deleted or replaced in one item's text."""
    queries: Natural | None = None
    """Versions of one listing submitted and observed on the panel."""
    free_repeats: bool = False
    """Asking again for a version seen before is no query (the attacker keeps notes)."""
    events: Natural | None = None
    """Events inserted, replaced or moved in one user's history."""
    similarity: Share | None = None
    """Least similarity of the new text to the original, as the referee's judge sees it."""
    whole_text: bool = False
    """An attack that replaces the whole field (a copycat) is exempt from `words` and
    `characters`; its cost in words is counted all the same. Other attacks stay bound."""
    radius: Positive | None = None
    """L2 norm of a perturbation of a representation, as a share of the mean norm there."""
    profiles: Natural | None = None
    """Fake users added to the training log, for one target."""
    profile_events: Count | None = None
    """Events of one fake user, each with another item, the target's counted."""
    reviews: Natural | None = None
    """Fake reviews added for one target, each by another new user; `words` then is the most
    that one of them may have."""


@spec
class ThreatModel:
    """Goal, knowledge, surface and budget in one value: results without it mean nothing."""

    goal: Goal
    """What the attacker wants."""
    knowledge: Knowledge = "scores"
    """The most that an attack may see."""
    surface: Surface = "item-text"
    """Where the attacker can write."""
    field: str = "title"
    """Column of the item table that an item-text attacker owns."""
    log: LogKnowledge = "log"
    """The most of the training log that an attacker who writes profiles may see."""
    budget: Budget
    """What the attacker may spend."""

    @model_validator(mode="after")
    def _bounded(self) -> "ThreatModel":
        limits = self.budget
        if self.surface == "item-text" and not (
            limits.whole_text or limits.words is not None or limits.characters is not None
        ):
            raise ValueError("budget: an item-text threat needs words, characters or whole_text")
        if self.surface == "query-text" and limits.words is None and limits.characters is None:
            raise ValueError("budget: a query-text threat needs words or characters")
        if self.surface == "history" and limits.events is None:
            raise ValueError("budget: a history threat needs events")
        if self.surface == "profiles" and None in (limits.profiles, limits.profile_events):
            raise ValueError("budget: a profiles threat needs profiles and profile_events")
        if self.surface == "representation" and limits.radius is None:
            raise ValueError("budget: a representation threat needs a radius")
        return self

    def describe(self) -> str:
        """One sentence for reports."""
        spend = _spend(self.budget, self.surface)
        sees = _SEES[self.knowledge]
        if self.surface in ("profiles", "reviews"):
            sees = _KNOWS[self.log] if self.surface == "profiles" else _READS
        return (
            f"An attacker who sees {sees} and writes {self._where()} wants to "
            f"{_wish(self.goal)}; {spend if spend else 'the budget is not limited'}."
        )

    def _where(self) -> str:
        if self.surface == "item-text":
            return f"the {self.field} of the target items"
        return _WRITES[self.surface]


_SEES = {
    "ranks": "the ranks of the target in the lists of a panel of users",
    "scores": "ranks and scores of the target for a panel of users",
    "gradients": "ranks, scores and gradients for a panel of users",
}
_KNOWS: dict[LogKnowledge, str] = {
    "catalogue": "the catalogue and which items sell best",
    "statistics": "the catalogue, and how often and how each item was rated",
    "log": "the whole training log",
}
_READS = "the catalogue and the public reviews"
_WRITES: dict[str, str] = {
    "query-text": "the text of queries",
    "history": "events into real users' histories",
    "profiles": "the histories of fake users",
    "reviews": "reviews of the target items",
    "features": "the numbers that describe the target items",
    "representation": "into the model's inner vectors (no real attacker can: an upper bound)",
}


def _wish(goal: Promote | Demote | Degrade | Flip) -> str:
    if isinstance(goal, Degrade):
        return f"make everybody's top {goal.k} worse"
    if isinstance(goal, Flip):
        return f"have a text labelled '{goal.label}'" if goal.label else "change a text's label"
    verb = "bring {} into" if isinstance(goal, Promote) else "drive {} out of"
    return f"{verb.format(_named(goal.items))} the top {goal.k}"


def _named(items: Items) -> str:
    if not isinstance(items, str):
        return f"item '{items[0]}'" if len(items) == 1 else f"{len(items)} chosen items"
    chosen = parse(items)
    members = SELECTIONS[chosen.group]
    if chosen.group == "rare":
        members = f"items with {chosen.low} to {chosen.high} training events"
    return f"{chosen.count} targets ({members})"


def _spend(budget: Budget, surface: Surface) -> str:
    parts = []
    if budget.reviews is not None:
        parts.append(f"at most {budget.reviews} fake reviews for each target")
    if budget.words is not None:
        where = "in one review" if surface == "reviews" else "edited"
        parts.append(f"at most {budget.words} words {where}")
    if budget.characters is not None:
        parts.append(f"at most {budget.characters} characters edited")
    if budget.events is not None:
        parts.append(f"at most {budget.events} events of a history changed")
    if budget.profiles is not None:
        parts.append(f"at most {budget.profiles} fake users for each target")
    if budget.profile_events is not None:
        parts.append(f"at most {budget.profile_events} events of one fake user")
    if budget.whole_text:
        parts.append("the whole text may be replaced by attacks made for it")
    if budget.similarity is not None:
        parts.append(f"similarity to the original at least {budget.similarity:g}")
    if budget.radius is not None:
        parts.append(f"radius at most {budget.radius:g} of the mean norm")
    if budget.queries is not None:
        parts.append(f"at most {budget.queries} queries for each target")
    return ", ".join(parts)


def aim_at(goal: G, target: str) -> G:
    """The same goal for one item."""
    return replace(goal, items=(target,))


def targets(
    goal: Promote | Demote | Degrade | Flip, train: Dataset, rng: np.random.Generator
) -> tuple[str, ...]:
    """Ids of the items under attack: those named, else drawn from the training data.

    Drawn targets come in the order of the item table; popularity is counted in `train`
    alone. Raises `DataError` on an unknown id or a group that is too small, `Unsupported`
    for a goal that has no target items.
    """
    if not isinstance(goal, Promote | Demote):
        raise Unsupported(f"the goal '{goal.kind}' has no target items")
    if isinstance(goal.items, str):
        rows = draw(parse(goal.items), train, rng)
        return tuple(train.items["item_id"].gather(rows).to_list())
    for item in goal.items:
        if item not in train.item_rows:
            raise DataError(
                f"{train.name}: unknown target item '{item}'", remedy="check goal.items"
            )
    return goal.items
