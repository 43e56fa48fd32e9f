"""The words that sell least come first."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Shop
from hardrank.attacks.vocabulary import plain_words
from hardrank.types import spec

__all__ = ["LeastSold"]


@spec
class LeastSold:
    """Give up first what no bestseller says: slots by how often items with their word were
    bought, ascending, ties as read; the other way round to demote. No query.

    Our own: a public stand-in for importance. Words that are not plain (numbers, function
    words) count as never sold, so they come first, and last when demoting.
    """

    kind: Literal["least-sold"] = "least-sold"

    def __call__(self, draft: Draft, aim: Aim, rng: np.random.Generator) -> Sequence[int]:
        weights = Shop.of(aim.view).weights
        sold = [max((weights.get(w, 0) for w in plain_words(word)), default=0)
                for word in draft.words]  # fmt: skip
        order: list[int] = np.argsort(np.array(sold) * aim.sign, kind="stable").tolist()
        return order
