"""Toy worlds with planted answers: what a person can work out on paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.context import RunContext
from hardrank.data import EVENT_COLUMNS, Dataset, Holdout, Queries, Slate
from hardrank.errors import Unsupported
from hardrank.recommender import (
    Change,
    Forecast,
    LossSurface,
    Relaxed,
    TextGradient,
    best,
    mask_seen,
)
from hardrank.types import Floats, GoalKind, Ints, RankingLoss, Ranks, Scores, Site, spec
from hardrank.wording import split

if TYPE_CHECKING:
    import torch

__all__ = [
    "WordTaste",
    "WordTasteModel",
    "World",
    "dataset",
    "odd_world",
    "planted_world",
    "random_world",
]


@dataclass(frozen=True, eq=False, kw_only=True)
class WordTaste:
    """Score of an item for a user: the user's taste for each word of the title, summed.

        score(u, i) = taste_u . count_i

    Linear, so every gradient is a row of `taste`: the largest gain in the mean score within
    an L2 ball of radius r around an item's word counts is r * ||mean taste||_2, within an
    L-infinity ball r * ||mean taste||_1.
    """

    items: pl.DataFrame
    words: tuple[str, ...]
    taste: Floats
    """(U, D), D words. A query of no known user has the sum of all: the order that the
    mean would give, in whole numbers."""
    by: str = "title"

    sites: tuple[Site, ...] = ("item-vectors",)

    def counts(self, texts: Sequence[str | None]) -> Floats:
        """(N, D) how often each word stands in each text; unknown words count nothing."""
        columns = {w: n for n, w in enumerate(self.words)}
        out = np.zeros((len(texts), len(self.words)), dtype=np.float32)
        for n, text in enumerate(texts):
            for word in (text or "").split():
                if word in columns:
                    out[n, columns[word]] += 1
        return out

    def tastes(self, queries: Queries) -> Floats:
        """(Q, D)."""
        known = (queries.users >= 0)[:, None]
        everybody = self.taste.sum(axis=0, keepdims=True)
        return np.where(known, self.taste[queries.users], everybody).astype(np.float32)

    def score(self, queries: Queries, slate: Slate) -> Scores:
        vectors = self.counts(self.items[self.by].to_list())[slate.items]
        if slate.texts is not None and slate.field == self.by:
            vectors = self.counts(slate.texts)
        scores: Scores = self.tastes(queries) @ vectors.T
        return scores

    def top(self, queries: Queries, k: int) -> Ranks:
        everything = Slate(items=np.arange(self.items.height, dtype=np.int64))
        return best(mask_seen(self.score(queries, everything), queries), k)

    def on(self, items: pl.DataFrame) -> Self:
        return replace(self, items=items)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"taste": self.taste, "words": np.array(self.words)}

    def text_gradient(
        self, goal: GoalKind, queries: Queries, item: int, text: str, *, field: str = "title"
    ) -> TextGradient:
        """Of the mean score (negative for `demote`): the same mean taste under every word."""
        words = tuple(split(text))
        slope = self.tastes(queries).mean(axis=0) * (-1 if goal == "demote" else 1)
        current = np.stack([self.counts([w])[0] for w in words]) if words else self.counts([])
        return TextGradient(words=words, gradient=np.tile(slope, (len(words), 1)), current=current)

    def word_embeddings(self, words: Sequence[str]) -> Floats:
        """(W, D) a 1 in the column of each word."""
        return self.counts(words)

    def forecast(self, queries: Queries, item: int, text: str, *, field: str = "title") -> Forecast:
        """Exact: words count one by one."""
        tastes = self.tastes(queries)
        clean = self.counts([text if field == self.by else self.items[self.by][item]])

        def scores(changes: Sequence[Change]) -> Scores:
            more = [sum((n * self.counts([w])[0] for w, n in c), clean[0]) for c in changes]
            moved = np.stack(more) if more else clean[:0]
            return np.asarray(tastes @ (moved if field == self.by else clean[[0] * len(more)]).T)

        return scores

    def relaxed(
        self, queries: Queries, item: int, text: str, slots: Sequence[int], words: Sequence[str],
        *, field: str = "title",
    ) -> Relaxed:  # fmt: skip
        """Exact: a mixture counts as much as its words do on average."""
        import torch

        tastes, table = (torch.from_numpy(a) for a in (self.tastes(queries), self.counts(words)))
        rest = [word for n, word in enumerate(split(text)) if n not in set(slots)]
        clean = torch.from_numpy(self.counts([" ".join(rest)]))
        if field != self.by:
            clean, table = torch.from_numpy(self.counts([self.items[self.by][item]])), table * 0

        def scores(weights: "torch.Tensor") -> "torch.Tensor":
            moved: torch.Tensor = clean + weights.to(table.dtype).sum(1) @ table
            return moved @ tastes.t()

        return scores

    def surface(
        self,
        site: Site,
        goal: GoalKind,
        queries: Queries,
        items: Ints,
        texts: Sequence[str] = (),
        *,
        loss: RankingLoss | None = None,
    ) -> LossSurface:
        """Linear in delta: `promote` is the mean score, `degrade` the negative score that
        query b gives to its held-out item. Has no other loss."""
        import torch

        if loss is not None:
            raise Unsupported(f"this model's one loss is the mean score, not '{loss}'")

        self._serves(site, goal)
        slope = torch.from_numpy(self._slopes(goal, queries, items))
        clean = torch.from_numpy(self.counts(self.items[self.by].to_list())[items])
        return LossSurface(
            loss=lambda delta: ((clean + delta) * slope).sum(-1),
            like=clean,
            scale=float(clean.norm(dim=-1).mean()),
        )

    def perturbed_scores(
        self, site: Site, goal: GoalKind, queries: Queries, items: Ints, delta: "torch.Tensor"
    ) -> Scores:
        self._serves(site, goal)
        vectors = self.counts(self.items[self.by].to_list())
        moved = vectors[items] + delta.detach().numpy()
        tastes = self.tastes(queries)
        if goal != "degrade":
            return np.asarray(tastes @ moved.T, dtype=np.float32)
        scores: Scores = tastes @ vectors.T
        scores[np.arange(len(items)), items] = (tastes * moved).sum(axis=1)
        return scores

    def _slopes(self, goal: GoalKind, queries: Queries, items: Ints) -> Floats:
        tastes = self.tastes(queries)
        if goal == "degrade":
            return -tastes
        mean = tastes.mean(axis=0) * (1 if goal == "promote" else -1)
        return np.tile(mean, (len(items), 1)).astype(np.float32)

    def _serves(self, site: Site, goal: GoalKind) -> None:
        if site not in self.sites:
            raise Unsupported(f"site '{site}': this model has {', '.join(self.sites)}")
        if goal == "flip":
            raise Unsupported("a recommender has no label to flip")


@spec
class WordTasteModel:
    """Fits `WordTaste`: a user likes the words of the titles in the history, as often."""

    kind: Literal["word-taste"] = "word-taste"

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        valid: Holdout | None = None,
        objective: Any = None,
        start: Any = None,
    ) -> WordTaste:
        words = tuple(sorted({w for t in train.texts() for w in t.split()}))
        blank = WordTaste(
            items=train.items, words=words, taste=np.zeros((train.n_users, len(words)), np.float32)
        )
        taste, counts = blank.taste.copy(), blank.counts(train.texts())
        histories = train.histories()
        np.add.at(taste, histories.owners, counts[histories.items])
        return replace(blank, taste=taste)

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> WordTaste:
        return WordTaste(items=items, words=tuple(arrays["words"].tolist()), taste=arrays["taste"])


@dataclass(frozen=True, eq=False, kw_only=True)
class World:
    """A dataset, a victim over it, and the planted answers where there are any."""

    data: Dataset
    victim: WordTaste
    panel: Queries
    target: str = ""
    best_word: str = ""
    """The word whose insertion raises the target most, for every user."""
    second_word: str = ""
    """The best one after that."""
    best_title: str = ""
    """The title whose copy puts the target into the top 2 of most users."""


def dataset(
    titles: Sequence[str], histories: Sequence[Sequence[int]], name: str = "toy"
) -> Dataset:
    """Items a, b, c, ... with these titles; users u0, u1, ... with these histories."""
    events = [(u, i, t, None, 1.0) for u, h in enumerate(histories) for t, i in enumerate(h)]
    return Dataset(
        name=name,
        users=pl.DataFrame({"user_id": [f"u{n}" for n in range(len(histories))]}),
        items=pl.DataFrame(
            {"item_id": [_letter(n) for n in range(len(titles))], "title": list(titles)}
        ),
        events=pl.DataFrame(events, schema=EVENT_COLUMNS, orient="row"),
        synthetic=True,
    )


def planted_world() -> World:
    """4 users, 6 items, whole numbers throughout. Words are worth (times 1, 2, 1, 3 for users
    0 to 3): moon 4, velvet 2, river, silver, lantern, copper 1, kettle, plain 0, dusty -1.

    Items: a 'silver lantern' 2, b 'moon river' 5, c 'copper kettle' 1, d 'velvet river' 3,
    e 'dusty kettle' -1, f 'plain dusty' -1 (the target; user 3 has it already). Of single
    words moon adds most and velvet is second. Copied, 'moon river' brings f to ranks 1, 2, 2
    (users 1 and 2 have not seen b, and ties count against); no other title gets f into the
    top 2 of all three: 'velvet river' gives ranks 2, 3, 3.
    """
    data = dataset(
        ["silver lantern", "moon river", "copper kettle", "velvet river", "dusty kettle",
         "plain dusty"],
        [[0, 1], [0, 2], [0, 4], [1, 3, 5]],
    )  # fmt: skip
    worth = {"moon": 4, "velvet": 2, "river": 1, "silver": 1, "lantern": 1, "copper": 1,
             "kettle": 0, "plain": 0, "dusty": -1}  # fmt: skip
    scale = np.array([[1], [2], [1], [3]], dtype=np.float32)
    victim = WordTaste(
        items=data.items,
        words=tuple(worth),
        taste=scale * np.array([list(worth.values())], dtype=np.float32),
    )
    return World(
        data=data, victim=victim, panel=data.histories(), target="f", best_word="moon",
        second_word="velvet", best_title="moon river",
    )  # fmt: skip


_SYLLABLES = ("ba", "ko", "mi", "ru", "se", "ta", "lo", "ni")


def random_world(rng: np.random.Generator) -> World:
    """2 to 8 users, 3 to 12 items, titles of 0 to 5 of a dozen words, tastes of either sign.
    No planted answer; some titles are equal, some empty, some hold digits or short words."""
    words = [
        "".join(rng.choice(_SYLLABLES, size=3)) for _ in range(10)
    ] + ["7th", "ox"]  # fmt: skip
    n_users, n_items = int(rng.integers(2, 9)), int(rng.integers(3, 13))
    titles = [" ".join(rng.choice(words, size=rng.integers(0, 6))) for _ in range(n_items)]
    histories = [
        rng.choice(n_items, size=rng.integers(1, n_items), replace=False).tolist()
        for _ in range(n_users)
    ]
    data = dataset(titles, histories, name="random")
    names = tuple(dict.fromkeys(words))
    taste = rng.integers(-3, 4, size=(n_users, len(names))).astype(np.float32)
    victim = WordTaste(items=data.items, words=names, taste=taste)
    target = data.items["item_id"][int(rng.integers(n_items))]
    return World(data=data, victim=victim, panel=data.histories(), target=target)


_ODD = (
    "\U0001f4f1 case \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea "
    "\U0001f44d\U0001f3fd",
    "\u0647\u0627\u062a\u0641 \u0630\u0643\u064a \u05d8\u05dc\u05e4\u05d5\u05df 64GB",
    "\u82f9\u679c\u624b\u673a\u58f3 iPhone\u65b0\u6b3e \u30b1\u30fc\u30b9",
    "cafe\u0301 nai\u0308ve \u0e01\u0e33 \u0915\u094d\u0937 \ufeff\u200b",
    "",
    " \t\n ",
    "x" * 10_000,
    ("silver lantern with copper handle " * 300)[:10_000],
    "silver lantern",
)


def odd_world() -> World:
    """3 users, 9 items whose titles are what real catalogues hold and tests forget: emoji with
    joiners, flags and skin tones, Arabic and Hebrew, Chinese and Japanese, combining and
    invisible characters, nothing, blanks, a word and a text of 10,000 characters."""
    data = dataset(_ODD, [[0, 8], [1], [2, 3]], name="odd")
    words = tuple(dict.fromkeys(w for title in _ODD for w in title.split()))
    scale = np.array([[1], [2], [3]], dtype=np.float32)
    taste = scale * (np.arange(len(words), dtype=np.float32) % 5 - 2)
    victim = WordTaste(items=data.items, words=words, taste=taste)
    return World(data=data, victim=victim, panel=data.histories(), target="i")


def _letter(n: int) -> str:
    return chr(ord("a") + n) if n < 26 else f"i{n}"
