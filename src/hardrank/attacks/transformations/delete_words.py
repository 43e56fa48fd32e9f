"""Leave a word out."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Shop
from hardrank.attacks.protected import is_protected
from hardrank.types import spec

__all__ = ["DeleteWords"]


@spec
class DeleteWords:
    """Delete a word, never the last one that is left. One filling a slot.

    The cheapest candidate of Feng et al., EMNLP 2018, arXiv:1804.07781: a word may weigh
    against the target.
    """

    kind: Literal["delete-words"] = "delete-words"
    protected: bool = True
    """Leave numbers, units, prices and brands as they are; see `attacks.protected`."""

    def __call__(
        self, draft: Draft, slot: int, shop: Shop, rng: np.random.Generator
    ) -> Sequence[str]:
        left = sum(map(bool, draft.words))
        if not draft.words[slot] or left < 2:
            return ()
        return () if self.protected and is_protected(draft, slot, shop) else ("",)
