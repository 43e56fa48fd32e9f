"""A judge of text similarity that is nobody's encoder: weighted character n-grams."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CharacterJudge"]


@dataclass(frozen=True, eq=False, kw_only=True)
class CharacterJudge:
    """Cosine of TF-IDF vectors of character n-grams, in [0, 1]; 1 for equal texts.

    It sees what a reader sees at a glance, shared strings of letters, and knows no meaning:
    a synonym costs as much as any other word, a misspelling little, another order of words
    almost nothing. No victim reads text this way, so no attack climbs it by accident.
    Texts are lower-cased and white space is one blank. Term frequency is 1 + ln(count); the
    weight of an n-gram is ln((1 + texts) / (1 + texts that have it)) + 1.
    """

    sizes: tuple[int, ...] = (3, 4, 5)
    """Lengths of n-grams, blanks between words included."""
    weights: Mapping[str, float]
    rare: float = 1.0
    """Weight of an n-gram that no text of the catalogue has."""

    @classmethod
    def fit(cls, texts: Iterable[str], *, sizes: tuple[int, ...] = (3, 4, 5)) -> "CharacterJudge":
        """Weights from the catalogue's original texts."""
        found: Counter[str] = Counter()
        total = 0
        for text in texts:
            found.update(set(_grams(text, sizes)))
            total += 1
        weights = {g: math.log((1 + total) / (1 + n)) + 1 for g, n in found.items()}
        return cls(sizes=sizes, weights=weights, rare=math.log(1 + total) + 1)

    def __call__(self, before: str | Sequence[str], after: Sequence[str]) -> NDArray[np.float64]:
        """(N,) similarity of each pair; one `before` is compared with each of `after`."""
        if isinstance(before, str):
            one = self._vector(before)
            return np.array([_cosine(one, self._vector(text)) for text in after])
        pairs = zip(before, after, strict=True)
        return np.array([_cosine(self._vector(a), self._vector(b)) for a, b in pairs])

    def _vector(self, text: str) -> dict[str, float]:
        counts = Counter(_grams(text, self.sizes))
        raw = {g: (1 + math.log(n)) * self.weights.get(g, self.rare) for g, n in counts.items()}
        norm = math.sqrt(sum(v * v for v in raw.values())) or 1.0
        return {g: v / norm for g, v in raw.items()}


def _grams(text: str, sizes: tuple[int, ...]) -> Iterable[str]:
    padded = f" {' '.join(text.lower().split())} "
    return (padded[i : i + n] for n in sizes for i in range(len(padded) - n + 1))


def _cosine(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    if a == b:
        return 1.0
    return min(1.0, sum(v * b.get(g, 0.0) for g, v in a.items()))
