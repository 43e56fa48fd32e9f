"""Put a bestseller's word beside a word."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Shop
from hardrank.attacks.vocabulary import said
from hardrank.types import Count, spec

__all__ = ["InsertWords"]


@spec
class InsertWords:
    """Insert one of the most bought words before the first slot or after the last.

    Words that the text holds already are left out. Only the two ends: sentence encoders read
    a title nearly as a bag of words, so places between cost queries and gain little.
    """

    kind: Literal["insert-words"] = "insert-words"
    vocabulary: Count = 60
    """Candidate words: the most bought words of the catalogue."""

    def __call__(
        self, draft: Draft, slot: int, shop: Shop, rng: np.random.Generator
    ) -> Sequence[str]:
        there = said(draft.text)
        fresh = [w for w in shop.vocabulary(self.vocabulary) if w not in there]
        now, last = draft.words[slot], len(draft.words) - 1
        if not now:
            return fresh
        front = [f"{w} {now}" for w in fresh] if slot == 0 else []
        return front + ([f"{now} {w}" for w in fresh] if slot == last else [])
