"""Characters as a reader counts them, and where in a word they may be edited."""

import unicodedata
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

__all__ = ["draw", "places", "units"]

T = TypeVar("T")
_JOINER = "\u200d"
_KEYCAP = "\u20e3"


def units(word: str) -> list[str]:
    """The word cut where a reader would cut it; joined again, the word.

    A combining mark, a variation selector, a skin tone and what a zero-width joiner binds
    stay with the character before them, and a flag is a pair: an edit of one unit leaves no
    half of an emoji behind. A subset of Unicode Standard Annex 29, section 3.
    """
    found: list[str] = []
    for character in word:
        if found and _belongs(character, found[-1]):
            found[-1] += character
        else:
            found.append(character)
    return found


def _belongs(character: str, before: str) -> bool:
    if unicodedata.category(character) in ("Mn", "Mc", "Me") or character in (_JOINER, _KEYCAP):
        return True
    if before.endswith(_JOINER) or "\U0001f3fb" <= character <= "\U0001f3ff":
        return True
    return _regional(character) and len(before) == 1 and _regional(before)


def _regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def places(count: int, keep_ends: bool) -> range:
    """Of `count` units, those that may be edited: all, or all but the first and the last."""
    return range(1, count - 1) if keep_ends else range(count)


def draw(choices: Sequence[T], most: int, rng: np.random.Generator) -> list[T]:
    """At most `most` of the choices, drawn without replacement, in the order drawn."""
    return [choices[int(n)] for n in rng.permutation(len(choices))[:most]]
