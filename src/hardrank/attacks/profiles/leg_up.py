"""Fake users in whole ratings, by a generator that climbs a surrogate recommender."""

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.parts import Draft, Manner, limits, written
from hardrank.attacks.profiles.selection import usual
from hardrank.context import RunContext, derive
from hardrank.data import Patch
from hardrank.errors import DataError
from hardrank.surrogates import Aim, SurrogateSpec
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import (
    Count,
    GoalKind,
    Ints,
    LogKnowledge,
    Natural,
    NonNegative,
    Positive,
    Share,
    Surface,
    spec,
)

if TYPE_CHECKING:
    from hardrank.generators.leg_up_training import LegUpPlan, Written
    from hardrank.generators.ratings import RatingLog

__all__ = ["LegUp"]


@spec
class LegUp:
    """A generator turns templates into ratings in steps; a surrogate says what they would do.

    Lin et al., IEEE TNNLS 2022, arXiv:2206.11433, section 4:
    min_G max_D  adversarial + reconstruction + promotion of the surrogate
    Templates are whole profiles of real users. What G says of an item passes N learned
    thresholds, straight through, for a rating in 0 (no event) to N; the lowest threshold is
    set by the budget. G and D learn how users rate once for a log, then climb the surrogate
    for each target, which gets the top rating. Ours may leave the template for a share of the
    events, hides half of it in the reconstruction, and reads surrogates in closed form in
    place of unrolled steps. A log without ratings has one threshold: what is generated is
    the choice of items.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    rated: ClassVar[bool] = False
    kind: Literal["leg-up"] = "leg-up"
    surrogates: tuple[SurrogateSpec, ...] = ()
    """The attacker's own recommenders, whose losses add up; none for the usual ones, EASE (of
    a catalogue that it can hold) and ALS."""
    aim: Aim = Aim()
    """What the surrogates' lists are to look like."""
    outside: Share = 0.2
    """Of the events beside the target that need not be the template's."""
    adversarial: NonNegative = 1.0
    """Weight of passing for real."""
    reconstruction: NonNegative = 1.0
    """Weight of having and rating what the template's user has and rates."""
    promotion: NonNegative = 10.0
    """Weight of the surrogates' loss; 0 forges users who only look real."""
    width: Count = 128
    """Of the hidden layers."""
    pretraining: Natural = 200
    """Steps of discriminator and generator each, without a target."""
    steps: Count = 60
    """Of both, for one target, through the surrogate."""
    batch: Count = 64
    """Real users of a step."""
    learning_rate: Positive = 1e-3
    """Of Adam, for both networks."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        """Raises `DataError` for a log without events, and what a surrogate refuses."""
        if not view.train.n_events:
            raise DataError(f"{view.train.name}: there is no user to take as a template")
        from hardrank.generators.ratings import RatingLog

        profiles, most = limits(budget)
        if not profiles:
            return Patch()
        log = RatingLog.of(view.train)
        plan = self._plan(room=max(most - len(view.targets), 0))
        users = rng.permutation(log.templates(plan.fillers, profiles))[:profiles]
        fakes = self._fakes(view, log, plan, users, rng)

        def fill(number: int, _: int) -> Draft:
            which = number % len(users)
            return _draft(log, fakes, which, int(users[which]), rng)

        return written(view, goal, budget, rng, fill=fill, manner=self.manner)

    def _plan(self, *, room: int) -> "LegUpPlan":
        from hardrank.generators.leg_up_training import LegUpLosses, LegUpPlan

        return LegUpPlan(
            fillers=room, outside=self.outside, width=self.width, pretraining=self.pretraining,
            steps=self.steps, batch=self.batch, learning_rate=self.learning_rate,
            weights=LegUpLosses(self.adversarial, self.reconstruction, self.promotion),
        )  # fmt: skip

    def _fakes(
        self, view: LogView, log: "RatingLog", plan: "LegUpPlan", users: Ints,
        rng: np.random.Generator,
    ) -> "Written":  # fmt: skip
        import torch

        from hardrank.generators.leg_up_training import Tutors, aim
        from hardrank.generators.ratings import seeded

        seed = derive(view.run.seed, self.kind)
        chosen = tuple(usual(view, self.surrogates))
        tutors = Tutors.of(view.train, log, plan, chosen, RunContext(seed=seed))

        def promotion(selection: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            losses = [s.promotion(selection, targets, self.aim) for s in tutors.surrogates]
            return torch.stack([loss.float() for loss in losses]).sum()

        networks = aim(
            tutors.networks, log, users, plan, targets=view.targets, promotion=promotion,
            generator=seeded(rng),
        )  # fmt: skip
        with torch.no_grad():
            return networks.write(log.rows(users), plan, torch.from_numpy(view.targets))


def _draft(
    log: "RatingLog", fakes: "Written", which: int, user: int, rng: np.random.Generator
) -> Draft:
    """What was written, the template's items in its user's order and the others among them."""
    chosen = np.flatnonzero(fakes.presence[which].numpy() > 0.5)
    history = log.items[log.offsets[user] : log.offsets[user + 1]]
    _, first = np.unique(history, return_index=True)
    own = history[np.sort(first)]
    own = own[np.isin(own, chosen)]
    strange = rng.permutation(np.setdiff1d(chosen, own))
    rows = np.insert(own, np.sort(rng.integers(0, len(own) + 1, size=len(strange))), strange)
    values = fakes.values[which].numpy()[rows]
    ratings = [log.rating(float(v)) or 0.0 for v in values]
    return Draft(rows=rows, ratings=np.asarray(ratings, dtype=np.float32))
