"""What attacks share that draw fake users from a trained generator of interests."""

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from pydantic import model_validator

from hardrank.attacks.profiles.parts import Draft, Manner, limits, rated, written
from hardrank.context import RunContext
from hardrank.data import Dataset, Patch
from hardrank.generators.interest_gan import InterestGan, Slim
from hardrank.generators.interest_vae import InterestVae
from hardrank.surrogates import EaseSurrogate, Surrogate, SurrogateSpec
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import Count, Ints, NonNegative, Positive, Share, spec

if TYPE_CHECKING:
    from hardrank.generators.interest_autoencoder import InterestAutoencoder
    from hardrank.generators.interest_generator import InterestGenerator

    Model = InterestGenerator | InterestAutoencoder

__all__ = ["Generated"]

How = InterestGan | InterestVae
OneHow = TypeVar("OneHow", InterestGan, InterestVae)
_ROUND = 10
"""Steps between two looks at the health of a generator that learns to promote: a steep aim
makes all profiles alike, and then the last good ones are taken."""


@spec
class Generated:
    """From a generator that was trained on the log without an aim to fake users that promote.

    Subclasses add the generator's own spec, whose `steps` are those without an aim.
    """

    beta: NonNegative = 5.0
    """Length of the recommender's gradient, as a share of the generator's own."""
    surrogate: SurrogateSpec = EaseSurrogate()
    """The attacker's own recommender, read with `beta` above 0. `ease` is exact, and only for
    some thousand items."""
    steps: Count = 60
    """Towards each target, after those without an aim."""
    learning_rate: Positive = 1e-2
    """Of the generator, in these steps."""
    keep: Share | None = None
    """Share of a real user's items that stay in each profile; None draws all of them. The more
    stay, the more a profile looks real and the less it promotes."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    @model_validator(mode="after")
    def _asks_whom_it_names(self) -> "Generated":
        if not self.beta and self.surrogate != EaseSurrogate():
            raise ValueError("surrogate: nobody asks it with beta = 0; leave it out")
        return self

    def _aiming(self, plain: OneHow) -> OneHow:
        """How training goes on from what `plain` made."""
        return replace(
            plain, steps=self.steps, every=_ROUND, average=0.0,
            learning_rate=self.learning_rate, alarms="stop",
        )  # fmt: skip

    def _drawn(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator, *,
        plain: How, aimed: How, distilled: Slim | None = None,
    ) -> Patch:  # fmt: skip
        """Train `plain` on the log once, go on from there towards the targets as `aimed` says,
        draw the fake users for real ones. distilled: what the aimed generator is made smaller to.

        Raises `DataError` for a log with fewer than two users of two different items.
        """
        profiles, most = limits(budget)
        length = min(most, view.items.height) - len(view.targets)
        if length < 1:
            return written(view, goal, budget, rng, fill=lambda *_: _nothing(), manner=self.manner)
        model = self._aimed(view, profiles, length, rng, plain=plain, aimed=aimed)
        if distilled is not None:
            model = _smaller(model, view.train, distilled, int(rng.integers(2**62)))
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
        self, view: LogView, profiles: int, length: int, rng: np.random.Generator, *,
        plain: How, aimed: How,
    ) -> "Model":  # fmt: skip
        """The generator after its steps towards the targets."""
        from hardrank.generators.pressure import Promotion

        folder = None if view.run.folder is None else view.run.folder / plain.kind
        run = RunContext(seed=view.run.seed, folder=folder, progress=view.run.progress)
        model = _plain(view.train, plain, run)
        pressure = Promotion(
            surrogate=_surrogate(view.train, self.surrogate, view.run.seed), beta=self.beta,
            targets=view.targets, profiles=profiles, length=length + len(view.targets),
        ) if self.beta else None  # fmt: skip
        made: Model = aimed.fit(
            view.train, RunContext(seed=int(rng.integers(2**62))), pressure=pressure,
            start=model,  # type: ignore[arg-type]  # made by the same kind
        )  # fmt: skip
        return made


def _smaller(model: "Model", train: Dataset, slim: Slim, seed: int) -> "Model":
    from hardrank.generators.distil import distil
    from hardrank.generators.interest_generator import InterestGenerator

    assert isinstance(model, InterestGenerator)
    return distil(model, train, RunContext(seed=seed), slim=slim)


def _nothing() -> Draft:
    rows: Ints = np.zeros(0, dtype=np.int64)
    return Draft(rows=rows, ratings=np.zeros(0, dtype=np.float32))


@lru_cache(maxsize=2)  # minutes, and asked again for each target of one log
def _plain(train: Dataset, how: How, run: RunContext) -> "Model":
    return how.fit(train, run)


@lru_cache(maxsize=2)
def _surrogate(train: Dataset, how: SurrogateSpec, seed: int) -> Surrogate:
    return how.fit(train, RunContext(seed=seed))
