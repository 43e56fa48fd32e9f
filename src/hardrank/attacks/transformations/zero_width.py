"""Characters that take no room, inside a word."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from annotated_types import MinLen

from hardrank.attacks.draft import Draft
from hardrank.attacks.letters import draw, units
from hardrank.attacks.parts import Shop
from hardrank.types import Count, spec

__all__ = ["INVISIBLE", "InsertZeroWidth"]

Invisible = Literal["space", "non-joiner", "joiner", "word-joiner", "soft-hyphen"]

INVISIBLE: dict[Invisible, str] = {
    "space": "\u200b",
    "non-joiner": "\u200c",
    "joiner": "\u200d",
    "word-joiner": "\u2060",
    "soft-hyphen": "\u00ad",
}
_SHAPES = frozenset(("non-joiner", "joiner"))
"""These two change how Arabic, Indic and emoji characters are drawn together."""


@spec
class InsertZeroWidth:
    """Insert one invisible character between two of a word, or after a word of one.

    The invisible characters of Boucher et al. (IEEE S&P 2022, arXiv:2106.09898): nothing is
    seen, the tokeniser reads another word. A soft hyphen shows at the end of a line alone.
    Joiners stand between plain letters only, where they shape nothing. Right-to-left
    overrides, the same paper's reorderings, are left out: where a font or a text field does
    not honour them, or text is cut or copied, the order of what is read changes, so that
    the edit is not invisible and the meaning is not kept.
    """

    kind: Literal["insert-zero-width"] = "insert-zero-width"
    characters: Annotated[tuple[Invisible, ...], MinLen(1)] = (
        "space", "non-joiner", "joiner", "word-joiner", "soft-hyphen",
    )  # fmt: skip
    """Which: U+200B, U+200C, U+200D, U+2060, U+00AD."""
    candidates: Count = 3
    """Insertions tried in one word, drawn by chance; fewer if the word has fewer."""

    def __call__(
        self, draft: Draft, slot: int, shop: Shop, rng: np.random.Generator
    ) -> Sequence[str]:
        word = units(draft.words[slot])
        gaps = range(1, len(word)) if len(word) > 1 else range(1, len(word) + 1)
        ways = [(n, c) for n in gaps for c in self.characters if self._fits(c, word, n)]
        return [
            "".join([*word[:n], INVISIBLE[c], *word[n:]])
            for n, c in draw(ways, self.candidates, rng)
        ]

    def _fits(self, character: Invisible, word: list[str], place: int) -> bool:
        beside = "".join(word[place - 1 : place + 1])
        return character not in _SHAPES or all(_plain(c) for c in beside)


def _plain(character: str) -> bool:
    """Latin, Greek, Cyrillic (U+0000 to U+058F) and Han: no script whose letters join."""
    return character < "\u0590" or "\u4e00" <= character <= "\u9fff"
