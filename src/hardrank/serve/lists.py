"""From candidates to a list: less of the same, nobody's shop alone, and reasons."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from hardrank.types import Floats

__all__ = ["capped", "diverse", "nearest", "shared_words"]

_WORD = re.compile(r"\w\w+")
_COMMON = frozenset(
    ("the", "and", "for", "with", "from", "of", "in", "on", "to", "by", "an", "or", "at")
)


def diverse(scores: Floats, units: Floats, k: int, diversity: float) -> list[int]:
    """K of the N candidates in the order chosen. scores: (N,); units: (N, D) of length 1.

    Maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998): next comes the candidate
    with the best (1 - diversity) * relevance - diversity * (cosine to the nearest chosen),
    relevance being the score brought to [0, 1] among the candidates.
    """
    low, high = float(scores.min()), float(scores.max())
    relevance = (scores - low) / max(high - low, 1e-12)
    nearest = np.zeros(len(scores), dtype=np.float32)
    left, chosen = np.ones(len(scores), dtype=bool), list[int]()
    while left.any() and len(chosen) < k:
        worth = (1 - diversity) * relevance - diversity * nearest
        worth[~left] = -np.inf
        best = int(worth.argmax())
        chosen.append(best)
        left[best] = False
        likeness = units @ units[best]
        nearest = likeness if len(chosen) == 1 else np.maximum(nearest, likeness)
    return chosen


def capped(order: Iterable[int], owner: Callable[[int], str], most: int) -> Iterator[int]:
    """`order` without what exceeds `most` of one owner; items of nobody are never too many."""
    seen = Counter[str]()
    for n in order:
        name = owner(n)
        if name and seen[name] >= most:
            continue
        seen[name] += 1
        yield n


def shared_words(a: str, b: str) -> tuple[str, ...]:
    """Up to eight words that both texts hold, in the order of the first."""
    other = _words(b)
    return tuple(w for w in _words(a) if w in other)[:8]


def nearest(
    text: str, others: Sequence[str], alike: Floats | None, most: int
) -> list[tuple[int, tuple[str, ...]]]:
    """Places of the other texts that are nearest, and the words in common. alike: (N,) likeness
    of each; None counts those words. Only what is above 0."""
    worth = alike
    if worth is None:
        worth = np.asarray([float(len(shared_words(text, other))) for other in others])
    near = [int(i) for i in np.argsort(-worth, kind="stable")[:most] if worth[i] > 0]
    return [(i, shared_words(text, others[i])) for i in near]


@lru_cache(maxsize=1_024)
def _words(text: str) -> dict[str, None]:
    """In order; not to be changed. A list with reasons asks for each text dozens of times."""
    return {w: None for w in _WORD.findall(text.lower()) if w not in _COMMON}
