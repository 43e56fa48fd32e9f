"""A recommender that reads many masked copies of each listing and takes the mean."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import expit

from hardrank.context import RunContext
from hardrank.data import Dataset, Holdout, Queries, Slate
from hardrank.errors import SchemaError, Unsupported
from hardrank.models import expectation
from hardrank.models.blend import Blend
from hardrank.models.common import same_items, top_of, whole
from hardrank.models.hybrid import Hybrid
from hardrank.models.knn_tfidf import KnnTfidf
from hardrank.models.masks import copies, own_bits
from hardrank.models.standing import Standing, spread
from hardrank.models.text_sequence import TextSequence
from hardrank.models.tfidf import Tfidf
from hardrank.recommender import Forecast, Recommender, Relaxed, TextGradient
from hardrank.types import Count, Floats, GoalKind, Ints, Natural, Positive, Ranks, Scores, Share
from hardrank.types import spec as _spec

__all__ = ["Smoothed", "SmoothedRecommender"]

Base = Annotated[TextSequence | Hybrid | Tfidf | KnnTfidf | Blend, Field(discriminator="kind")]
_PAIRS = 8192
"""Masked copies that are scored together, about."""
_QUERIES = 1024


@_spec
class Smoothed:
    """Randomised smoothing over the words of an item: no few words decide its rank.

        score(q, i) = mean over masks m of vote(q, m(text of i))
        vote(q, t)  = sigmoid((s(q, t) - c(q)) / (softness * d(q)))          in [0, 1]

    with s the base's score, c(q) what the item at rank `place` of the catalogue scores and
    d(q) the spread of its scores, both with the texts of the standing catalogue: a soft vote
    on whether the masked copy is among the best `place`. A mask keeps each word with
    probability `keep`. By the theorem in `models.masks`, r word edits move an item's expected
    score by at most 1 - (1 - keep)^r, whatever the words; `audits.certificate` makes
    certificates of it.

    Cohen et al., ICML 2019, arXiv:1902.02918, over words as in SAFER (Ye et al., ACL 2020,
    arXiv:2005.14424) and RanMASK (Zeng et al., 2023, arXiv:2105.03743), which classify; here
    a mean of votes, which ranks. Histories are read unmasked: what a user bought long ago is
    not what is up for promotion. The masks follow from `seed` and the text, so that equal
    texts score alike; who knows both can look for texts with lucky masks. The certificate is
    about the mean over fresh masks, and says for how many such tries it holds.
    """

    kind: Literal["smoothed"] = "smoothed"
    base: Base
    """What reads the masked texts. An objective hardens it as it would alone."""
    field: str = "title"
    """Column of the item table whose words are masked: the one that sellers write."""
    keep: Share = 0.3
    """Probability that a word is kept. 1 masks nothing, 0 reads nothing."""
    masks: Count = 32
    """Copies of each text; the noise of a score is at most 0.5 / sqrt(masks)."""
    place: Count = 100
    """Rank in the standing catalogue where a copy's vote is one half."""
    softness: Positive = 0.25
    """Width of the vote around that place, in standard deviations of the query's scores."""
    seed: Natural = 0
    """Of the masks. Keep it secret where the model is served."""

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        valid: Holdout | None = None,
        objective: Any = None,
        start: Recommender | None = None,
    ) -> "SmoothedRecommender":
        """Fits the base, which is not told of the masks; `start` gives its base's weights.
        Raises `Unsupported` when the base refuses the objective, `SchemaError` when there is
        no such field."""
        begun = start.base if isinstance(start, SmoothedRecommender) else start
        return self.around(self.base.fit(train, run, valid=valid, objective=objective, start=begun))

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> "SmoothedRecommender":
        learned = {k.removeprefix("base/"): v for k, v in arrays.items()}
        return self.around(self.base.restore(learned, items, run))

    def around(self, base: Recommender) -> "SmoothedRecommender":
        """Smoothing around any trained recommender that reads the field."""
        return SmoothedRecommender(base, self)


@dataclass(frozen=True, eq=False)
class _Block:
    """Masked copies of some candidates, side by side."""

    columns: slice
    """Of the slate."""
    slate: Slate
    """The copies; kept, so that a base may remember what it read."""
    starts: Ints
    shares: Floats


class SmoothedRecommender:
    """What `Smoothed` makes: a `Recommender` with a white box as wide as its base's."""

    def __init__(self, base: Recommender, spec: Smoothed, standing: Standing | None = None) -> None:
        if spec.field not in base.items.columns:
            raise SchemaError(
                f"the words of '{spec.field}' cannot be masked: no such column",
                field=spec.field,
                remedy=f"it has: {', '.join(base.items.columns)}",
            )
        self.base, self.spec = base, spec
        self._standing = standing or Standing(base, partial(_yardstick, place=spec.place))
        self._whole: list[_Block] | None = None

    @property
    def items(self) -> pl.DataFrame:
        return self.base.items

    def score(self, queries: Queries, slate: Slate) -> Scores:
        """(Q, I) in [0, 1]. Raises `Unsupported` for a slate that rewrites another field."""
        blocks = self._blocks(slate)
        out = np.empty((len(queries), len(slate)), dtype=np.float32)
        for start in range(0, len(queries), _QUERIES):
            rows = slice(start, min(start + _QUERIES, len(queries)))
            small = len(queries) <= _QUERIES  # the same object: bases remember what they read
            part = queries if small else queries.take(np.arange(rows.start, rows.stop))
            for block in blocks:
                votes = self.votes(part, block.slate) * block.shares
                out[rows, block.columns] = np.add.reduceat(votes, block.starts, axis=1)
        return out

    def votes(self, queries: Queries, slate: Slate) -> Scores:
        """(Q, I) in [0, 1]: votes on the slate's texts as they are, unmasked."""
        return self.vote(queries, self.base.score(queries, slate))

    def vote(self, queries: Queries, scores: Scores) -> Scores:
        """(Q, N) scores of the base -> votes."""
        centre, width = np.split(self.yardstick(queries), 2, axis=1)
        return np.asarray(expit((scores - centre) / width), dtype=np.float32)

    def yardstick(self, queries: Queries) -> Floats:
        """(Q, 2) the base's score that is worth half a vote, and the width around it."""
        found = self._standing(queries)
        return np.stack([found[:, 0], found[:, 1] * np.float32(self.spec.softness)], axis=1)

    def top(self, queries: Queries, k: int) -> Ranks:
        return top_of(self, queries, k)

    def on(self, items: pl.DataFrame) -> "SmoothedRecommender":
        same_items(self.items, items)
        return SmoothedRecommender(self.base.on(items), self.spec, self._standing)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {f"base/{name}": array for name, array in self.base.arrays().items()}

    # White box: expectations over the masks (Athalye et al., ICML 2018, arXiv:1802.00420)

    def text_gradient(
        self, goal: GoalKind, queries: Queries, item: int, text: str, *, field: str = "title"
    ) -> TextGradient:
        """The base's, averaged over the masks of the text: a word weighs as often as it is
        kept. Raises `Unsupported` for another field or when the base grants none, as the
        three below do."""
        self._masks(field)
        return expectation.text_gradient(self, goal, queries, item, text)

    def word_embeddings(self, words: Sequence[str]) -> Floats:
        return expectation.words_of(self.base).word_embeddings(words)

    def forecast(self, queries: Queries, item: int, text: str, *, field: str = "title") -> Forecast:
        """Mean vote over the masks, which words that join pass or not, too."""
        self._masks(field)
        return expectation.forecast(self, queries, item, text)

    def relaxed(
        self,
        queries: Queries,
        item: int,
        text: str,
        slots: Sequence[int],
        words: Sequence[str],
        *,
        field: str = "title",
    ) -> Relaxed:
        """Mean vote over the masks as a differentiable function of the mixtures."""
        self._masks(field)
        return expectation.relaxed(self, queries, item, text, slots, words)

    def own_bits(self, text: str) -> NDArray[np.bool_]:
        """(masks, T) which words each copy of a text keeps."""
        return own_bits(text, self.spec.keep, self.spec.masks, self.spec.seed)

    def _masks(self, field: str) -> None:
        if field != self.spec.field:
            raise Unsupported(
                f"this model masks the words of '{self.spec.field}' and promises nothing of "
                f"'{field}'; smooth over the field that sellers write"
            )

    def _blocks(self, slate: Slate) -> list[_Block]:
        if slate.texts is not None:
            self._masks(slate.field)
            return list(self._cut(slate.items, slate.texts))
        everything = whole(self.items).items
        if not np.array_equal(slate.items, everything):
            return list(self._cut(slate.items, self._texts(slate.items)))
        if self._whole is None:
            self._whole = list(self._cut(everything, self._texts(everything)))
        return self._whole

    def _texts(self, rows: Ints) -> list[str]:
        column = self.items[self.spec.field].cast(pl.Utf8).fill_null("")
        found: list[str] = column.gather(rows).to_list()
        return found

    def _cut(self, rows: Ints, texts: Sequence[str]) -> Iterator[_Block]:
        step = max(1, _PAIRS // self.spec.masks)
        for start in range(0, len(rows), step):
            columns = slice(start, min(start + step, len(rows)))
            made = [copies(text, self.own_bits(text)) for text in texts[columns]]
            sizes = np.array([len(each.texts) for each in made])
            yield _Block(
                columns=columns,
                slate=Slate(
                    items=np.repeat(rows[columns], sizes),
                    texts=tuple(text for each in made for text in each.texts),
                    field=self.spec.field,
                ),
                starts=np.cumsum(sizes) - sizes,
                shares=np.concatenate([each.shares for each in made]),
            )


def _yardstick(scores: Scores, queries: Queries, *, place: int) -> Floats:
    """(Q, I) -> (Q, 2): the score at rank `place` (the worst, if there are fewer), the spread."""
    n = scores.shape[1] - min(place, scores.shape[1])
    centre = np.partition(scores, n, axis=1)[:, n : n + 1]
    return np.concatenate([centre, spread(scores)], axis=1).astype(np.float32)
