"""Word tools that several text attacks share."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Literal

from annotated_types import MinLen

from hardrank.types import Ints

__all__ = ["Position", "Positions", "insert", "plain_words", "said", "sales", "vocabulary"]

Position = Literal["front", "end"]
Positions = Annotated[tuple[Position, ...], MinLen(1)]
_WORD = re.compile(r"[^\W\d_]{3,}")
_STOP = frozenset(
    _WORD.findall(
        "about all also and any are but can each for from get has have her him his how into its "
        "may more most new not now off one only our out over per set she some such than that the "
        "their them then there these they this those too two under use via was were what when "
        "which who will with without you your"
    )
)


def plain_words(text: str) -> list[str]:
    """Lower-case words of three letters or more; no digits, no function words."""
    return [w for w in _WORD.findall(text.lower()) if w not in _STOP]


@lru_cache(maxsize=256)
def said(text: str) -> frozenset[str]:
    """The plain words of a text; every slot of a draft asks for the same."""
    return frozenset(plain_words(text))


def vocabulary(titles: Sequence[str | None], popularity: Ints, size: int) -> tuple[str, ...]:
    """The `size` words whose items were bought most often, most first, ties by alphabet.

    Words of items that nobody bought are left out.
    """
    return tuple(sales(titles, popularity))[:size]


def sales(titles: Sequence[str | None], popularity: Ints) -> dict[str, int]:
    """Word -> the sum of `popularity` (I,) over the items whose title holds it, most first,
    ties by alphabet."""
    weights: dict[str, int] = {}
    for title, count in zip(titles, popularity.tolist(), strict=True):
        for word in set(plain_words(title or "")) if count else ():
            weights[word] = weights.get(word, 0) + count
    return dict(sorted(weights.items(), key=lambda entry: (-entry[1], entry[0])))


def insert(text: str, word: str, position: Position) -> str:
    """`text` with one more word; the rest of it is left as it is."""
    if not text:
        return word
    return f"{word} {text}" if position == "front" else f"{text} {word}"
