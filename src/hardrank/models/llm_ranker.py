"""A language model that re-ranks what a first stage found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
import polars as pl
from annotated_types import Ge
from numpy.typing import NDArray
from pydantic import Field

from hardrank.context import RunContext
from hardrank.data import Dataset, Holdout, Queries, Slate, render
from hardrank.errors import Unsupported
from hardrank.language.chat import AnyWriter, Writer
from hardrank.models.common import refuse_objective, slate_texts, top_of, whole
from hardrank.models.hybrid import Hybrid
from hardrank.models.item_knn import ItemKnn
from hardrank.models.knn_tfidf import KnnTfidf
from hardrank.models.llm.answers import read_liking, read_order
from hardrank.models.llm.prompts import ANSWERS, liking_prompt, order_prompt
from hardrank.models.llm.shield import Shield
from hardrank.models.popularity import Popularity
from hardrank.models.sasrec import Sasrec
from hardrank.models.text_sequence import TextSequence
from hardrank.models.tfidf import Tfidf
from hardrank.recommender import Recommender, best, mask_seen
from hardrank.types import Count, Floats, Ranks, Scores, spec

__all__ = ["LlmRanker", "LlmRecommender", "Tally", "Weighs"]

First = Annotated[
    Tfidf | KnnTfidf | ItemKnn | Popularity | TextSequence | Hybrid | Sasrec,
    Field(discriminator="kind"),
]


@runtime_checkable
class Weighs(Protocol):
    """A language model whose probabilities can be read, so that it need not write."""

    def weigh(self, prompts: Sequence[str], answers: Sequence[str]) -> NDArray[np.float64]:
        """(N, A) log-likelihood of each answer after each prompt."""
        ...


@spec
class LlmRanker:
    """Re-rank a first stage's candidates by asking a language model in words.

    List-wise prompts with numbered candidates: Hou et al., ECIR 2024, arXiv:2305.08845.
    Point-wise Yes or No: TALLRec (Bao et al., RecSys 2023, arXiv:2305.00447). Nothing of the
    language model is trained here. Every text that enters a prompt passes the `shield` first.

    As a `Recommender` it is point-wise, whatever `reading` says, since there a score may not
    depend on company:

        score(q, i) = 2 + 0.9 l(q, i) + 0.1 s(q, i)   for the `candidates` best of the first stage
                      s(q, i)                         for the rest

    with l in [-1, 1] the language model's liking, s in (-1, 1) the first stage's score x as
    x / (1 + |x|). List-wise it ranks through `rerank` and `slate_scores`.
    """

    kind: Literal["llm-ranker"] = "llm-ranker"
    first: First = Tfidf()
    """Finds the candidates; it alone is trained."""
    reader: AnyWriter | None = None
    """The language model: `{ kind = "endpoint", ... }` or `{ kind = "local-lm", ... }`."""
    reading: Literal["together", "alone"] = "together"
    """`together`: one prompt lists all candidates of a slate. `alone`: a prompt for each, so
    that no listing can speak about another; slower by the number of candidates."""
    candidates: Annotated[int, Ge(2)] = 20
    """Of the first stage that the language model sees."""
    history: Count = 10
    """Newest events that a prompt shows."""
    fields: tuple[str, ...] = ("title",)
    """Columns of the item table that are shown."""
    shield: Shield = Shield()
    """What is done to texts before they enter a prompt."""

    def model(self) -> Writer:
        """Raises `Unsupported` where none is configured. Override it to bring another."""
        if self.reader is None:
            raise Unsupported(
                'llm-ranker has no language model; give it one: reader = { kind = "endpoint", '
                'url = "http://127.0.0.1:8000/v1", model = "..." } or reader = { kind = '
                '"local-lm", folder = "..." }'
            )
        return self.reader

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        valid: Holdout | None = None,
        objective: Any = None,
        start: Recommender | None = None,
    ) -> "LlmRecommender":
        """Fits the first stage; `start` has no effect. Raises `Unsupported` for an objective
        or without a reader."""
        refuse_objective(self.kind, objective)
        reader = self.model()
        first = self.first.fit(train, run, valid=valid)
        return LlmRecommender(spec=self, reader=reader, first=first)

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> "LlmRecommender":
        learned = {k.removeprefix("first/"): v for k, v in arrays.items() if k != "spec"}
        first: Recommender = self.first.restore(learned, items, run)
        return LlmRecommender(spec=self, reader=self.model(), first=first)


@dataclass
class Tally:
    """How the language model's answers were read, since the ranker was made."""

    asked: int = 0
    partial: int = 0
    """Lists that left candidates out: those come last, in the order they stood in."""
    unread: int = 0
    """Answers that named nothing: a list stays in its order, one item counts as neither
    liked nor disliked."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LlmRecommender:
    """See `LlmRanker`. Scores like a `Recommender`, reads slates as
    `hardrank.threats.slates.ReadsSlates`."""

    spec: LlmRanker
    reader: Writer
    first: Recommender
    tally: Tally = field(default_factory=Tally)

    @property
    def items(self) -> pl.DataFrame:
        return self.first.items

    def score(self, queries: Queries, slate: Slate) -> Scores:
        """(Q, I): asks the language model about every pair that reaches the candidates."""
        base = np.asarray(self.first.score(queries, slate), dtype=np.float32)
        read = self._read(queries, slate, base)
        out: Scores = base / (1 + np.abs(base))
        pairs = np.argwhere(read)
        texts = [self.spec.shield(t) for t in slate_texts(self.items, slate, self.spec.fields)]
        histories = self._histories(queries)
        likings = self._likings([(histories[q], texts[i]) for q, i in pairs])
        out[read] = 2 + 0.9 * likings + 0.1 * out[read]
        return out

    def top(self, queries: Queries, k: int) -> Ranks:
        return top_of(self, queries, k)

    def on(self, items: pl.DataFrame) -> Self:
        return replace(self, first=self.first.on(items))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The first stage's, and how the language model is asked (its weights are elsewhere)."""
        learned = {f"first/{name}": array for name, array in self.first.arrays().items()}
        return learned | {"spec": np.array(repr(self.spec))}

    def slate_scores(self, queries: Queries, slates: Sequence[Slate]) -> list[Scores]:
        """Q slates: (I,) each; equal scores where the answer says nothing of candidates."""
        shown = [
            [self.spec.shield(t) for t in slate_texts(self.items, slate, self.spec.fields)]
            for slate in slates
        ]
        histories = self._histories(queries)
        if self.spec.reading == "together":
            return self._ordered(histories, shown)
        likings = self._likings([(h, t) for h, s in zip(histories, shown, strict=True) for t in s])
        cuts = np.cumsum([len(texts) for texts in shown])[:-1]
        return [np.asarray(part) for part in np.split(likings, cuts)]

    def rerank(self, queries: Queries, k: int) -> Ranks:
        """(Q, K) the first stage's candidates in the language model's order; what it left out
        keeps the first stage's. -1 where a query has not so many candidates."""
        found = self.first.top(queries, self.spec.candidates)
        slates = [Slate(items=row[row >= 0]) for row in found]
        out = np.full((len(queries), min(k, found.shape[1])), -1, dtype=np.int64)
        for q, scores in enumerate(self.slate_scores(queries, slates)):
            order = np.argsort(-scores, kind="stable")[: out.shape[1]]
            out[q, : len(order)] = slates[q].items[order]
        return out

    def _ordered(
        self, histories: Sequence[Sequence[str]], shown: Sequence[Sequence[str]]
    ) -> list[Scores]:
        """List-wise: N - place for the candidates an answer names, 0 for the others."""
        delimited = self.spec.shield.delimit
        prompts = [
            order_prompt(h, texts, delimited=delimited)
            for h, texts in zip(histories, shown, strict=True)
        ]
        out = []
        for answer, texts in zip(self.reader.complete(prompts), shown, strict=True):
            rows = read_order(answer, texts)
            self.tally.asked += 1
            self.tally.unread += not rows
            self.tally.partial += 0 < len(rows) < len(texts)
            scores = np.zeros(len(texts), dtype=np.float32)
            scores[rows] = len(texts) - np.arange(len(rows))
            out.append(scores)
        return out

    def _likings(self, pairs: Sequence[tuple[Sequence[str], str]]) -> Floats:
        """(N,) in [-1, 1] for pairs of a history and a candidate."""
        delimited = self.spec.shield.delimit
        prompts = [liking_prompt(h, text, delimited=delimited) for h, text in pairs]
        if not prompts:
            return np.zeros(0, dtype=np.float32)
        self.tally.asked += len(prompts)
        if isinstance(self.reader, Weighs):
            yes, no = self.reader.weigh(prompts, ANSWERS).T
            return np.asarray(np.tanh((yes - no) / 2), dtype=np.float32)
        said = [read_liking(answer) for answer in self.reader.complete(prompts)]
        self.tally.unread += said.count(None)
        return np.array([0 if s is None else 2 * s - 1 for s in said], dtype=np.float32)

    def _histories(self, queries: Queries) -> list[list[str]]:
        shown = [queries.history(q)[-self.spec.history :] for q in range(len(queries))]
        rows = np.unique(np.concatenate([*shown, np.zeros(0, dtype=np.int64)]))
        texts = render(self.items[rows], self.spec.fields)
        known = {row: self.spec.shield(t) for row, t in zip(rows.tolist(), texts, strict=True)}
        return [[known[row] for row in part.tolist()] for part in shown]

    def _read(self, queries: Queries, slate: Slate, base: Scores) -> NDArray[np.bool_]:
        """(Q, I) whether a candidate with these scores of the first stage is among its N best
        unseen items, ties by item row: whether it beats the N-th of the others. Found anew for
        each call, so that no answer is stale."""
        n, every = self.spec.candidates, whole(self.items)
        scores = mask_seen(np.array(self.first.score(queries, every), dtype=np.float32), queries)
        fresh = ~_seen(queries, slate)
        front = best(scores, n + 1)
        if front.shape[1] <= n:
            return fresh
        member = np.zeros(scores.shape, dtype=bool)
        np.put_along_axis(member, front[:, :n], True, axis=1)
        rival = np.where(member[:, slate.items], front[:, n:], front[:, n - 1 : n])
        least = np.take_along_axis(scores, rival, axis=1)
        wins = (base > least) | ((base == least) & (slate.items < rival))
        return np.asarray(wins & fresh)


def _seen(queries: Queries, slate: Slate) -> NDArray[np.bool_]:
    """(Q, I) whether the query's history holds the candidate."""
    pairs = [np.isin(slate.items, queries.history(q)) for q in range(len(queries))]
    return np.stack(pairs) if pairs else np.zeros((0, len(slate)), dtype=bool)
