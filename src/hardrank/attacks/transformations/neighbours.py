"""Put a word of near meaning in the place of a word, as an encoder of one's own sees it."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Shop
from hardrank.attacks.protected import is_protected
from hardrank.types import Count, Share, spec

__all__ = ["NearWords"]


@spec
class NearWords:
    """Replace a word by words of the catalogue that an encoder puts near it, nearest first.

    The candidates of TextFooler (Jin et al., AAAI 2020, arXiv:1907.11932, section 3.1: 50
    neighbours with a cosine of at least 0.7 in counter-fitted vectors). Here the encoder is
    any on disk that the attacker owns, reading each word as a text: its neighbours are of one
    topic rather than of one meaning, and 0.5 is as strict. Words as they stood at first are
    looked up. Encoding the vocabulary takes seconds once; the encoder's cache keeps it.
    """

    kind: Literal["neighbours"] = "neighbours"
    encoder: str = "minilm"
    """`minilm`, a folder or a hub id; the attacker's own, not the victim's."""
    vocabulary: Count = 3000
    """Words looked among: the most bought words of the catalogue."""
    most: Count = 30
    """Neighbours of a word."""
    least: Share = 0.5
    """Least cosine."""
    protected: bool = True
    """Leave numbers, units, prices and brands as they are; see `attacks.protected`."""

    def __call__(
        self, draft: Draft, slot: int, shop: Shop, rng: np.random.Generator
    ) -> Sequence[str]:
        if not any(map(str.isalpha, draft.original[slot])):
            return ()  # an encoder finds something near anything
        if self.protected and is_protected(draft, slot, shop):
            return ()
        words = shop.vocabulary(self.vocabulary)
        found = _near(words, self.encoder, draft.original, self.most + 1, self.least)[slot]
        return [word for word in found if word != draft.words[slot]][: self.most]


@lru_cache(maxsize=1)
def _encoder(name: str) -> Any:
    from hardrank.context import RunContext
    from hardrank.encoders import load_encoder

    return load_encoder(name, max_tokens=16, run=RunContext())


@lru_cache(maxsize=4)
def _space(words: tuple[str, ...], encoder: str) -> Any:
    from hardrank.language.neighbours import Neighbours

    return Neighbours.fit(words, _encoder(encoder))


@lru_cache(maxsize=256)
def _near(
    words: tuple[str, ...], encoder: str, asked: tuple[str, ...], most: int, least: float
) -> list[tuple[str, ...]]:
    """Of all words of a text at once: one batch."""
    if not words:
        return [()] * len(asked)
    rows = _space(words, encoder).of_many(asked, most, least)
    return [tuple(word for word, _ in row) for row in rows]
