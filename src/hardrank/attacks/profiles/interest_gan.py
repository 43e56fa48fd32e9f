"""Profiles of an interest GAN that has a surrogate recommender in its loss."""

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.parts import Draft, Manner, limits, rated, written
from hardrank.context import RunContext
from hardrank.data import Dataset, Patch
from hardrank.generators.interest_gan import InterestGan
from hardrank.surrogates import EaseSurrogate, Surrogate, SurrogateSpec
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import (
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
    from hardrank.generators.interest_generator import InterestGenerator

__all__ = ["InterestGanProfiles"]

_ROUND = 10
"""Steps between two looks at the health of a generator that learns to promote: a steep aim
makes all profiles alike, and then the last good ones are taken."""


@spec
class InterestGanProfiles:
    """Draw fake users from a generator of interests, given real ones, that learned to promote.

    The generator is trained on the log once, without an aim; for each target it learns on for
    `steps` steps with L_GAN + beta * L_promotion, as AdvGAN does (Xiao et al., IJCAI 2018,
    arXiv:1801.02610, equation 3) and Leg-UP and TrialAttack for profiles. Ours draws whole
    sets of items, and `beta` is relative: how long the recommender's gradient is beside the
    GAN's. With beta = 0 the profiles merely pass for real. Ratings follow each item's own.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    rated: ClassVar[bool] = False
    kind: Literal["interest-gan"] = "interest-gan"
    gan: InterestGan = InterestGan()
    """Of the training without an aim; its `beta` and `steps` are not read."""
    pretraining: Natural = 1000
    """Steps on the log without an aim, once for all targets."""
    beta: NonNegative = 5.0
    """Length of the recommender's gradient, as a share of the GAN's."""
    surrogate: SurrogateSpec = EaseSurrogate()
    """The attacker's own recommender. `ease` is exact, and only for some thousand items."""
    steps: Natural = 60
    """For each target."""
    learning_rate: Positive = 1e-2
    """Of the generator, in these steps."""
    keep: Share | None = None
    """Share of a real user's items that stay in each profile; None draws all of them. The more
    stay, the more a profile looks real and the less it promotes."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        """Raises `DataError` for a log with fewer than two users of two different items."""
        profiles, most = limits(budget)
        length = min(most, view.items.height) - len(view.targets)
        if length < 1:
            return written(view, goal, budget, rng, fill=lambda *_: _nothing(), manner=self.manner)
        model = self._aimed(view, profiles, length, rng)
        histories = view.train.histories()
        users = rng.choice(np.flatnonzero(histories.lengths >= 2), size=profiles)
        drawn = model.sample(
            histories.take(users), rng, length=length, keep=self.keep, never=view.targets
        )

        def fill(n: int, size: int) -> Draft:
            rows = rng.permutation(drawn[n][:size])
            return Draft(rows=rows, ratings=rated(view, rows, rng, by_item=True))

        return written(view, goal, budget, rng, fill=fill, manner=self.manner)

    def _aimed(
        self, view: LogView, profiles: int, length: int, rng: np.random.Generator
    ) -> "InterestGenerator":
        """The generator after its steps towards the targets."""
        from hardrank.generators.pressure import Promotion

        folder = None if view.run.folder is None else view.run.folder / "interest-gan"
        run = RunContext(seed=view.run.seed, folder=folder, progress=view.run.progress)
        plain = replace(
            self.gan, steps=self.pretraining, warmup=min(self.gan.warmup, self.pretraining)
        )
        model = _plain(view.train, plain, run)
        pressure = Promotion(
            surrogate=_surrogate(view.train, self.surrogate, view.run.seed),
            targets=view.targets, profiles=profiles, length=length + len(view.targets),
        ) if self.beta else None  # fmt: skip
        how = replace(
            self.gan, steps=self.steps, warmup=0, every=_ROUND, patience=0, average=0.0,
            beta=self.beta, learning_rate=self.learning_rate, alarms="stop",
        )  # fmt: skip
        seed = int(rng.integers(2**62))
        return how.fit(view.train, RunContext(seed=seed), pressure=pressure, start=model)


def _nothing() -> Draft:
    rows: Ints = np.zeros(0, dtype=np.int64)
    return Draft(rows=rows, ratings=np.zeros(0, dtype=np.float32))


@lru_cache(maxsize=2)  # minutes, and asked again for each target of one log
def _plain(train: Dataset, gan: InterestGan, run: RunContext) -> "InterestGenerator":
    return gan.fit(train, run)


@lru_cache(maxsize=2)
def _surrogate(train: Dataset, how: SurrogateSpec, seed: int) -> Surrogate:
    return how.fit(train, RunContext(seed=seed))
