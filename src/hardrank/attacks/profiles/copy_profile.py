"""A real user's history and the target: the simple attack that others have to beat."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.kin import audience
from hardrank.attacks.profiles.parts import Draft, Manner, limits, written
from hardrank.attacks.profiles.sources import Kept, copied, copyable
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import GoalKind, Ints, LogKnowledge, Surface, spec

__all__ = ["CopyProfile"]


@spec
class CopyProfile:
    """Copy real users' histories, as long as the budget lets them be, and add the target.

    The fake users are real in all but one event, so a detector of odd histories finds none.
    Fan et al., Attacking black-box recommendations via copying cross-domain user profiles,
    ICDE 2021, learn whom to copy from another shop; here the source is the shop's own log
    and the choice a rule.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    rated: ClassVar[bool] = False
    kind: Literal["copy-profile"] = "copy-profile"
    users: Literal["distinct", "random", "audience"] = "distinct"
    """Who is copied: `distinct`, users drawn at random, another for each profile while there
    are enough; `random`, drawn anew each time; `audience`, those whose likes go best with the
    target, the best first."""
    keep: Kept = "latest"
    """`latest` or `random`: which events stay where the history is longer than the budget."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        models = self._models(view, limits(budget)[0], rng)

        def fill(n: int, size: int) -> Draft:
            return copied(
                view.train, models, n, barred=view.targets, size=size, keep=self.keep, rng=rng
            )

        return written(view, goal, budget, rng, fill=fill, manner=self.manner)

    def _models(self, view: LogView, profiles: int, rng: np.random.Generator) -> Ints:
        """(P,) rows of the users to copy; none where nobody has another item."""
        users = copyable(view.train, view.targets)
        if not users.size:
            return users
        if self.users == "random":
            return rng.choice(users, size=profiles)
        if self.users == "audience":
            users = users[np.argsort(-audience(view)[users], kind="stable")]
            return np.resize(users, profiles)
        rounds = [rng.permutation(users) for _ in range(-(-profiles // users.size))]
        return np.concatenate([users[:0], *rounds])[:profiles]
