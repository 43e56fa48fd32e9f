"""One character more: a letter or a blank."""

import string
from collections.abc import Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.draft import Draft
from hardrank.attacks.letters import draw, units
from hardrank.attacks.parts import Shop
from hardrank.types import Count, spec

__all__ = ["InsertCharacter"]


@spec
class InsertCharacter:
    """Insert a random letter (`lamp`, `lavmp`) or a blank (`la mp`) into a word.

    The letter is of DeepWordBug (Gao et al., 2018, arXiv:1801.04354); the blank of TextBugger
    (Li et al., NDSS 2019, arXiv:1812.05271, section III) makes two unknown words of a known
    one, and costs two words. Always between two characters of the word, so a word of one
    character stays.
    """

    kind: Literal["insert-character"] = "insert-character"
    what: Literal["letter", "blank"] = "letter"
    """A letter of the case of the character before it, or a blank."""
    candidates: Count = 1
    """Insertions tried in one word, drawn by chance; fewer if the word has fewer."""

    def __call__(
        self, draft: Draft, slot: int, shop: Shop, rng: np.random.Generator
    ) -> Sequence[str]:
        word = units(draft.words[slot])
        extra = [(n, c) for n in range(1, len(word)) for c in self._fresh(word[n - 1])]
        return ["".join([*word[:n], c, *word[n:]]) for n, c in draw(extra, self.candidates, rng)]

    def _fresh(self, before: str) -> str:
        if self.what == "blank":
            return "" if before.isspace() else " "
        return string.ascii_uppercase if before.isupper() else string.ascii_lowercase
