"""One character becomes another: a key beside it, a shape like it, or any letter."""

import string
from collections.abc import Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.draft import Draft
from hardrank.attacks.letters import draw, places, units
from hardrank.attacks.parts import Shop
from hardrank.attacks.tables.keyboard import NEIGHBOURS
from hardrank.attacks.tables.lookalikes import LEET
from hardrank.types import Count, spec

__all__ = ["SubstituteCharacters"]

By = Literal["random", "keyboard", "lookalike"]


@spec
class SubstituteCharacters:
    """Replace one character of a word: `lamp`, `lanp`.

    DeepWordBug (Gao et al., 2018, arXiv:1801.04354) takes a random letter; TextBugger's Sub-C
    (Li et al., NDSS 2019, arXiv:1812.05271, section III) one that looks alike (`l4mp`) or lies
    beside it on the keyboard. Characters that the table does not have stay; a random letter
    has the case of the one that it replaces.
    """

    kind: Literal["substitute-characters"] = "substitute-characters"
    by: By = "random"
    """`random`: any of the 26 letters; `keyboard`: a neighbouring key; `lookalike`: leet."""
    keep_ends: bool = False
    """Leave the first and the last character of a word as they are."""
    candidates: Count = 1
    """Substitutions tried in one word, drawn by chance; fewer if the word has fewer."""

    def __call__(
        self, draft: Draft, slot: int, shop: Shop, rng: np.random.Generator
    ) -> Sequence[str]:
        word = units(draft.words[slot])
        swaps = [(n, c) for n in places(len(word), self.keep_ends) for c in self._others(word[n])]
        return [
            "".join([*word[:n], c, *word[n + 1 :]]) for n, c in draw(swaps, self.candidates, rng)
        ]

    def _others(self, character: str) -> str:
        if self.by == "keyboard":
            return NEIGHBOURS.get(character, "")
        if self.by == "lookalike":
            return LEET.get(character, "")
        letters = string.ascii_uppercase if character.isupper() else string.ascii_lowercase
        return letters.replace(character, "") if character.isalpha() else ""
