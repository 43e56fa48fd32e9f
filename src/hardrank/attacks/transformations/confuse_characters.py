"""Letters become their twins of another script."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from annotated_types import MinLen

from hardrank.attacks.draft import Draft
from hardrank.attacks.letters import draw
from hardrank.attacks.parts import Shop
from hardrank.attacks.tables.confusables import Script, alike
from hardrank.types import Count, spec

__all__ = ["ConfuseCharacters"]


@spec
class ConfuseCharacters:
    """Write a word with Unicode confusables: `lamp` with a Cyrillic a reads `lamp`.

    A reader sees no difference, a tokeniser an unknown word: the imperceptible homoglyphs of
    Boucher et al. (IEEE S&P 2022, arXiv:2106.09898). Undone by mapping to the skeletons of
    Unicode Technical Standard 39; fullwidth and mathematical letters already by NFKC.
    """

    kind: Literal["confuse-characters"] = "confuse-characters"
    scripts: Annotated[tuple[Script, ...], MinLen(1)] = ("cyrillic", "greek")
    """Where the twins come from."""
    whole_word: bool = False
    """Replace every character of the word that has a twin, not one."""
    candidates: Count = 3
    """Ways tried in one word, drawn by chance; fewer if the word has fewer."""

    def __call__(
        self, draft: Draft, slot: int, shop: Shop, rng: np.random.Generator
    ) -> Sequence[str]:
        word = draft.words[slot]
        if self.whole_word:
            return draw(self._whole(word), self.candidates, rng)
        twins = [(n, t) for n, c in enumerate(word) for t in alike(c, self.scripts)]
        return [word[:n] + t + word[n + 1 :] for n, t in draw(twins, self.candidates, rng)]

    def _whole(self, word: str) -> list[str]:
        """One for each script that has a twin for any character."""
        made = ("".join((*alike(c, (s,)), c)[0] for c in word) for s in self.scripts)
        return [w for w in dict.fromkeys(made) if w != word]
