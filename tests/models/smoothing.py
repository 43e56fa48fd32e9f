"""A world so small that every mask, every edit and every text can be gone through."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise, product
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.data import Queries, Slate
from hardrank.models.smoothed import Smoothed, SmoothedRecommender
from hardrank.models.tfidf import Tfidf
from hardrank.recommender import best, mask_seen
from hardrank.types import Ranks, Scores

WORDS = "abcdef"
LONGEST = 6
TITLES = (
    "a b a b a b a b a", "a a b b a b a b a", "c c c c c", "c d c c d",
    "e f e d f e e d e", "d e f d e e f d", "a c e", "d", "f b", "d f d", "b c", "", "c c a",
    "b b d",
)  # fmt: skip
"""Two for each user that keep what is liked under most masks, and short ones to promote."""
LIKED = ("ab", "c", "efd")
QUERIES = Queries.of([[], [], []], users=[0, 1, 2])

Text = tuple[int, ...]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tabular:
    """User u's score of a text: 3 if it holds a liked word, half a point for each liked word
    that follows upon another, and noise in [0, 1) that follows from the text: no score can
    be told from the words one by one."""

    items: pl.DataFrame

    def score(self, queries: Queries, slate: Slate) -> Scores:
        titles = self.items["title"].to_list()
        texts = slate.texts or tuple(titles[i] for i in slate.items)
        known: dict[str, list[float]] = {text: [worth(u, text) for u in range(3)] for text in texts}
        table = np.array([known[text] for text in texts], dtype=np.float32).reshape(-1, 3)
        return np.ascontiguousarray(table.T[queries.users])

    def top(self, queries: Queries, k: int) -> Ranks:
        everything = Slate(items=np.arange(self.items.height))
        return best(mask_seen(self.score(queries, everything), queries), k)

    def on(self, items: pl.DataFrame) -> "Tabular":
        return replace(self, items=items)

    def arrays(self) -> Mapping[str, Any]:
        return {}


def worth(user: int, text: str) -> float:
    words = text.split()
    liked = [word in LIKED[user] for word in words]
    noise = sum((n + 2) * (ord(w) * 7 + user * 3) ** 2 % 101 for n, w in enumerate(words)) % 97 / 97
    return 3.0 * any(liked) + 0.5 * sum(a and b for a, b in pairwise(liked)) + noise


def catalogue(titles: Sequence[str] = TITLES) -> pl.DataFrame:
    return pl.DataFrame({"item_id": [f"i{n}" for n in range(len(titles))], "title": list(titles)})


def smoothed(keep: float = 0.4, masks: int = 32, **rest: Any) -> SmoothedRecommender:
    """Around a base that no spec spells; the spec's own base is not used."""
    spec = Smoothed(base=Tfidf(), keep=keep, masks=masks, place=6, **rest)
    return spec.around(Tabular(catalogue()))


def text_of(words: Text) -> str:
    return " ".join(WORDS[w] for w in words)


def words_of(text: str) -> Text:
    return tuple(WORDS.index(w) for w in text.split())


class Exact:
    """E vote of every text of up to 6 words, for each of the three users, without sampling."""

    def __init__(self, model: SmoothedRecommender) -> None:
        self.tables: list[Doubles] = []
        votes = []
        for n in range(LONGEST + 1):
            texts = tuple(text_of(t) for t in product(range(len(WORDS)), repeat=n))
            slate = Slate(items=np.zeros(len(texts), dtype=np.int64), texts=texts)
            found = model.votes(QUERIES, slate).astype(np.float64)
            votes.append(found.reshape(3, *[len(WORDS)] * n))
        keep = model.spec.keep
        for n in range(LONGEST + 1):
            total = np.zeros((3, *[len(WORDS)] * n))
            for size in range(n + 1):
                for kept in combinations(range(n), size):
                    shape = [len(WORDS) if p in kept else 1 for p in range(n)]
                    chance = keep**size * (1 - keep) ** (n - size)
                    total += chance * votes[size].reshape(3, *shape)
            self.tables.append(total)

    def of(self, words: Text) -> Doubles:
        """(3,)"""
        found: Doubles = self.tables[len(words)][(slice(None), *words)]
        return found


def within(words: Text, edits: int) -> list[set[Text]]:
    """All texts at 0, 1, ..., `edits` word edits or fewer."""
    reached = [{words}]
    for _ in range(edits):
        reached.append(reached[-1] | {near for text in reached[-1] for near in _near(text)})
    return reached


def _near(text: Text) -> set[Text]:
    letters = range(len(WORDS))
    found = {text[:n] + text[n + 1 :] for n in range(len(text))}
    found |= {(*text[:n], w, *text[n + 1 :]) for n in range(len(text)) for w in letters}
    return found | {(*text[:n], w, *text[n:]) for n in range(len(text) + 1) for w in letters}
