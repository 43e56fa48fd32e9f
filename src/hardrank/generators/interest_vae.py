"""The variational generator of user interests: its hyperparameters, and what fits it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.generators.interest_gan import Hook
from hardrank.types import Count, Natural, NonNegative, Positive, Share, spec

if TYPE_CHECKING:
    from hardrank.generators.interest_autoencoder import InterestAutoencoder
    from hardrank.generators.pressure import Pressure

__all__ = ["InterestVae"]


@spec
class InterestVae:
    """A variational autoencoder of sets of items, with the recommender in its loss.

    Liang et al., WWW 2018, arXiv:1802.05814 (Mult-VAE): a user's items x are drawn from one
    multinomial over the catalogue (equation 2), whose logits a network makes of a code z;
    another network gives mean and deviation of z for x. It minimises

        -sum_i x_i log softmax(logits)_i + weight * KL(q(z | x) || N(0, 1))      (equation 6)
        + beta * the recommender's loss, scaled to the length of the other terms' gradient

    with `weight` rising to `kl` over `anneal` steps (section 2.2.2), and the last term only if
    `fit` gets one (`hardrank.generators.pressure`). Ours starts the last
    bias at the log's log-counts, and draws k different items by Gumbel top-k, straight
    through, as the interest GAN does; it has no discriminator, so it judges nothing.
    """

    kind: Literal["interest-vae"] = "interest-vae"
    noise: Count = 32
    """Numbers of z, standard normal before the encoder's mean and deviation."""
    width: Count = 200
    """Of the hidden layer of the encoder and of the decoder."""
    dropout: Share = 0.5
    """Share of a user's items that the encoder does not see in a step (section 4.3)."""
    temperature: Positive = 0.5
    """Of the sigmoid through which the gradient of a draw passes; the draw itself is hard."""
    kl: NonNegative = 0.2
    """Weight of the KL term once it has risen; 1 is the likelihood's bound."""
    anneal: Natural = 500
    """Steps in which it rises from 0; 0 starts with all of it."""
    steps: Natural = 1000
    """Of Adam."""
    every: Count = 50
    """Steps of one round: after each, losses are logged, health is checked, a checkpoint
    is written."""
    batch_size: Count = 64
    """Users per step."""
    learning_rate: Positive = 1e-3
    """Of Adam."""
    average: Share = 0.98
    """Decay of the running mean of the weights that is the result; 0 takes the last ones."""
    alarms: Literal["raise", "stop"] = "raise"
    """What a failed health check does. `raise`: training fails, and says why. `stop`: training
    ends, the weights of the last round without a symptom are the result, and the reason is
    among its warnings."""

    @model_validator(mode="after")
    def _bounded(self) -> "InterestVae":
        if self.dropout == 1:
            raise ValueError("dropout must be below 1, or the encoder sees nothing")
        if self.average == 1:
            raise ValueError("average must be below 1, or nothing is ever learned")
        return self

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        pressure: "Pressure | None" = None,
        start: "InterestAutoencoder | None" = None,
        hook: Hook | None = None,
    ) -> "InterestAutoencoder":
        """Train; resume from `run.folder` where a checkpoint is.

        pressure: the recommender's term. start: begin from its weights (same sizes). hook:
        called with the row of each round, see `hardrank.generators.interest_vae_training`.

        Raises `Diverged` where a health check fails (the folder keeps the last good round),
        `DataError` where fewer than two users have two different items, or start has other
        dimensions.
        """
        from hardrank.generators.interest_vae_training import fit

        return fit(self, train, run, pressure=pressure, start=start, hook=hook)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> "InterestAutoencoder":
        """The inverse of `InterestAutoencoder.arrays`. Raises `DataError` for other
        dimensions."""
        from hardrank.generators.interest_autoencoder import restored

        return restored(self, {k: np.asarray(v) for k, v in arrays.items()})
