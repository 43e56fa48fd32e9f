"""Add what sells, word after word, until the budget is full."""

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.champion import Champion, pursue
from hardrank.attacks.parts import Shop
from hardrank.attacks.vocabulary import Positions, insert, plain_words
from hardrank.data import Patch
from hardrank.threats import Budget, Promote, RankView
from hardrank.types import Count, GoalKind, Ints, Knowledge, Surface, spec

__all__ = ["KeywordStuffing"]


@spec
class KeywordStuffing:
    """Add chunks of words that bestsellers share, the best chunk first, while they gain.

    Keyword stuffing is web spam's oldest boost (Gyongyi and Garcia-Molina, Web Spam Taxonomy,
    AIRWeb 2005, section 3.1: dumping of terms). A chunk is a popular word and the words that
    stand in most bought titles with it: a list about one thing moves a text model further
    than one about many, and a chunk costs fewer queries than its words one by one. With 100
    words in chunks of 3 at two places, ten words cost about 260 queries. Where no chunk gains
    (or fits) any more, smaller ones are tried, down to single words.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    whole_text: ClassVar[bool] = True
    kind: Literal["keyword-stuffing"] = "keyword-stuffing"
    vocabulary: Count = 100
    """Words to choose from: the most bought words of the catalogue."""
    chunk: Count = 3
    """Words added at a time."""
    words: Count = 50
    """Words added at most, also where the threat lets whole texts be replaced."""
    positions: Positions = ("front", "end")
    """Where a chunk is put; each one is tried."""

    def __call__(
        self, view: RankView, goal: Promote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        shop = Shop.of(view)
        limit = self.words
        if budget.words is not None and not budget.whole_text:
            limit = min(limit, budget.words)
        return pursue(view, goal, lambda champion: self._stuff(champion, shop, limit))

    def _stuff(self, champion: Champion, shop: Shop, limit: int) -> None:
        words, together = shop.vocabulary(self.vocabulary), _together(shop, self.vocabulary)
        there = set(plain_words(champion.text))
        fresh = [n for n, word in enumerate(words) if word not in there]
        left, size = limit, min(self.chunk, limit)
        while fresh and left and size and not champion.reached:
            texts = {
                insert(champion.text, " ".join(words[n] for n in chunk[:left]), place): chunk[:left]
                for chunk in _chunks(fresh, together, size)
                for place in self.positions
            }
            if champion.challenge(list(texts)):
                taken = texts[champion.text]
                left -= len(taken)
                fresh = [n for n in fresh if n not in taken]
            else:
                size //= 2


def _chunks(fresh: Sequence[int], together: Ints, size: int) -> list[list[int]]:
    """The words in groups: the most bought one that is left, and its closest company."""
    left, made = list(fresh), list[list[int]]()
    while left:
        near = sorted(left[1:], key=lambda n: -int(together[left[0], n]))
        made.append([left[0], *near[: size - 1]])
        left = [n for n in left if n not in made[-1]]
    return made


@lru_cache(maxsize=1)
def _together(shop: Shop, size: int) -> Ints:
    """(V, V) events of the items whose titles hold both words."""
    places = {word: n for n, word in enumerate(shop.vocabulary(size))}
    out = np.zeros((len(places), len(places)), dtype=np.int64)
    for title, count in zip(shop.titles, shop.popularity.tolist(), strict=True):
        held = sorted({places[w] for w in plain_words(title) if w in places}) if count else []
        if held:
            out[np.ix_(held, held)] += count
    return out
