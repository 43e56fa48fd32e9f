"""Put a bestseller's word in the place of a word."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Shop
from hardrank.attacks.protected import is_protected
from hardrank.attacks.vocabulary import said
from hardrank.language.forms import like, shell
from hardrank.types import Count, spec

__all__ = ["SubstituteWords"]


@spec
class SubstituteWords:
    """Replace a word by one of the most bought words of the catalogue, whatever it means.

    A seller who wants other buyers has no meaning to keep: what a text loses here is the
    referee's to judge. Words that the text holds already are left out; case and the marks
    around a word stay. No source: the no-stealth bound of every word substitution.
    """

    kind: Literal["substitute-words"] = "substitute-words"
    vocabulary: Count = 60
    """Candidate words: the most bought words of the catalogue."""
    protected: bool = False
    """Leave numbers, units, prices and brands as they are; see `attacks.protected`."""

    def __call__(
        self, draft: Draft, slot: int, shop: Shop, rng: np.random.Generator
    ) -> Sequence[str]:
        if self.protected and is_protected(draft, slot, shop):
            return ()
        there = said(draft.text)
        fresh = [w for w in shop.vocabulary(self.vocabulary) if w not in there]
        before, core, after = shell(draft.words[slot])
        return [before + like(word, core) + after for word in fresh]
