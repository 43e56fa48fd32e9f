"""The adversarial generator of user interests: its hyperparameters, and what fits it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.types import Count, Floats, Natural, NonNegative, Positive, Share, spec

if TYPE_CHECKING:
    from hardrank.generators.interest_generator import InterestGenerator
    from hardrank.generators.pressure import Pressure

__all__ = ["GAN_SMALL", "PRESETS", "GanLoss", "InterestGan", "Slim"]

GanLoss = Literal["non-saturating", "wasserstein", "hinge"]
Hook = Callable[[Mapping[str, Any]], None]


@spec
class Slim:
    """Sizes of a generator that is smaller than its discriminator."""

    size: Count = 8
    """Of the item vectors that it reads and learns: the first of the log's directions. Nearly
    all that a generator holds is so many numbers for each item."""
    width: Count = 24
    """Of its hidden layers."""


@spec
class InterestGan:
    """A conditional GAN whose samples are sets of items, with the recommender in its loss.

    Goodfellow et al., NeurIPS 2014, arXiv:1406.2661, equation 1 and section 3 (the
    non-saturating loss); Mirza & Osindero 2014, arXiv:1411.1784 (pairs); Xiao et al., IJCAI
    2018, arXiv:1801.02610, equation 3 (the attacked model's term). The generator reads a real
    user's items x and noise z and draws k different items from its logits by Gumbel top-k,
    straight through (Jang et al., ICLR 2017, arXiv:1611.01144; Kool et al., ICML 2019,
    arXiv:1903.06059). In each step it minimises

        adversarial * (plain head + pair * pair head) + likelihood * NLL(held-out half of x)
        + diversity * mode-seeking term + closeness * (share of x left)
        + beta * the recommender's loss, scaled to the length of the other terms' gradient

    where the last term is there only if `fit` gets one, which brings its own `beta`: see
    `hardrank.generators.pressure`.
    """

    kind: Literal["interest-gan"] = "interest-gan"
    size: Count = 32
    """Of the item vectors that both networks read (truncated SVD of the log)."""
    noise: Count = 16
    """Of z, standard normal."""
    width: Count = 128
    """Of the hidden layers of both networks."""
    depth: Count = 1
    """Hidden layers of the generator and of each head of the discriminator."""
    slim: Slim | None = None
    """Smaller sizes of the generator alone; None for those above."""
    temperature: Positive = 0.5
    """Of the sigmoid through which the gradient of a draw passes; the draw itself is hard."""
    loss: GanLoss = "non-saturating"
    """Of the plain head. The pair head is always trained by the logistic loss, since it also
    serves as a classifier."""
    spectral: bool = False
    """Spectral norm on the discriminator's layers (Miyato et al., ICLR 2018, arXiv:1802.05957)."""
    penalty: NonNegative = 0.1
    """Weight of the gradient penalty of the plain head: for `wasserstein` (norm - 1)^2 between
    real and fake (Gulrajani et al., NeurIPS 2017, arXiv:1704.00028), else norm^2 at the real
    profiles (Mescheder et al., ICML 2018, arXiv:1801.04406, R1)."""
    critic_steps: Count = 1
    """Steps of the discriminator for each step of the generator."""
    adversarial: NonNegative = 1.0
    """Weight of the discriminator's verdict."""
    pair: NonNegative = 0.5
    """Weight of the pair head within it."""
    likelihood: NonNegative = 1.0
    """Weight of the Plackett-Luce likelihood of a user's held-out items: what keeps a small
    GAN on its feet."""
    diversity: NonNegative = 0.1
    """Weight of the mode-seeking term (Mao et al., CVPR 2019, arXiv:1903.05628, equation 4)."""
    closeness: NonNegative = 0.0
    """Weight of the share of the condition's items that a free sample leaves out."""
    impostors: NonNegative = 0.25
    """Weight of crude fakes (random items, popular items) that the plain head is shown beside
    the generator's, so that it knows them, too, when it serves as a detector."""
    steps: Natural = 1000
    """Of the generator."""
    warmup: Natural = 200
    """First steps in which the generator follows the likelihood alone; the discriminator
    learns from the first step on."""
    every: Count = 50
    """Steps of one round: after each, losses are logged, health is checked, a checkpoint
    is written."""
    patience: Natural = 0
    """Rounds without a closer fit to real popularity and overlap before training stops; 0
    takes all steps."""
    batch_size: Count = 64
    """Users per step."""
    learning_rate: Positive = 2e-3
    """Of Adam, for the generator."""
    critic_learning_rate: Positive = 2e-3
    """Of Adam, for the discriminator."""
    average: Share = 0.98
    """Decay of the running mean of the generator's weights that is the result; 0 takes the
    last weights."""

    alarms: Literal["raise", "stop"] = "raise"
    """What a failed health check does. `raise`: training fails, and says why. `stop`: training
    ends, the weights of the last round without a symptom are the result, and the reason is
    among its warnings."""

    @model_validator(mode="after")
    def _bounded(self) -> "InterestGan":
        if self.loss == "wasserstein" and not self.penalty and not self.spectral:
            raise ValueError(
                "loss 'wasserstein' has no maximum without a Lipschitz bound; give a penalty "
                "above 0 or spectral = true"
            )
        if self.average == 1:
            raise ValueError("average must be below 1, or nothing is ever learned")
        return self

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        vectors: Floats | None = None,
        pressure: "Pressure | None" = None,
        start: "InterestGenerator | None" = None,
        hook: Hook | None = None,
    ) -> "InterestGenerator":
        """Train both networks by turns; resume from `run.folder` where a checkpoint is.

        vectors: (I, E) of the items' texts, read beside those of the log. pressure: the
        recommender's term. start: begin from its weights (same sizes). hook: called with each
        of the five entries of a round, see `hardrank.generators.loop`.

        Raises `Diverged` where a health check fails (see `hardrank.generators.health`; the
        folder keeps the last good round), `DataError` where fewer than two users have two
        different items, or vectors or start have other dimensions.
        """
        from hardrank.generators.loop import fit

        return fit(self, train, run, vectors=vectors, pressure=pressure, start=start, hook=hook)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> "InterestGenerator":
        """The inverse of `InterestGenerator.arrays`. Raises `DataError` for other dimensions."""
        from hardrank.generators.interest_generator import restored

        return restored(self, {k: np.asarray(v) for k, v in arrays.items()})


GAN_SMALL = InterestGan(
    noise=100, width=128, depth=1, size=16, batch_size=64, steps=600, warmup=200
)
"""The small dense reference: 100 numbers of noise, one hidden layer of 128."""
PRESETS: dict[str, InterestGan] = {"gan-small": GAN_SMALL}
