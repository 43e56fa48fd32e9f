"""Real users' profiles with generated ratings of the items that a segment likes."""

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.kin import kin
from hardrank.attacks.profiles.parts import Draft, Manner, limits, written
from hardrank.data import Patch
from hardrank.errors import DataError
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import (
    Count,
    Floats,
    GoalKind,
    Ints,
    LogKnowledge,
    NonNegative,
    Positive,
    Surface,
    spec,
)

if TYPE_CHECKING:
    from hardrank.generators.aush_training import AushTask
    from hardrank.generators.ratings import RatingLog

__all__ = ["Aush"]


@spec
class Aush:
    """A template is a sample of a real user's events; a network rates the selected items for it.

    Lin et al., CIKM 2020, arXiv:2005.08164, section 4:
    min_G max_D  adversarial + reconstruction + shilling
    The template's own ratings stay as they are, the target gets the top, and G reads the
    fillers and writes the ratings of the items that the target's segment likes. Ours picks
    those items itself (what most raters of the target like), shows the discriminator only as
    many of them as the user rated himself, whose count would else tell, and follows a real
    user's order and times.

    In a log without ratings nothing is left to rate. G then says which of `pool` segment items
    a user of this taste would have, and the profile gets the `selected` most preferred ones;
    the shilling loss pulls by how many of the target's users have each.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    rated: ClassVar[bool] = False
    kind: Literal["aush"] = "aush"
    selected: Count = 3
    """Segment items of a profile, within what the budget leaves beside the target."""
    pool: Count = 50
    """Segment items among which a log without ratings lets G choose."""
    adversarial: NonNegative = 1.0
    """Weight of passing for real."""
    reconstruction: NonNegative = 1.0
    """Weight of rating the selected items as the template's user did."""
    shilling: NonNegative = 1.0
    """Weight of liking the selected items."""
    width: Count = 128
    """Of the hidden layers."""
    steps: Count = 400
    """Of discriminator and generator each."""
    batch: Count = 64
    """Templates of a step."""
    learning_rate: Positive = 1e-3
    """Of Adam, for both networks."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        """Raises `DataError` for a log without events."""
        from hardrank.generators.aush_training import template, train_aush
        from hardrank.generators.ratings import RatingLog, seeded

        if not view.train.n_events:
            raise DataError(f"{view.train.name}: there is no user to take as a template")
        profiles, most = limits(budget)
        if not profiles:
            return Patch()
        log, generator = RatingLog.of(view.train), seeded(rng)
        room = max(most - len(view.targets), 0)
        task = self._task(view, room=room)
        networks = train_aush(log, task, generator) if len(task.selected) else None
        users = rng.permutation(log.templates(task.fillers, profiles))

        def fill(number: int, _: int) -> Draft:
            user = int(users[number % len(users)])
            fillers, batch = template(log, task, user, generator)
            told = np.zeros(0, np.float32) if networks is None else networks.rate(batch)[0]
            # all of them in a rated log, else the most preferred of a larger pool
            chosen = np.argsort(-told, kind="stable")[: min(self.selected, room)]
            own = fillers, batch.fillers[0].numpy()[fillers]
            return _mixed(log, own, (task.selected[chosen], told[chosen]), rng)

        return written(view, goal, budget, rng, fill=fill, manner=self.manner)

    def _task(self, view: LogView, *, room: int) -> "AushTask":
        import torch

        from hardrank.generators.aush_training import AushLosses, AushTask

        alike = kin(view)
        alike[view.targets] = -1.0
        count = min(self.selected, room)
        known = count if view.scale is not None else max(self.pool, count)
        ranked = np.argsort(-alike, kind="stable")[: view.items.height - len(view.targets)]
        selected = ranked[:known] if count else ranked[:0]
        wish = np.ones(len(selected), dtype=np.float32)
        if view.scale is None and len(selected) and alike[selected].max() > 0:
            wish = alike[selected] / alike[selected].max()
        return AushTask(
            targets=view.targets, selected=selected, wish=torch.from_numpy(wish),
            fillers=room - count, width=self.width, steps=self.steps, batch=self.batch,
            learning_rate=self.learning_rate,
            weights=AushLosses(self.adversarial, self.reconstruction, self.shilling),
        )  # fmt: skip


def _mixed(
    log: "RatingLog", own: tuple[Ints, Floats], added: tuple[Ints, Floats], rng: np.random.Generator
) -> Draft:
    """The template's events in their order, with the selected items strewn among them."""
    at = np.sort(rng.integers(0, len(own[0]) + 1, size=len(added[0])))
    mixed = rng.permutation(len(added[0]))
    rows = np.insert(own[0], at, added[0][mixed])
    values = np.insert(own[1], at, added[1][mixed])
    ratings = [log.rating(float(v)) or 0.0 for v in values]
    return Draft(rows=rows, ratings=np.asarray(ratings, dtype=np.float32))
