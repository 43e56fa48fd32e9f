"""A word spelled out: l a m p."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.draft import Draft
from hardrank.attacks.letters import units
from hardrank.attacks.parts import Shop
from hardrank.types import spec

__all__ = ["SpaceLetters"]


@spec
class SpaceLetters:
    """Put a mark between all characters of a word: `l a m p`, `l.a.m.p`.

    An old trick of spammers against word filters. With blanks it costs as many words as the
    word has characters, with another mark one.
    """

    kind: Literal["space-letters"] = "space-letters"
    mark: Literal[" ", ".", "-", "_", "*"] = " "
    """What stands between the characters."""

    def __call__(
        self, draft: Draft, slot: int, shop: Shop, rng: np.random.Generator
    ) -> Sequence[str]:
        word = units(draft.words[slot])
        return [self.mark.join(word)] if len(word) > 1 else []
