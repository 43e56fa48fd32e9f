"""Upper and lower case."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Shop
from hardrank.types import spec

__all__ = ["ChangeCase"]


@spec
class ChangeCase:
    """Write a word in lower, upper, title and alternating case: `lamp`, `LAMP`, `Lamp`, `lAmP`.

    Nothing to a victim whose tokeniser is uncased; a cased one may not know the word again.
    """

    kind: Literal["change-case"] = "change-case"

    def __call__(
        self, draft: Draft, slot: int, shop: Shop, rng: np.random.Generator
    ) -> Sequence[str]:
        word = draft.words[slot]
        mixed = "".join(c.upper() if n % 2 else c.lower() for n, c in enumerate(word))
        made = dict.fromkeys((word.lower(), word.upper(), word.capitalize(), mixed))
        return [other for other in made if other != word]
