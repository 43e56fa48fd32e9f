"""How far a text alone may lift an item."""

import numpy as np
import torch
from torch import Tensor

from hardrank.types import Ints, NonNegative, Share, spec

__all__ = ["Influence"]


@spec
class Influence:
    """score(q, i) = <state(q), text(i)> + strength * log(events of i), |text(i)| = text_norm.

    Two doors through which rewritten texts come, both closed in training:

    * A text model learns which words are popular, and whoever copies those words is shown to
      everybody. With `learn` the text explains only what popularity does not (logit
      adjustment: Menon et al., ICLR 2021, arXiv:2007.07314, equation 10); `serve` gives back
      to each item what its own events have earned, which no rewriting can raise.
    * Words that nobody combines make long vectors, and a long vector scores high for every
      query it is not opposed to. With `text_norm` all texts are equally loud.

    A smaller `serve` than `learn` shows rare and new items more often than the data did; a
    larger one leaves less for texts to win.
    """

    text_norm: NonNegative = 1.6
    """L2 norm that every item's text vector is brought to; 0 leaves it to the text."""
    learn: NonNegative = 1.0
    """Strength of popularity in training. 0 leaves popularity to the text."""
    serve: NonNegative | None = None
    """Strength of popularity in ranking; None for the largest of eleven steps up to `learn`
    that leaves rare items better off on validation data (see `models.sequence.strength`)."""
    newcomer: Share = 0.75
    """An item without events counts as one at this quantile of the items that have some."""

    def training(self, counts: Ints) -> Tensor | None:
        """(I,) added to the scores of the training items; None for nothing."""
        return self._of(counts, self.learn)

    def serving(self, counts: Ints) -> Tensor | None:
        """(I,) added to the scores of the catalogue; `counts` are those of training. Where
        nothing was chosen yet, half of `learn`."""
        return self._of(counts, self.learn / 2 if self.serve is None else self.serve)

    def _of(self, counts: Ints, strength: float) -> Tensor | None:
        if strength == 0:
            return None
        known = counts[counts > 0]
        assumed = np.quantile(known, self.newcomer) if len(known) else 1.0
        events = np.where(counts > 0, counts, assumed)
        return torch.from_numpy((strength * np.log(events)).astype(np.float32))
