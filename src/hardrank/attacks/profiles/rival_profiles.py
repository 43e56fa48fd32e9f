"""Few fake users praise the target, and the others blame what stands in its way."""

from dataclasses import dataclass, replace
from math import ceil
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import model_validator

from hardrank.attacks.profiles.crafted_profiles import CraftedProfiles
from hardrank.attacks.profiles.parts import (
    Draft,
    Manner,
    drawn,
    extremes,
    limits,
    mixed,
    others,
    sizes,
    step,
    timed,
    written,
)
from hardrank.attacks.profiles.plain import PlainAttack
from hardrank.context import derive
from hardrank.data import AddProfile, Edit, Patch
from hardrank.errors import Unsupported
from hardrank.surrogates.ratings import rating_factors
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LOG_VIEWS, LogView
from hardrank.types import Count, GoalKind, Ints, LogKnowledge, NonNegative, Share, Surface, spec

__all__ = ["RivalProfiles"]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Field:
    """Item rows that are no target, by the lists that a surrogate would show."""

    rivals: Ints
    """Those in the most lists, first."""
    quiet: Ints
    """Those in no list, or in the fewest; the least rated first."""
    known: Ints
    """Those rated most, first."""


@spec
class RivalProfiles:
    """Praise the target no more often than a cap lets pass, and blame its rivals with the rest.

    For the attacker who knows a cap on how far new users may move one item (`data.growth`),
    and a victim that learns from ratings. A rating model of his own, fitted on the clean log,
    says which items stand in most lists: the rivals. Those beyond `named` give them the lowest
    rating, and as `even` says praise what nobody would be shown. A cap that excuses praise by
    the generosity of its user is misled by `writing = "masked"`: the fake user praises items
    that hardly anyone rated, too many fakes the same few, so that the cap drops most of that
    praise after it has made him look generous; then he blames well-known items. What is left
    of him is severe, and his praise of the target counts most. `data.growth` did so once;
    against its present form `writing = "base"` is the stronger. Ours.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    rated: ClassVar[bool] = True
    kind: Literal["rival-profiles"] = "rival-profiles"
    base: PlainAttack = CraftedProfiles()
    """The attack that writes who praises the target with `writing = "base"`; any but those that
    wrap another."""
    named: Count = 10
    """Most fake users who praise the target."""
    writing: Literal["base", "masked"] = "masked"
    """Who they look like: as the base attack writes them, or masked as generous."""
    masks: Count = 60
    """Items that nobody is shown and few rated, which the masked praise."""
    masking: Share = 0.67
    """Share of the fillers of the masked that are praise; the others blame known items."""
    known: Count = 800
    """Items, those rated most, among which the masked choose what they blame."""
    praise: NonNegative = 0.67
    """Steps below the best rating that the target gets on average: 0.5 is 5 and 4 of 5 stars
    by turns. The lower, the more pass a cap on praise, and the less each is worth."""
    rivals: Count = 150
    """Items that the others blame."""
    even: Share = 0.0
    """How much of the blame of the others is made good by praise of quiet items: 1 for one
    praised to each blamed."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    @model_validator(mode="after")
    def _reads_what_it_is_told(self) -> "RivalProfiles":
        idle = ("masks", "masking", "known") if self.writing == "base" else ("base",)
        for name in idle:
            if getattr(self, name) != getattr(type(self), name):
                raise ValueError(f"{name}: not read with writing = '{self.writing}'; leave it out")
        return self

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        if view.scale is None:
            raise Unsupported("rival-profiles works by ratings, and the log has none")
        profiles, _ = limits(budget)
        if not profiles:
            return Patch()
        field = self._field(view, goal, rng)
        # in a catalogue of the target alone everybody names it: no profile is empty
        few = min(self.named, profiles) if field.rivals.size else profiles
        naming = self._naming(view, goal, replace(budget, profiles=few), rng, field)
        left = profiles - len(naming) if field.rivals.size else 0
        rest = replace(budget, profiles=left)
        blaming = self._blaming(view, goal, rest, rng, field)
        return Patch((*self._starred(view, goal, naming), *blaming))

    def _field(self, view: LogView, goal: Promote | Demote, rng: np.random.Generator) -> _Field:
        """Who the rivals are, on a rating model of the attacker's own."""
        model = rating_factors(view.train, derive(int(rng.integers(2**31)), self.kind))
        listed, there = model.listed(goal.k, view.targets), others(view)
        rivals = there[np.argsort(-listed[there], kind="stable")]
        rivals = rivals[: min(self.rivals, (there.size + 1) // 2)]
        left = np.setdiff1d(there, rivals)
        quiet = left[np.lexsort((view.counts[left], listed[left] > 0))]
        known = there[np.argsort(-view.counts[there], kind="stable")]
        return _Field(rivals=rivals, quiet=quiet, known=known[: self.known])

    def _naming(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator,
        field: _Field,
    ) -> Patch:  # fmt: skip
        """Those who name the target."""
        if self.writing == "base":
            base: Any = self.base
            if goal.kind not in base.goals:
                raise Unsupported(f"rival-profiles: '{base.kind}' cannot {goal.kind}")
            seen = LOG_VIEWS[base.needs](view.train, view.targets, view.run, view.detector)
            made: Patch = base(seen, goal, budget, rng)
            return made
        best, worst = extremes(view, goal)

        def fill(_: int, size: int) -> Draft:
            masks = drawn(field.quiet[: self.masks], round(self.masking * size), rng)
            known = drawn(np.setdiff1d(field.known, masks), size - masks.size, rng)
            return mixed((masks, best), (known, np.full(known.size, worst, np.float32)), rng)

        return written(view, goal, budget, rng, fill=fill, manner=self.manner)

    def _starred(self, view: LogView, goal: Promote | Demote, patch: Patch) -> list[Edit]:
        """With the target's ratings by turns."""
        best, worst = extremes(view, goal)
        apart = step(view) or view.deviation
        names = set(view.items["item_id"].gather(view.targets.tolist()))
        steps = np.diff(np.floor(self.praise * np.arange(len(patch) + 1)))
        stars = np.maximum(best - apart * steps, worst).tolist()
        return [_rated(e, names, s) for e, s in zip(patch.edits, stars, strict=True)]

    def _blaming(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator,
        field: _Field,
    ) -> list[Edit]:  # fmt: skip
        """The others."""
        best, worst = extremes(view, goal)
        edits: list[Edit] = []
        for n, size in enumerate(sizes(view, budget, rng).tolist()):
            blamed = drawn(field.rivals, ceil(size / (1 + self.even)), rng)
            praises = min(round(self.even * blamed.size), size - blamed.size)
            praised = drawn(field.quiet[: self.rivals], praises, rng)
            draft = mixed((blamed, worst), (praised, np.full(praised.size, best)), rng)
            times = timed(view, draft.rows.size, rng, window=self.manner.window)
            edits.append(view.profile(f"rival-{n}", draft.rows, draft.ratings, times))
        return edits


def _rated(edit: Edit, names: set[str], stars: float) -> Edit:
    """The same with the targets so rated."""
    if not isinstance(edit, AddProfile) or edit.ratings is None:
        return edit
    given = zip(edit.item_ids, edit.ratings, strict=True)
    return replace(edit, ratings=tuple(stars if item in names else r for item, r in given))
