"""Words in a row that another listing has: what a copy leaves when it stands beside other words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardrank.guards.alike import Popular
from hardrank.wording import split

__all__ = ["Runs"]

Doubles = NDArray[np.float64]
Words = tuple[str, ...]
_MARKS = ".,;:!?()[]\"'*"
_SEVERAL = -2
"""Not -1, which is the row of a new item."""


@dataclass(frozen=True, eq=False)
class Runs:
    """Of popular texts: which three words in a row stand in which, and which words begin one."""

    triples: Mapping[Words, int]
    """-> catalogue row that has them; -2 for several."""
    whole: Mapping[Words, tuple[tuple[Words, int], ...]]
    """First two words -> the texts of two words and more that begin so, with their rows."""

    @classmethod
    def of(cls, popular: Popular) -> "Runs":
        triples: dict[Words, int] = {}
        whole: dict[Words, list[tuple[Words, int]]] = {}
        for text, row in zip(popular.texts, popular.rows.tolist(), strict=True):
            words = _ordered(text)
            for three in _threes(words):
                triples[three] = row if triples.get(three, row) == row else _SEVERAL
            if len(words) > 1:
                whole.setdefault(words[:2], []).append((words, row))
        return cls(triples, {start: tuple(found) for start, found in whole.items()})

    def lengths(self, texts: Sequence[str], own: Sequence[int]) -> Doubles:
        """(N, 2) words of the longest run whose threes all stand in other popular texts; words
        of the longest other popular text that stands there whole. own: (N,) catalogue rows."""
        found = [self._both(_ordered(text), row) for text, row in zip(texts, own, strict=True)]
        return np.asarray(found, dtype=np.float64).reshape(len(texts), 2)

    def inside(self, text: str, own: int) -> tuple[int, int]:
        """Words of the longest other popular text that stands there whole, and its catalogue
        row; 0 and -1 for none. own: the row of the text itself, -1 for a new one."""
        return self._whole(_ordered(text), own)

    def _both(self, words: Words, own: int) -> tuple[int, int]:
        run = longest = 0
        for three in _threes(words):
            row = self.triples.get(three)
            run = run + 1 if row is not None and row != own else 0
            longest = max(longest, run)
        return longest + 2 if longest else 0, self._whole(words, own)[0]

    def _whole(self, words: Words, own: int) -> tuple[int, int]:
        longest, whose = 0, -1
        for start in range(len(words) - 1):
            for text, row in self.whole.get(words[start : start + 2], ()):
                same = row != own and words[start : start + len(text)] == text
                if same and len(text) > longest:
                    longest, whose = len(text), row
        return longest, whose


def _ordered(text: str) -> Words:
    made = (word.strip(_MARKS).lower() for word in split(text))
    return tuple(word for word in made if word)


def _threes(words: Words) -> list[Words]:
    return [words[n : n + 3] for n in range(len(words) - 2)]
