"""Few questions: a model of the answers says what to ask next."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.hunt import Hunt
from hardrank.attacks.parts import Ordering, Shop, Transformation
from hardrank.attacks.trail import Trail
from hardrank.threats import Budget
from hardrank.types import Count, Positive, Share, spec

__all__ = ["Frugal"]


@spec
class Frugal:
    """Learn from each answer what its words do to every user; ask for the texts that the words
    promise together.

    Our own, for victims that are dear to ask. Greedy and genetic searches read one number out
    of an answer; here it is E of them, one for each panel user, and `Additive` fits them. Each
    round asks for `batch` texts: single edits with words never tried, the most promising
    first, and the texts that a beam through the fitted model finds best. So F fillings of S
    slots are known after about F + S queries instead of S F, edits of several words cost no
    search of their own, and every text that is kept was scored by the victim. Stops when no
    word is left to try and `patience` rounds gained nothing, when the model, as far as it was
    right so far, expects nothing better, or the queries are spent. The model does not see
    case, marks and places: edits of these alone are not tried.
    """

    kind: Literal["frugal"] = "frugal"
    batch: Count = 12
    """Texts asked for in a round."""
    explore: Share = 0.5
    """Share of a batch for words never tried; the first round has nothing else."""
    width: Count = 4
    """Texts kept at each depth of the search through the model."""
    patience: Count = 2
    """Rounds without a gain before it stops."""
    penalty: Positive = 0.1
    """Ridge penalty, where one word more has the square length 1."""

    def __call__(
        self,
        aim: Aim,
        transformations: Sequence[Transformation],
        ordering: Ordering,
        budget: Budget,
        shop: Shop,
        rng: np.random.Generator,
    ) -> str:
        draft, trail = Draft.of(aim.text), Trail.of(aim)
        slots = ordering(draft, aim, rng)
        hunt = Hunt(trail, draft, slots, transformations, budget, shop, rng)
        fails = 0
        while fails < self.patience and not trail.reached:
            size = self.batch if aim.view.left is None else min(self.batch, aim.view.left)
            before, model = trail.text, hunt.model(self.penalty)
            novel = hunt.novel(size if model is None else round(size * self.explore))
            promised = hunt.promised(model, self.width, size - len(novel)) if model else {}
            if not novel and not promised:
                break
            hunt.ask(novel | promised)
            fails = fails + 1 if trail.text == before and not novel else 0
        return trail.text
