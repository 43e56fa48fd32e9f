"""How near a text is to what the shop's customers write: a writer's own guess at what gains."""

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardrank.wording import split

__all__ = ["Appeal", "appeal_of"]

Doubles = NDArray[np.float64]
_MARKS = ".,;:!?\"'()[]*-"


@dataclass(frozen=True, eq=False)
class Appeal:
    """The cosine of a text and the mean of all public reviews, each of norm 1.

    Popular items have more reviews, so they weigh more, as they do in customers' histories.
    Weights of words are (1 + ln tf) (1 + ln((1 + N) / (1 + df))) (Salton & Buckley, 1988).
    """

    idf: Mapping[str, float]
    pull: Mapping[str, float]
    """The mean, up to its norm."""

    @classmethod
    def fit(cls, texts: Sequence[str]) -> "Appeal":
        bags = [_bag(t) for t in texts]
        found = Counter(w for bag in bags for w in bag)
        idf = {w: 1 + float(np.log((1 + len(bags)) / (1 + n))) for w, n in found.items()}
        pull: Counter[str] = Counter()
        for bag in bags:
            pull.update(_unit(bag, idf))
        norm = float(np.sqrt(sum(v * v for v in pull.values()))) or 1.0
        return cls(idf, {w: v / norm for w, v in pull.items()})

    def __call__(self, texts: Sequence[str]) -> Doubles:
        """(N,) in [0, 1]; 0 without a known word."""
        rows = [_unit(_bag(t), self.idf) for t in texts]
        return np.array([sum(v * self.pull[w] for w, v in row.items()) for row in rows])


@functools.lru_cache(maxsize=2)
def appeal_of(texts: tuple[str, ...]) -> Appeal:
    """Several targets are written about from the same reviews."""
    return Appeal.fit(texts)


def _bag(text: str) -> dict[str, int]:
    words = (w.strip(_MARKS).lower() for w in split(text))
    return Counter(w for w in words if len(w) > 1)


def _unit(bag: Mapping[str, int], idf: Mapping[str, float]) -> dict[str, float]:
    row = {w: (1 + float(np.log(n))) * idf[w] for w, n in bag.items() if w in idf}
    norm = float(np.sqrt(sum(v * v for v in row.values()))) or 1.0
    return {w: v / norm for w, v in row.items()}
