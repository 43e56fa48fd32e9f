"""How much of what popular items say another text says too."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardrank.types import Ints
from hardrank.wording import split

__all__ = ["Popular", "word_sets"]

Doubles = NDArray[np.float64]
_TOKEN_MARKS = ".,;:!?()[]\"'*"
_BLOCK = 2048


def word_sets(texts: Sequence[str]) -> list[list[str]]:
    """Distinct words of each text, lower-case, without marks at their ends, sorted."""
    made = ({w.strip(_TOKEN_MARKS).lower() for w in split(text)} - {""} for text in texts)
    return [sorted(words) for words in made]


@dataclass(frozen=True, eq=False)
class Popular:
    """The texts of P popular items; each word weighs log((1 + P) / (1 + n)) + 1, with n the
    popular texts that have it, and a word of none of them log(1 + P) + 1."""

    texts: tuple[str, ...]
    rows: Ints
    """(P,) of the catalogue."""

    @classmethod
    def of(cls, texts: Sequence[str], counts: Ints, most: int) -> "Popular":
        """The `most` items with most events, those that have any and a text; ties by row."""
        order = np.argsort(-counts, kind="stable")[:most]
        rows = np.asarray([r for r in order.tolist() if counts[r] > 0 and texts[r]], np.int64)
        return cls(tuple(texts[r] for r in rows.tolist()), rows)

    def compared(
        self, texts: Sequence[str], own: Sequence[int]
    ) -> tuple[tuple[Doubles, Ints], tuple[Doubles, Ints]]:
        """Likeness and containment, each (N,) with the (N,) catalogue rows that have them, 0 and
        -1 where no word is shared. Likeness: the largest share of the weight of both texts'
        words that both have (weighted Jaccard). Containment: the largest of
        c / (w + m), with c the weight of a popular text that stands in the text, w its whole
        weight and m the mean one: a half where an average text stands there whole.

        own: (N,) the catalogue row of each text, -1 for none; an item is not its own copy.
        """
        n = len(texts)
        out = [(np.zeros(n), np.full(n, -1, dtype=np.int64)) for _ in range(2)]
        for start in range(0, n if len(self.texts) else 0, _BLOCK):
            part = slice(start, start + _BLOCK)
            tables = self._ratios(texts[part], np.asarray(own[part]))
            for (best, which), ratio in zip(out, tables, strict=True):
                at = ratio.argmax(axis=1)
                best[part] = ratio[np.arange(len(at)), at]
                which[part] = np.where(best[part] > 0, self.rows[at], -1)
        return out[0], out[1]

    @cached_property
    def _index(self) -> dict[str, int]:
        words = sorted({w for words in word_sets(self.texts) for w in words})
        return {word: n for n, word in enumerate(words)}

    @cached_property
    def _weights(self) -> Doubles:
        """(V,)"""
        n = np.asarray(self._bag(word_sets(self.texts)).sum(axis=0)).ravel()
        return np.asarray(np.log((1 + len(self.texts)) / (1 + n)) + 1)

    @cached_property
    def _weighted(self) -> Any:
        """(V, P) sparse: the weight of each word where a popular text has it."""
        from scipy import sparse

        return (self._bag(word_sets(self.texts)) @ sparse.diags_array(self._weights)).T.tocsr()

    def _bag(self, sets: Sequence[Sequence[str]]) -> Any:
        from scipy import sparse

        found = [[self._index[w] for w in words if w in self._index] for words in sets]
        ends = np.cumsum([0, *map(len, found)])
        flat = np.asarray([n for row in found for n in row], dtype=np.int64)
        shape = len(sets), len(self._index)
        return sparse.csr_array((np.ones(len(flat)), flat, ends), shape=shape)

    def _ratios(self, texts: Sequence[str], own: Ints) -> tuple[Doubles, Doubles]:
        """(N, P) both"""
        sets = word_sets(texts)
        bag = self._bag(sets)
        shared = (bag @ self._weighted).toarray()
        shared[self.rows[None, :] == own[:, None]] = 0.0
        theirs = np.asarray(self._weighted.sum(axis=0)).ravel()
        strange = np.asarray([len(words) for words in sets]) - np.asarray(bag.sum(axis=1)).ravel()
        mine = bag @ self._weights + strange * (np.log(1 + len(self.texts)) + 1)
        union = np.maximum(theirs[None, :] + mine[:, None] - shared, 1e-12)
        # of a title of one word, to hold all of it means nothing
        held = shared / (np.maximum(theirs, 1e-12) + theirs.mean())[None, :]
        return np.minimum(shared / union, 1.0), np.minimum(held, 1.0)
