"""One character is left out."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.draft import Draft
from hardrank.attacks.letters import draw, places, units
from hardrank.attacks.parts import Shop
from hardrank.types import Count, spec

__all__ = ["DeleteCharacter"]


@spec
class DeleteCharacter:
    """Leave one character of a word out: `lamp`, `lmp`. A word of one character stays.

    DeepWordBug (Gao et al., 2018, arXiv:1801.04354) deletes anywhere; TextBugger (Li et al.,
    NDSS 2019, arXiv:1812.05271, section III) keeps the first and the last letter.
    """

    kind: Literal["delete-character"] = "delete-character"
    keep_ends: bool = True
    """Leave the first and the last character of a word where they are."""
    candidates: Count = 1
    """Deletions tried in one word, drawn by chance; fewer if the word has fewer."""

    def __call__(
        self, draft: Draft, slot: int, shop: Shop, rng: np.random.Generator
    ) -> Sequence[str]:
        word = units(draft.words[slot])
        if len(word) < 2:
            return []
        inside = places(len(word), self.keep_ends)
        return ["".join(word[:n] + word[n + 1 :]) for n in draw(inside, self.candidates, rng)]
