"""The discriminator of a generative model as a detector of fake users."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np

from hardrank.context import RunContext
from hardrank.data import Dataset, Queries
from hardrank.generators.interest_gan import InterestGan
from hardrank.types import Floats, spec

__all__ = ["Authentic", "GanDetector", "GanDiscriminator"]


class Authentic(Protocol):
    """What has learned to tell real histories from generated ones."""

    def authenticity(self, queries: Queries) -> Floats:
        """(Q,) logits; higher is more real. Item rows are those of its own catalogue."""
        ...


@dataclass(frozen=True, eq=False)
class GanDetector:
    """A user is as suspicious as his history looks unreal to a trained discriminator.

    The log must have the catalogue, in the order, that the discriminator was trained on.
    """

    judge: Authentic
    kind: ClassVar[str] = "discriminator"

    def __call__(self, dataset: Dataset) -> Floats:
        """(U,) minus the logit; NaN for a user without events."""
        out = np.full(dataset.n_users, np.nan, dtype=np.float32)
        rows = np.flatnonzero(np.diff(dataset.offsets) > 0)
        if len(rows):
            out[rows] = -np.asarray(self.judge.authenticity(dataset.histories().take(rows)))
        return out


@spec
class GanDiscriminator:
    """The plain head of an interest GAN that was trained on a log that is trusted.

    It never meets an attack, only what its own generator made and crude impostors.
    """

    kind: Literal["gan-discriminator"] = "gan-discriminator"
    gan: InterestGan = InterestGan()
    """What is trained; the generator is thrown away."""

    def fit_trusted(self, log: Dataset, run: RunContext) -> GanDetector:
        """log: real users alone. Raises `DataError` where fewer than two of them have two
        different items, `Diverged` where a health check fails."""
        return GanDetector(self.gan.fit(log, run))
