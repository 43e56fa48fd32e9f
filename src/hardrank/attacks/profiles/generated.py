"""What attacks share that draw fake users from a trained generator of interests."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from hardrank.attacks.profiles.parts import Draft, Manner, limits, rated, written
from hardrank.context import RunContext
from hardrank.data import Dataset, Patch
from hardrank.generators.interest_gan import InterestGan, Slim
from hardrank.generators.interest_vae import InterestVae
from hardrank.surrogates import Surrogate, SurrogateSpec
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import Ints, Share

if TYPE_CHECKING:
    from hardrank.generators.interest_autoencoder import InterestAutoencoder
    from hardrank.generators.interest_generator import InterestGenerator

    Model = InterestGenerator | InterestAutoencoder

__all__ = ["ROUND", "generated"]

How = InterestGan | InterestVae
ROUND = 10
"""Steps between two looks at the health of a generator that learns to promote: a steep aim
makes all profiles alike, and then the last good ones are taken."""


def generated(
    view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator, *,
    plain: How, aimed: How, surrogate: SurrogateSpec, keep: Share | None, manner: Manner,
    distilled: Slim | None = None,
) -> Patch:  # fmt: skip
    """Train `plain` on the log once, go on from there towards the targets as `aimed` says, draw
    the fake users for real ones. distilled: what the aimed generator is made smaller to.

    Raises `DataError` for a log with fewer than two users of two different items.
    """
    profiles, most = limits(budget)
    length = min(most, view.items.height) - len(view.targets)
    if length < 1:
        return written(view, goal, budget, rng, fill=lambda *_: _nothing(), manner=manner)
    model = _aimed(view, profiles, length, rng, plain=plain, aimed=aimed, surrogate=surrogate)
    if distilled is not None:
        model = _smaller(model, view.train, distilled, int(rng.integers(2**62)))
    histories = view.train.histories()
    users = rng.choice(np.flatnonzero(histories.lengths >= 2), size=profiles)
    drawn = model.sample(histories.take(users), rng, length=length, keep=keep, never=view.targets)

    def fill(n: int, size: int) -> Draft:
        rows = rng.permutation(drawn[n][:size])
        return Draft(rows=rows, ratings=rated(view, rows, rng, by_item=True))

    return written(view, goal, budget, rng, fill=fill, manner=manner)


def _aimed(
    view: LogView, profiles: int, length: int, rng: np.random.Generator, *, plain: How,
    aimed: How, surrogate: SurrogateSpec,
) -> "Model":  # fmt: skip
    """The generator after its steps towards the targets."""
    from hardrank.generators.pressure import Promotion

    folder = None if view.run.folder is None else view.run.folder / plain.kind
    run = RunContext(seed=view.run.seed, folder=folder, progress=view.run.progress)
    model = _plain(view.train, plain, run)
    pressure = Promotion(
        surrogate=_surrogate(view.train, surrogate, view.run.seed),
        targets=view.targets, profiles=profiles, length=length + len(view.targets),
    ) if aimed.beta else None  # fmt: skip
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
