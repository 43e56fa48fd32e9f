"""Popularity kept apart from text, so that a text cannot earn what only clicks should."""

import numpy as np
import torch
from torch import Tensor

from hardrank.types import Ints, NonNegative, Share, spec

__all__ = ["PopularityPrior"]


@spec
class PopularityPrior:
    """score(q, i) = <state(q), text(i)> + strength * log(events of i).

    Without it a text model learns from its texts which words are popular, and whoever copies
    those words is shown to everybody. With `learn` in training the text explains only what
    popularity does not (logit adjustment: Menon et al., ICLR 2021, arXiv:2007.07314, equation
    10); `serve` gives back to each item what its own events have earned, which no rewriting
    can raise. A smaller `serve` than `learn` shows rare and new items more often.
    """

    learn: NonNegative = 0.75
    """Strength in training. 0 leaves popularity to the text."""
    serve: NonNegative = 0.25
    """Strength in ranking."""
    newcomer: Share = 0.5
    """An item without events counts as one at this quantile of the items that have some."""

    def training(self, counts: Ints) -> Tensor:
        """(I,) added to the scores of the training items."""
        return self._of(counts, self.learn)

    def serving(self, counts: Ints) -> Tensor:
        """(I,) added to the scores of the catalogue; `counts` are those of training."""
        return self._of(counts, self.serve)

    def _of(self, counts: Ints, strength: float) -> Tensor:
        known = counts[counts > 0]
        assumed = np.quantile(known, self.newcomer) if len(known) else 1.0
        events = np.where(counts > 0, counts, assumed)
        return torch.from_numpy((strength * np.log(events)).astype(np.float32))
