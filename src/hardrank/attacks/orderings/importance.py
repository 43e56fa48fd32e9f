"""The slots whose loss matters most come first."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.types import spec

__all__ = ["Importance"]


@spec
class Importance:
    """How much the attacker gains when a word is left out; the most first, ties as read.

    TextFooler orders by the fall of the true class's score when a word is deleted (Jin et
    al., AAAI 2020, arXiv:1907.11932, section 3.1): here by the rise of what the attacker
    wants. W queries, fewer if the budget has fewer; slots that were not asked come last.
    """

    kind: Literal["importance"] = "importance"

    def __call__(self, draft: Draft, aim: Aim, rng: np.random.Generator) -> Sequence[int]:
        slots = [s for s, word in enumerate(draft.words) if word]
        left = aim.view.left
        asked = slots if left is None else slots[:left]
        gains = aim([draft.put(s, "").text for s in asked]).values if asked else np.zeros(0)
        order = [asked[n] for n in np.argsort(-gains, kind="stable")]
        return [*order, *(s for s in range(len(draft.words)) if s not in set(order))]
