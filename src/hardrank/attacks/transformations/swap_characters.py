"""Two neighbouring characters change places."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.draft import Draft
from hardrank.attacks.letters import draw, places, units
from hardrank.attacks.parts import Shop
from hardrank.types import Count, spec

__all__ = ["SwapCharacters"]


@spec
class SwapCharacters:
    """Swap two different neighbours within a word: `lamp`, `lmap`.

    DeepWordBug (Gao et al., 2018, arXiv:1801.04354) swaps anywhere; TextBugger (Li et al.,
    NDSS 2019, arXiv:1812.05271, section III) leaves the first and the last letter. A word of
    one character has nothing to swap.
    """

    kind: Literal["swap-characters"] = "swap-characters"
    keep_ends: bool = True
    """Leave the first and the last character of a word where they are."""
    candidates: Count = 1
    """Swaps tried in one word, drawn by chance; fewer if the word has fewer."""

    def __call__(
        self, draft: Draft, slot: int, shop: Shop, rng: np.random.Generator
    ) -> Sequence[str]:
        word = units(draft.words[slot])
        inside = places(len(word), self.keep_ends)
        pairs = [n for n in inside[:-1] if word[n] != word[n + 1]]
        return [
            "".join([*word[:n], word[n + 1], word[n], *word[n + 2 :]])
            for n in draw(pairs, self.candidates, rng)
        ]
