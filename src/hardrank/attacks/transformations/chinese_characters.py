"""Chinese characters that sound alike, look alike, are spelled out or in the other script."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import MinLen

from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Shop
from hardrank.attacks.tables.hanzi import Hanzi, read
from hardrank.types import Count, spec

__all__ = ["ChineseCharacters", "Way"]

Way = Literal["homophone", "glyph", "pinyin", "script"]


@spec
class ChineseCharacters:
    """Replace one Chinese character of a word, as sellers do to get round filters.

    `homophone`: another character of the same syllable, the same tone first (\u624b, \u9996);
    `glyph`: one that looks like it (\u672a, \u672b); `pinyin`: its syllable in Latin letters
    without tone (\u624b, shou); `script`: the traditional form of a simplified character or the
    reverse (\u673a, \u6a5f). The edits of Argot (Zhang et al., IJCAI 2020), character by
    character; a Chinese character is a word here, so each costs one word. Characters that
    the table does not have stay.
    """

    kind: Literal["chinese-characters"] = "chinese-characters"
    ways: Annotated[tuple[Way, ...], MinLen(1)] = ("homophone",)
    """What is tried, in this order."""
    candidates: Count = 4
    """Alternatives of each way, the most alike first."""
    table: Path | None = None
    """A table of your own: character TAB pinyin TAB look-alikes TAB traditional form, pinyin
    with the tone as a digit; none for the built-in one of 1,490 common characters."""

    def __call__(
        self, draft: Draft, slot: int, shop: Shop, rng: np.random.Generator
    ) -> Sequence[str]:
        word, hanzi = draft.words[slot], read(self.table)
        return [
            word[:n] + other + word[n + 1 :]
            for n, character in enumerate(word)
            for way in self.ways
            for other in _alternatives(hanzi, way, character)[: self.candidates]
        ]


def _alternatives(hanzi: Hanzi, way: Way, character: str) -> Sequence[str]:
    if way == "homophone":
        return hanzi.homophones(character)
    if way == "glyph":
        return hanzi.glyphs.get(character, "")
    if way == "pinyin":
        return hanzi.pinyin(character)
    return hanzi.variants.get(character, "")
